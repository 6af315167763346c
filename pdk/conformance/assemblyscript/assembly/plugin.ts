// The plug-in module in AssemblyScript: one part of each kind, which ../../../vectors/plugin talks to.
import * as genkit from "../../../assemblyscript/genkit";
import * as actions from "../../../assemblyscript/actions";
import { Document, Embedding, Hook, Message, ModelRequest, ModelResponse, Ranked, Score } from "../../../assemblyscript/actions";
import { Value } from "../../../assemblyscript/json";
import { plugin } from "./descriptor";

function bytes(text: string): f64 {
  return <f64>String.UTF8.byteLength(text);
}

export function size(): i32 {
  const v = Value.parse(genkit.input());
  if (v == null) return genkit.fail("INVALID_ARGUMENT", "the input is nested too deep");
  genkit.output(Value.object().set("size", Value.number(bytes(v.get("text").text))).toString());
  return 0;
}

export function measure(): i32 {
  return actions.embedder((docs: Document[], options: Value): Embedding[] | null => {
    const scale = options.get("scale").number(1);
    const all: Embedding[] = [];
    for (let i = 0; i < docs.length; i++) {
      const text = docs[i].text;
      if (text == "") {
        genkit.fail("INVALID_ARGUMENT", "document " + i.toString() + " is empty");
        return null;
      }
      const n = bytes(text);
      all.push(new Embedding([n * scale, <f64>(text.split("a").length - 1) * scale, (n / 3) * scale]));
    }
    return all;
  });
}

export function contains(): i32 {
  return actions.evaluator((c: actions.Case, options: Value): Score[] | null => {
    if (!c.reference.isString) {
      genkit.fail("INVALID_ARGUMENT", "the case " + c.id + " has no reference");
      return null;
    }
    if (!c.output.isString) return [new Score("contains", new Value(), "UNKNOWN", "", "there is no output")];
    const size = new Score("size", Value.number(bytes(c.output.text)));
    if (c.output.text.includes(c.reference.text)) return [new Score("contains", Value.boolean(true), "PASS"), size];
    return [new Score("contains", Value.boolean(false), "FAIL", 'no "' + c.reference.text + '" in it'), size];
  });
}

function limit(options: Value): i32 {
  return <i32>options.get("k").number(i32.MAX_VALUE);
}

const shelf = ["alpha", "beta", 'grün "✓"'];

export function find(): i32 {
  return actions.retriever((query: Document, options: Value): Document[] | null => {
    const found: Document[] = [];
    for (let i = 0; i < shelf.length; i++) {
      if (shelf[i].includes(query.text)) found.push(Document.of(shelf[i]).with("n", Value.number(i)));
    }
    return found.slice(0, limit(options));
  });
}

export function keep(): i32 {
  return actions.indexer((docs: Document[], options: Value): i32 => {
    const under = options.get("under");
    if (!under.isString) return genkit.fail("FAILED_PRECONDITION", "say under which name");
    const texts = docs.map<string>((d) => d.text).join("\n");
    return genkit.kvSet(under.text, genkit.quote(texts)).ok ? 0 : genkit.fail("UNAVAILABLE", "it was not kept");
  });
}

export function longest(): i32 {
  return actions.reranker((query: Document, docs: Document[], options: Value): Ranked[] | null => {
    const ranked: Ranked[] = [];
    for (let i = 0; i < docs.length; i++) ranked.push(new Ranked(docs[i], bytes(docs[i].text) / bytes(query.text)));
    ranked.sort((a, b) => (a.score > b.score ? -1 : a.score < b.score ? 1 : 0));
    return ranked.slice(0, limit(options));
  });
}

export function parrot(): i32 {
  return actions.model((request: ModelRequest): ModelResponse | null => {
    const last = request.messages[request.messages.length - 1];
    const told = last.text;
    let said: Value[] = [];
    if (last.role == "tool") {
      said.push(actions.textPart("the tool said " + last.content[0].get("toolResponse").get("output").toString()));
    } else if (told == "fail") {
      genkit.fail("UNAVAILABLE", "the parrot sleeps");
      return null;
    } else if (told.startsWith("call ")) {
      const name = request.other.get("tools").items[0].get("name").text;
      said.push(actions.toolRequestPart(name, Value.object().set("text", Value.string(told.substring(5)))));
    } else {
      said = [actions.textPart("you said: "), actions.textPart(told)];
      for (let i = 0; i < said.length; i++) actions.stream([said[i]]);
    }
    return ModelResponse.of(said).with("usage", Value.object().set("inputTokens", Value.number(request.messages.length)));
  });
}

export function note(): i32 {
  return actions.resource((uri: string, variables: Value): Value[] | null => {
    const kept = Value.parse(genkit.kvGet(variables.get("id").text).value);
    if (kept == null || !kept.isString) {
      genkit.fail("NOT_FOUND", "nothing is kept at " + uri);
      return null;
    }
    return [actions.textPart(kept.text), actions.textPart(uri)];
  });
}

export function frame(): i32 {
  return actions.middleware((hook: Hook): Value | null => {
    if (hook.kind == "generate") return frameTurn(hook);
    if (hook.kind == "model") return frameModel(hook);
    return frameTool(hook);
  });
}

function frameTurn(hook: Hook): Value | null {
  const mark = hook.config.get("mark").text;
  if (mark == "refuse") {
    genkit.fail("PERMISSION_DENIED", hook.model + " may not be asked");
    return null;
  }
  const answer = hook.nextModel(hook.request);
  if (answer == null) return null;
  if (hook.request.get("currentTurn").number() == 0) answer.with("finishMessage", Value.string("by " + mark));
  return answer.value;
}

function frameModel(hook: Hook): Value | null {
  const request = ModelRequest.read(hook.request);
  const add = hook.config.get("mark").text == "add";
  if (add && request.messages[request.messages.length - 1].role == "user") {
    request.messages.push(new Message("user", [actions.textPart("added")]));
  }
  const answer = hook.nextModel(request.value);
  if (answer == null) return null;
  const message = answer.message;
  if (message != null) {
    for (let i = 0; i < message.content.length; i++) {
      const text = message.content[i].get("text");
      if (text.isString) message.content[i].set("text", Value.string("[" + text.text + "]"));
    }
  }
  return answer.value;
}

function frameTool(hook: Hook): Value | null {
  const part = hook.next(hook.request);
  if (part == null) return null;
  const response = part.get("toolResponse");
  response.set("output", Value.object().set("framed", response.get("output")));
  return part;
}

class Lines extends actions.Format {
  instructions(schema: Value): string {
    return schema.isNull ? "Write one item on each line." : "Write one item on each line, by " + schema.toString();
  }

  parse(schema: Value, message: Message): Value {
    return this.of(message.text);
  }

  parseChunk(schema: Value, text: string, delta: string): Value {
    return delta.includes("\n") ? this.of(text.substring(0, text.lastIndexOf("\n"))) : new Value();
  }

  private of(text: string): Value {
    const lines = text.split("\n").filter((line) => line != "");
    return lines.length == 0 ? new Value() : Value.array(lines.map<Value>((line) => Value.string(line)));
  }
}

export function lines(): i32 {
  return actions.format(new Lines());
}

export function genkit_describe(): i32 {
  return genkit.describe(plugin);
}
