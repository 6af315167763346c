// genkit.ts: write genkit-wasm tools in AssemblyScript. Copy this one file beside
// your sources; it needs nothing but the compiler.
//
// It speaks the native convention ("genkit_v1", see ../abi.md). A tool:
//
//     import * as genkit from "./genkit";
//
//     export function greet(): i32 {
//       return genkit.text((name: string): string => "Hello, " + name);
//     }
//
//     export function genkit_describe(): i32 {
//       return genkit.describe(`{ "abi": "genkit/1", "name": "greeter", "version": "1.0.0",
//         "tools": [{ "name": "greet", "description": "Greets.", "io": "text" }] }`);
//     }
//
// Build:
//
//     asc assembly/tool.ts -O3 --runtime minimal --exportStart _initialize \
//       --use abort=assembly/genkit/onAbort --outFile tool.wasm
//
// AssemblyScript is not TypeScript: no closures (a tool's function can't use local
// variables of another), no unions, no exceptions. A throw ends the call with a trap,
// code INTERNAL; return fail(…) to give the caller a code and a message.
//
// Every call starts from the state that the module had after _initialize. An import is
// only in the module when a function that needs it is used.

// @ts-ignore: decorator
@external("genkit_v1", "input_len")
declare function hostInputLen(): i32;
// @ts-ignore: decorator
@external("genkit_v1", "input")
declare function hostInput(ptr: usize): void;
// @ts-ignore: decorator
@external("genkit_v1", "output")
declare function hostOutput(ptr: usize, len: i32): void;
// @ts-ignore: decorator
@external("genkit_v1", "error")
declare function hostError(ptr: usize, len: i32): void;
// @ts-ignore: decorator
@external("genkit_v1", "log")
declare function hostLog(level: i32, ptr: usize, len: i32): void;
// @ts-ignore: decorator
@external("genkit_v1", "reply")
declare function hostReply(ptr: usize): void;
// @ts-ignore: decorator
@external("genkit_v1", "emit")
declare function hostEmit(ptr: usize, len: i32): i32;
// @ts-ignore: decorator
@external("genkit_v1", "interrupt")
declare function hostInterrupt(ptr: usize, len: i32): i32;
// @ts-ignore: decorator
@external("genkit_v1", "context")
declare function hostContext(ptr: usize, len: i32): i32;
// @ts-ignore: decorator
@external("genkit_v1", "http")
declare function hostHttp(ptr: usize, len: i32): i32;
// @ts-ignore: decorator
@external("genkit_v1", "kv_get")
declare function hostKvGet(ptr: usize, len: i32): i32;
// @ts-ignore: decorator
@external("genkit_v1", "kv_set")
declare function hostKvSet(ptr: usize, len: i32): i32;
// @ts-ignore: decorator
@external("genkit_v1", "kv_delete")
declare function hostKvDelete(ptr: usize, len: i32): i32;
// @ts-ignore: decorator
@external("genkit_v1", "kv_list")
declare function hostKvList(ptr: usize, len: i32): i32;
// @ts-ignore: decorator
@external("genkit_v1", "now")
declare function hostNow(ptr: usize, len: i32): i32;
// @ts-ignore: decorator
@external("genkit_v1", "run")
declare function hostRun(ptr: usize, len: i32): i32;
// @ts-ignore: decorator
@external("genkit_v1", "generate")
declare function hostGenerate(ptr: usize, len: i32): i32;

/** The levels of log. */
export enum Level {
  Trace,
  Debug,
  Info,
  Warn,
  Error,
}

/** The call's input, as bytes. */
export function inputBytes(): ArrayBuffer {
  const bytes = new ArrayBuffer(hostInputLen());
  hostInput(changetype<usize>(bytes));
  return bytes;
}

/** The call's input as a string: the raw JSON, or the text where io is "text". */
export function input(): string {
  return String.UTF8.decode(inputBytes());
}

/** Sets the call's output; a later call replaces an earlier one. */
export function outputBytes(bytes: ArrayBuffer): void {
  hostOutput(changetype<usize>(bytes), bytes.byteLength);
}

/** Sets the call's output: JSON, or text where io is "text". */
export function output(text: string): void {
  outputBytes(utf8(text));
}

/** Fails the call with a Genkit status name ("NOT_FOUND", …) and a message:
 *  `return fail("NOT_FOUND", "no such city");` `details` is JSON, when given. */
export function fail(code: string, message: string, details: string = ""): i32 {
  const tail = details.length > 0 ? ',"details":' + details : "";
  return failText('{"code":' + quote(code) + ',"message":' + quote(message) + tail + "}");
}

/** Fails the call with a plain text, which has the code INTERNAL. */
export function failText(message: string): i32 {
  const bytes = utf8(message);
  hostError(changetype<usize>(bytes), bytes.byteLength);
  return 1;
}

/** The body of a tool whose io is "text". */
export function text(fn: (input: string) => string): i32 {
  output(fn(input()));
  return 0;
}

/** The body of a tool whose io is "json": fn gets the JSON and returns JSON. Where a
 *  tool can fail, write the body out with input, output and fail instead. */
export function json(fn: (input: string) => string): i32 {
  return text(fn);
}

/** The body of genkit_describe: sets the descriptor, JSON, as the output. */
export function describe(descriptor: string): i32 {
  output(descriptor);
  return 0;
}

/** Writes one line to the host's log. */
export function log(level: Level, message: string): void {
  const bytes = utf8(message);
  hostLog(<i32>level, changetype<usize>(bytes), bytes.byteLength);
}

/** What a capability answered. */
export class Reply {
  constructor(
    /** The whole reply, {"ok": value} or {"error": {"code","message"}}. */
    public raw: string
  ) {}

  /** Whether the host did what was asked. */
  get ok(): bool {
    return this.raw.startsWith('{"ok":');
  }

  /** The value of a reply that is ok, as JSON. */
  get value(): string {
    return this.ok ? this.raw.substring(6, this.raw.length - 1) : "null";
  }
}

/** Streams one chunk, any JSON value, to the caller. */
export function emit(json: string): Reply {
  const bytes = utf8(json);
  return take(hostEmit(changetype<usize>(bytes), bytes.byteLength));
}

/** Marks the call as interrupted, with a JSON object or "null"; return at once then. */
export function interrupt(metadata: string): Reply {
  const bytes = utf8(metadata);
  return take(hostInterrupt(changetype<usize>(bytes), bytes.byteLength));
}

/** The caller's context, a JSON object. */
export function context(): Reply {
  return take(hostContext(0, 0));
}

/** Sends an HTTP request, {"method","url","headers","body"}; the value of the reply is
 *  {"status","headers","body"}. Write {{secret:NAME}} in a header for a secret. */
export function http(request: string): Reply {
  const bytes = utf8(request);
  return take(hostHttp(changetype<usize>(bytes), bytes.byteLength));
}

/** Reads a value that was kept under a key, null when there is none. */
export function kvGet(key: string): Reply {
  const bytes = utf8('{"key":' + quote(key) + "}");
  return take(hostKvGet(changetype<usize>(bytes), bytes.byteLength));
}

/** Keeps a JSON value under a key; null removes it. */
export function kvSet(key: string, json: string): Reply {
  return kvSetRequest('{"key":' + quote(key) + ',"value":' + json + "}");
}

/** kvSet with the whole request: {"key","value","ttlSeconds","if"}. */
export function kvSetRequest(request: string): Reply {
  const bytes = utf8(request);
  return take(hostKvSet(changetype<usize>(bytes), bytes.byteLength));
}

/** Removes a key. */
export function kvDelete(key: string): Reply {
  const bytes = utf8('{"key":' + quote(key) + "}");
  return take(hostKvDelete(changetype<usize>(bytes), bytes.byteLength));
}

/** Lists keys: {"prefix","cursor","limit"}, all optional. */
export function kvList(request: string): Reply {
  const bytes = utf8(request);
  return take(hostKvList(changetype<usize>(bytes), bytes.byteLength));
}

/** The time, a JSON string. */
export function now(): Reply {
  return take(hostNow(0, 0));
}

/** Runs an action by its key, such as "/tool/calc/add", on a JSON input. */
export function run(key: string, input: string): Reply {
  const bytes = utf8('{"key":' + quote(key) + ',"input":' + input + "}");
  return take(hostRun(changetype<usize>(bytes), bytes.byteLength));
}

/** Asks a model: Genkit's GenerateActionOptions in, a GenerateResponse out. */
export function generate(options: string): Reply {
  const bytes = utf8(options);
  return take(hostGenerate(changetype<usize>(bytes), bytes.byteLength));
}

/** Writes text as a JSON string, quotes included. */
export function quote(text: string): string {
  let out = '"';
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 0x20 && c != 0x22 && c != 0x5c) continue;
    out += text.substring(from, i);
    from = i + 1;
    if (c == 0x22) out += '\\"';
    else if (c == 0x5c) out += "\\\\";
    else out += "\\u00" + (c < 16 ? "0" : "") + c.toString(16);
  }
  return out + text.substring(from) + '"';
}

/** Name it in --use abort=…: puts the text of a throw where the host can log it. */
export function onAbort(message: string | null, file: string | null, line: u32, column: u32): void {
  const what = message == null ? "abort" : message;
  const where = file == null ? "" : " at " + file + ":" + line.toString() + ":" + column.toString();
  failText(what + where);
  unreachable();
}

function take(len: i32): Reply {
  const bytes = new ArrayBuffer(len);
  hostReply(changetype<usize>(bytes));
  return new Reply(String.UTF8.decode(bytes));
}

/** UTF-8, with half surrogate pairs replaced: the host takes nothing else. */
function utf8(text: string): ArrayBuffer {
  return String.UTF8.encode(text, false, String.UTF8.ErrorMode.REPLACE);
}

// @ts-ignore: decorator
@external("genkit_v1", "resumed")
declare function hostResumed(ptr: usize, len: i32): i32;
// @ts-ignore: decorator
@external("genkit_v1", "next")
declare function hostNext(ptr: usize, len: i32): i32;

/** What the caller answered to this tool's interrupt, {"resumed", "originalInput"}; null in
 *  a first run. */
export function resumed(): Reply {
  return take(hostResumed(0, 0));
}

/** Continues what a middleware's hook wraps; the value of the reply is the answer. */
export function next(request: string): Reply {
  const bytes = utf8(request);
  return take(hostNext(changetype<usize>(bytes), bytes.byteLength));
}
