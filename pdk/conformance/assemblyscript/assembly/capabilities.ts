// The capabilities in AssemblyScript: each tool hands its input to the capability of its
// name and outputs the reply. ../../../vectors/capabilities talks to it.
import * as genkit from "../../../assemblyscript/genkit";
import { capabilities } from "./descriptor";

/** The string member `name` of a request; the vectors write keys without escapes. */
function text(request: string, name: string): string {
  const at = request.indexOf('"' + name + '"');
  const from = request.indexOf('"', at + name.length + 2) + 1;
  return at < 0 ? "" : request.substring(from, request.indexOf('"', from));
}

function done(reply: genkit.Reply): i32 {
  genkit.output(reply.raw);
  return 0;
}

export function http(): i32 {
  return done(genkit.http(genkit.input()));
}

export function kv_get(): i32 {
  return done(genkit.kvGet(text(genkit.input(), "key")));
}

export function kv_set(): i32 {
  return done(genkit.kvSetRequest(genkit.input()));
}

export function kv_delete(): i32 {
  return done(genkit.kvDelete(text(genkit.input(), "key")));
}

export function kv_list(): i32 {
  return done(genkit.kvList(genkit.input()));
}

export function now(): i32 {
  return done(genkit.now());
}

export function run(): i32 {
  const request = genkit.input();
  const from = request.indexOf('"input":') + 8;
  return done(genkit.run(text(request, "key"), request.substring(from, request.length - 1)));
}

export function generate(): i32 {
  return done(genkit.generate(genkit.input()));
}

export function genkit_describe(): i32 {
  return genkit.describe(capabilities);
}
