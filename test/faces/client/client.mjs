// Drives a flow server with Genkit's own JS client and prints one line of JSON for each
// check: {"name", "ok", "error"?}.
//
//   GENKIT_FACES=<folder with node_modules> node client.mjs <plain> <kept> <control>
//
// plain and kept are the bases of the same flows, without and with streams that are kept;
// control answers what the flows are doing, and makes "steps" do more.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import assert from 'node:assert/strict';

const require = createRequire(join(process.env.GENKIT_FACES, 'package.json'));
const { runFlow, streamFlow } = require('genkit/beta/client');
const [plain, kept, control] = process.argv.slice(2);

// The client's channel rejects besides its output, also where nobody reads it.
process.on('unhandledRejection', () => {});

const checks = [];
const check = (name, fn) => checks.push({ name, fn });
const headers = { Authorization: 's3cret' };
const post = (url, body, more = {}) => fetch(url, { method: 'POST', body, headers: { 'Content-Type': 'application/json', ...headers, ...more } });

async function collect(response) {
  const chunks = [];
  for await (const c of response.stream) chunks.push(c);
  return chunks;
}
// Rejections of output are looked at where they matter; the stream rejects with the same.
function start(options) {
  const r = streamFlow({ headers, ...options });
  r.output.catch(() => {});
  return r;
}
async function failure(promise) {
  try {
    await promise;
  } catch (e) {
    return e.message;
  }
  throw new Error('it did not fail');
}
async function until(fn) {
  for (let i = 0; i < 3000; i++) {
    if (await fn()) return;
    await new Promise((r) => setTimeout(r, 10));
  }
  throw new Error('it never came');
}
const cancelled = async () => Number(await (await fetch(control + '/cancelled')).text());
const step = (value) => fetch(control + '/step?value=' + encodeURIComponent(value));

for (const [name, value] of Object.entries({
  'a string': 'Ahoy', 'an object': { a: { b: [1, 2, { c: null }] } }, 'an array': [1, 'two', false], 'a number': 1.5,
  'null': null, 'false': false, 'zero': 0, 'an empty string': '', 'text that looks like frames': 'data: {"result":1}\n\n\r\n\u2028',
})) {
  check('result: ' + name, async () => assert.deepEqual(await runFlow({ url: plain + '/echo', input: value, headers }), value));
}
check('result: no input', async () => assert.equal(await runFlow({ url: plain + '/echo', headers }), null));
const big = 'é😀x'.repeat(150_000);
check('result: a megabyte of unicode', async () => assert.equal(await runFlow({ url: plain + '/echo', input: big, headers }), big));
check('result: a megabyte of unicode as a chunk', async () => {
  const r = start({ url: plain + '/twice', input: big });
  assert.deepEqual(await collect(r), [big]);
  assert.equal(await r.output, big);
});
check('result: 64 at a time', async () => {
  const all = await Promise.all(Array.from({ length: 64 }, (_, i) => runFlow({ url: plain + '/echo', input: i, headers })));
  assert.deepEqual(all, Array.from({ length: 64 }, (_, i) => i));
});

check('context: headers reach the flow', async () => {
  const context = await runFlow({ url: plain + '/who', headers });
  assert.deepEqual(context, { auth: { apiKey: 's3cret' } });
});
check('context: headers reach a streamed flow', async () => assert.deepEqual(await start({ url: plain + '/who' }).output, { auth: { apiKey: 's3cret' } }));
check('context: no key', async () => assert.match(await failure(runFlow({ url: plain + '/who' })), /^Server returned: 401: .*"UNAUTHENTICATED"/));
check('context: a wrong key', async () =>
  assert.match(await failure(runFlow({ url: plain + '/who', headers: { Authorization: 'x' } })), /^Server returned: 403: .*"PERMISSION_DENIED"/));
check('context: a wrong key, streamed', async () =>
  assert.match(await failure(start({ url: plain + '/who', headers: { Authorization: 'x' } }).output), /^Server returned: 403: /));

check('stream: chunks in order, and the result', async () => {
  const r = start({ url: plain + '/streamy', input: 5 });
  assert.deepEqual(await collect(r), [0, 1, 2, 3, 4].map((count) => ({ count })));
  assert.equal(await r.output, 'done 5, streamed: 5 times');
});
check('stream: no chunks', async () => {
  const r = start({ url: plain + '/echo', input: 'x' });
  assert.deepEqual(await collect(r), []);
  assert.equal(await r.output, 'x');
});
check('stream: 5000 chunks', async () => {
  const r = start({ url: plain + '/streamy', input: 5000 });
  const chunks = await collect(r);
  assert.equal(chunks.length, 5000);
  chunks.forEach((c, i) => assert.equal(c.count, i));
});
check('stream: 64 at a time', async () => {
  const all = await Promise.all(Array.from({ length: 64 }, async (_, i) => (await collect(start({ url: plain + '/streamy', input: i }))).length));
  assert.deepEqual(all, Array.from({ length: 64 }, (_, i) => i));
});
check('stream: framing', async () => {
  const r = await post(plain + '/streamy', '{"data":1}', { Accept: 'text/event-stream' });
  assert.equal(r.status, 200);
  assert.equal(r.headers.get('content-type'), 'text/event-stream');
  assert.equal(await r.text(), 'data: {"message":{"count":0}}\n\ndata: {"result":"done 1, streamed: 1 times"}\n\n');
});
check('stream: asked for by the query', async () => {
  const r = await post(plain + '/streamy?stream=true', '{"data":0}');
  assert.equal(await r.text(), 'data: {"result":"done 0, streamed: 0 times"}\n\n');
});
check('stream: asked for among other types', async () => {
  const r = await post(plain + '/streamy', '{"data":0}', { Accept: 'application/json, text/event-stream' });
  assert.equal(r.headers.get('content-type'), 'text/event-stream');
  await r.text();
});
check('stream: a chunk comes before the flow ends', async () => {
  const r = start({ url: plain + '/steps' });
  await step('"first"');
  const i = r.stream[Symbol.asyncIterator]();
  assert.equal((await i.next()).value, 'first');
  await step('"second"');
  assert.equal((await i.next()).value, 'second');
  await step('end');
  assert.equal(await r.output, 'over');
});
check('stream: without an id where nothing is kept', async () => {
  const r = start({ url: plain + '/streamy', input: 1 });
  assert.equal(await r.streamId, null);
  await r.output;
});

check('error: its status and text', async () => {
  const m = await failure(runFlow({ url: plain + '/refuses', headers }));
  assert.match(m, /^Server returned: 403: /);
  assert.deepEqual(JSON.parse(m.slice('Server returned: 403: '.length)), { status: 'PERMISSION_DENIED', message: 'not you', details: { n: 1 } });
});
check('error: private text is withheld', async () => {
  const m = await failure(runFlow({ url: plain + '/private', headers }));
  assert.match(m, /^Server returned: 500: .*"INTERNAL"/);
  assert.doesNotMatch(m, /42/);
});
check('error: input of another shape', async () => assert.match(await failure(runFlow({ url: plain + '/streamy', input: 'x', headers })), /^Server returned: 400: .*INVALID_ARGUMENT/));
check('error: broken JSON', async () => {
  const r = await post(plain + '/echo', '{"data":');
  assert.equal(r.status, 400);
  assert.equal((await r.json()).status, 'INVALID_ARGUMENT');
});
check('error: no such flow', async () => assert.match(await failure(runFlow({ url: plain + '/none', headers })), /^Server returned: 404: .*NOT_FOUND/));
check('error: streamed, its status and text', async () => assert.match(await failure(start({ url: plain + '/refuses' }).output), /^PERMISSION_DENIED: not you\n/));
check('error: streamed, private text is withheld', async () => {
  const m = await failure(start({ url: plain + '/private' }).output);
  assert.match(m, /^INTERNAL: /);
  assert.doesNotMatch(m, /42/);
});
check('error: streamed, input of another shape', async () => assert.match(await failure(start({ url: plain + '/streamy', input: 'x' }).output), /^INVALID_ARGUMENT: /));
// The client drops chunks that it has not handed out when an error comes, so they are
// taken one by one.
check('error: the chunks before it are seen', async () => {
  const r = start({ url: plain + '/steps' });
  const i = r.stream[Symbol.asyncIterator]();
  for (const chunk of [1, 2]) {
    await step(String(chunk));
    assert.equal((await i.next()).value, chunk);
  }
  await step('fail');
  assert.match(await failure(i.next()), /^ABORTED: as asked/);
});

for (const [name, call] of Object.entries({
  unary: (signal) => runFlow({ url: plain + '/waits', headers, abortSignal: signal }),
  stream: (signal) => start({ url: plain + '/waits', abortSignal: signal }).output,
})) {
  check('abort: ' + name + ' cancels the flow', async () => {
    const before = await cancelled();
    const controller = new AbortController();
    const failed = failure(call(controller.signal));
    await until(async () => Number(await (await fetch(control + '/running')).text()) > 0);
    controller.abort();
    assert.match(await failed, /abort/i);
    await until(async () => (await cancelled()) === before + 1);
  });
}

check('kept: a stream has an id', async () => {
  const r = start({ url: kept + '/streamy', input: 2 });
  assert.match(await r.streamId, /^[0-9a-f-]{36}$/);
  assert.equal((await collect(r)).length, 2);
  assert.equal(await r.output, 'done 2, streamed: 2 times');
});
check('kept: others join while it goes on', async () => {
  const r = start({ url: kept + '/steps' });
  const streamId = await r.streamId;
  await step('1');
  const joined = [start({ url: kept + '/steps', streamId }), start({ url: kept + '/steps', streamId })];
  const i = joined[0].stream[Symbol.asyncIterator]();
  assert.equal((await i.next()).value, 1);
  await step('2');
  assert.equal((await i.next()).value, 2);
  await step('end');
  assert.deepEqual(await collect(joined[1]), [1, 2]);
  for (const j of [r, ...joined]) assert.equal(await j.output, 'over');
});
check('kept: replayed after its end', async () => {
  const r = start({ url: kept + '/streamy', input: 3 });
  const streamId = await r.streamId;
  await r.output;
  for (let n = 0; n < 2; n++) {
    const again = start({ url: kept + '/streamy', streamId });
    assert.equal((await collect(again)).length, 3);
    assert.equal(await again.output, 'done 3, streamed: 3 times');
  }
});
check('kept: an unknown id', async () =>
  assert.equal(await failure(start({ url: kept + '/streamy', streamId: '6f1cdeae-0000-4000-8000-000000000000' }).output), 'NOT_FOUND: Stream not found.'));
check('kept: a failure is replayed', async () => {
  const r = start({ url: kept + '/breaks' });
  const streamId = await r.streamId;
  assert.match(await failure(r.output), /^ABORTED: halfway/);
  assert.match(await failure(start({ url: kept + '/breaks', streamId }).output), /^ABORTED: halfway/);
});
check('kept: the flow runs on when its reader leaves', async () => {
  const controller = new AbortController();
  const r = start({ url: kept + '/steps', abortSignal: controller.signal });
  const streamId = await r.streamId;
  await step('1');
  controller.abort();
  await failure(r.output);
  await step('2');
  await step('end');
  const again = start({ url: kept + '/steps', streamId });
  assert.deepEqual(await collect(again), [1, 2]);
  assert.equal(await again.output, 'over');
});
check('kept: 64 readers of one stream', async () => {
  const r = start({ url: kept + '/streamy', input: 500 });
  const streamId = await r.streamId;
  const all = await Promise.all(Array.from({ length: 64 }, async () => (await collect(start({ url: kept + '/streamy', streamId }))).length));
  assert.ok(all.every((n) => n === 500));
});

for (const { name, fn } of checks) {
  try {
    await fn();
    console.log(JSON.stringify({ name, ok: true }));
  } catch (e) {
    console.log(JSON.stringify({ name, ok: false, error: String(e.stack ?? e).slice(0, 1500) }));
  }
}
process.exit(0);
