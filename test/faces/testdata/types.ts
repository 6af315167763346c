// What the types of scripts must accept, and must refuse. It is checked and never run.
import genkit, { defineFormat, defineMiddleware, GenkitError, s, tool, type Infer, type Message } from "genkit";
import { tool as other } from "genkit-wasm";
import * as z from "zod";
import Type from "typebox";
import { Type as Older } from "@sinclair/typebox";

const city = s.object({
  name: s.string({ minLength: 1 }),
  people: s.integer().optional(),
  kind: s.enum("town", "village"),
  size: s.enum(["s", "l"]).nullable(),
  tags: s.array(s.string()),
  at: s.object({ x: s.number(), y: s.number() }).describe("a place").optional(),
  more: s.record(s.union(s.string(), s.literal(7))),
});
type City = Infer<typeof city>;
const rome: City = { name: "Rome", kind: "town", size: null, tags: ["old"], more: { a: 7, b: "c" } };
// @ts-expect-error: kind is none of the values
const wrong: City = { name: "Rome", kind: "hamlet", size: null, tags: [], more: {} };
// @ts-expect-error: name is required
const nameless: City = { kind: "town", size: "s", tags: [], more: {} };

tool({
  name: "grow", input: city, output: s.object({ people: s.number() }), multipart: false,
  run: async (input, { emit, kv }) => {
    const people: number | undefined = input.people;
    const kind: "town" | "village" = input.kind;
    const x: number | undefined = input.at?.x;
    emit({ kind, x });
    kv.set("last", input.name, { ttlSeconds: 60 });
    // @ts-expect-error: it has no such member
    input.county;
    return { people: (people ?? 0) + 1 };
  },
});
// @ts-expect-error: the output is of another type
tool({ name: "bad", output: s.object({ people: s.number() }), run: () => ({ people: "many" }) });
// @ts-expect-error: so is this one
tool({ name: "empty", output: s.object({ people: s.number() }), run: () => ({}) });
// @ts-expect-error: parts are not its output
tool({ name: "bare", multipart: true, output: s.string(), run: () => "x" });
tool({ name: "annotated", input: s.object({ n: s.number() }), run: ({ n }: { n: number }) => n });
tool({ name: "free", run: (input: { a: number }) => input.a });
tool({ name: "plain", input: { type: "object", properties: { a: { type: "string" } } }, run: ({ a }) => a });
tool({ name: "parts", multipart: true, output: s.string(), run: () => ({ output: "x", content: [{ text: "y" }] }) });
other({ name: "zod", input: z.object({ n: z.number() }), run: ({ n }) => n.toFixed() });
tool({ name: "older", input: Older.Object({ n: Older.Number() }), run: ({ n }) => n.toFixed() });
tool({ name: "typebox", input: Type.Object({ n: Type.Number() }), run: ({ n }) => n });
// @ts-expect-error: run is missing
tool({ name: "nothing" });

defineMiddleware({
  name: "mask", config: s.object({ word: s.string() }), chunks: "pass",
  model: async (request, next, { config, model }) => {
    const word: string = config?.word ?? model ?? "";
    const first: Message | undefined = request.messages[0];
    const answer = next({ ...request, messages: first === undefined ? [] : [first] });
    return word === "" ? next() : answer;
  },
  generate: (call, next) => next({ ...call, request: { ...call.request, toolChoice: "none" } }),
  tool: (part, next, { genkit }) => (part.toolRequest?.name === "x" ? genkit.interrupt({ why: 1 }) : next(part)),
});
// @ts-expect-error: a hook returns an answer
defineMiddleware({ name: "mute", model: () => "nothing" });
defineFormat({
  name: "lines", instructions: (schema) => JSON.stringify(schema),
  parse: (text, { message }) => [text, message?.role], parseChunk: (text, { delta }) => delta ?? text,
});
// @ts-expect-error: it has no parse
defineFormat({ name: "none" });

genkit.defineEmbedder({ name: "length", config: s.object({ scale: s.number() }), run: ({ input, options }) => ({ embeddings: input.map((d) => ({ embedding: [(d.content[0]?.text?.length ?? 0) * (options?.scale ?? 1)] })) }) });
genkit.defineEvaluator({ name: "says", run: ({ dataset }) => dataset.map(({ testCaseId, output }) => ({ testCaseId, evaluation: { score: output === "x", status: "PASS" as const } })) });
genkit.defineRetriever({ name: "all", run: async ({ query }) => ({ documents: [query] }) });
genkit.defineIndexer({ name: "none", run: ({ documents }) => documents.length });
genkit.defineReranker({ name: "same", run: ({ documents }) => ({ documents }) });
genkit.defineModel({ name: "echo", run: ({ messages }) => ({ message: { role: "model", content: messages[0]?.content ?? [] } }) });
genkit.defineResource({ name: "note", template: "notes/{id}", run: ({ variables }) => ({ content: [{ text: String(variables?.id) }] }) });
genkit.definePrompt({ name: "hello", source: "Hello, {{name}}!" });
// @ts-expect-error: a resource has an address
genkit.defineResource({ name: "lost", run: () => ({ content: [] }) });
// @ts-expect-error: an embedder gives numbers
genkit.defineEmbedder({ name: "words", run: () => ({ embeddings: [{ embedding: ["a"] }] }) });

genkit.module({ version: "1", requests: { http: [{ host: "example.com" }], kv: true, actions: ["tool/*"] } });
// @ts-expect-error: there is no such capability
genkit.module({ requests: { files: true } });

async function web(): Promise<unknown> {
  const url = new URL("/a", "https://example.com");
  url.searchParams.append("q", "1");
  const response = await fetch(url, { method: "POST", headers: { authorization: genkit.secret("key") }, body: new URLSearchParams({ a: "b" }), signal: AbortSignal.timeout(5) });
  if (!response.ok) throw genkit.error("NOT_FOUND", "no such city", { status: response.status });
  for (const [name, value] of response.headers) console.log(name, value);
  const key = await crypto.subtle.importKey("raw", new TextEncoder().encode("k"), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signed = new Uint8Array(await crypto.subtle.sign("HMAC", key, crypto.getRandomValues(new Uint8Array(4))));
  const id = setTimeout((a: string) => a, 10, "x");
  clearTimeout(id);
  // @ts-expect-error: there are no streams
  response.body;
  // @ts-expect-error: there is no document
  document;
  // @ts-expect-error: there is no process
  process.exit();
  try {
    return structuredClone({ signed, uuid: crypto.randomUUID(), text: btoa("x") });
  } catch (thrown) {
    if (thrown instanceof GenkitError && thrown.code === "ABORTED") return thrown.details;
    throw thrown;
  }
}

export { nameless, rome, web, wrong };
