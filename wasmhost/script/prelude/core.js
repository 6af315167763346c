// What every script finds: tool, s, genkit, console and some of what browsers have. It is evaluated once, before the
// image of the engine is made, and holds on to the functions that it needs, so that a script which changes
// prototypes harms itself alone.
  const wrapper = globalThis.__genkit;
  const { stringify, parse } = JSON;
  const { apply, ownKeys, deleteProperty } = Reflect;
  const { create, defineProperty, freeze, assign, keys, entries } = Object;
  const { isArray, prototype: arrays } = Array;
  const { fromCharCode, prototype: strings } = String;
  const { map, join, push } = arrays;
  const { slice, indexOf, charCodeAt, replace, trim, toLowerCase, split, startsWith, codePointAt } = strings;
  const { floor, min } = Math;
  const bound = { setTimeout, setInterval, clearTimeout, clearInterval };
  const microtask = queueMicrotask;
  const bytesOf = Uint8Array;

  // The engine reaches the host through a wrapper that looks up Function.prototype.call; the function behind it is
  // called directly.
  let behind;
  const { call: callOf } = Function.prototype;
  Function.prototype.call = function () { behind = this; };
  wrapper();
  Function.prototype.call = callOf;
  const host = (operation, text) => apply(behind, undefined, [0, 0, 0, 0, operation, text]);
  const OUTPUT = 0, ERROR = 1, LOG = 2, SUCCEED = 7, FAIL = 8, INPUT = 9, RANDOM = 10, LOAD = 11;
  const EMIT = 12, INTERRUPT = 13, CONTEXT = 14, RESUMED = 15, NOW = 16, HTTP = 17;
  const KV_GET = 18, KV_SET = 19, KV_DELETE = 20, KV_LIST = 21, RUN = 22, GENERATE = 23, NEXT = 24;

  for (const name of ["__genkit", "std", "os", "bjson", "print", "scriptArgs", "gc", "navigator", "QJS_PROXY_VALUE", "Worker"]) deleteProperty(globalThis, name);
  const define = (name, value) => {
    if (typeof value === "function") defineProperty(value, "name", { value: name, writable: false, configurable: true, enumerable: false });
    defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  };

  // ---- errors

  class GenkitError extends Error {
    constructor(code, message, details) {
      super(message);
      this.code = code;
      if (details !== undefined) this.details = details;
    }
    get name() { return "GenkitError"; }
  }
  const failed = (code, message) => new GenkitError(code, message);

  const text = (value) => (typeof value === "string" ? value : `${value}`);
  const clean = (value) => apply(replace, value, [/\0/g, "\ufffd"]);

  // where is the first place of the script in a stack, such as "<script>:3:10".
  const place = /<script>:\d+:\d+/;
  const { exec } = RegExp.prototype;
  const where = (stack) => {
    const found = typeof stack === "string" ? apply(exec, place, [stack]) : null;
    return found === null ? "" : found[0];
  };

  // explain says in words what was thrown.
  const explain = (thrown) => {
    if (typeof thrown === "string") return { message: thrown };
    if (thrown === null) return { message: "the script threw null, which is also what the engine throws when it is out of memory" };
    if (typeof thrown !== "object") return { message: `the script threw ${typeof thrown === "symbol" ? "a symbol" : text(thrown)}` };
    if (!(thrown instanceof Error)) {
      const json = stringify(thrown);
      return { message: `the script threw ${json === undefined ? "an object" : apply(slice, json, [0, 1000])}` };
    }
    const { message, name, code, details } = thrown;
    const at = where(thrown.stack);
    const said = message === "" || message === undefined ? text(name) : text(message);
    if (thrown instanceof GenkitError) return { code: text(code), message: said, details };
    const named = name === "Error" || said === name ? said : `${text(name)}: ${said}`;
    return { message: at === "" ? named : `${named} (${at})` };
  };

  // ---- a call

  let settled = true, interrupted = false, loading = false;
  const timers = create(null);

  const end = (operation) => {
    settled = true;
    const left = ownKeys(timers);
    for (let i = 0; i < left.length; i++) { apply(bound.clearTimeout, undefined, [timers[left[i]]]); delete timers[left[i]]; }
    host(operation, "");
  };

  const fail = (thrown, code) => {
    if (settled) return;
    if (interrupted) return end(SUCCEED);
    let said;
    try {
      said = explain(thrown);
      if (said.code === undefined && code !== undefined) said.code = code;
      said = stringify(said);
    } catch {
      said = stringify({ code, message: "the script threw a value that can't be described" });
    }
    host(ERROR, said);
    end(FAIL);
  };

  const succeed = (value) => {
    if (settled) return;
    if (interrupted) return end(SUCCEED);
    if (typeof value === "function" || typeof value === "symbol") return fail(failed("INTERNAL", `the result is a ${typeof value}, which is no JSON`));
    let json;
    try {
      json = value === undefined ? "null" : stringify(value);
    } catch (thrown) {
      let said = "it can't be read";
      try { said = explain(thrown).message; } catch { /* it stays as it is */ }
      return fail(failed("INTERNAL", `the result is no JSON: ${said}`));
    }
    host(OUTPUT, json === undefined ? "null" : json);
    end(SUCCEED);
  };

  const settle = async (promise) => {
    try { succeed(await promise); } catch (thrown) { fail(thrown); }
  };

  const begin = () => { settled = false; interrupted = false; seeded = false; };

  const call = () => {
    if (!settled) return; // the script calls it
    begin();
    try {
      const input = host(INPUT, "");
      const cut = apply(indexOf, input, ["\n"]);
      const run = runs[apply(slice, input, [0, cut])];
      if (typeof run !== "function") return fail(failed("NOT_FOUND", "the script declares nothing of that name"));
      const result = run(parse(apply(slice, input, [cut + 1])));
      if (typeof result === "object" && result !== null) settle(result); else succeed(result);
    } catch (thrown) {
      fail(thrown);
    }
  };

  const load = () => {
    if (!settled) return;
    begin();
    loading = true;
    try {
      host(LOAD, "");
      if (ownKeys(runs).length === 0) fail(failed("INVALID_ARGUMENT", "the script declares no tool; call tool({name, description, input, run}), or another function that declares something, at its top level"), "INVALID_ARGUMENT");
      else succeed();
    } catch (thrown) {
      fail(thrown, "INVALID_ARGUMENT");
    }
    loading = false;
    seeded = false;
  };

  const describe = () => {
    if (!settled) return;
    begin();
    try {
      succeed({ abi: "genkit/1", ...about, ...declared });
    } catch (thrown) {
      fail(thrown, "INVALID_ARGUMENT");
    }
  };

  const finish = () => fail(failed("INTERNAL", "the script's work ended before its promise was settled: it waits for something that never comes, or ran out of memory"));

  const push_ = (list, value) => apply(push, list, [value]);

  // ---- what a script declares

  const declared = { tools: [], middleware: [], formats: [] };
  const runs = create(null); // by "tool/…", "middleware/…" and so on; null for what nothing runs for
  let about = {};

  const declaring = (what) => {
    if (!loading) throw failed("FAILED_PRECONDITION", `${what} is for the top level of a script`);
  };

  // declare notes what a function of that name was given: entry for the descriptor, run for calls.
  const declare = (kind, list, { name, ...entry }, run) => {
    if (runs[`${kind}/${name}`] !== undefined) throw new TypeError(`${kind} "${name}" is declared twice`);
    runs[`${kind}/${name}`] = run;
    push_(list, { name, export: run === null ? undefined : "genkit_call", ...entry });
  };
  const named = (what, declaration, wants) => {
    declaring(`${what}()`);
    if (typeof declaration !== "object" || declaration === null) throw new TypeError(`${what}() wants an object ${wants}`);
    if (typeof declaration.name !== "string" || declaration.name === "") throw new TypeError(`${what}(): "name" wants a text`);
  };
  const functions = (what, given, names) => {
    const found = [];
    for (let i = 0; i < names.length; i++) {
      if (given[names[i]] === undefined) continue;
      if (typeof given[names[i]] !== "function") throw new TypeError(`${what}: "${names[i]}" wants a function`);
      push_(found, names[i]);
    }
    return found;
  };

  const tool = (declaration) => {
    named("tool", declaration, "{name, description, input, run}");
    const { name, description, input, output, run, metadata, multipart } = declaration;
    const what = `tool "${name}"`;
    if (typeof run !== "function") throw new TypeError(`${what}: "run" wants a function`);
    const inputSchema = schemaOf(what, input, "input"), outputSchema = schemaOf(what, output, "output");
    declare("tool", declared.tools, { name, description, inputSchema, outputSchema, multipart, metadata }, (given) => apply(run, undefined, [given, genkit]));
    return run;
  };

  // A hook gets its request, next(request), which continues the chain with this request or the given one, and about.
  const defineMiddleware = (declaration) => {
    named("defineMiddleware", declaration, "{name, description, config, generate, model, tool}");
    const { name, description, config, chunks } = declaration;
    const what = `middleware "${name}"`;
    const hooks = functions(what, declaration, ["generate", "model", "tool"]);
    if (hooks.length === 0) throw new TypeError(`${what} has no hook; give it a function "generate", "model" or "tool"`);
    const by = create(null);
    for (let i = 0; i < hooks.length; i++) by[hooks[i]] = declaration[hooks[i]];
    declare("middleware", declared.middleware, { name, description, hooks, chunks, configSchema: schemaOf(what, config, "config") }, ({ hook, request, config, model }) => {
      const next = (changed) => ask(NEXT, changed === undefined ? request : changed);
      const answer = apply(by[hook], undefined, [request, next, { config: config === null ? undefined : config, model, genkit }]);
      if (answer === undefined && hook !== "tool") throw new TypeError(`${what}: its hook "${hook}" returned nothing; return what next() gives`);
      return answer;
    });
  };

  const defineFormat = (declaration) => {
    named("defineFormat", declaration, "{name, description, contentType, instructions, parse}");
    const { name, description, contentType, constrained, defaultInstructions, instructions, parse: read, parseChunk } = declaration;
    const what = `format "${name}"`;
    if (typeof instructions !== "string") functions(what, declaration, ["instructions"]);
    if (functions(what, declaration, ["parse", "parseChunk"])[0] !== "parse") throw new TypeError(`${what}: "parse" wants a function`);
    declare("format", declared.formats, { name, description, contentType, constrained, defaultInstructions, chunks: parseChunk !== undefined }, ({ op, schema, message, text: sofar, delta }) => {
      const about = { schema: schema === null ? undefined : schema, message, delta, genkit };
      if (op === "instructions") return typeof instructions === "function" ? apply(instructions, undefined, [about.schema, about]) : instructions;
      if (op === "parseChunk") return apply(parseChunk, undefined, [sofar, about]);
      let whole = "";
      for (let i = 0; i < message.content.length; i++) if (typeof message.content[i].text === "string") whole += message.content[i].text;
      return apply(read, undefined, [whole, about]);
    });
  };

  // Genkit's other actions: run gets the request of the kind and returns its response.
  const definers = {};
  const lists = { Embedder: "embedders", Evaluator: "evaluators", Retriever: "retrievers", Indexer: "indexers", Reranker: "rerankers", Model: "models", Resource: "resources" };
  for (const title of keys(lists)) {
    const kind = apply(toLowerCase, title, []), list = declared[lists[title]] = [];
    definers[`define${title}`] = (declaration) => {
      named(`define${title}`, declaration, "{name, description, run}");
      const { name, description, config, info, uri, template, run } = declaration;
      const what = `${kind} "${name}"`;
      if (typeof run !== "function") throw new TypeError(`${what}: "run" wants a function`);
      declare(kind, list, { name, description, configSchema: schemaOf(what, config, "config"), info, uri, template }, (request) => apply(run, undefined, [request, genkit]));
    };
  }
  declared.prompts = [];
  definers.definePrompt = (declaration) => {
    named("definePrompt", declaration, "{name, description, source}");
    const { name, description, source } = declaration;
    if (typeof source !== "string") throw new TypeError(`prompt "${name}": "source" wants a text`);
    declare("prompt", declared.prompts, { name, description, source }, null);
  };

  // schemaOf is the JSON Schema of a schema: of s, of a library that follows Standard JSON Schema or has a method for it
  // (zod 4), or JSON Schema as it stands (TypeBox). field is "input", "output" or "config", which is an input.
  const schemaOf = (what, given, field) => {
    if (given === undefined) return undefined;
    const io = field === "output" ? field : "input";
    const wrong = (why) => new TypeError(`${what}: its ${field} ${why}`);
    let schema = given;
    if (typeof given === "function" || (typeof given === "object" && given !== null && !(given instanceof Schema))) {
      const standard = given["~standard"], converts = standard?.jsonSchema?.[io];
      try {
        if (typeof converts === "function") schema = converts({ target: "draft-2020-12" });
        else if (typeof given.toJSONSchema === "function") schema = given.toJSONSchema({ io });
      } catch (thrown) {
        throw wrong(`has no JSON Schema: ${explain(thrown).message}`);
      }
      if (schema === given && (standard !== undefined || given._zod !== undefined || given._def !== undefined)) {
        throw wrong("is of a library that does not say its JSON Schema by itself: convert it, in zod 4 mini by z.toJSONSchema(…); zod 3 can't, zod 4 can");
      }
    }
    if (typeof schema !== "boolean" && (typeof schema !== "object" || schema === null || isArray(schema))) throw wrong("wants a schema: s.…, of zod 4, or JSON Schema");
    const json = parse(stringify(schema));
    if (schema !== given) delete json.$schema;
    return json;
  };

  class Schema {
    #json; #optional;
    constructor(json, optional = false) { this.#json = json; this.#optional = optional; }
    optional() { return new Schema(this.#json, true); }
    describe(description) { return new Schema({ ...this.#json, description }, this.#optional); }
    nullable() { return new Schema({ anyOf: [this.#json, { type: "null" }] }, this.#optional); }
    toJSON() { return this.#json; }
    static optional(schema) { return schema instanceof Schema && schema.#optional; }
  }
  const typed = (type) => (options) => new Schema({ type, ...options });
  const s = freeze({
    string: typed("string"), number: typed("number"), integer: typed("integer"), boolean: typed("boolean"), null: typed("null"),
    any: () => new Schema({}),
    literal: (value) => new Schema({ const: value }),
    enum: (...values) => new Schema({ enum: values.length === 1 && isArray(values[0]) ? values[0] : values }),
    array: (items, options) => new Schema({ type: "array", items, ...options }),
    record: (values, options) => new Schema({ type: "object", additionalProperties: values, ...options }),
    union: (...anyOf) => new Schema({ anyOf }),
    object: (properties, options) => {
      const required = [];
      for (const name of keys(properties)) if (!Schema.optional(properties[name])) push_(required, name);
      return new Schema({ type: "object", properties, required, additionalProperties: false, ...options });
    },
  });

  // ---- capabilities

  const ask = (operation, request) => {
    const reply = parse(host(operation, request === undefined ? "" : stringify(request)));
    if (reply.error !== undefined) throw failed(reply.error.code, reply.error.message);
    return reply.ok;
  };

  const kv = freeze({
    get: (key) => ask(KV_GET, { key }),
    set: (key, value, options) => { ask(KV_SET, { key, value: value === undefined ? null : value, ...options }); },
    delete: (key) => { ask(KV_DELETE, { key }); },
    list: (options) => ask(KV_LIST, { ...options }),
  });

  const genkit = freeze({
    tool, defineMiddleware, defineFormat, ...definers, s, kv, GenkitError,
    module: (declaration) => {
      declaring("genkit.module()");
      const { name, version, description, requests } = declaration;
      about = { name, version, description, requests };
    },
    emit: (chunk) => { ask(EMIT, chunk === undefined ? null : chunk); },
    interrupt: (metadata) => {
      ask(INTERRUPT, metadata === undefined ? null : metadata);
      interrupted = true;
      throw failed("ABORTED", "interrupted");
    },
    resumed: () => ask(RESUMED),
    context: () => ask(CONTEXT),
    now: () => ask(NOW),
    http: (request) => ask(HTTP, request),
    run: (key, input) => ask(RUN, { key, input: input === undefined ? null : input }),
    generate: (options) => ask(GENERATE, options),
    secret: (name) => `{{secret:${name}}}`,
    error: (code, message, details) => new GenkitError(code, message, details),
  });

  const exported = freeze({ __proto__: null, ...genkit, genkit, default: genkit, __esModule: true });
  define("require", (name) => {
    if (name === "genkit" || name === "genkit-wasm") return exported;
    throw new TypeError(`the script imports "${name}", which is not there; a single file may import "genkit" alone, and one of a package what was uploaded with it`);
  });
  define("tool", tool);
  define("defineMiddleware", defineMiddleware);
  define("defineFormat", defineFormat);
  for (const name of keys(definers)) define(name, definers[name]);
  define("s", s);
  define("genkit", genkit);

  // ---- random numbers: seeded anew in each call, since the image holds the engine's own seed

  let seeded = false;
  const seed = new Uint32Array(4);
  const random = (length) => new bytesOf(host(RANDOM, apply(strings.repeat, " ", [length])));
  defineProperty(Math, "random", {
    writable: true, configurable: true, enumerable: false,
    value: function random_() { // sfc32
      if (!seeded) {
        seeded = true;
        const bytes = random(16);
        for (let i = 0; i < 4; i++) seed[i] = bytes[4 * i] | (bytes[4 * i + 1] << 8) | (bytes[4 * i + 2] << 16) | (bytes[4 * i + 3] << 24);
      }
      return (next() * 2097152 + (next() >>> 11)) / 9007199254740992;
    },
  });
  const next = () => {
    const t = (seed[0] + seed[1] + seed[3]) | 0;
    seed[3] = seed[3] + 1;
    seed[0] = seed[1] ^ (seed[1] >>> 9);
    seed[1] = seed[2] + (seed[2] << 3);
    seed[2] = ((seed[2] << 21) | (seed[2] >>> 11)) + t;
    return t >>> 0;
  };
  const hex = "0123456789abcdef";
  const randomness = {
    getRandomValues: (array) => {
      if (!ArrayBuffer.isView(array) || array instanceof Float32Array || array instanceof Float64Array || array instanceof DataView) throw new TypeError("getRandomValues() wants an array of integers");
      if (array.byteLength > 65536) throw new RangeError("getRandomValues() gives 65536 bytes at most");
      new bytesOf(array.buffer, array.byteOffset, array.byteLength).set(random(array.byteLength));
      return array;
    },
    randomUUID: () => {
      const b = random(16);
      b[6] = (b[6] & 0x0f) | 0x40;
      b[8] = (b[8] & 0x3f) | 0x80;
      let id = "";
      for (let i = 0; i < 16; i++) id += (i === 4 || i === 6 || i === 8 || i === 10 ? "-" : "") + hex[b[i] >> 4] + hex[b[i] & 15];
      return id;
    },
  };

  // ---- console

  const inner = /[^\n]*(?:<genkit>|\(native\))[^\n]*\n?/g; // of a stack: frames that are no author's
  const shown = (value) => {
    if (typeof value === "string") return value;
    if (typeof value === "bigint") return `${value}n`;
    if (typeof value === "symbol") return "a symbol";
    if (typeof value === "function") return "[function]";
    if (value instanceof Error) return `${text(value.name)}: ${text(value.message)}\n${apply(replace, text(value.stack), [inner, ""])}`;
    if (typeof value === "object" && value !== null) return stringify(value) ?? "[object]";
    return text(value);
  };
  const logs = (level) => (...values) => {
    let line = "";
    for (let i = 0; i < values.length; i++) {
      let part;
      try { part = shown(values[i]); } catch { part = "[an object that can't be shown]"; }
      line += (i === 0 ? "" : " ") + part;
    }
    host(LOG + level, clean(line));
  };
  const warn = logs(3);
  define("console", {
    trace: logs(0), debug: logs(1), log: logs(2), info: logs(2), dir: logs(2), warn, error: logs(4),
    assert: (ok, ...values) => { if (!ok) warn("assertion failed", ...values); },
  });

  // ---- timers: they end with the call

  const guarded = (callback, once, id) => (...values) => {
    if (settled) return;
    if (once) delete timers[id.at];
    try { apply(callback, undefined, values); } catch (thrown) { fail(thrown); }
  };
  let count = 0;
  const timer = (start, once) => (callback, delay, ...values) => {
    if (typeof callback !== "function") throw new TypeError("a timer wants a function");
    if (settled) throw failed("FAILED_PRECONDITION", "a timer lasts as long as the call that starts it");
    const id = { at: ++count };
    const run = guarded(callback, once, id);
    timers[id.at] = apply(start, undefined, [() => apply(run, undefined, values), +delay || 0]);
    return id.at;
  };
  const stop = (id) => {
    if (timers[id] === undefined) return;
    apply(bound.clearTimeout, undefined, [timers[id]]);
    delete timers[id];
  };
  const startTimer = timer(bound.setTimeout, true);
  define("setTimeout", startTimer);
  define("setInterval", timer(bound.setInterval, false));
  define("clearTimeout", stop);
  define("clearInterval", stop);
  define("queueMicrotask", (callback) => {
    if (typeof callback !== "function") throw new TypeError("queueMicrotask() wants a function");
    microtask(guarded(callback, false));
  });

  // ---- text and bytes

  class TextEncoder {
    get encoding() { return "utf-8"; }
    encode(input = "") {
      const str = apply(strings.toWellFormed, text(input), []);
      const bytes = new bytesOf(3 * str.length);
      let n = 0;
      for (let i = 0; i < str.length; i++) {
        let c = apply(codePointAt, str, [i]);
        if (c < 0x80) { bytes[n++] = c; continue; }
        if (c < 0x800) bytes[n++] = 0xc0 | (c >> 6);
        else {
          if (c < 0x10000) bytes[n++] = 0xe0 | (c >> 12);
          else { bytes[n++] = 0xf0 | (c >> 18); bytes[n++] = 0x80 | ((c >> 12) & 63); i++; }
          bytes[n++] = 0x80 | ((c >> 6) & 63);
        }
        bytes[n++] = 0x80 | (c & 63);
      }
      return bytes.slice(0, n);
    }
    encodeInto(input, into) {
      let read = 0, written = 0;
      for (const c of text(input)) {
        const bytes = this.encode(c);
        if (written + bytes.length > into.length) break;
        into.set(bytes, written);
        read += c.length; written += bytes.length;
      }
      return { read, written };
    }
  }
  class TextDecoder {
    #fatal; #keep; #left = []; #begun = false;
    constructor(label = "utf-8", options = {}) {
      const name = apply(toLowerCase, apply(trim, text(label), []), []);
      if (name !== "utf-8" && name !== "utf8") throw new RangeError(`the encoding "${label}" is not known here; utf-8 is`);
      this.#fatal = !!options.fatal;
      this.#keep = !!options.ignoreBOM;
    }
    get encoding() { return "utf-8"; }
    get fatal() { return this.#fatal; }
    get ignoreBOM() { return this.#keep; }
    decode(input, { stream = false } = {}) {
      let b = input === undefined ? new bytesOf(0) : ArrayBuffer.isView(input) ? new bytesOf(input.buffer, input.byteOffset, input.byteLength) : new bytesOf(input);
      if (this.#left.length > 0) b = new bytesOf([...this.#left, ...b]);
      this.#left = [];
      if (stream) {
        let cut = b.length; // of a character that may go on, or of a mark at the beginning that does
        for (let i = 1; i < 4 && i <= b.length; i++) {
          const c = b[b.length - i];
          if (c < 0x80) break;
          if (c >= 0xc0) { if (i < (c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4)) cut -= i; break; }
        }
        this.#left = [...b.slice(cut)];
        b = b.slice(0, cut);
      }
      let out = "", part = [];
      const first = !this.#begun;
      this.#begun = stream && (this.#begun || b.length > 0);
      let i = first && !this.#keep && b[0] === 0xef && b[1] === 0xbb && b[2] === 0xbf ? 3 : 0;
      const put = (c) => {
        if (c > 0xffff) { c -= 0x10000; push_(part, 0xd800 | (c >> 10)); push_(part, 0xdc00 | (c & 0x3ff)); } else push_(part, c);
        if (part.length > 4096) { out += apply(fromCharCode, undefined, part); part = []; }
      };
      while (i < b.length) {
        const c = b[i++];
        if (c < 0x80) { put(c); continue; }
        let more = c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 0;
        let low = c === 0xe0 ? 0xa0 : c === 0xf0 ? 0x90 : 0x80, high = c === 0xed ? 0x9f : c === 0xf4 ? 0x8f : 0xbf;
        let value = more === 1 ? c & 31 : more === 2 ? c & 15 : c & 7, good = more > 0;
        while (good && more > 0) {
          if (i >= b.length || b[i] < low || b[i] > high) { good = false; break; }
          value = (value << 6) | (b[i++] & 63);
          low = 0x80; high = 0xbf; more--;
        }
        if (!good && this.#fatal) throw new TypeError("the bytes are no UTF-8");
        put(good ? value : 0xfffd);
      }
      return out + apply(fromCharCode, undefined, part);
    }
  }
  define("TextEncoder", TextEncoder);
  define("TextDecoder", TextDecoder);

  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  define("btoa", (input) => {
    const str = text(input);
    let out = "";
    for (let i = 0; i < str.length; i += 3) {
      const a = apply(charCodeAt, str, [i]), b = i + 1 < str.length ? apply(charCodeAt, str, [i + 1]) : 0, c = i + 2 < str.length ? apply(charCodeAt, str, [i + 2]) : 0;
      if (a > 255 || b > 255 || c > 255) throw new DOMException("btoa() wants characters up to U+00FF", "InvalidCharacterError");
      out += alphabet[a >> 2] + alphabet[((a & 3) << 4) | (b >> 4)] + (i + 1 < str.length ? alphabet[((b & 15) << 2) | (c >> 6)] : "=") + (i + 2 < str.length ? alphabet[c & 63] : "=");
    }
    return out;
  });
  define("atob", (input) => {
    let str = apply(replace, text(input), [/[\t\n\f\r ]+/g, ""]);
    if (str.length % 4 === 0) str = apply(replace, str, [/==?$/, ""]);
    if (str.length % 4 === 1) throw new DOMException("atob(): the text is no base64", "InvalidCharacterError");
    let out = "", bits = 0, n = 0;
    for (let i = 0; i < str.length; i++) {
      const at = apply(indexOf, alphabet, [str[i]]);
      if (at < 0) throw new DOMException("atob(): the text is no base64", "InvalidCharacterError");
      bits = ((bits << 6) | at) & 0xffffff;
      n += 6;
      if (n >= 8) { n -= 8; out += fromCharCode((bits >> n) & 255); }
    }
    return out;
  });

