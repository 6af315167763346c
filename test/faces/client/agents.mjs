// Drives agents on a flow server with Genkit's own remoteAgent and prints one line of JSON
// for each check: {"name", "ok", "error"?}.
//
//   GENKIT_FACES=<folder with node_modules> node agents.mjs <base>
import { createRequire } from 'node:module';
import { join } from 'node:path';
import assert from 'node:assert/strict';

const require = createRequire(join(process.env.GENKIT_FACES, 'package.json'));
const { remoteAgent } = require('genkit/beta/client');
const base = process.argv[2];
const headers = async () => ({ Authorization: 's3cret' });
const agent = (name) => remoteAgent({ url: base + '/' + name, headers });

process.on('unhandledRejection', () => {});

const checks = [];
const check = (name, fn) => checks.push({ name, fn });
async function failure(promise) {
  try {
    await promise;
  } catch (e) {
    return e;
  }
  throw new Error('it did not fail');
}

for (const name of ['stored', 'plain']) {
  check(name + ': a chat goes on', async () => {
    const chat = agent(name).chat();
    const first = await chat.send('one');
    assert.equal(first.text, '1: one');
    assert.equal(first.finishReason, 'stop');
    assert.ok(chat.sessionId);
    const second = await chat.send('two');
    assert.equal(second.text, '2: one, two');
    assert.equal(second.sessionId, first.sessionId);
    assert.deepEqual(chat.messages.map((m) => m.role), ['user', 'model', 'user', 'model']);
    assert.equal(chat.state.turns, 2);
  });
  check(name + ': chunks, patches and artifacts come as they are made', async () => {
    const chat = agent(name).chat();
    await chat.send('one');
    const turn = chat.sendStream('two');
    let text = '';
    const states = [];
    const artifacts = [];
    let ends = 0;
    for await (const chunk of turn.stream) {
      text += chunk.text;
      if (chunk.custom !== undefined) states.push(chunk.custom);
      if (chunk.artifact) artifacts.push(chunk.artifact.name);
      if (chunk.raw.turnEnd) ends++;
    }
    assert.equal(text, '2: one, two');
    assert.deepEqual(states, [{ turns: 1, busy: true, log: [1] }, { turns: 2, log: [1, 2] }]);
    assert.deepEqual(artifacts, ['report']);
    assert.equal(ends, 1);
    const response = await turn.response;
    assert.deepEqual(response.artifacts.map((a) => a.parts[0].text), ['turn 2']);
  });
  check(name + ': a failure is an AgentError, and the chat goes on', async () => {
    const chat = agent(name).chat();
    await chat.send('one');
    const e = await failure(chat.send('fail'));
    assert.equal(e.name, 'AgentError');
    assert.equal(e.status, 'PERMISSION_DENIED');
    assert.match(e.message, /not you/);
    assert.equal((await chat.send('two')).finishReason, 'stop');
  });
  check(name + ': an abort of the reader ends the turn', async () => {
    const controller = new AbortController();
    const turn = agent(name).chat().sendStream('wait', { abortSignal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    for await (const _ of turn.stream) {
    }
    assert.equal((await turn.response).finishReason, 'aborted');
  });
  check(name + ': an interrupt is answered', async () => {
    const chat = agent(name + '-asks').chat();
    const asked = await chat.send('go');
    assert.equal(asked.finishReason, 'interrupted');
    assert.equal(asked.interrupts.length, 1);
    const part = asked.toolRequests[0];
    assert.equal(part.toolRequest.name, 'ask');
    const done = await chat.resume({ respond: [{ toolResponse: { name: 'ask', ref: part.toolRequest.ref, output: 'yes' } }] });
    assert.equal(done.text, 'you said yes');
    assert.equal(done.finishReason, 'stop');
  });
  check(name + ': an answer to nothing is refused', async () => {
    const chat = agent(name + '-asks').chat();
    await chat.send('go');
    const e = await failure(chat.resume({ respond: [{ toolResponse: { name: 'other', output: 'yes' } }] }));
    assert.equal(e.status, 'INVALID_ARGUMENT');
    assert.match(e.message, /not found in session history/);
  });
}

check('stored: a chat is loaded', async () => {
  const chat = agent('stored').chat({ sessionId: 'ada' });
  const first = await chat.send('one');
  for (const by of [{ sessionId: 'ada' }, { snapshotId: first.snapshotId }]) {
    const loaded = await agent('stored').loadChat(by);
    assert.equal(loaded.snapshotId, first.snapshotId);
    assert.equal(loaded.messages.length, 2);
    assert.equal(loaded.state.turns, 1);
    assert.equal((await loaded.send('two')).text, '2: one, two', JSON.stringify(by));
  }
  const e = await failure(agent('stored').getSnapshot('none'));
  assert.match(e.message, /404/);
});
check('stored: work goes on in the background', async () => {
  const chat = agent('stored').chat();
  const task = await chat.detach('one');
  const end = await task.wait({ intervalMs: 20 });
  assert.equal(end.status, 'completed');
  assert.equal(end.finishReason, 'stop');
  assert.equal(end.state.messages[1].content[0].text, '1: one');
});
check('stored: work in the background is aborted', async () => {
  const task = await agent('stored').chat().detach('wait');
  assert.equal(await task.abort(), 'pending');
  assert.equal((await task.wait({ intervalMs: 20 })).status, 'aborted');
  assert.equal(await task.abort(), 'aborted');
  assert.equal(await agent('stored').abort('none'), undefined);
});
check('stored: a state is refused', async () => {
  const e = await failure(agent('stored').chat({ state: { messages: [] } }).send('x'));
  assert.match(e.message, /400|FAILED_PRECONDITION/);
});
check('plain: there is no background', async () => {
  const e = await failure(agent('plain').chat().detach('x'));
  assert.match(e.message, /FAILED_PRECONDITION|no store/);
});

for (const { name, fn } of checks) {
  const line = { name, ok: true };
  try {
    await fn();
  } catch (e) {
    Object.assign(line, { ok: false, error: String(e?.stack ?? e) });
  }
  console.log(JSON.stringify(line));
}
process.exit(0);
