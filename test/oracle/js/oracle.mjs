// Runs conversations (JSON on stdin, see talk/conversation.go) through Genkit JS and
// writes what was observed to stdout, in the same order.
import { genkit, GenkitError } from 'genkit/beta';

async function text(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}

const object = (properties) => ({ type: 'object', properties, required: Object.keys(properties), additionalProperties: false });
const pair = object({ a: { type: 'integer' }, b: { type: 'integer' } });
const nothing = { type: 'object', properties: {}, additionalProperties: false };
const plain = (v) => (v === undefined ? null : JSON.parse(JSON.stringify(v)));

function tools(ai, runs) {
  const note = (name, input) => runs.push(`${name} ${JSON.stringify(input)}`);
  const define = (name, description, inputJsonSchema, outputJsonSchema, fn, extra) =>
    ai.defineTool({ name, description, inputJsonSchema, ...(outputJsonSchema && { outputJsonSchema }), ...extra }, fn);
  define('add', 'Adds.', pair, { type: 'integer' }, async (i) => (note('add', i), i.a + i.b));
  define('math/mul', 'Multiplies.', pair, { type: 'integer' }, async (i) => (note('mul', i), i.a * i.b));
  define('greet', 'Greets.', object({ name: { type: 'string' } }), object({ text: { type: 'string' } }), async (i) => (note('greet', i), { text: 'hello ' + i.name }));
  define('fail', 'Fails.', nothing, { type: 'string' }, async () => { throw new Error('the disk is full'); });
  define('denied', 'Is denied.', nothing, { type: 'string' }, async () => { throw new GenkitError({ status: 'PERMISSION_DENIED', message: 'not you' }); });
  define('ask', 'Asks.', object({ q: { type: 'string' } }), { type: 'string' }, async (i, { interrupt, resumed }) => {
    note('ask', i);
    if (resumed && i.q !== 'twice') return 'answer: ' + JSON.stringify(resumed);
    interrupt({ question: i.q });
  });
  define('bare', 'Asks without a word.', nothing, { type: 'string' }, async (_, { interrupt }) => interrupt());
  define('big', 'Returns at most ten.', object({ n: { type: 'integer' } }), object({ n: { type: 'integer', maximum: 10 } }), async (i) => i);
  define('zero', 'Returns zero.', nothing, { type: 'integer' }, async () => 0);
  define('void', 'Returns nothing.', nothing, undefined, async () => null);
  define('slow', 'Is slow.', nothing, { type: 'string' }, async () => { await new Promise((r) => setTimeout(r, 30)); return 'slow'; });
  define('fast', 'Is fast.', nothing, { type: 'string' }, async () => 'fast');
  define('pic', 'Shows.', nothing, undefined,
    async () => ({ output: 'seen', content: [{ media: { url: 'data:image/png;base64,AA==', contentType: 'image/png' } }], metadata: { k: 'v' } }),
    { multipart: true });
}

async function run(c) {
  const ai = genkit({});
  const o = { requests: [], runs: [], chunks: [], response: null, unparsed: true, status: 'OK', message: '' };
  let calls = 0;
  ai.defineModel({ name: 'test/scripted', supports: c.supports }, async (req, sendChunk) => {
    o.requests.push(plain(req));
    const turn = c.script[calls++];
    if (!turn) throw new GenkitError({ status: 'OUT_OF_RANGE', message: 'the script is over' });
    for (const chunk of turn.chunks ?? []) sendChunk?.(chunk);
    if (turn.error) throw new GenkitError({ status: turn.status, message: turn.error });
    return structuredClone(turn.response);
  });
  tools(ai, o.runs);
  const action = await ai.registry.lookupAction('/util/generate');
  const onChunk = c.silent ? undefined : (chunk) => o.chunks.push(plain(chunk));
  try {
    const resp = await action({ ...c.options, model: 'test/scripted' }, { onChunk });
    o.response = plain(resp);
  } catch (e) {
    o.status = e.status ?? 'INTERNAL'; // what the wire shows of an error without a status
    o.message = String(e.message ?? e);
  }
  return o;
}

const input = JSON.parse(await text(process.stdin));
const observations = [];
for (const c of input) observations.push(await run(c));
process.stdout.write(JSON.stringify(observations));
