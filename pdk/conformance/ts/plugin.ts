// The plug-in module as a script: one part of each kind, which ../../vectors/plugin talks to.
import {
  defineEmbedder, defineEvaluator, defineFormat, defineIndexer, defineMiddleware, defineModel, definePrompt, defineReranker,
  defineResource, defineRetriever, genkit, s, tool,
} from "genkit";
import type { Document, Part } from "genkit";

genkit.module({ name: "plugin", version: "1.0.0", description: "One part of each kind that a module may offer.", requests: { kv: true } });

const bytes = (text: string) => new TextEncoder().encode(text).length;
const textOf = ({ content }: { content: Part[] }) => content.map((part) => part.text ?? "").join("");

tool({
  name: "size",
  input: s.object({ text: s.string() }),
  output: s.object({ size: s.integer() }),
  run: ({ text }) => ({ size: bytes(text) }),
});

defineEmbedder({
  name: "measure",
  info: { dimensions: 3 },
  config: s.object({ scale: s.number().optional() }),
  run: ({ input, options }) => ({
    embeddings: input.map((document, i) => {
      const text = textOf(document);
      if (text === "") throw genkit.error("INVALID_ARGUMENT", `document ${i} is empty`);
      const scale = options?.scale ?? 1;
      return { embedding: [bytes(text) * scale, (text.split("a").length - 1) * scale, (bytes(text) / 3) * scale] };
    }),
  }),
});

defineEvaluator({
  name: "contains",
  run: ({ dataset }) =>
    dataset.map(({ testCaseId, output, reference }) => {
      if (typeof reference !== "string") throw genkit.error("INVALID_ARGUMENT", `the case ${testCaseId} has no reference`);
      if (typeof output !== "string") return { testCaseId, evaluation: [{ id: "contains", status: "UNKNOWN" as const, error: "there is no output" }] };
      const size = { id: "size", score: bytes(output) };
      if (output.includes(reference)) return { testCaseId, evaluation: [{ id: "contains", score: true, status: "PASS" as const }, size] };
      const details = { reasoning: `no "${reference}" in it` };
      return { testCaseId, evaluation: [{ id: "contains", score: false, status: "FAIL" as const, details }, size] };
    }),
});

const limit = s.object({ k: s.integer({ minimum: 0 }).optional() });

defineRetriever({
  name: "find",
  config: limit,
  run: ({ query, options }) => ({
    documents: ["alpha", "beta", 'grün "✓"']
      .map((text, n): Document => ({ content: [{ text }], metadata: { n } }))
      .filter((document) => textOf(document).includes(textOf(query)))
      .slice(0, options?.k),
  }),
});

defineIndexer({
  name: "keep",
  config: s.object({ under: s.string().optional() }),
  run: ({ documents, options }) => {
    if (options?.under === undefined) throw genkit.error("FAILED_PRECONDITION", "say under which name");
    genkit.kv.set(options.under, documents.map(textOf).join("\n"));
  },
});

defineReranker({
  name: "longest",
  config: limit,
  run: ({ query, documents, options }) => ({
    documents: documents
      .map((d) => ({ ...d, metadata: { ...d.metadata, score: bytes(textOf(d)) / bytes(textOf(query)) } }))
      .sort((a, b) => b.metadata.score - a.metadata.score)
      .slice(0, options?.k),
  }),
});

defineModel({
  name: "parrot",
  info: { supports: { multiturn: true, tools: true } },
  run: ({ messages, tools }) => {
    const last = messages[messages.length - 1];
    const told = textOf(last);
    const answer = (content: Part[]) => ({
      message: { role: "model" as const, content }, finishReason: "stop" as const, usage: { inputTokens: messages.length },
    });
    if (last.role === "tool") return answer([{ text: `the tool said ${JSON.stringify(last.content[0].toolResponse?.output)}` }]);
    if (told === "fail") throw genkit.error("UNAVAILABLE", "the parrot sleeps");
    if (told.startsWith("call ")) return answer([{ toolRequest: { name: tools![0].name, input: { text: told.slice(5) } } }]);
    const said = ["you said: ", told].map((text) => ({ text }));
    for (const part of said) genkit.emit({ content: [part] });
    return answer(said);
  },
});

defineResource({
  name: "note",
  template: "notes/{id}",
  run: ({ uri, variables }) => {
    const kept = genkit.kv.get(variables?.id);
    if (kept === null) throw genkit.error("NOT_FOUND", `nothing is kept at ${uri}`);
    return { content: [{ text: kept }, { text: uri }] };
  },
});

definePrompt({ name: "greet", source: "---\nmodel: parrot\ninput:\n  schema:\n    name: string\n---\nGreet {{name}}.\n" });

defineMiddleware({
  name: "frame",
  config: s.object({ mark: s.string().optional() }),
  generate: (turn, next, { config, model }) => {
    if (config?.mark === "refuse") throw genkit.error("PERMISSION_DENIED", `${model} may not be asked`);
    const answer = next(turn);
    return turn.currentTurn === 0 ? { ...answer, finishMessage: `by ${config?.mark}` } : answer;
  },
  model: (request, next, { config }) => {
    const messages = [...request.messages];
    if (config?.mark === "add" && messages[messages.length - 1].role === "user") messages.push({ role: "user", content: [{ text: "added" }] });
    const answer = next({ ...request, messages });
    const framed = answer.message!.content.map((part) => (part.text === undefined ? part : { ...part, text: `[${part.text}]` }));
    return { ...answer, message: { ...answer.message!, content: framed } };
  },
  tool: (request, next) => {
    const part = next(request);
    return part && { ...part, toolResponse: { ...part.toolResponse!, output: { framed: part.toolResponse!.output } } };
  },
});

const lines = (text: string) => {
  const all = text.split("\n").filter((line) => line !== "");
  return all.length > 0 ? all : null;
};

defineFormat({
  name: "lines",
  contentType: "text/plain",
  instructions: (schema) => (schema === undefined ? "Write one item on each line." : `Write one item on each line, by ${JSON.stringify(schema)}`),
  parse: lines,
  parseChunk: (text, { delta }) => (delta!.includes("\n") ? lines(text.slice(0, text.lastIndexOf("\n"))) : null),
});
