// The example devui's flow "sum" in Genkit's JavaScript, so that the traces of both can be compared.
const { createRequire } = require('node:module');
const { genkit, z } = createRequire(process.argv[2] + '/x.js')('genkit');

const ai = genkit({ name: 'js' });
const model = ai.defineModel({ name: 'test/scripted', supports: { tools: true, multiturn: true } }, async (req) => {
  const pair = req.config.pair;
  const asked = req.messages.at(-1).role === 'tool';
  return {
    finishReason: 'stop',
    message: {
      role: 'model',
      content: [asked ? { text: `The sum is ${pair.a + pair.b}.` } : { toolRequest: { name: 'add', ref: '1', input: pair } }],
    },
  };
});
const pair = z.object({ a: z.number(), b: z.number() });
const add = ai.defineTool({ name: 'calc/add', description: 'Adds.', inputSchema: pair }, async ({ a, b }) => ({ sum: a + b }));
ai.defineFlow({ name: 'sum', inputSchema: pair, outputSchema: z.string() }, async (pair) =>
  ai.run('ask', async () => (await ai.generate({ model, prompt: 'Add them.', tools: [add], config: { pair } })).text));
ai.defineFlow({ name: 'fail', inputSchema: z.string() }, async () => {
  throw new Error('this flow always fails');
});
