// units: converts lengths, masses and temperatures.
import * as genkit from "../../../pdk/assemblyscript/genkit";
import { Flat } from "./json";

/** value in the base unit (m, kg, K) = value * factor + offset */
class Unit {
  constructor(public kind: string, public factor: f64, public offset: f64 = 0) {}
}

const units = new Map<string, Unit>();
units.set("mm", new Unit("length", 0.001));
units.set("cm", new Unit("length", 0.01));
units.set("m", new Unit("length", 1));
units.set("km", new Unit("length", 1000));
units.set("in", new Unit("length", 0.0254));
units.set("ft", new Unit("length", 0.3048));
units.set("yd", new Unit("length", 0.9144));
units.set("mi", new Unit("length", 1609.344));
units.set("mg", new Unit("mass", 0.000001));
units.set("g", new Unit("mass", 0.001));
units.set("kg", new Unit("mass", 1));
units.set("t", new Unit("mass", 1000));
units.set("oz", new Unit("mass", 0.028349523125));
units.set("lb", new Unit("mass", 0.45359237));
units.set("K", new Unit("temperature", 1));
units.set("C", new Unit("temperature", 1, 273.15));
units.set("F", new Unit("temperature", 5.0 / 9.0, 459.67 * 5.0 / 9.0));

export function convert(): i32 {
  const input = new Flat(genkit.input());
  const fromName = input.string("from");
  const toName = input.string("to");
  if (!units.has(fromName)) return unknownUnit(fromName);
  if (!units.has(toName)) return unknownUnit(toName);
  const from = units.get(fromName);
  const to = units.get(toName);
  if (from.kind != to.kind) {
    return genkit.fail("INVALID_ARGUMENT", "can't convert " + from.kind + " to " + to.kind);
  }
  const value = input.number("value");
  const base = value * from.factor + from.offset;
  const result = fromName == toName ? value : round((base - to.offset) / to.factor);
  if (!isFinite(result)) return genkit.fail("OUT_OF_RANGE", "the result is too big");
  genkit.output('{"value":' + number(result) + ',"unit":' + genkit.quote(toName) + "}");
  return 0;
}

function unknownUnit(name: string): i32 {
  const known = units.keys();
  let list = "";
  for (let i = 0; i < known.length; i++) list += (i > 0 ? "," : "") + genkit.quote(known[i]);
  return genkit.fail("INVALID_ARGUMENT", "unknown unit " + genkit.quote(name), '{"known":[' + list + "]}");
}

/** Twelve significant digits: what the factors are good for, so that 212 F is 100 C
 *  and not 100.00000000000006. */
function round(x: f64): f64 {
  if (x == 0 || !isFinite(x)) return x;
  const digits = 11 - <i32>Math.floor(Math.log10(Math.abs(x)));
  if (digits > 300 || digits < -300) return x;
  if (digits < 0) {
    const scale = Math.pow(10, -digits);
    return Math.round(x / scale) * scale;
  }
  const scale = Math.pow(10, digits);
  return Math.round(x * scale) / scale;
}

/** x as JSON: a whole number without ".0". */
function number(x: f64): string {
  const s = x.toString();
  return s.endsWith(".0") ? s.substring(0, s.length - 2) : s;
}

export function genkit_describe(): i32 {
  return genkit.describe(`{
  "abi": "genkit/1",
  "name": "units",
  "version": "1.0.0",
  "description": "Converts units of length, mass and temperature.",
  "tools": [
    {
      "name": "convert",
      "description": "Converts a value from one unit to another of the same kind. Length: mm cm m km in ft yd mi. Mass: mg g kg t oz lb. Temperature: K C F.",
      "inputSchema": {
        "type": "object",
        "properties": {
          "value": {"type": "number", "description": "how much"},
          "from": {"type": "string", "description": "the unit of value, such as km"},
          "to": {"type": "string", "description": "the unit wanted, such as mi"}
        },
        "required": ["value", "from", "to"],
        "additionalProperties": false
      },
      "outputSchema": {
        "type": "object",
        "properties": {
          "value": {"type": "number", "description": "how much it is in the unit wanted, to twelve digits"},
          "unit": {"type": "string", "description": "the unit wanted"}
        },
        "required": ["value", "unit"],
        "additionalProperties": false
      }
    }
  ]
}`);
}
