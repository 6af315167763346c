// A reader for one flat JSON object. The host has checked the input against the
// schema, so the text is valid and has the properties that it should have.

export class Flat {
  private names: string[] = [];
  private values: string[] = [];

  constructor(private text: string) {
    let i = this.space(text.indexOf("{") + 1);
    while (text.charCodeAt(i) == 0x22) {
      const nameEnd = this.stringEnd(i);
      this.names.push(unquote(text.substring(i, nameEnd)));
      const start = this.space(this.space(nameEnd) + 1); // past the colon
      i = text.charCodeAt(start) == 0x22 ? this.stringEnd(start) : this.scalarEnd(start);
      this.values.push(text.substring(start, i));
      i = this.space(i);
      if (text.charCodeAt(i) != 0x2c) break; // no comma: the closing brace
      i = this.space(i + 1);
    }
  }

  /** The value of a property as it stands in the text, "" when there is none. */
  raw(name: string): string {
    const i = this.names.lastIndexOf(name);
    return i < 0 ? "" : this.values[i];
  }

  string(name: string): string {
    return unquote(this.raw(name));
  }

  number(name: string): f64 {
    return parseFloat(this.raw(name));
  }

  private space(i: i32): i32 {
    while (i < this.text.length && this.text.charCodeAt(i) <= 0x20) i++;
    return i;
  }

  /** The index past the closing quote of the string that begins at i. */
  private stringEnd(i: i32): i32 {
    for (i++; i < this.text.length; i++) {
      const c = this.text.charCodeAt(i);
      if (c == 0x5c) i++;
      else if (c == 0x22) return i + 1;
    }
    return i;
  }

  private scalarEnd(i: i32): i32 {
    for (; i < this.text.length; i++) {
      const c = this.text.charCodeAt(i);
      if (c <= 0x20 || c == 0x2c || c == 0x7d) break;
    }
    return i;
  }
}

/** The text of a JSON string, escapes resolved. */
function unquote(s: string): string {
  if (s.length < 2) return "";
  let out = "";
  let from = 1;
  const end = s.length - 1;
  for (let i = 1; i < end; i++) {
    if (s.charCodeAt(i) != 0x5c) continue;
    out += s.substring(from, i);
    const c = s.charCodeAt(++i);
    if (c == 0x75) {
      out += String.fromCharCode(<i32>parseInt(s.substring(i + 1, i + 5), 16));
      i += 4;
    } else if (c == 0x62) out += "\b";
    else if (c == 0x66) out += "\f";
    else if (c == 0x6e) out += "\n";
    else if (c == 0x72) out += "\r";
    else if (c == 0x74) out += "\t";
    else out += String.fromCharCode(c);
    from = i + 1;
  }
  return out + s.substring(from, end);
}
