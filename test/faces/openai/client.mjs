// OpenAI's own client for JavaScript against the server's face for it: node client.mjs BASE_URL
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const model = "acme/answerer";
const say = (text) => [{ role: "user", content: text }];

const whole = await client.chat.completions.create({ model, messages: say("hi"), tool_choice: "none", temperature: 0.5, stop: "." });
assert.equal(whole.choices[0].message.content, "Hello");
assert.equal(whole.choices[0].finish_reason, "stop");
assert.equal(whole.usage.total_tokens, 5);

let text = "", last;
for await (const chunk of await client.chat.completions.create({ model, messages: say("hi"), tool_choice: "none", stream: true, stream_options: { include_usage: true } })) {
  text += chunk.choices[0]?.delta.content ?? "";
  last = chunk;
}
assert.equal(text, "Hello");
assert.equal(last.usage.prompt_tokens, 3);

// The client's helper runs the caller's tools and sends what they answer.
const runner = client.chat.completions.runTools({
  model, messages: say("add"),
  tools: [{ type: "function", function: { name: "weather", description: "the weather", parameters: { type: "object" }, parse: JSON.parse, function: ({ a, b }) => `sunny at ${a + b}` } }],
});
assert.match(await runner.finalContent(), /sunny at 5/);

const served = await client.chat.completions.create({ model, messages: say("add"), server_tools: ["calc/add"] });
assert.match(served.choices[0].message.content, /"sum":5/);

const vectors = await client.embeddings.create({ model: "plug/e", input: ["a", "b"] }); // in base64, which the client reads
assert.deepEqual(vectors.data.map((d) => d.embedding), [[0.5, -2], [1, 2]]);

assert.deepEqual((await client.models.list()).data.map((m) => m.id), [model, "plug/e"]);

for (const [request, type, code] of [
  [{ model: "acme/none", messages: say("hi") }, OpenAI.NotFoundError, "NOT_FOUND"],
  [{ model, messages: say("hi"), n: 2 }, OpenAI.BadRequestError, "INVALID_ARGUMENT"],
  [{ model, messages: say("spent"), tool_choice: "none" }, OpenAI.RateLimitError, "RESOURCE_EXHAUSTED"],
]) {
  await assert.rejects(client.chat.completions.create(request), (e) => e instanceof type && e.code === code && e.message.length > 10);
}
await assert.rejects(async () => {
  for await (const _ of await client.chat.completions.create({ model, messages: say("fail"), tool_choice: "none", stream: true }));
}, /no tokens are left/);
