// json.ts: JSON values (RFC 8259) in AssemblyScript, which has no type for them. Numbers keep the text they
// have. It needs nothing: copy it beside genkit.ts.

export enum Kind {
  Null,
  Boolean,
  Number,
  String,
  Array,
  Object,
}

/** A JSON value. What it is not is empty: the text of a list, the items of a text. */
export class Value {
  /** Of arrays, and the values of objects. */
  items: Value[] = [];
  /** The names of an object's members. */
  names: string[] = [];

  constructor(
    public kind: Kind = Kind.Null,
    /** Of strings and numbers, and "true" or "false". */
    public text: string = ""
  ) {}

  static string(text: string): Value {
    return new Value(Kind.String, text);
  }

  /** What is no finite number becomes null, as JSON knows none. */
  static number(n: f64): Value {
    if (!isFinite(n)) return new Value();
    const whole = <i64>n;
    return new Value(Kind.Number, <f64>whole == n && Math.abs(n) < 9007199254740992.0 ? whole.toString() : n.toString());
  }

  static boolean(b: bool): Value {
    return new Value(Kind.Boolean, b ? "true" : "false");
  }

  static array(items: Value[] = []): Value {
    const v = new Value(Kind.Array);
    v.items = items;
    return v;
  }

  static object(): Value {
    return new Value(Kind.Object);
  }

  /** The value of a text; null when it is not JSON, or nested more than 128 deep. */
  static parse(text: string): Value | null {
    const r = new Reader(text);
    const v = r.value(128);
    r.space();
    return v != null && r.at == text.length ? v : null;
  }

  get isNull(): bool {
    return this.kind == Kind.Null;
  }

  get isString(): bool {
    return this.kind == Kind.String;
  }

  /** The member of an object, the last one where a name is there twice; a null value when there is none. */
  get(name: string): Value {
    const i = this.names.lastIndexOf(name);
    return i < 0 ? new Value() : this.items[i];
  }

  has(name: string): bool {
    return this.names.includes(name);
  }

  /** Sets a member, in its place where it is there, and returns the object. */
  set(name: string, value: Value): Value {
    if (this.kind != Kind.Object) {
      this.kind = Kind.Object;
      this.text = "";
      this.items = [];
    }
    const i = this.names.lastIndexOf(name);
    if (i >= 0) {
      this.items[i] = value;
    } else {
      this.names.push(name);
      this.items.push(value);
    }
    return this;
  }

  /** The number, or what stands for it where there is none. */
  number(otherwise: f64 = 0): f64 {
    return this.kind == Kind.Number ? parseFloat(this.text) : otherwise;
  }

  /** A copy that changes with the original in nothing of its own members; they are shared. */
  copy(): Value {
    const v = new Value(this.kind, this.text);
    v.items = this.items.slice();
    v.names = this.names.slice();
    return v;
  }

  /** The JSON text, without white space. */
  toString(): string {
    switch (this.kind) {
      case Kind.Null:
        return "null";
      case Kind.String:
        return quote(this.text);
      case Kind.Array:
      case Kind.Object: {
        const all = new Array<string>(this.items.length);
        for (let i = 0; i < this.items.length; i++) {
          const item = this.items[i].toString();
          all[i] = this.kind == Kind.Object ? quote(this.names[i]) + ":" + item : item;
        }
        const inner = all.join(",");
        return this.kind == Kind.Object ? "{" + inner + "}" : "[" + inner + "]";
      }
      default:
        return this.text;
    }
  }
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

class Reader {
  at: i32 = 0;
  constructor(private text: string) {}

  private peek(): i32 {
    return this.at < this.text.length ? this.text.charCodeAt(this.at) : 0;
  }

  private take(c: i32): bool {
    if (this.at >= this.text.length || this.text.charCodeAt(this.at) != c) return false;
    this.at++;
    return true;
  }

  space(): void {
    for (let c = this.peek(); c == 0x20 || c == 0x09 || c == 0x0a || c == 0x0d; c = this.peek()) this.at++;
  }

  value(depth: i32): Value | null {
    this.space();
    const c = this.peek();
    if (c == 0x7b || c == 0x5b) return depth > 0 ? this.list(c == 0x7b, depth - 1) : null;
    if (c == 0x22) {
      const text = this.string();
      return text == null ? null : Value.string(text);
    }
    if (c == 0x74) return this.word("true", Value.boolean(true));
    if (c == 0x66) return this.word("false", Value.boolean(false));
    if (c == 0x6e) return this.word("null", new Value());
    return this.number();
  }

  private word(word: string, value: Value): Value | null {
    if (!this.text.startsWith(word, this.at)) return null;
    this.at += word.length;
    return value;
  }

  private list(object: bool, depth: i32): Value | null {
    const v = new Value(object ? Kind.Object : Kind.Array);
    const end = object ? 0x7d : 0x5d;
    this.at++;
    this.space();
    if (this.take(end)) return v;
    while (true) {
      if (object) {
        this.space();
        const name = this.string();
        this.space();
        if (name == null || !this.take(0x3a)) return null;
        v.names.push(name);
      }
      const item = this.value(depth);
      if (item == null) return null;
      v.items.push(item);
      this.space();
      if (this.take(end)) return v;
      if (!this.take(0x2c)) return null;
    }
  }

  private digits(): bool {
    const start = this.at;
    for (let c = this.peek(); c >= 0x30 && c <= 0x39; c = this.peek()) this.at++;
    return this.at > start;
  }

  private number(): Value | null {
    const start = this.at;
    this.take(0x2d);
    if (!this.take(0x30) && !this.digits()) return null;
    if (this.take(0x2e) && !this.digits()) return null;
    if (this.take(0x65) || this.take(0x45)) {
      if (!this.take(0x2b)) this.take(0x2d);
      if (!this.digits()) return null;
    }
    return new Value(Kind.Number, this.text.substring(start, this.at));
  }

  private string(): string | null {
    if (!this.take(0x22)) return null;
    let out = "";
    let from = this.at;
    while (this.at < this.text.length) {
      const c = this.text.charCodeAt(this.at++);
      if (c == 0x22) return out + this.text.substring(from, this.at - 1);
      if (c < 0x20) return null;
      if (c != 0x5c) continue;
      out += this.text.substring(from, this.at - 1);
      const e = this.peek();
      this.at++;
      if (e == 0x75) {
        const code = this.hex4();
        if (code < 0) return null;
        out += String.fromCharCode(code);
      } else if (e == 0x22 || e == 0x5c || e == 0x2f) out += String.fromCharCode(e);
      else if (e == 0x62) out += "\b";
      else if (e == 0x66) out += "\f";
      else if (e == 0x6e) out += "\n";
      else if (e == 0x72) out += "\r";
      else if (e == 0x74) out += "\t";
      else return null;
      from = this.at;
    }
    return null;
  }

  private hex4(): i32 {
    let v = 0;
    for (let i = 0; i < 4; i++, this.at++) {
      const c = this.peek() | 0x20;
      const digit = c >= 0x61 && c <= 0x66 ? c - 0x57 : this.peek() - 0x30;
      if (digit < 0 || digit > 15 || (digit > 9 && c < 0x61)) return -1;
      v = (v << 4) | digit;
    }
    return v;
  }
}
