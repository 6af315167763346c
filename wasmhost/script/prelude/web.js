  // ---- DOMException and structuredClone

  const domCodes = { __proto__: null, IndexSizeError: 1, InvalidCharacterError: 5, NotSupportedError: 9, InvalidStateError: 11, SyntaxError: 12, InvalidAccessError: 15, AbortError: 20, TimeoutError: 23, DataCloneError: 25 };
  class DOMException extends Error {
    #name;
    constructor(message = "", name = "Error") { super(`${message}`); this.#name = `${name}`; }
    get name() { return this.#name; }
    get code() { return domCodes[this.#name] ?? 0; }
  }
  define("DOMException", DOMException);

  const kindOf = (value) => apply(Object.prototype.toString, value, []);
  const typedArray = Object.getPrototypeOf(Uint8Array);
  const errorTypes = { __proto__: null, Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
  const uncloneable = (what) => { throw new DOMException(`${what} can't be cloned`, "DataCloneError"); };
  const cloned = (value, seen) => {
    if (typeof value === "symbol" || typeof value === "function") uncloneable(`a ${typeof value}`);
    if (typeof value !== "object" || value === null) return value;
    const before = seen.get(value);
    if (before !== undefined) return before;
    const keep = (copy) => { seen.set(value, copy); return copy; };
    if (value instanceof Boolean || value instanceof Number || value instanceof String || value instanceof BigInt) return keep(Object(value.valueOf()));
    if (value instanceof Date) return keep(new Date(value.getTime()));
    if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
    if (value instanceof ArrayBuffer) return keep(value.slice(0));
    if (ArrayBuffer.isView(value)) {
      const buffer = cloned(value.buffer, seen), type = value instanceof DataView ? DataView : globalThis[value[Symbol.toStringTag]];
      return keep(new type(buffer, value.byteOffset, value instanceof DataView ? value.byteLength : value.length));
    }
    if (value instanceof Map) {
      const copy = keep(new Map());
      for (const [k, v] of [...value]) copy.set(cloned(k, seen), cloned(v, seen));
      return copy;
    }
    if (value instanceof Set) {
      const copy = keep(new Set());
      for (const v of [...value]) copy.add(cloned(v, seen));
      return copy;
    }
    if (value instanceof Blob) return keep(value instanceof File ? new File([value], value.name, value) : value.slice(0, value.size, value.type));
    if (value instanceof DOMException) return keep(new DOMException(value.message, value.name));
    if (value instanceof Error) {
      const copy = keep(create((errorTypes[value.name] ?? Error).prototype));
      for (const name of ["stack", "message", "cause"]) if (Object.hasOwn(value, name)) defineProperty(copy, name, { value: name === "cause" ? cloned(value.cause, seen) : `${value[name]}`, writable: true, configurable: true, enumerable: false });
      return copy;
    }
    if (value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef || value instanceof Promise) uncloneable(kindOf(value));
    const copy = keep(isArray(value) ? new Array(value.length) : {});
    for (const name of keys(value)) defineProperty(copy, name, { value: cloned(value[name], seen), writable: true, configurable: true, enumerable: true });
    return copy;
  };
  define("structuredClone", function structuredClone(value, options = {}) {
    if (arguments.length === 0) throw new TypeError("structuredClone() wants a value");
    const seen = new Map(), moved = [...(options?.transfer ?? [])];
    for (const item of moved) {
      if (!(item instanceof ArrayBuffer) || item.detached || seen.has(item)) throw new DOMException("only an ArrayBuffer can be transferred, once", "DataCloneError");
      seen.set(item, item);
    }
    const buffers = new Map();
    for (const item of moved) { const copy = new ArrayBuffer(item.byteLength); seen.set(item, copy); buffers.set(item, copy); }
    const copy = cloned(value, seen);
    for (const [item, to] of buffers) { new bytesOf(to).set(new bytesOf(item)); item.transfer(); }
    return copy;
  });

  // ---- events and AbortSignal

  class Event {
    #type; #cancelable; #prevented = false;
    constructor(type, { cancelable = false } = {}) { this.#type = `${type}`; this.#cancelable = !!cancelable; this.target = this.currentTarget = null; }
    get type() { return this.#type; }
    get cancelable() { return this.#cancelable; }
    get defaultPrevented() { return this.#prevented; }
    preventDefault() { if (this.#cancelable) this.#prevented = true; }
    stopImmediatePropagation() { stopped.add(this); }
  }
  const stopped = new WeakSet();
  class EventTarget {
    #listeners = [];
    addEventListener(type, callback, options) {
      if (callback === null || callback === undefined) return;
      const { once = false, signal } = typeof options === "object" && options !== null ? options : {};
      if (signal?.aborted || this.#listeners.some((l) => l.type === `${type}` && l.callback === callback)) return;
      push_(this.#listeners, { type: `${type}`, callback, once });
      signal?.addEventListener("abort", () => this.removeEventListener(type, callback));
    }
    removeEventListener(type, callback) { this.#listeners = this.#listeners.filter((l) => l.type !== `${type}` || l.callback !== callback); }
    dispatchEvent(event) {
      event.target = event.currentTarget = this;
      for (const l of this.#listeners.filter((l) => l.type === event.type)) {
        if (!this.#listeners.includes(l)) continue; // removed meanwhile
        if (l.once) this.removeEventListener(l.type, l.callback);
        try { if (typeof l.callback === "function") l.callback.call(this, event); else l.callback.handleEvent(event); } catch (thrown) { fail(thrown); }
        if (stopped.has(event)) break;
      }
      event.currentTarget = null;
      return !event.defaultPrevented;
    }
  }
  define("Event", Event);
  define("EventTarget", EventTarget);

  let makeSignal, abortSignal;
  class AbortSignal extends EventTarget {
    #aborted = false; #reason; #dependents = []; #handler = null;
    static #made = false;
    static {
      makeSignal = () => { AbortSignal.#made = true; return new AbortSignal(); };
      abortSignal = (signal, reason) => {
        if (signal.#aborted) return;
        const all = [signal];
        for (let i = 0; i < all.length; i++) {
          all[i].#aborted = true;
          all[i].#reason = reason === undefined ? new DOMException("the operation was aborted", "AbortError") : reason;
          reason = all[i].#reason;
          for (const d of all[i].#dependents) if (!d.#aborted && !all.includes(d)) push_(all, d);
        }
        for (const s of all) s.dispatchEvent(new Event("abort"));
      };
    }
    constructor() {
      if (!AbortSignal.#made) throw new TypeError("an AbortSignal is made by an AbortController, or by abort(), any() or timeout()");
      AbortSignal.#made = false;
      super();
    }
    static abort(reason) { const signal = makeSignal(); abortSignal(signal, reason); return signal; }
    static timeout(ms) {
      const signal = makeSignal();
      if (!(ms >= 0 && ms <= Number.MAX_SAFE_INTEGER)) throw new TypeError("AbortSignal.timeout() wants milliseconds from 0");
      startTimer(() => abortSignal(signal, new DOMException("the time is over", "TimeoutError")), ms);
      return signal;
    }
    static any(signals) {
      const any = makeSignal(), all = [...signals];
      for (const s of all) if (!(s instanceof AbortSignal)) throw new TypeError("AbortSignal.any() wants signals");
      const first = all.find((s) => s.#aborted);
      if (first !== undefined) abortSignal(any, first.#reason); else for (const s of all) push_(s.#dependents, any);
      return any;
    }
    get aborted() { return this.#aborted; }
    get reason() { return this.#reason; }
    throwIfAborted() { if (this.#aborted) throw this.#reason; }
    get onabort() { return this.#handler; }
    set onabort(handler) {
      if (this.#handler !== null) this.removeEventListener("abort", this.#handler);
      this.#handler = typeof handler === "function" ? handler : null;
      this.addEventListener("abort", this.#handler);
    }
  }
  class AbortController {
    #signal = makeSignal();
    get signal() { return this.#signal; }
    abort(reason) { abortSignal(this.#signal, reason); }
  }
  define("AbortSignal", AbortSignal);
  define("AbortController", AbortController);

  // ---- Blob, File and FormData

  const bytesIn = (value) => (ArrayBuffer.isView(value) ? new bytesOf(value.buffer, value.byteOffset, value.byteLength) : new bytesOf(value));
  const joined = (parts) => {
    let length = 0;
    for (const p of parts) length += p.length;
    const all = new bytesOf(length);
    length = 0;
    for (const p of parts) { all.set(p, length); length += p.length; }
    return all;
  };
  const decoded = (bytes) => new TextDecoder().decode(bytes);
  let peek; // the bytes of a Blob, which nobody may change
  class Blob {
    #bytes; #type;
    static { peek = (blob) => blob.#bytes; }
    constructor(parts = [], { type = "", endings = "transparent" } = {}) {
      if (typeof parts !== "object" || parts === null || parts[Symbol.iterator] === undefined) throw new TypeError("Blob() wants a list of parts");
      this.#bytes = joined([...parts].map((part) => {
        if (part instanceof Blob) return part.#bytes;
        if (ArrayBuffer.isView(part) || part instanceof ArrayBuffer) return bytesIn(part);
        const str = `${part}`;
        return utf8.encode(endings === "native" ? str.replace(/\r\n?/g, "\n") : str);
      }));
      this.#type = /[^ -~]/.test(`${type}`) ? "" : `${type}`.toLowerCase();
    }
    get size() { return this.#bytes.length; }
    get type() { return this.#type; }
    slice(start = 0, end = this.size, type = "") { const part = new Blob([], { type }); part.#bytes = this.#bytes.slice(start, end); if (end < start && end >= 0 && start >= 0) part.#bytes = new bytesOf(0); return part; }
    async text() { return decoded(this.#bytes); }
    async bytes() { return this.#bytes.slice(); }
    async arrayBuffer() { return this.#bytes.slice().buffer; }
  }
  class File extends Blob {
    #name; #modified;
    constructor(parts, name, options = {}) {
      if (arguments.length < 2) throw new TypeError("File() wants parts and a name");
      super(parts, options);
      this.#name = scalar(name);
      this.#modified = options.lastModified === undefined ? Date.now() : Math.trunc(options.lastModified) || 0;
    }
    get name() { return this.#name; }
    get lastModified() { return this.#modified; }
  }
  class FormData {
    #list = [];
    #entry(name, value, file) {
      if (!(value instanceof Blob)) return [scalar(name), scalar(value)];
      if (value instanceof File && file === undefined) return [scalar(name), value];
      return [scalar(name), new File([value], file ?? "blob", { type: value.type })];
    }
    append(name, value, file) { push_(this.#list, this.#entry(name, value, file)); }
    set(name, value, file) {
      const entry = this.#entry(name, value, file), at = this.#list.findIndex((pair) => pair[0] === entry[0]);
      if (at < 0) return void push_(this.#list, entry);
      this.#list = this.#list.filter((pair, i) => i <= at || pair[0] !== entry[0]);
      this.#list[at] = entry;
    }
    delete(name) { this.#list = this.#list.filter((pair) => pair[0] !== scalar(name)); }
    get(name) { return this.#list.find((pair) => pair[0] === scalar(name))?.[1] ?? null; }
    getAll(name) { return this.#list.filter((pair) => pair[0] === scalar(name)).map((pair) => pair[1]); }
    has(name) { return this.#list.some((pair) => pair[0] === scalar(name)); }
    forEach(callback, self) { for (const [name, value] of this) callback.call(self, value, name, this); }
    *entries() { for (let i = 0; i < this.#list.length; i++) yield [this.#list[i][0], this.#list[i][1]]; }
    *keys() { for (const pair of this.entries()) yield pair[0]; }
    *values() { for (const pair of this.entries()) yield pair[1]; }
    [Symbol.iterator]() { return this.entries(); }
  }
  define("Blob", Blob);
  define("File", File);
  define("FormData", FormData);

  const lines = (str) => str.replace(/\r\n?|\n/g, "\r\n");
  const quoted = (str) => str.replace(/[\r\n"]/g, percent);
  const multipart = (form, boundary) => {
    const parts = [];
    for (const [name, value] of form) {
      let head = `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(lines(name))}"`;
      if (value instanceof Blob) {
        head += `; filename="${quoted(value.name)}"\r\nContent-Type: ${value.type || "application/octet-stream"}`;
        parts.push(utf8.encode(`${head}\r\n\r\n`), peek(value), utf8.encode("\r\n"));
      } else push_(parts, utf8.encode(`${head}\r\n\r\n${lines(value)}\r\n`));
    }
    push_(parts, utf8.encode(`--${boundary}--\r\n`));
    return joined(parts);
  };
  const find = (bytes, what, from) => {
    for (let i = bytes.indexOf(what[0], from); i >= 0 && i + what.length <= bytes.length; i = bytes.indexOf(what[0], i + 1)) {
      let k = 1;
      while (k < what.length && bytes[i + k] === what[k]) k++;
      if (k === what.length) return i;
    }
    return -1;
  };
  const readMultipart = (bytes, boundary) => {
    const bad = () => { throw new TypeError("the body is no multipart/form-data"); };
    const form = new FormData(), mark = utf8.encode(`\r\n--${boundary}`), gap = utf8.encode("\r\n\r\n");
    const all = joined([mark.subarray(0, 2), bytes]);
    for (let at = find(all, mark, 0); ;) {
      if (at < 0) bad();
      at += mark.length;
      if (all[at] === 45 && all[at + 1] === 45) return form;
      if (all[at] !== 13) bad();
      const end = find(all, gap, at), next = find(all, mark, end);
      if (end < 0 || next < 0) bad();
      const head = decoded(all.subarray(at + 2, end)), content = all.slice(end + 4, next);
      const field = (pattern) => pattern.exec(head)?.[1].replace(/%0A/gi, "\n").replace(/%0D/gi, "\r").replace(/%22/g, '"');
      const name = field(/^content-disposition:\s*form-data;.*?\bname="([^"]*)"/im), file = field(/^content-disposition:.*?\bfilename="([^"]*)"/im);
      if (name === undefined) bad();
      form.append(name, file === undefined ? decoded(content) : new File([content], file, { type: /^content-type:\s*(.*)$/im.exec(head)?.[1].trim() ?? "text/plain" }));
      at = next;
    }
  };

  // ---- Headers, Request, Response and fetch, over the capability http

  const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
  const headerName = (name) => {
    const str = `${name}`;
    if (!token.test(str)) throw new TypeError(`"${str}" is no name of a header`);
    return str.toLowerCase();
  };
  const headerValue = (value) => {
    const str = `${value}`.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
    if (/[\0\n\r]|[^\0-\xff]/.test(str)) throw new TypeError("a header's value has a character that can't be sent");
    return str;
  };
  class Headers {
    #list = create(null); #cookies = [];
    constructor(init) {
      if (init === undefined) return;
      if (typeof init !== "object" || init === null) throw new TypeError("Headers() wants an object or pairs");
      if (init[Symbol.iterator] !== undefined) {
        for (const pair of init) {
          const both = [...pair];
          if (both.length !== 2) throw new TypeError("Headers() wants pairs of a name and a value");
          this.append(both[0], both[1]);
        }
      } else for (const name of ownKeys(init)) if (Object.getOwnPropertyDescriptor(init, name)?.enumerable) this.append(name, init[name]);
    }
    append(name, value) {
      const key = headerName(name), str = headerValue(value);
      if (key === "set-cookie") push_(this.#cookies, str);
      this.#list[key] = this.#list[key] === undefined ? str : `${this.#list[key]}, ${str}`;
    }
    set(name, value) {
      const key = headerName(name);
      this.#list[key] = headerValue(value);
      if (key === "set-cookie") this.#cookies = [this.#list[key]];
    }
    get(name) { return this.#list[headerName(name)] ?? null; }
    has(name) { return this.#list[headerName(name)] !== undefined; }
    delete(name) { const key = headerName(name); delete this.#list[key]; if (key === "set-cookie") this.#cookies = []; }
    getSetCookie() { return [...this.#cookies]; }
    forEach(callback, self) { for (const [name, value] of this) callback.call(self, value, name, this); }
    #sorted() { return keys(this.#list).sort().flatMap((name) => (name === "set-cookie" ? this.#cookies.map((c) => [name, c]) : [[name, this.#list[name]]])); }
    *entries() { for (let i = 0, pair; (pair = this.#sorted()[i]) !== undefined; i++) yield pair; }
    *keys() { for (const pair of this.entries()) yield pair[0]; }
    *values() { for (const pair of this.entries()) yield pair[1]; }
    [Symbol.iterator]() { return this.entries(); }
  }

  // bodyOf is what is given as a body, as a text or bytes, and the media type that goes with it.
  const bodyOf = (body) => {
    if (body === undefined || body === null) return { content: null };
    if (body instanceof URLSearchParams) return { content: body.toString(), type: "application/x-www-form-urlencoded;charset=UTF-8" };
    if (body instanceof Blob) return { content: peek(body).slice(), type: body.type || undefined };
    if (body instanceof FormData) {
      const boundary = `----genkit-${Array.from(random(12), (b) => hex[b >> 4] + hex[b & 15]).join("")}`;
      return { content: multipart(body, boundary), type: `multipart/form-data; boundary=${boundary}` };
    }
    if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer) return { content: bytesIn(body).slice() };
    return { content: scalar(body), type: "text/plain;charset=UTF-8" };
  };
  const unbase64 = (str) => {
    const binary = atob(str), bytes = new bytesOf(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = apply(charCodeAt, binary, [i]);
    return bytes;
  };
  const toBase64 = (bytes) => { let str = ""; for (let i = 0; i < bytes.length; i++) str += fromCharCode(bytes[i]); return btoa(str); };
  const { atob, btoa } = globalThis;
  let hold, contentOf; // a body's content is a text, bytes, or null where there is none
  class Body {
    #content = null; #used = false;
    static {
      hold = (body, content) => { body.#content = content; };
      contentOf = (body, take) => {
        if (body.#used) throw new TypeError("the body was read already");
        if (take && body.#content !== null) body.#used = true;
        return body.#content;
      };
    }
    get bodyUsed() { return this.#used; }
    async text() { const content = contentOf(this, true) ?? ""; return typeof content === "string" ? content.replace(/^\ufeff/, "") : decoded(content); }
    async json() { return parse(await this.text()); }
    async bytes() { const content = contentOf(this, true) ?? ""; return typeof content === "string" ? utf8.encode(content) : content; }
    async arrayBuffer() { const bytes = await this.bytes(); return bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer; }
    async blob() { return new Blob([await this.bytes()], { type: this.headers.get("content-type") ?? "" }); }
    async formData() {
      const type = this.headers.get("content-type") ?? "", form = new FormData();
      if (/^application\/x-www-form-urlencoded\b/i.test(type)) for (const [name, value] of new URLSearchParams(await this.text())) form.append(name, value);
      else {
        const boundary = /^multipart\/form-data\b.*;\s*boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(type);
        if (boundary === null) throw new TypeError("the body is no form");
        return readMultipart(await this.bytes(), boundary[1] ?? boundary[2]);
      }
      return form;
    }
  }
  class Request extends Body {
    #url; #method; #headers; #signal; #redirect;
    constructor(input, init = {}) {
      super();
      const from = input instanceof Request ? input : undefined;
      const url = from === undefined ? URL.parse(input) : new URL(from.#url);
      if (url === null) throw new TypeError(`"${input}" is no URL; there is no page that it could be relative to`);
      if (url.username !== "" || url.password !== "") throw new TypeError("a URL with a user or a password can't be fetched");
      this.#url = url.href;
      const method = init.method === undefined ? from?.method ?? "GET" : `${init.method}`;
      if (!token.test(method) || /^(connect|trace|track)$/i.test(method)) throw new TypeError(`the method "${method}" can't be used`);
      this.#method = /^(delete|get|head|options|patch|post|put)$/i.test(method) ? method.toUpperCase() : method;
      this.#headers = new Headers(init.headers ?? from?.headers);
      this.#signal = init.signal === undefined || init.signal === null ? from?.signal ?? makeSignal() : AbortSignal.any([init.signal]);
      this.#redirect = init.redirect ?? from?.redirect ?? "follow";
      if (this.#redirect !== "follow") throw new TypeError('redirects are followed by the host; "redirect" may be "follow" alone');
      let body;
      if (init.body !== undefined && init.body !== null) body = bodyOf(init.body);
      else if (from !== undefined) body = { content: contentOf(from, true) };
      else return;
      if (body.content !== null && (this.#method === "GET" || this.#method === "HEAD")) throw new TypeError(`a ${this.#method} request has no body`);
      if (body.type !== undefined && !this.#headers.has("content-type")) this.#headers.append("content-type", body.type);
      hold(this, body.content);
    }
    get url() { return this.#url; }
    get method() { return this.#method; }
    get headers() { return this.#headers; }
    get signal() { return this.#signal; }
    get redirect() { return this.#redirect; }
    clone() { const content = contentOf(this, false), copy = new Request(this.#url, { method: this.#method, headers: this.#headers, signal: this.#signal }); hold(copy, copyOf(content)); return copy; }
  }
  const copyOf = (content) => (typeof content === "string" || content === null ? content : content.slice());
  let fetched;
  class Response extends Body {
    #status; #statusText; #headers; #url = ""; #type = "default"; #redirected = false;
    static {
      fetched = (reply, url) => {
        const r = new Response(null, { headers: reply.headers });
        r.#status = reply.status; r.#url = url; r.#type = "basic"; r.#redirected = false;
        hold(r, reply.body ?? unbase64(reply.bodyBase64 ?? ""));
        return r;
      };
    }
    constructor(body, init = {}) {
      super();
      const status = init.status === undefined ? 200 : Math.trunc(init.status);
      if (!(status >= 200 && status <= 599)) throw new RangeError("a response's status is from 200 to 599");
      const statusText = `${init.statusText ?? ""}`;
      if (/[^\t -~\x80-\xff]/.test(statusText)) throw new TypeError("the status text has a character that can't be sent");
      this.#status = status; this.#statusText = statusText; this.#headers = new Headers(init.headers);
      const { content, type } = bodyOf(body);
      if (content !== null && [204, 205, 304].includes(status)) throw new TypeError(`a response of the status ${status} has no body`);
      if (type !== undefined && !this.#headers.has("content-type")) this.#headers.append("content-type", type);
      hold(this, content);
    }
    static error() { const r = new Response(); r.#status = 0; r.#type = "error"; return r; }
    static json(value, init = {}) {
      const json = stringify(value), headers = new Headers(init.headers);
      if (json === undefined) throw new TypeError("the value is no JSON");
      if (!headers.has("content-type")) headers.set("content-type", "application/json");
      return new Response(json, { ...init, headers });
    }
    static redirect(url, status = 302) {
      if (![301, 302, 303, 307, 308].includes(status)) throw new RangeError(`${status} is no status of a redirect`);
      const r = new Response(null, { headers: { location: new URL(url).href } });
      r.#status = status;
      return r;
    }
    get status() { return this.#status; }
    get statusText() { return this.#statusText; }
    get ok() { return this.#status >= 200 && this.#status < 300; }
    get headers() { return this.#headers; }
    get url() { return this.#url; }
    get type() { return this.#type; }
    get redirected() { return this.#redirected; }
    clone() {
      const r = new Response(null, { headers: this.#headers, statusText: this.#statusText });
      r.#status = this.#status; r.#url = this.#url; r.#type = this.#type;
      hold(r, copyOf(contentOf(this, false)));
      return r;
    }
  }
  define("Headers", Headers);
  define("Request", Request);
  define("Response", Response);
  define("fetch", async function fetch(input, init) {
    const r = new Request(input, init);
    r.signal.throwIfAborted();
    const request = { url: r.url, method: r.method }, content = contentOf(r, true);
    if (typeof content === "string") request.body = content; else if (content !== null) request.bodyBase64 = toBase64(content);
    const given = {};
    for (const [name, value] of r.headers) given[name] = value;
    if (keys(given).length > 0) request.headers = given;
    return fetched(ask(HTTP, request), r.url);
  });
