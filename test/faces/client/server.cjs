// Serves flows with Genkit's express plugin and prints its address. It ends with its
// standard input.
//
//   GENKIT_FACES=<folder with node_modules> node server.cjs
const { createRequire } = require('node:module');
const { join } = require('node:path');

const load = createRequire(join(process.env.GENKIT_FACES, 'package.json'));
const { genkit, z, UserFacingError, InMemoryStreamManager, InMemorySessionStore } = load('genkit/beta');
const { expressHandler } = load('@genkit-ai/express');
const { apiKey } = load('genkit/context');
const express = load('express');

const ai = genkit({});
const contextProvider = apiKey('s3cret');
const streamManager = new InMemoryStreamManager();
const app = express();
app.use(express.json());

function serve(name, options, fn) {
  const flow = ai.defineFlow({ name, inputSchema: z.any(), ...options }, fn);
  app.post('/' + name, expressHandler(flow, { contextProvider }));
  app.post('/kept/' + name, expressHandler(flow, { contextProvider, streamManager }));
}
serve('echo', {}, async (input) => input);
serve('nothing', {}, async () => undefined);
serve('streamy', { inputSchema: z.number(), streamSchema: z.object({ count: z.number() }) }, async (n, { sendChunk }) => {
  for (let count = 0; count < n; count++) sendChunk({ count });
  return `done ${n}, streamed: ${n} times`;
});
serve('refuses', {}, async () => {
  throw new UserFacingError('PERMISSION_DENIED', 'not you', { n: 1 });
});
serve('breaks', { streamSchema: z.number() }, async (_, { sendChunk }) => {
  sendChunk(1);
  throw new UserFacingError('ABORTED', 'halfway');
});

// An agent, with its store, that counts its turns.
const agent = ai.defineCustomAgent({ name: 'counter', store: new InMemorySessionStore() }, async (sess) => {
  await sess.run(async (input) => {
    if (input.message.content[0].text === 'fail') throw new UserFacingError('PERMISSION_DENIED', 'not you');
    const turns = (sess.getCustom()?.turns ?? 0) + 1;
    sess.updateCustom(() => ({ turns }));
    sess.addMessages([{ role: 'model', content: [{ text: 'turn ' + turns }] }]);
    return { finishReason: 'stop' };
  });
  return { message: sess.getMessages().at(-1) };
});
app.post('/counter', expressHandler(agent, { contextProvider }));
app.post('/counter/getSnapshot', expressHandler(agent.getSnapshotDataAction, { contextProvider }));

const server = app.listen(0, '127.0.0.1', () => console.log('http://127.0.0.1:' + server.address().port));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
