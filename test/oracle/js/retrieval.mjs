// Runs requests (JSON on stdin, see retrieval/cases.go) to embedders, retrievers,
// indexers and rerankers through Genkit JS and writes what came of them to stdout, in
// the same order. Works in the current directory, where the vector store's file goes.
import { genkit, GenkitError, z } from 'genkit';
import { CommonRetrieverOptionsSchema } from 'genkit/retriever';
import { CommonRerankerOptionsSchema } from 'genkit/reranker';
import { devLocalVectorstore } from '@genkit-ai/dev-local-vectorstore';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

async function text(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}

for (const m of ['log', 'info', 'debug', 'warn']) console[m] = () => {}; // what the SDK says is no answer
const input = JSON.parse(await text(process.stdin));
process.chdir(mkdtempSync(join(tmpdir(), 'retrieval-')));

const letters = (t) => [...'abcdefgh'].map((l) => [...t].filter((c) => c === l).length);
const ai = genkit({ plugins: [devLocalVectorstore([{ indexName: 'store', embedder: 'test/letters' }])] });
let saw = [];
const note = (v) => { saw.push(JSON.parse(JSON.stringify(v))); };

ai.defineEmbedder(
  { name: 'test/letters', info: { label: 'Letters', dimensions: 8, supports: { input: ['text'], multilingual: true } }, configSchema: z.object({ by: z.number().optional() }) },
  async (docs, options) => {
    note({ texts: docs.map((d) => d.text), options: options ?? null });
    if (docs.some((d) => d.text === 'fail')) throw new GenkitError({ status: 'UNAVAILABLE', message: 'down' });
    return { embeddings: docs.map((d) => ({ embedding: letters(d.text), ...(d.text === 'aa' && { metadata: { start: 0 } }) })) };
  }
);
ai.defineRetriever({ name: 'test/echo' }, async (q, o) => (note(o ?? null), { documents: q.text === 'none' ? [] : [q.toJSON()] }));
ai.defineRetriever(
  { name: 'test/times', configSchema: CommonRetrieverOptionsSchema, info: { label: 'Times', supports: { media: true } } },
  async (q, o) => ({ documents: Array.from({ length: o?.k ?? 1 }, () => q.toJSON()) })
);
ai.defineRetriever({ name: 'test/fails' }, async () => { throw new GenkitError({ status: 'PERMISSION_DENIED', message: 'not you' }); });
ai.defineSimpleRetriever({ name: 'test/rows', content: 'title', metadata: ['year'] }, async () => [{ title: 'Jaws', year: 1975, genre: 'fish' }, 'a text']);
ai.defineSimpleRetriever({ name: 'test/all', content: 'title' }, async () => [{ title: 'Jaws', year: 1975, genre: 'fish' }]);
ai.defineSimpleRetriever({ name: 'test/unclear' }, async () => [{ title: 'Jaws' }]);
ai.defineIndexer({ name: 'test/list' }, async (docs, o) => note({ docs: docs.map((d) => d.toJSON()), options: o ?? null }));
ai.defineIndexer({ name: 'test/strict', configSchema: z.object({ x: z.string() }), embedderInfo: { label: 'e', dimensions: 3 } }, async (docs, o) => note(o ?? null));
ai.defineReranker({ name: 'test/last', configSchema: CommonRerankerOptionsSchema, info: { label: 'Last first' } }, async (q, docs, o) => ({
  documents: docs.map((d, i) => ({ content: d.content, metadata: { ...d.metadata, score: i } })).reverse().slice(0, o?.k ?? docs.length),
}));

const observations = [];
for (const c of input) {
  saw = [];
  const o = { status: 'OK', output: null, saw: [], metadata: null, message: '' };
  const action = await ai.registry.lookupAction(c.action);
  o.metadata = JSON.parse(JSON.stringify(action.__action.metadata));
  try {
    o.output = (await action(c.in)) ?? null;
  } catch (e) {
    o.status = e.status ?? 'INTERNAL'; // what the wire shows of an error without a status
    o.message = String(e.message ?? e).slice(0, 200);
  }
  o.saw = saw;
  observations.push(o);
}
process.stdout.write(JSON.stringify(observations));
