// Measures generate calls of two turns with one tool, as bench/main.go does:
//   node bench.mjs <concurrency> <milliseconds>
import { genkit } from 'genkit/beta';

const [concurrency, length] = process.argv.slice(2).map(Number);
const ai = genkit({});
ai.defineModel({ name: 'test/adder', supports: { multiturn: true, tools: true } }, async (req) =>
  req.messages.length > 1
    ? { message: { role: 'model', content: [{ text: 'sum is 5' }] }, finishReason: 'stop' }
    : { message: { role: 'model', content: [{ toolRequest: { name: 'add', ref: '1', input: { a: 2, b: 3 } } }] }, finishReason: 'stop' });
const object = (properties) => ({ type: 'object', properties, required: Object.keys(properties), additionalProperties: false });
const integer = { type: 'integer' };
ai.defineTool({ name: 'add', description: 'Adds two numbers.', inputJsonSchema: object({ a: integer, b: integer }), outputJsonSchema: object({ sum: integer }) },
  async ({ a, b }) => ({ sum: a + b }));

async function measure(ms) {
  let calls = 0;
  const cpu = process.cpuUsage();
  const start = performance.now();
  await Promise.all(Array.from({ length: concurrency }, async () => {
    while (performance.now() - start < ms) {
      const { text } = await ai.generate({ model: 'test/adder', prompt: 'what is 2 + 3?', tools: ['add'] });
      if (text !== 'sum is 5') throw new Error('the call did not end with the model\'s answer');
      calls++;
    }
  }));
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { calls, seconds, cpuMicros: (user + system) / calls, allocs: 0, bytes: 0 };
}

await measure(Math.max(500, length / 2)); // V8 needs longer than Go to warm up
console.log(JSON.stringify(await measure(length)));
