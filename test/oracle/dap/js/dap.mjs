// Asks a Genkit JS registry with dynamic action providers what it finds (keys as JSON on
// stdin) and writes the answers to stdout.
import { genkit } from 'genkit/beta';

const pieces = [];
for await (const piece of process.stdin) pieces.push(piece);
const keys = JSON.parse(Buffer.concat(pieces).toString('utf8'));
console.error = () => {};

const ai = genkit({});
let fetches = 0;
const make = (name) => ai.dynamicTool({ name, description: 'is ' + name, inputJsonSchema: { type: 'object' } }, async () => name);
ai.defineDynamicActionProvider({ name: 'host', description: 'A host.', metadata: { k: 1 } }, async () => {
  fetches++;
  return {
    tool: ['x', 'xy', 'kit/z', 'a:b'].map(make),
  };
});
ai.defineDynamicActionProvider('down', async () => { throw new Error('down'); });
ai.defineTool({ name: 'own', description: 'is own' }, async () => 'own');

const plain = (v) => (v === undefined ? null : JSON.parse(JSON.stringify(v)));
const out = { lookups: {}, names: {} };
for (const key of keys) {
  try {
    const a = await ai.registry.lookupAction(key);
    out.lookups[key] = a ? a.__action.key : null;
  } catch {
    out.lookups[key] = 'fails';
  }
  try {
    out.names[key] = plain(await ai.registry.resolveActionNames(key));
  } catch {
    out.names[key] = 'fails';
  }
}
const catalog = await ai.registry.listResolvableActions();
out.catalog = Object.keys(catalog).filter((k) => /host|down|own/.test(k)).sort();
const host = await ai.registry.lookupAction('/dynamic-action-provider/host');
out.provider = plain({ key: host.__action.key, name: host.__action.name, description: host.__action.description, metadata: host.__action.metadata });
out.list = plain(await host()).map(({ key, name, description }) => ({ key, name, description }));
process.stdout.write(JSON.stringify(out, null, 1) + '\n');
