// actions.ts: the parts of a module that are no tools, with types: embedders, evaluators, retrievers, indexers,
// rerankers, models, resources, middleware and formats (../abi.md, §9 to §11). Copy it beside genkit.ts and json.ts.
//
// Each function here is the whole body of an exported function:
//
//     import { Value } from "./json";
//     import { Document, Embedding, embedder } from "./actions";
//
//     export function letters(): i32 {
//       return embedder((docs: Document[], options: Value): Embedding[] | null => {
//         return docs.map<Embedding>((d) => new Embedding([<f64>d.text.length]));
//       });
//     }
//
// AssemblyScript has no exceptions: a function that can't answer calls genkit.fail(code, message) and returns null.
// What Genkit's requests and documents have besides is kept, and goes out as it came.

import * as genkit from "./genkit";
import { Value } from "./json";

// ---- Parts, documents, messages

/** A part with a text. */
export function textPart(text: string): Value {
  return Value.object().set("text", Value.string(text));
}

/** A part with media at an address, which may be a data: URL. */
export function mediaPart(url: string, contentType: string): Value {
  return Value.object().set("media", Value.object().set("url", Value.string(url)).set("contentType", Value.string(contentType)));
}

/** A model's request to run a tool. */
export function toolRequestPart(name: string, input: Value): Value {
  return Value.object().set("toolRequest", Value.object().set("name", Value.string(name)).set("input", input));
}

function textOf(parts: Value[]): string {
  let all = "";
  for (let i = 0; i < parts.length; i++) {
    const text = parts[i].get("text");
    if (text.isString) all += text.text;
  }
  return all;
}

/** What is embedded, found and ranked. */
export class Document {
  constructor(
    /** Objects with "text", "media" and the like. */
    public content: Value[],
    /** An object, or null for none. */
    public metadata: Value = new Value()
  ) {}

  static of(text: string): Document {
    return new Document([textPart(text)]);
  }

  static read(v: Value): Document {
    return new Document(v.get("content").items, v.get("metadata"));
  }

  /** Adds a member of the metadata, and returns the document. */
  with(name: string, value: Value): Document {
    this.metadata.set(name, value);
    return this;
  }

  /** The texts of the document, one after the other. */
  get text(): string {
    return textOf(this.content);
  }

  get value(): Value {
    const v = Value.object().set("content", Value.array(this.content));
    return this.metadata.isNull ? v : v.set("metadata", this.metadata);
  }
}

/** A message of a conversation. */
export class Message {
  constructor(
    public role: string,
    public content: Value[],
    /** The message as it came. */
    public other: Value = new Value()
  ) {}

  static read(v: Value): Message {
    return new Message(v.get("role").text, v.get("content").items, v);
  }

  /** The texts of the message, one after the other. */
  get text(): string {
    return textOf(this.content);
  }

  get value(): Value {
    return this.other.copy().set("role", Value.string(this.role)).set("content", Value.array(this.content));
  }
}

/** What a model is asked: Genkit's GenerateRequest. */
export class ModelRequest {
  constructor(
    public messages: Message[],
    /** The request as it came: "config", "tools", "output", "docs". */
    public other: Value = new Value()
  ) {}

  static read(v: Value): ModelRequest {
    return new ModelRequest(v.get("messages").items.map<Message>((m) => Message.read(m)), v);
  }

  get value(): Value {
    return this.other.copy().set("messages", Value.array(this.messages.map<Value>((m) => m.value)));
  }
}

/** A model's answer: Genkit's GenerateResponse. */
export class ModelResponse {
  constructor(
    public message: Message | null,
    /** "finishReason", "usage" and the rest. */
    public other: Value = Value.object().set("finishReason", Value.string("stop"))
  ) {}

  static of(content: Value[]): ModelResponse {
    return new ModelResponse(new Message("model", content));
  }

  static read(v: Value): ModelResponse {
    const m = v.get("message");
    return new ModelResponse(m.isNull ? null : Message.read(m), v);
  }

  /** Sets another member, such as "usage", and returns the response. */
  with(name: string, value: Value): ModelResponse {
    this.other.set(name, value);
    return this;
  }

  get value(): Value {
    const m = this.message;
    return m == null ? this.other : this.other.copy().set("message", m.value);
  }
}

function documents(list: Value): Document[] {
  return list.items.map<Document>((d) => Document.read(d));
}

/** The call's input; null, and the call has failed, where it is nested too deep. */
function request(): Value | null {
  const v = Value.parse(genkit.input());
  if (v == null) genkit.fail("INVALID_ARGUMENT", "the request is nested too deep");
  return v;
}

/** Sets the output of a call that has not failed, and gives what the export returns. */
function answer(v: Value | null): i32 {
  if (v == null) return 1;
  genkit.output(v.toString());
  return 0;
}

// ---- The kinds. Options are those of the request, a null value where it has none.

/** The vector of a document. */
export class Embedding {
  constructor(
    public vector: f64[],
    public metadata: Value = new Value()
  ) {}
}

/** An embedder: fn gives a vector for each document, in their order. */
export function embedder(fn: (docs: Document[], options: Value) => Embedding[] | null): i32 {
  const r = request();
  if (r == null) return 1;
  const all = fn(documents(r.get("input")), r.get("options"));
  if (all == null) return 1;
  const written = all.map<Value>((e) => {
    const v = Value.object().set("embedding", Value.array(e.vector.map<Value>((n) => Value.number(n))));
    return e.metadata.isNull ? v : v.set("metadata", e.metadata);
  });
  return answer(Value.object().set("embeddings", Value.array(written)));
}

/** A test case of an evaluator. What it does not have is a null value. */
export class Case {
  constructor(
    public id: string,
    public input: Value,
    public output: Value,
    public context: Value,
    public reference: Value
  ) {}
}

/** A score of a case. */
export class Score {
  constructor(
    /** Tells several scores of one case apart. */
    public id: string,
    /** A number, a string or a boolean; a null value for none. */
    public score: Value,
    /** "PASS", "FAIL", "UNKNOWN" or nothing. */
    public status: string = "",
    public reasoning: string = "",
    /** Why there is no score. */
    public error: string = ""
  ) {}

  get value(): Value {
    const v = Value.object();
    if (this.id != "") v.set("id", Value.string(this.id));
    if (!this.score.isNull) v.set("score", this.score);
    if (this.status != "") v.set("status", Value.string(this.status));
    if (this.error != "") v.set("error", Value.string(this.error));
    if (this.reasoning != "") v.set("details", Value.object().set("reasoning", Value.string(this.reasoning)));
    return v;
  }
}

/** An evaluator: fn scores a case. Hosts give one case a call. */
export function evaluator(fn: (testcase: Case, options: Value) => Score[] | null): i32 {
  const r = request();
  if (r == null) return 1;
  const results = Value.array();
  const cases = r.get("dataset").items;
  for (let i = 0; i < cases.length; i++) {
    const c = cases[i];
    const id = c.get("testCaseId");
    const scores = fn(new Case(id.text, c.get("input"), c.get("output"), c.get("context"), c.get("reference")), r.get("options"));
    if (scores == null) return 1;
    results.items.push(Value.object().set("testCaseId", id).set("evaluation", Value.array(scores.map<Value>((s) => s.value))));
  }
  return answer(results);
}

/** A retriever: fn finds the documents for a query, the best first. */
export function retriever(fn: (query: Document, options: Value) => Document[] | null): i32 {
  const r = request();
  if (r == null) return 1;
  const found = fn(Document.read(r.get("query")), r.get("options"));
  if (found == null) return 1;
  return answer(Value.object().set("documents", Value.array(found.map<Value>((d) => d.value))));
}

/** An indexer: fn stores documents and returns 0, or what genkit.fail gives. */
export function indexer(fn: (docs: Document[], options: Value) => i32): i32 {
  const r = request();
  if (r == null) return 1;
  return fn(documents(r.get("documents")), r.get("options"));
}

/** A document with its score. */
export class Ranked {
  constructor(
    public document: Document,
    public score: f64
  ) {}
}

/** A reranker: fn scores documents that it is given and gives the best first; it may leave some out. */
export function reranker(fn: (query: Document, docs: Document[], options: Value) => Ranked[] | null): i32 {
  const r = request();
  if (r == null) return 1;
  const ranked = fn(Document.read(r.get("query")), documents(r.get("documents")), r.get("options"));
  if (ranked == null) return 1;
  const written = ranked.map<Value>((d) => d.document.with("score", Value.number(d.score)).value);
  return answer(Value.object().set("documents", Value.array(written)));
}

/** A resource: fn fetches what stands at an address, as parts. Variables are the values, an object, that the
 *  resource's template found in it. */
export function resource(fn: (uri: string, variables: Value) => Value[] | null): i32 {
  const r = request();
  if (r == null) return 1;
  const content = fn(r.get("uri").text, r.get("variables"));
  return answer(content == null ? null : Value.object().set("content", Value.array(content)));
}

/** A model: fn answers a request. It streams by stream(); what it returns is the whole answer nevertheless. */
export function model(fn: (request: ModelRequest) => ModelResponse | null): i32 {
  const r = request();
  if (r == null) return 1;
  const response = fn(ModelRequest.read(r));
  return answer(response == null ? null : response.value);
}

/** Streams parts as a piece of a model's answer. */
export function stream(content: Value[]): genkit.Reply {
  return genkit.emit(Value.object().set("content", Value.array(content)).toString());
}

/** One call of a middleware's hook. */
export class Hook {
  constructor(
    /** "generate", "model" or "tool". */
    public kind: string,
    /** The config of the generate call; a null value where it gives none. */
    public config: Value,
    /** The name of the model, where it is known. */
    public model: string,
    /** Of the hook generate {"request", "currentTurn", "messageIndex"}, of the hook tool a part. */
    public request: Value
  ) {}

  /** Continues the chain and gives its answer. null: it has failed, and a hook that returns null passes that on. */
  next(request: Value): Value | null {
    const reply = genkit.next(request.toString());
    return reply.ok ? Value.parse(reply.value) : null;
  }

  /** next in the hooks generate and model, whose answer is a response. */
  nextModel(request: Value): ModelResponse | null {
    const v = this.next(request);
    return v == null ? null : ModelResponse.read(v);
  }
}

/** A middleware: fn gives the answer of a hook, or null when it has failed. */
export function middleware(fn: (hook: Hook) => Value | null): i32 {
  const r = request();
  if (r == null) return 1;
  return answer(fn(new Hook(r.get("hook").text, r.get("config"), r.get("model").text, r.get("request"))));
}

/** An output format: make a subclass and hand an instance to format(). A null value stands for no output. */
export class Format {
  /** Tells the model what is wanted; "" for nothing. The schema is a null value where the caller gave none. */
  instructions(schema: Value): string {
    return "";
  }

  /** Reads a whole message. */
  parse(schema: Value, message: Message): Value {
    return new Value();
  }

  /** Reads the text so far, of which delta is new. */
  parseChunk(schema: Value, text: string, delta: string): Value {
    return new Value();
  }
}

/** Runs a format. */
export function format(f: Format): i32 {
  const r = request();
  if (r == null) return 1;
  const op = r.get("op").text;
  const schema = r.get("schema");
  if (op == "instructions") return answer(Value.string(f.instructions(schema)));
  if (op == "parse") return answer(f.parse(schema, Message.read(r.get("message"))));
  return answer(f.parseChunk(schema, r.get("text").text, r.get("delta").text));
}
