// Loads prompt files (cases as JSON on stdin, see prompts/cases.go) into Genkit JS, and
// writes what came of each to stdout, in the same order.
import { genkit } from 'genkit/beta';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

async function text(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}

const plain = (v) => (v === undefined ? null : JSON.parse(JSON.stringify(v)));
const failure = (e) => ({ status: e.status ?? 'INTERNAL', message: String(e.message ?? e) });

async function attempt(fn) {
  try {
    return plain(await fn());
  } catch (e) {
    return { error: failure(e) };
  }
}

function describe(action) {
  const { name, description, inputJsonSchema, metadata } = action.__action;
  return { name, description, inputSchema: inputJsonSchema, metadata };
}

async function run(c) {
  const dir = mkdtempSync(join(tmpdir(), 'prompts-'));
  for (const [name, source] of Object.entries(c.files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), source);
  }
  const ai = genkit({ promptDir: dir, model: 'test/default' });
  const o = { described: null, request: null, options: null, asked: [], used: [], text: null };
  for (const name of ['test/default', 'test/other']) {
    let calls = 0;
    const supports = { multiturn: true, tools: true, systemRole: true, media: true, context: true, constrained: 'all', toolChoice: true };
    ai.defineModel({ name, supports }, async (req) => {
      o.asked.push({ model: name, ...plain(req) });
      const script = c.script ?? [];
      return structuredClone(script[o.asked.length - 1] ?? { message: { role: 'model', content: [{ text: 'the end' }] }, finishReason: 'stop' });
    });
  }
  ai.defineTool({ name: 'math/add', description: 'Adds.', inputJsonSchema: { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'], additionalProperties: false }, outputJsonSchema: { type: 'integer' } }, async (i) => i.a + 1);
  ai.defineJsonSchema('City', { type: 'object', properties: { name: { type: 'string' } }, required: ['name'], additionalProperties: false });
  ai.registry.registerValue('middleware', 'note', {
    name: 'note', toJson: () => ({ name: 'note' }),
    instantiate: ({ config }) => ({ model: async (req, ctx, next) => { o.used.push(plain(config)); return next(req, ctx); } }),
  });
  ai.definePartial('shared', 'shared by {{name}}');
  ai.defineHelper('shout', (t) => String(t).toUpperCase() + '!');
  const key = c.prompt + (c.variant ? '.' + c.variant : '');
  o.described = await attempt(async () => describe(await ai.registry.lookupAction('/prompt/' + key)));
  o.request = await attempt(async () => (await ai.registry.lookupAction('/prompt/' + key))(c.input, { context: c.context }));
  o.options = await attempt(async () => (await ai.registry.lookupAction('/executable-prompt/' + key))(c.input, { context: c.context }));
  const prompt = ai.prompt(c.prompt, { variant: c.variant });
  o.text = await attempt(async () => (await prompt(c.input, { ...c.over, ...(c.context && { context: c.context }) })).text);
  rmSync(dir, { recursive: true });
  return o;
}

const observations = [];
for (const c of JSON.parse(await text(process.stdin))) observations.push(await run(c));
process.stdout.write(JSON.stringify(observations));
