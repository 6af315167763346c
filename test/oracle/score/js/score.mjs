// Runs evaluations (JSON on stdin, see score.go) through Genkit JS and writes what came of
// them to stdout, in the same order.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url); // as a module @genkit-ai/evaluator 1.42 looks for __dirname in vain
const { genkit } = require('genkit');
const { genkitEval, GenkitMetric } = require('@genkit-ai/evaluator');

const pieces = [];
for await (const piece of process.stdin) pieces.push(piece);
const input = JSON.parse(Buffer.concat(pieces).toString('utf8'));
console.debug = console.error = console.log = () => {}; // stdout is the answer's

async function run(c) {
  const answers = [...(c.answers ?? [])];
  const ai = genkit({ plugins: [genkitEval({ judge: 'test/judge', embedder: 'test/letters', metrics: Object.values(GenkitMetric) })] });
  ai.defineModel({ name: 'test/judge', supports: { multiturn: true, systemRole: true } }, async () => {
    if (!answers.length) throw new Error('the judge is out');
    return { message: { role: 'model', content: [{ text: answers.shift() }] }, finishReason: 'stop' };
  });
  ai.defineEmbedder({ name: 'test/letters' }, async (docs) => ({
    embeddings: (docs.input ?? docs).map((d) => ({ embedding: [...'abcd'].map((l) => d.content[0].text.split(l).length - 1) })),
  }));
  ai.defineEvaluator({ name: 'own/size', displayName: 'Size', definition: 'Is short.' }, async (d) => {
    if (d.output === 'fail') throw new Error('no');
    if (d.output === 'two') return { testCaseId: d.testCaseId, evaluation: [{ id: 'a', score: 1 }, { id: 'b', score: 'x', status: 'UNKNOWN' }] };
    return { testCaseId: d.testCaseId, evaluation: { score: String(d.output).length, status: 'PASS', details: { reasoning: 'r' } } };
  });
  try {
    const action = await ai.registry.lookupAction(`/evaluator/${c.evaluator}`);
    const results = await action(c.request);
    return { metadata: action.__action.metadata, results: JSON.parse(JSON.stringify(results)) };
  } catch (e) {
    return { status: e.status ?? 'INTERNAL' };
  }
}

const outcomes = [];
for (const c of input) outcomes.push(await run(c));
process.stdout.write(JSON.stringify(outcomes, null, 1) + '\n');
