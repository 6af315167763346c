// Opens a directory of conversations with Genkit's own FileSessionStore, prints what it finds
// there of session "ada" as one line of JSON, and adds a snapshot of its own.
//
//   GENKIT_FACES=<folder with node_modules> node agentstore.mjs <directory>
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.GENKIT_FACES, 'package.json'));
const { FileSessionStore } = require('genkit/beta');

const store = new FileSessionStore(process.argv[2]);
const latest = await store.getSnapshot({ sessionId: 'ada' });
const parent = await store.getSnapshot({ snapshotId: latest.parentId });
const id = await store.saveSnapshot('from-genkit', () => ({
  sessionId: 'ada',
  parentId: latest.snapshotId,
  createdAt: new Date().toISOString(),
  updatedAt: new Date().toISOString(),
  status: 'completed',
  finishReason: 'stop',
  state: { ...latest.state, messages: [...latest.state.messages, { role: 'user', content: [{ text: 'from Genkit' }] }], custom: { turns: 7, log: [7] } },
}));
console.log(JSON.stringify({ latest, parent, id }));
