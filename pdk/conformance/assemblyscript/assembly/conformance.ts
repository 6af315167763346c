// The conformance module in AssemblyScript: the tools that ../../vectors runs.
import * as genkit from "../../../assemblyscript/genkit";
import { descriptor } from "./descriptor";

// @ts-ignore: decorator
@external("genkit_v1", "output")
declare function rawOutput(ptr: u32, len: u32): void;

export function echo(): i32 {
  genkit.outputBytes(genkit.inputBytes());
  return 0;
}

export function upper(): i32 {
  const bytes = Uint8Array.wrap(genkit.inputBytes());
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] >= 0x61 && bytes[i] <= 0x7a) bytes[i] -= 0x20;
  }
  genkit.outputBytes(bytes.buffer);
  return 0;
}

export function textjson(): i32 {
  return genkit.text((text: string): string => text);
}

export function fail(): i32 {
  return genkit.fail("NOT_FOUND", 'no such thing: "x"', '{"id":42}');
}

export function failtext(): i32 {
  return genkit.failText("it did not work");
}

export function nonzero(): i32 {
  return 7;
}

export function silent(): i32 {
  return 0;
}

export function replace(): i32 {
  genkit.output('{"first":');
  genkit.output('"second"');
  return 0;
}

export function badoutput(): i32 {
  genkit.output('{"unfinished":');
  return 0;
}

export function invalidutf8(): i32 {
  const bytes = new Uint8Array(4);
  bytes[0] = 0x22;
  bytes[1] = 0xff;
  bytes[2] = 0xfe;
  bytes[3] = 0x22;
  genkit.outputBytes(bytes.buffer);
  return 0;
}

export function wrongshape(): i32 {
  genkit.output('"not an integer"');
  return 0;
}

export function emit3(): i32 {
  if (!genkit.emit('{"n":1}').ok || !genkit.emit('{"n":2}').ok || !genkit.emit('"drei é"').ok) {
    return genkit.fail("UNAVAILABLE", "emit was refused");
  }
  genkit.output('{"chunks":3}');
  return 0;
}

export function badchunk(): i32 {
  genkit.output(genkit.emit('{"n":').raw);
  return 0;
}

export function interrupt(): i32 {
  if (!genkit.interrupt(genkit.input()).ok) return genkit.failText("interrupt was refused");
  genkit.output('"nobody sees this"');
  return 0;
}

export function interrupt_fail(): i32 {
  genkit.interrupt('{"reason":"ask"}');
  return genkit.failText("nobody sees this");
}

export function interrupt_trap(): i32 {
  genkit.interrupt("null");
  unreachable();
  return 0;
}

export function context(): i32 {
  genkit.output(genkit.context().value);
  return 0;
}

export function log(): i32 {
  genkit.log(genkit.Level.Trace, "a trace line");
  genkit.log(genkit.Level.Debug, "a debug line");
  genkit.log(genkit.Level.Info, "an info line: é");
  genkit.log(genkit.Level.Warn, "a warn line");
  genkit.log(genkit.Level.Error, "an error line");
  genkit.output('{"lines":5}');
  return 0;
}

let count: i32 = 0;

export function counter(): i32 {
  count++;
  if (count != 1) return genkit.fail("FAILED_PRECONDITION", "state of an earlier call was seen");
  genkit.output('{"count":' + count.toString() + "}");
  return 0;
}

export function trap(): i32 {
  throw new Error("a trap");
}

export function oob(): i32 {
  rawOutput(0xfffffff0, 0x20);
  return 0;
}

export function spin(): i32 {
  while (true) count++;
  return 0;
}

const kept: ArrayBuffer[] = [];

export function hog(): i32 {
  while (true) kept.push(new ArrayBuffer(65536));
  return 0;
}

// The host has checked that the input is {"size": n}.
export function big(): i32 {
  const input = genkit.input();
  let size = 0;
  for (let i = 0; i < input.length; i++) {
    const c = input.charCodeAt(i);
    if (c >= 0x30 && c <= 0x39) size = size * 10 + (c - 0x30);
  }
  genkit.output('"' + "x".repeat(size - 2) + '"');
  return 0;
}

export function genkit_describe(): i32 {
  return genkit.describe(descriptor);
}
