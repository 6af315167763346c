// Holds chats (JSON on stdin, see chat.go) through Genkit JS and writes what its store holds
// after each turn to stdout, in the same order.
import { genkit } from 'genkit/beta';

const pieces = [];
for await (const piece of process.stdin) pieces.push(piece);
const input = JSON.parse(Buffer.concat(pieces).toString('utf8'));

async function hold(c) {
  const ai = genkit({});
  const seen = [];
  const answers = [...c.answers];
  ai.defineModel({ name: 'test/m', supports: { multiturn: true, systemRole: true, tools: true } }, async (req) => {
    seen.push(req.messages);
    const answer = answers.shift();
    if (answer.error) throw new Error(answer.error);
    return { message: { role: 'model', content: answer }, finishReason: 'stop' };
  });
  ai.defineTool({ name: 'visit', description: '', inputSchema: undefined }, async () => {
    const session = ai.currentSession();
    await session.updateState({ visits: (session.state?.visits ?? 0) + 1 });
    return 'noted';
  });
  const data = {};
  const store = { get: async (id) => data[id], save: async (id, d) => void (data[id] = JSON.parse(JSON.stringify(d))) };
  const session = ai.createSession({ store, sessionId: 's', initialState: c.state });
  const after = [];
  for (const t of c.turns) {
    const chat = session.chat(t.thread ?? 'main', { model: 'test/m', ...(t.system && { system: t.system }), ...(t.tools && { tools: t.tools }), ...(t.messages && { messages: t.messages }), ...(t.schema && { output: { jsonSchema: t.schema } }) });
    let status = 'OK';
    try {
      for (const text of t.texts) await chat.send(text);
    } catch (e) {
      status = e.status ?? 'INTERNAL';
    }
    if (t.patch) await session.updateState(t.patch);
    after.push({ status, state: data.s?.state ?? null, threads: data.s?.threads ?? {} });
  }
  return JSON.parse(JSON.stringify({ after, seen }));
}

const outcomes = [];
for (const c of input) outcomes.push(await hold(c));
process.stdout.write(JSON.stringify(outcomes, null, 1) + '\n');
