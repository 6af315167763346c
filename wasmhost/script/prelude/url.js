  // ---- URL and URLSearchParams, after the URL Standard. Names of hosts beyond ASCII are mapped by NFKC and lower
  // case, which is near to UTS 46 and not all of it: its tables are as long as the rest of the prelude.

  const specials = { __proto__: null, ftp: 21, file: null, http: 80, https: 443, ws: 80, wss: 443 };
  const isSpecial = (u) => specials[u.scheme] !== undefined;

  // What is percent-encoded beside controls and all beyond ASCII.
  const inFragment = ' "<>`', inQuery = ' "#<>', inSpecialQuery = `${inQuery}'`, inPath = `${inQuery}?^\`{}`, inUser = `${inPath}/:;=@[\\]|`;
  const percent = (c) => (c < "\x80" ? `%${hex[c.charCodeAt(0) >> 4]}${hex[c.charCodeAt(0) & 15]}`.toUpperCase() : encode(c.toWellFormed()));
  const escapeURL = (str, set) => {
    let out = "";
    for (const c of str) out += c < " " || c > "~" || set.includes(c) ? percent(c) : c;
    return out;
  };
  const encode = encodeURIComponent;
  const percentDecoded = (str) => {
    const bytes = utf8.encode(str);
    let n = 0;
    for (let i = 0; i < bytes.length; i++) {
      const value = bytes[i] === 37 && i + 2 < bytes.length ? nibble(bytes[i + 1]) * 16 + nibble(bytes[i + 2]) : NaN;
      if (value >= 0) { bytes[n++] = value; i += 2; } else bytes[n++] = bytes[i];
    }
    return bytes.subarray(0, n);
  };
  const nibble = (c) => (c >= 48 && c < 58 ? c - 48 : (c | 32) >= 97 && (c | 32) < 103 ? (c | 32) - 87 : NaN);
  const utf8 = new TextEncoder(), fromUTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

  // ---- hosts

  const punycode = (label) => {
    const points = Array.from(label, (c) => c.codePointAt(0));
    let out = points.filter((p) => p < 128).map((p) => fromCharCode(p)).join("");
    const basic = out.length;
    let n = 128, delta = 0, bias = 72, handled = basic;
    if (basic > 0) out += "-";
    while (handled < points.length) {
      let next = 0x10ffff;
      for (const p of points) if (p >= n && p < next) next = p;
      delta += (next - n) * (handled + 1);
      n = next;
      for (const p of points) {
        if (p < n) delta++;
        if (p !== n) continue;
        let q = delta;
        for (let k = 36; ; k += 36) {
          const t = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;
          if (q < t) { out += digit(q); break; }
          out += digit(t + ((q - t) % (36 - t)));
          q = floor((q - t) / (36 - t));
        }
        delta = handled === basic ? floor(delta / 700) : floor(delta / 2);
        delta += floor(delta / (handled + 1));
        let k = 0;
        while (delta > 455) { delta = floor(delta / 35); k += 36; }
        bias = k + floor((36 * delta) / (delta + 38));
        delta = 0;
        handled++;
      }
      delta++; n++;
    }
    return out;
  };
  const digit = (d) => fromCharCode(d < 26 ? d + 97 : d + 22);
  const dropped = /[\u00ad\u034f\u180b-\u180f\u200b\u2060\u2064\ufe00-\ufe0f\ufeff]/g;
  const unassigned = /[\p{Cn}\p{Co}\p{Cs}\ufffd\u200e\u200f\u202a-\u202e]/u;
  const toASCII = (domain) => {
    if (/(^|\.)xn--(\.|$)/i.test(domain)) return null;
    if (!/[^\0-\x7f]/.test(domain)) return domain.toLowerCase();
    const mapped = domain.replace(dropped, "").normalize("NFKC").toLowerCase().normalize("NFKC").replace(/\u3002/g, ".").replace(dropped, "");
    if (unassigned.test(mapped)) return null;
    return mapped.split(".").map((label) => (/[^\0-\x7f]/.test(label) ? `xn--${punycode(label)}` : label)).join(".");
  };

  const notInHost = /[\0\t\n\r #/:<>?@[\\\]^|]/, notInDomain = /[\0-\x20#%/:<>?@[\\\]^|\x7f]/;
  const parseHost = (input, opaque) => {
    if (input[0] === "[") return input.at(-1) === "]" ? parseIPv6(input.slice(1, -1)) : null;
    if (opaque) return notInHost.test(input) ? null : escapeURL(input, "");
    const domain = toASCII(fromUTF8.decode(percentDecoded(input)));
    if (domain === null || domain === "" || notInDomain.test(domain)) return null;
    const parts = domain.split(".");
    if (parts.at(-1) === "" && parts.length > 1) parts.pop();
    if (!/^(\d+|0[xX][0-9a-fA-F]*)$/.test(parts.at(-1))) return domain;
    if (parts.length > 4) return null;
    const numbers = parts.map((part) => (/^0[xX][0-9a-fA-F]*$/.test(part) ? Number(part.length === 2 ? 0 : part) : /^0[0-7]+$/.test(part) ? parseInt(part, 8) : /^(0|[1-9]\d*)$/.test(part) ? Number(part) : NaN));
    let address = numbers.pop();
    if (!(address < 256 ** (4 - numbers.length))) return null;
    for (let i = 0; i < numbers.length; i++) {
      if (!(numbers[i] < 256)) return null;
      address += numbers[i] * 256 ** (3 - i);
    }
    return [24, 16, 8, 0].map((shift) => floor(address / 2 ** shift) % 256).join(".");
  };
  const parseIPv6 = (input) => {
    const address = [];
    let compress = -1, at = 0;
    if (input[0] === ":") {
      if (input[1] !== ":") return null;
      at = 2; compress = 0;
    }
    while (at < input.length) {
      if (address.length === 8) return null;
      if (input[at] === ":") {
        if (compress >= 0) return null;
        at++; compress = address.length;
        continue;
      }
      const piece = /^[0-9a-fA-F]{0,4}/.exec(input.slice(at))[0];
      const after = input[at + piece.length];
      if (after === ".") {
        if (address.length > 6) return null;
        const quad = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(input.slice(at));
        if (quad === null || quad.slice(1).some((d) => d > 255 || (d.length > 1 && d[0] === "0"))) return null;
        push_(address, quad[1] * 256 + +quad[2]); push_(address, quad[3] * 256 + +quad[4]);
        break;
      }
      at += piece.length;
      if (after === ":") { if (++at === input.length) return null; } else if (after !== undefined) return null;
      push_(address, parseInt(piece, 16));
    }
    if (compress >= 0) address.splice(compress, 0, ...new Array(8 - address.length).fill(0));
    if (address.length !== 8) return null;
    let best = -1, length = 1; // the longest run of zeros, of two at least
    for (let i = 0; i < 8; i++) {
      let n = 0;
      while (i + n < 8 && address[i + n] === 0) n++;
      if (n > length) { best = i; length = n; }
      i += n;
    }
    let out = "";
    for (let i = 0; i < 8; i++) {
      if (i === best) { out += i === 0 ? "::" : ":"; i += length - 1; continue; }
      out += address[i].toString(16) + (i < 7 ? ":" : "");
    }
    return `[${out}]`;
  };

  // ---- the parser: a URL is { scheme, username, password, host, port, path, query, fragment }; path is a text for
  // opaque ones, null stands for what is not there. Its states are those of the standard; with only, of a setter, it parses
  // that part of url.

  const singleDot = /^(\.|%2e)$/i, doubleDot = /^(\.|%2e)(\.|%2e)$/i, drive = /^[A-Za-z][:|]$/, startsWithDrive = /^[A-Za-z][:|]([/\\?#]|$)/;
  const shorten = (u) => { if (!(u.scheme === "file" && u.path.length === 1 && /^[A-Za-z]:$/.test(u.path[0]))) u.path.pop(); };
  const parseURL = (input, base, url, only) => {
    if (url === undefined) {
      url = { scheme: "", username: "", password: "", host: null, port: null, path: [], query: null, fragment: null };
      input = input.replace(/^[\0- ]+|[\0- ]+$/g, "");
    }
    input = input.replace(/[\t\n\r]/g, "");
    let state = only ?? "scheme", at = 0, buffer = "", sawAt = false, inBrackets = false, sawPassword = false;
    const points = Array.from(input);
    const rest = () => points.slice(at).join("");
    const inherit = (query) => assign(url, { username: base.username, password: base.password, host: base.host, port: base.port, path: isArray(base.path) ? base.path.slice() : base.path, query });
    if (state === "scheme") {
      const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(input);
      if (scheme !== null) {
        url.scheme = scheme[1].toLowerCase();
        at = scheme[0].length;
        if (url.scheme === "file") state = "file";
        else if (isSpecial(url)) state = base && base.scheme === url.scheme && !(points[at] === "/" && points[at + 1] === "/") ? "relative" : "slashes";
        else if (points[at] === "/") { at++; state = "pathOrAuthority"; } else { url.path = ""; state = "opaque"; }
      } else {
        if (!base || (typeof base.path === "string" && input[0] !== "#")) return null;
        if (typeof base.path === "string") {
          inherit(base.query);
          url.scheme = base.scheme; url.fragment = ""; at = 1; state = "fragment";
        } else state = base.scheme === "file" ? "file" : "relative";
      }
      if (state === "slashes") { while (points[at] === "/" || points[at] === "\\") at++; state = "authority"; }
    }
    for (; ; at++) {
      const c = points[at], end = c === undefined, special = isSpecial(url);
      switch (state) {
        case "pathOrAuthority":
          if (c === "/") state = "authority"; else { state = "path"; at--; }
          break;
        case "relative":
          url.scheme = base.scheme;
          if (c === "/" || (isSpecial(url) && c === "\\")) { state = "relativeSlash"; break; }
          inherit(base.query);
          if (c === "?") { url.query = ""; state = "query"; } else if (c === "#") { url.fragment = ""; state = "fragment"; } else if (!end) { url.query = null; shorten(url); state = "path"; at--; }
          break;
        case "relativeSlash":
          if (special && (c === "/" || c === "\\")) { while (points[at] === "/" || points[at] === "\\") at++; at--; state = "authority"; } else if (c === "/") state = "authority";
          else { assign(url, { username: base.username, password: base.password, host: base.host, port: base.port }); state = "path"; at--; }
          break;
        case "authority":
          if (c === "@") {
            if (sawAt) buffer = `%40${buffer}`;
            sawAt = true;
            for (const x of buffer) {
              if (x === ":" && !sawPassword) sawPassword = true;
              else if (sawPassword) url.password += escapeURL(x, inUser);
              else url.username += escapeURL(x, inUser);
            }
            buffer = "";
          } else if (end || c === "/" || c === "?" || c === "#" || (special && c === "\\")) {
            if (sawAt && buffer === "") return null;
            at -= Array.from(buffer).length + 1;
            buffer = ""; state = "host";
          } else buffer += c;
          break;
        case "host": case "hostname":
          if (only && url.scheme === "file") { at--; state = "fileHost"; break; }
          if (c === ":" && !inBrackets) {
            if (buffer === "" || only === "hostname") return null;
            if ((url.host = parseHost(buffer, !special)) === null) return null;
            buffer = ""; state = "port";
          } else if (end || c === "/" || c === "?" || c === "#" || (special && c === "\\")) {
            if (special && buffer === "") return null;
            if (only && buffer === "" && (url.username !== "" || url.password !== "" || url.port !== null)) return null;
            if ((url.host = parseHost(buffer, !special)) === null) return null;
            if (only) return url;
            buffer = ""; state = "pathStart"; at--;
          } else { if (c === "[") inBrackets = true; else if (c === "]") inBrackets = false; buffer += c; }
          break;
        case "port":
          if (c >= "0" && c <= "9") { buffer += c; break; }
          if (!(end || c === "/" || c === "?" || c === "#" || (special && c === "\\") || only)) return null;
          if (buffer !== "") {
            if (+buffer > 65535) return null;
            url.port = +buffer === specials[url.scheme] ? null : +buffer;
            buffer = "";
            if (only) return url;
          }
          if (only) return null;
          state = "pathStart"; at--;
          break;
        case "file":
          url.scheme = "file"; url.host = "";
          if (c === "/" || c === "\\") { state = "fileSlash"; break; }
          if (base && base.scheme === "file") {
            inherit(base.query);
            if (c === "?") { url.query = ""; state = "query"; } else if (c === "#") { url.fragment = ""; state = "fragment"; } else if (!end) {
              url.query = null;
              if (startsWithDrive.test(rest())) url.path = []; else shorten(url);
              state = "path"; at--;
            }
          } else { state = "path"; at--; }
          break;
        case "fileSlash":
          if (c === "/" || c === "\\") { state = "fileHost"; break; }
          if (base && base.scheme === "file") {
            url.host = base.host;
            if (!startsWithDrive.test(rest()) && base.path.length > 0 && /^[A-Za-z]:$/.test(base.path[0])) push_(url.path, base.path[0]);
          }
          state = "path"; at--;
          break;
        case "fileHost":
          if (!(end || c === "/" || c === "\\" || c === "?" || c === "#")) { buffer += c; break; }
          at--;
          if (!only && drive.test(buffer)) { state = "path"; break; }
          if (buffer === "") url.host = ""; else {
            const host = parseHost(buffer, false);
            if (host === null) return null;
            url.host = host === "localhost" ? "" : host;
          }
          if (only) return url;
          buffer = ""; state = "pathStart";
          break;
        case "pathStart":
          if (special) { state = "path"; if (c !== "/" && c !== "\\") at--; } else if (!only && c === "?") { url.query = ""; state = "query"; } else if (!only && c === "#") { url.fragment = ""; state = "fragment"; } else if (!end) { state = "path"; if (c !== "/") at--; } else if (only && url.host === null) push_(url.path, "");
          break;
        case "path": {
          const slash = c === "/" || (special && c === "\\");
          if (!(end || slash || (!only && (c === "?" || c === "#")))) { buffer += escapeURL(c, inPath); break; }
          if (doubleDot.test(buffer)) { shorten(url); if (!slash) push_(url.path, ""); } else if (singleDot.test(buffer)) { if (!slash) push_(url.path, ""); } else {
            if (url.scheme === "file" && url.path.length === 0 && drive.test(buffer)) buffer = `${buffer[0]}:`;
            push_(url.path, buffer);
          }
          buffer = "";
          if (c === "?" && !only) { url.query = ""; state = "query"; }
          if (c === "#" && !only) { url.fragment = ""; state = "fragment"; }
          break;
        }
        case "opaque":
          if (c === "?") { url.query = ""; state = "query"; } else if (c === "#") { url.fragment = ""; state = "fragment"; } else if (c === " ") url.path += points[at + 1] === "?" || points[at + 1] === "#" ? "%20" : " "; else if (!end) url.path += escapeURL(c, "");
          break;
        case "query":
          if (end || (c === "#" && !only)) {
            url.query += escapeURL(buffer, special ? inSpecialQuery : inQuery);
            buffer = "";
            if (!end) { url.fragment = ""; state = "fragment"; }
          } else buffer += c;
          break;
        case "fragment":
          if (!end) url.fragment += escapeURL(c, inFragment);
      }
      if (at >= points.length) return url;
    }
  };
  const pathOf = (u) => (typeof u.path === "string" ? u.path : u.path.map((part) => `/${part}`).join(""));
  const writeURL = (u) => {
    let out = `${u.scheme}:`;
    if (u.host !== null) {
      out += "//";
      if (u.username !== "" || u.password !== "") out += `${u.username}${u.password === "" ? "" : `:${u.password}`}@`;
      out += u.host + (u.port === null ? "" : `:${u.port}`);
    } else if (typeof u.path !== "string" && u.path.length > 1 && u.path[0] === "") out += "/.";
    return out + pathOf(u) + (u.query === null ? "" : `?${u.query}`) + (u.fragment === null ? "" : `#${u.fragment}`);
  };

  let attach, refresh; // of URLSearchParams, for URL alone
  class URL {
    #url; #params;
    constructor(url, base) {
      let of;
      if (base !== undefined && (of = parseURL(`${base}`)) === null) throw new TypeError(`the base "${base}" is no URL`);
      if ((this.#url = parseURL(`${url}`.toWellFormed(), of)) === null) throw new TypeError(`"${url}" is no URL`);
      attach(this.#params = new URLSearchParams(), this.#url);
    }
    static canParse(url, base) { return URL.parse(url, base) !== null; }
    static parse(url, base) { try { return new URL(url, base); } catch (e) { if (e instanceof TypeError) return null; throw e; } }
    static { for (const name of ["canParse", "parse"]) defineProperty(this, name, { enumerable: true }); }
    get href() { return writeURL(this.#url); }
    set href(value) {
      const url = parseURL(`${value}`.toWellFormed());
      if (url === null) throw new TypeError(`"${value}" is no URL`);
      this.#url = url;
      attach(this.#params, url);
    }
    get origin() {
      const u = this.#url;
      if (u.scheme === "blob") { const inner = parseURL(pathOf(u)); return inner !== null && /^https?$/.test(inner.scheme) ? new URL(pathOf(u)).origin : "null"; }
      return isSpecial(u) && u.scheme !== "file" ? `${u.scheme}://${this.host}` : "null";
    }
    get protocol() { return `${this.#url.scheme}:`; }
    set protocol(value) {
      const u = this.#url, scheme = /^([A-Za-z][A-Za-z0-9+.-]*)(:|$)/.exec(`${value}`.replace(/[\t\n\r]/g, ""))?.[1].toLowerCase();
      if (scheme === undefined || (specials[scheme] !== undefined) !== isSpecial(u)) return;
      if ((scheme === "file" && (u.username !== "" || u.password !== "" || u.port !== null)) || (u.scheme === "file" && u.host === "")) return;
      u.scheme = scheme;
      if (u.port === specials[scheme]) u.port = null;
    }
    get username() { return this.#url.username; }
    set username(value) { if (this.#credible()) this.#url.username = escapeURL(`${value}`.toWellFormed(), inUser); }
    get password() { return this.#url.password; }
    set password(value) { if (this.#credible()) this.#url.password = escapeURL(`${value}`.toWellFormed(), inUser); }
    #credible() { return this.#url.host !== null && this.#url.host !== "" && this.#url.scheme !== "file"; }
    get host() { const u = this.#url; return (u.host ?? "") + (u.port === null ? "" : `:${u.port}`); }
    set host(value) { this.#set(value, "host"); }
    get hostname() { return this.#url.host ?? ""; }
    set hostname(value) { this.#set(value, "hostname"); }
    // What can't be parsed leaves the URL as it was, but for a host before a bad port.
    #set(value, only) {
      const u = this.#url;
      if (typeof u.path === "string") return;
      const copy = { ...u };
      const done = parseURL(`${value}`.toWellFormed(), undefined, copy, only);
      if (done !== null || (only === "host" && copy.host !== null && copy.host !== u.host)) assign(u, { host: copy.host, port: copy.port });
    }
    get port() { return this.#url.port === null ? "" : `${this.#url.port}`; }
    set port(value) {
      if (!this.#credible()) return;
      const u = this.#url;
      if (`${value}` === "") u.port = null; else parseURL(`${value}`, undefined, u, "port");
    }
    get pathname() { return pathOf(this.#url); }
    set pathname(value) {
      if (typeof this.#url.path === "string") return;
      this.#url.path = [];
      parseURL(`${value}`.toWellFormed(), undefined, this.#url, "pathStart");
    }
    get search() { return this.#url.query ? `?${this.#url.query}` : ""; }
    set search(value) {
      const text = `${value}`.toWellFormed(), u = this.#url;
      u.query = text === "" ? null : "";
      if (text !== "") parseURL(text[0] === "?" ? text.slice(1) : text, undefined, u, "query");
      refresh(this.#params);
    }
    get searchParams() { return this.#params; }
    get hash() { return this.#url.fragment ? `#${this.#url.fragment}` : ""; }
    set hash(value) {
      const text = `${value}`.toWellFormed(), u = this.#url;
      u.fragment = text === "" ? null : "";
      if (text !== "") parseURL(text[0] === "#" ? text.slice(1) : text, undefined, u, "fragment");
    }
    toString() { return this.href; }
    toJSON() { return this.href; }
  }

  class URLSearchParams {
    #list = []; #url = null;
    static {
      refresh = (params) => { params.#list = params.#url.query === null ? [] : readForm(params.#url.query); };
      attach = (params, url) => { params.#url = url; refresh(params); };
    }
    constructor(init = "") {
      if ((typeof init === "object" || typeof init === "function") && init !== null) {
        if (init[Symbol.iterator] !== undefined) {
          for (const pair of init) {
            const both = [...pair];
            if (both.length !== 2) throw new TypeError("URLSearchParams() wants pairs of a name and a value");
            this.append(both[0], both[1]);
          }
        } else for (const name of ownKeys(init)) if (Object.getOwnPropertyDescriptor(init, name)?.enumerable) this.set(name, init[name]);
        return;
      }
      const str = `${init}`;
      this.#list = readForm(str[0] === "?" ? str.slice(1) : str);
    }
    #changed() { if (this.#url !== null) this.#url.query = this.#list.length === 0 ? null : this.toString(); }
    append(name, value) { push_(this.#list, [scalar(name), scalar(value)]); this.#changed(); }
    delete(name, value) { const n = scalar(name), v = value === undefined ? value : scalar(value); this.#list = this.#list.filter((pair) => pair[0] !== n || (v !== undefined && pair[1] !== v)); this.#changed(); }
    get(name) { const n = scalar(name); return this.#list.find((pair) => pair[0] === n)?.[1] ?? null; }
    getAll(name) { const n = scalar(name); return this.#list.filter((pair) => pair[0] === n).map((pair) => pair[1]); }
    has(name, value) { const n = scalar(name), v = value === undefined ? value : scalar(value); return this.#list.some((pair) => pair[0] === n && (v === undefined || pair[1] === v)); }
    set(name, value) {
      const n = scalar(name), at = this.#list.findIndex((pair) => pair[0] === n);
      if (at < 0) return this.append(name, value);
      this.#list = this.#list.filter((pair, i) => i <= at || pair[0] !== n);
      this.#list[at] = [n, scalar(value)];
      this.#changed();
    }
    sort() { this.#list.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0)); this.#changed(); }
    forEach(callback, self) { for (const [name, value] of this) callback.call(self, value, name, this); }
    *entries() { for (let i = 0; i < this.#list.length; i++) yield [this.#list[i][0], this.#list[i][1]]; }
    *keys() { for (const pair of this.entries()) yield pair[0]; }
    *values() { for (const pair of this.entries()) yield pair[1]; }
    [Symbol.iterator]() { return this.entries(); }
    get size() { return this.#list.length; }
    toString() { return this.#list.map((pair) => `${formEscaped(pair[0])}=${formEscaped(pair[1])}`).join("&"); }
  }
  const scalar = (value) => `${value}`.toWellFormed();
  const formEscaped = (str) => encode(str).replace(/[!'()~]/g, percent).replace(/%20/g, "+");
  const formText = (str) => { const spaced = str.replace(/\+/g, " "); return spaced.includes("%") ? fromUTF8.decode(percentDecoded(spaced)) : spaced.toWellFormed(); };
  const readForm = (str) => str.split("&").filter((part) => part !== "").map((part) => {
    const cut = part.indexOf("=");
    return cut < 0 ? [formText(part), ""] : [formText(part.slice(0, cut)), formText(part.slice(cut + 1))];
  });
  define("URL", URL);
  define("URLSearchParams", URLSearchParams);
