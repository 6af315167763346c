// Types of what a script finds on genkit-wasm: the module "genkit", and the globals that the server has. They are complete: what
// is not declared here and not of ECMAScript 2023 does not exist. So a tsconfig.json says "lib": ["ES2023"], without "DOM", and
// "types": []. Nothing of this file is needed to upload a script.

declare module "genkit" {
  /** A value of JSON. */
  export type JSONValue = string | number | boolean | null | JSONValue[] | { [name: string]: JSONValue };

  /** JSON Schema 2020-12. */
  export type JSONSchema = boolean | { readonly [keyword: string]: unknown };

  const typeOf: unique symbol;

  /** A schema of `s`, for values of the type T. Optional says that a member of an object may be left out. */
  export interface Schema<T, Optional extends boolean = false> {
    readonly [typeOf]?: { type: T; optional: Optional };
    optional(): Schema<T, true>;
    describe(description: string): Schema<T, Optional>;
    nullable(): Schema<T | null, Optional>;
    toJSON(): JSONSchema;
  }

  /** What a tool's schema may be: of `s`, of a library that follows Standard Schema (zod 4) or TypeBox, or JSON Schema. */
  export type AnySchema = Schema<any, boolean> | StandardSchema | { readonly static: unknown } | JSONSchema | object;
  interface StandardSchema {
    readonly "~standard": { readonly types?: { readonly input: unknown; readonly output: unknown } | undefined };
  }

  /** The type of a value of a schema: `type City = Infer<typeof city>`. It is `any` for plain JSON Schema, which says no type. */
  export type Infer<S> = S extends Schema<infer T, boolean> ? T
    : S extends StandardSchema ? NonNullable<S["~standard"]["types"]>["input"]
    : S extends { readonly static: infer T } ? T
    : any;

  type Properties = { readonly [name: string]: Schema<any, boolean> };
  type Flat<T> = { [K in keyof T]: T[K] };
  type ObjectOf<P extends Properties> = Flat<
    { [K in keyof P as P[K] extends Schema<any, true> ? never : K]: Infer<P[K]> } &
    { [K in keyof P as P[K] extends Schema<any, true> ? K : never]?: Infer<P[K]> }>;

  /** JSON Schema's keywords, such as `{ description, minLength, default }`. */
  export type Keywords = { readonly description?: string; readonly default?: unknown; readonly [keyword: string]: unknown };

  interface Schemas {
    string(keywords?: Keywords): Schema<string>;
    number(keywords?: Keywords): Schema<number>;
    integer(keywords?: Keywords): Schema<number>;
    boolean(keywords?: Keywords): Schema<boolean>;
    null(keywords?: Keywords): Schema<null>;
    any(): Schema<any>;
    literal<const T extends JSONValue>(value: T): Schema<T>;
    enum<const T extends readonly JSONValue[]>(values: T): Schema<T[number]>;
    enum<const T extends readonly JSONValue[]>(...values: T): Schema<T[number]>;
    array<T>(items: Schema<T, boolean>, keywords?: Keywords): Schema<T[]>;
    record<T>(values: Schema<T, boolean>, keywords?: Keywords): Schema<{ [name: string]: T }>;
    union<const S extends readonly Schema<any, boolean>[]>(...anyOf: S): Schema<Infer<S[number]>>;
    /** An object with these members and no others, unless the keywords say `additionalProperties`. */
    object<P extends Properties>(properties: P, keywords?: Keywords): Schema<ObjectOf<P>>;
  }
  /** Makes schemas that know their types. */
  export const s: Schemas;

  type Awaitable<T> = T | PromiseLike<T>;
  type Given<S> = [S] extends [undefined] ? any : Infer<S>;
  type Result<S> = [S] extends [undefined] ? unknown : Infer<S>;

  /** Declares a tool; for the top level of the script. It returns `run`. */
  export function tool<I extends AnySchema | undefined = undefined, O extends AnySchema | undefined = undefined, Multipart extends boolean = false>(declaration: {
    /** 1 to 64 letters, digits, "_", "." and "-". */
    name: string;
    /** For models: what it does, and when to use it. */
    description?: string;
    input?: I;
    output?: O;
    metadata?: { readonly [name: string]: unknown };
    /** The result is `{ output?, content?: Part[], metadata? }`, and `output` its schema. */
    multipart?: Multipart;
    run(input: Given<I>, genkit: Genkit): Awaitable<Multipart extends true ? { output?: Result<O>; content?: Part[]; metadata?: object } : Result<O>>;
  }): (input: Given<I>, genkit: Genkit) => unknown;

  /** What a hook knows beside its request. */
  export interface HookContext<C> {
    /** The config of the generate call; undefined where it gives none. */
    readonly config: C | undefined;
    /** The name of the model, where it is known. */
    readonly model: string | undefined;
    readonly genkit: Genkit;
  }
  /** Continues the chain, with the hook's request or another. It is no promise. What it throws may be thrown on. */
  export type Next<Request, Answer> = (request?: Request) => Answer;
  type Hook<Request, Answer, C> = (request: Request, next: Next<Request, Answer>, context: HookContext<C>) => Awaitable<Answer>;

  /** Declares a middleware, with at least one hook; for the top level of the script. */
  export function defineMiddleware<C extends AnySchema | undefined = undefined>(declaration: {
    name: string;
    description?: string;
    /** The schema of its config. */
    config?: C;
    /** What becomes of the chunks of what it wraps: "withhold", the default, drops them. */
    chunks?: "withhold" | "pass";
    /** Wraps an iteration of the loop and those after it. */
    generate?: Hook<GenerateCall, GenerateResponse, Given<C>>;
    /** Wraps a call of the model. */
    model?: Hook<GenerateRequest, GenerateResponse, Given<C>>;
    /** Wraps an execution of a tool: a part with a `toolRequest` in, one with a `toolResponse` out. */
    tool?: Hook<Part, Part | null, Given<C>>;
  }): void;

  /** What a format's functions know beside their text. */
  export interface FormatContext {
    /** What the caller asks of the output. */
    readonly schema: JSONSchema | undefined;
    /** In parse: the whole message. */
    readonly message: Message | undefined;
    /** In parseChunk: the end of the text, which is new. */
    readonly delta: string | undefined;
    readonly genkit: Genkit;
  }
  /** Declares an output format; for the top level of the script. */
  export function defineFormat(declaration: {
    name: string;
    description?: string;
    contentType?: string;
    /** Asks the model to enforce the schema. */
    constrained?: boolean;
    /** false: the instructions are given only when the caller asks for them. */
    defaultInstructions?: boolean;
    /** Tells the model what is wanted. */
    instructions?: string | ((schema: JSONSchema | undefined, context: FormatContext) => Awaitable<string | null | undefined>);
    /** Reads the text of a whole message; null or undefined for no value. */
    parse(text: string, context: FormatContext): unknown;
    /** Reads the text so far, while it streams; null or undefined for nothing new. */
    parseChunk?(text: string, context: FormatContext): unknown;
  }): void;

  type Run<Request, Response> = (request: Request, genkit: Genkit) => Awaitable<Response>;
  /** What most actions say of themselves; config is the schema of their options. */
  interface ActionDeclaration<C, Request, Response> {
    name: string;
    description?: string;
    config?: C;
    info?: { readonly [name: string]: unknown };
    run: Run<Request, Response>;
  }
  type Config = AnySchema | undefined;

  /** Declares an embedder: documents to vectors, one or more for each. */
  export function defineEmbedder<C extends Config = undefined>(declaration: ActionDeclaration<C, { input: Document[]; options?: Given<C> },
    { embeddings: { embedding: number[]; metadata?: object }[] }>): void;
  /** Declares an evaluator, which is given one case a call. */
  export function defineEvaluator<C extends Config = undefined>(declaration: ActionDeclaration<C,
    { dataset: { testCaseId: string; input?: any; output?: any; context?: any[]; reference?: any }[]; evalRunId: string; options?: Given<C> },
    { testCaseId: string; evaluation: Score | Score[] }[]>): void;
  export interface Score {
    id?: string;
    score?: number | string | boolean;
    status?: "UNKNOWN" | "PASS" | "FAIL";
    error?: string;
    details?: { reasoning?: string; [name: string]: unknown };
  }
  /** Declares a retriever. */
  export function defineRetriever<C extends Config = undefined>(declaration: ActionDeclaration<C, { query: Document; options?: Given<C> }, { documents: Document[] }>): void;
  /** Declares an indexer. Its result is not looked at. */
  export function defineIndexer<C extends Config = undefined>(declaration: ActionDeclaration<C, { documents: Document[]; options?: Given<C> }, unknown>): void;
  /** Declares a reranker: documents with `metadata.score`, the best first. */
  export function defineReranker<C extends Config = undefined>(declaration: ActionDeclaration<C, { query: Document; documents: Document[]; options?: Given<C> }, { documents: Document[] }>): void;
  /** Declares a model; `genkit.emit` streams a chunk. */
  export function defineModel<C extends Config = undefined>(declaration: ActionDeclaration<C, GenerateRequest, GenerateResponse>): void;
  /** Declares a resource, by its address or a URI template; the host puts `wasm://<module>/` before it. */
  export function defineResource(declaration: {
    name: string; description?: string; info?: { readonly [name: string]: unknown };
    run: Run<{ uri: string; variables?: { [name: string]: any } }, { content: Part[] }>;
  } & ({ uri: string; template?: undefined } | { template: string; uri?: undefined })): void;
  /** Declares a prompt: the text of a file in the dotprompt format. Nothing of the script runs for it. */
  export function definePrompt(declaration: { name: string; description?: string; source: string }): void;

  // ---- capabilities: what is not listed in requests, or not granted by the policy, throws a GenkitError

  export interface Requests {
    http?: { host: string; methods?: string[]; pathPrefix?: string }[];
    kv?: boolean;
    secrets?: string[];
    /** Models, as patterns: "openai/*". */
    generate?: string[];
    /** Actions, as patterns: "tool/*". */
    actions?: string[];
    clock?: boolean;
  }
  /** Says more of the module, and lists what it asks for; for the top level of the script. */
  export function module(declaration: { name?: string; version?: string; description?: string; requests?: Requests }): void;

  /** Streams a chunk to the caller. */
  export function emit(chunk: unknown): void;
  /** Ends the run to ask the caller something. It never returns. */
  export function interrupt(metadata?: { readonly [name: string]: unknown } | null): never;
  /** What the caller has answered to this tool's interrupt; null in a first run. */
  export function resumed(): { resumed: true | { [name: string]: any }; originalInput?: any } | null;
  /** The caller's context. */
  export function context(): { [name: string]: any };
  /** The time, RFC 3339 with nanoseconds; needs the capability clock. */
  export function now(): string;
  /** A request over the capability http; `fetch` is the same as browsers have it. */
  export function http(request: { method?: string; url: string; headers?: { [name: string]: string }; body?: string; bodyBase64?: string }): {
    status: number; headers: { [name: string]: string }; body?: string; bodyBase64?: string;
  };
  /** Runs an action, such as "/tool/calc/add". */
  export function run(key: string, input?: unknown): any;
  /** Asks a model. */
  export function generate(options: GenerateOptions): GenerateResponse;
  /** The text by which a header of a request refers to a secret. */
  export function secret(name: string): string;
  /** An error with a code, for `throw`. */
  export function error(code: Code, message: string, details?: unknown): GenkitError;

  interface KV {
    get(key: string): any;
    /** Fails with ABORTED where `if` is given and another value is there; null stands for none. */
    set(key: string, value: unknown, options?: { ttlSeconds?: number; if?: unknown }): void;
    delete(key: string): void;
    list(options?: { prefix?: string; cursor?: string; limit?: number }): { keys: string[]; cursor?: string };
  }
  /** The module's key-value store. */
  export const kv: KV;

  export type Code = "CANCELLED" | "UNKNOWN" | "INVALID_ARGUMENT" | "DEADLINE_EXCEEDED" | "NOT_FOUND" | "ALREADY_EXISTS" | "PERMISSION_DENIED"
    | "UNAUTHENTICATED" | "RESOURCE_EXHAUSTED" | "FAILED_PRECONDITION" | "ABORTED" | "OUT_OF_RANGE" | "UNIMPLEMENTED" | "INTERNAL" | "UNAVAILABLE" | "DATA_LOSS";
  export class GenkitError extends Error {
    constructor(code: Code, message: string, details?: unknown);
    readonly name: string;
    readonly code: Code;
    readonly details?: any;
  }

  export interface Genkit {
    tool: typeof tool;
    defineMiddleware: typeof defineMiddleware;
    defineFormat: typeof defineFormat;
    defineEmbedder: typeof defineEmbedder;
    defineEvaluator: typeof defineEvaluator;
    defineRetriever: typeof defineRetriever;
    defineIndexer: typeof defineIndexer;
    defineReranker: typeof defineReranker;
    defineModel: typeof defineModel;
    defineResource: typeof defineResource;
    definePrompt: typeof definePrompt;
    s: typeof s;
    kv: typeof kv;
    GenkitError: typeof GenkitError;
    module: typeof module;
    emit: typeof emit;
    interrupt: typeof interrupt;
    resumed: typeof resumed;
    context: typeof context;
    now: typeof now;
    http: typeof http;
    run: typeof run;
    generate: typeof generate;
    secret: typeof secret;
    error: typeof error;
  }
  export const genkit: Genkit;
  export default genkit;

  // ---- Genkit's vocabulary. Members that are not listed are kept

  export interface Part {
    text?: string;
    media?: { url: string; contentType?: string };
    toolRequest?: { name: string; ref?: string; input?: any; partial?: boolean };
    toolResponse?: { name: string; ref?: string; output?: any; content?: Part[] };
    data?: any;
    custom?: any;
    reasoning?: string;
    resource?: { uri: string };
    metadata?: { [name: string]: any };
  }
  export interface Message {
    role: "system" | "user" | "model" | "tool";
    content: Part[];
    metadata?: { [name: string]: any };
  }
  export interface Document {
    content: Part[];
    metadata?: { [name: string]: any };
  }
  /** The request of the hook model. */
  export interface GenerateRequest {
    messages: Message[];
    config?: any;
    tools?: { name: string; key?: string; description: string; inputSchema?: JSONSchema; outputSchema?: JSONSchema; metadata?: { [name: string]: any } }[];
    toolChoice?: "auto" | "required" | "none";
    output?: { format?: string; schema?: JSONSchema; constrained?: boolean; contentType?: string };
    docs?: Document[];
  }
  /** Options of a generate call. */
  export interface GenerateOptions {
    model: string;
    docs?: Document[];
    messages: Message[];
    tools?: string[];
    resources?: string[];
    toolChoice?: "auto" | "required" | "none";
    config?: any;
    output?: { format?: string; contentType?: string; instructions?: boolean | string; jsonSchema?: JSONSchema; constrained?: boolean };
    returnToolRequests?: boolean;
    maxTurns?: number;
    stepName?: string;
    use?: { name: string; config?: any }[];
  }
  /** The request of the hook generate. */
  export interface GenerateCall {
    request: GenerateOptions;
    currentTurn: number;
    messageIndex: number;
  }
  export interface GenerateResponse {
    message?: Message;
    finishReason?: "stop" | "length" | "blocked" | "interrupted" | "other" | "unknown";
    finishMessage?: string;
    latencyMs?: number;
    usage?: { inputTokens?: number; outputTokens?: number; totalTokens?: number; [name: string]: any };
    custom?: any;
    raw?: any;
    request?: GenerateRequest;
  }
}

declare module "genkit-wasm" {
  export * from "genkit";
  export { default } from "genkit";
}

declare const tool: typeof import("genkit").tool;
declare const defineMiddleware: typeof import("genkit").defineMiddleware;
declare const defineFormat: typeof import("genkit").defineFormat;
declare const defineEmbedder: typeof import("genkit").defineEmbedder;
declare const defineEvaluator: typeof import("genkit").defineEvaluator;
declare const defineRetriever: typeof import("genkit").defineRetriever;
declare const defineIndexer: typeof import("genkit").defineIndexer;
declare const defineReranker: typeof import("genkit").defineReranker;
declare const defineModel: typeof import("genkit").defineModel;
declare const defineResource: typeof import("genkit").defineResource;
declare const definePrompt: typeof import("genkit").definePrompt;
declare const s: typeof import("genkit").s;
declare const genkit: import("genkit").Genkit;
declare function require(name: "genkit" | "genkit-wasm"): import("genkit").Genkit;

// ---- console, timers, text

interface Console {
  trace(...values: unknown[]): void;
  debug(...values: unknown[]): void;
  log(...values: unknown[]): void;
  info(...values: unknown[]): void;
  dir(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
  assert(ok: unknown, ...values: unknown[]): void;
}
/** Writes to the guest's log. */
declare const console: Console;

interface Performance {
  readonly timeOrigin: number;
  now(): number;
}
/** By the clock that Date has: it stands still unless the policy grants the real one. */
declare const performance: Performance;

declare function setTimeout<A extends unknown[]>(callback: (...values: A) => void, milliseconds?: number, ...values: A): number;
declare function setInterval<A extends unknown[]>(callback: (...values: A) => void, milliseconds?: number, ...values: A): number;
declare function clearTimeout(id: number | undefined): void;
declare function clearInterval(id: number | undefined): void;
declare function queueMicrotask(callback: () => void): void;
declare function structuredClone<T>(value: T, options?: { transfer?: ArrayBuffer[] }): T;
declare function btoa(binary: string): string;
declare function atob(base64: string): string;

type BufferSource = ArrayBufferView | ArrayBuffer;

declare class TextEncoder {
  readonly encoding: string;
  encode(input?: string): Uint8Array;
  encodeInto(input: string, into: Uint8Array): { read: number; written: number };
}
declare class TextDecoder {
  constructor(label?: "utf-8" | "utf8" | (string & {}), options?: { fatal?: boolean; ignoreBOM?: boolean });
  readonly encoding: string;
  readonly fatal: boolean;
  readonly ignoreBOM: boolean;
  decode(input?: BufferSource, options?: { stream?: boolean }): string;
}

// ---- events

declare class DOMException extends Error {
  constructor(message?: string, name?: string);
  readonly name: string;
  readonly code: number;
}
declare class Event {
  constructor(type: string, options?: { cancelable?: boolean });
  target: EventTarget | null;
  currentTarget: EventTarget | null;
  readonly type: string;
  readonly cancelable: boolean;
  readonly defaultPrevented: boolean;
  preventDefault(): void;
  stopImmediatePropagation(): void;
}
type EventListener = ((event: Event) => void) | { handleEvent(event: Event): void };
declare class EventTarget {
  addEventListener(type: string, callback: EventListener | null, options?: boolean | { once?: boolean; signal?: AbortSignal }): void;
  removeEventListener(type: string, callback: EventListener | null): void;
  dispatchEvent(event: Event): boolean;
}
declare class AbortSignal extends EventTarget {
  private constructor();
  static abort(reason?: unknown): AbortSignal;
  static timeout(milliseconds: number): AbortSignal;
  static any(signals: Iterable<AbortSignal>): AbortSignal;
  readonly aborted: boolean;
  readonly reason: any;
  throwIfAborted(): void;
  onabort: ((event: Event) => void) | null;
}
declare class AbortController {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}

// ---- URL

declare class URL {
  constructor(url: string | URL, base?: string | URL);
  static canParse(url: string | URL, base?: string | URL): boolean;
  static parse(url: string | URL, base?: string | URL): URL | null;
  href: string;
  readonly origin: string;
  protocol: string;
  username: string;
  password: string;
  host: string;
  hostname: string;
  port: string;
  pathname: string;
  search: string;
  readonly searchParams: URLSearchParams;
  hash: string;
  toString(): string;
  toJSON(): string;
}
declare class URLSearchParams {
  constructor(init?: string | URLSearchParams | Iterable<readonly [string, string]> | { readonly [name: string]: string });
  readonly size: number;
  append(name: string, value: string): void;
  delete(name: string, value?: string): void;
  get(name: string): string | null;
  getAll(name: string): string[];
  has(name: string, value?: string): boolean;
  set(name: string, value: string): void;
  sort(): void;
  forEach(callback: (value: string, name: string, params: URLSearchParams) => void, self?: unknown): void;
  entries(): IterableIterator<[string, string]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
  toString(): string;
}

// ---- fetch, over the capability http

declare class Blob {
  constructor(parts?: Iterable<BufferSource | Blob | string>, options?: { type?: string; endings?: "transparent" | "native" });
  readonly size: number;
  readonly type: string;
  slice(start?: number, end?: number, type?: string): Blob;
  text(): Promise<string>;
  bytes(): Promise<Uint8Array>;
  arrayBuffer(): Promise<ArrayBuffer>;
}
declare class File extends Blob {
  constructor(parts: Iterable<BufferSource | Blob | string>, name: string, options?: { type?: string; endings?: "transparent" | "native"; lastModified?: number });
  readonly name: string;
  readonly lastModified: number;
}
type FormDataEntryValue = File | string;
declare class FormData {
  append(name: string, value: string | Blob, file?: string): void;
  set(name: string, value: string | Blob, file?: string): void;
  delete(name: string): void;
  get(name: string): FormDataEntryValue | null;
  getAll(name: string): FormDataEntryValue[];
  has(name: string): boolean;
  forEach(callback: (value: FormDataEntryValue, name: string, form: FormData) => void, self?: unknown): void;
  entries(): IterableIterator<[string, FormDataEntryValue]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<FormDataEntryValue>;
  [Symbol.iterator](): IterableIterator<[string, FormDataEntryValue]>;
}
type HeadersInit = Headers | Iterable<readonly [string, string]> | { readonly [name: string]: string };
declare class Headers {
  constructor(init?: HeadersInit);
  append(name: string, value: string): void;
  set(name: string, value: string): void;
  get(name: string): string | null;
  has(name: string): boolean;
  delete(name: string): void;
  getSetCookie(): string[];
  forEach(callback: (value: string, name: string, headers: Headers) => void, self?: unknown): void;
  entries(): IterableIterator<[string, string]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}
type BodyInit = string | BufferSource | Blob | FormData | URLSearchParams;
interface RequestInit {
  method?: string;
  headers?: HeadersInit;
  body?: BodyInit | null;
  /** Looked at before the request alone: nothing of the script runs meanwhile. */
  signal?: AbortSignal | null;
  redirect?: "follow";
}
declare class Request {
  constructor(input: string | URL | Request, init?: RequestInit);
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly signal: AbortSignal;
  readonly redirect: "follow";
  readonly bodyUsed: boolean;
  clone(): Request;
  text(): Promise<string>;
  json(): Promise<any>;
  bytes(): Promise<Uint8Array>;
  arrayBuffer(): Promise<ArrayBuffer>;
  blob(): Promise<Blob>;
  formData(): Promise<FormData>;
}
interface ResponseInit {
  status?: number;
  statusText?: string;
  headers?: HeadersInit;
}
declare class Response {
  constructor(body?: BodyInit | null, init?: ResponseInit);
  static error(): Response;
  static json(value: unknown, init?: ResponseInit): Response;
  static redirect(url: string | URL, status?: 301 | 302 | 303 | 307 | 308): Response;
  readonly status: number;
  readonly statusText: string;
  readonly ok: boolean;
  readonly headers: Headers;
  readonly url: string;
  readonly type: "basic" | "default" | "error";
  readonly redirected: boolean;
  readonly bodyUsed: boolean;
  clone(): Response;
  text(): Promise<string>;
  json(): Promise<any>;
  bytes(): Promise<Uint8Array>;
  arrayBuffer(): Promise<ArrayBuffer>;
  blob(): Promise<Blob>;
  formData(): Promise<FormData>;
}
/** The answer is there when it is whole; there is no stream. Redirects are followed. */
declare function fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;

// ---- crypto

declare class CryptoKey {
  private constructor();
  readonly type: "secret";
  readonly extractable: boolean;
  readonly algorithm: { name: "HMAC"; hash: { name: string }; length: number };
  readonly usages: ("sign" | "verify")[];
}
type HashName = "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512";
type HMAC = { name: "HMAC"; hash: HashName | { name: HashName }; length?: number };
interface JsonWebKey {
  kty?: string;
  k?: string;
  alg?: string;
  key_ops?: string[];
  ext?: boolean;
}
interface SubtleCrypto {
  digest(algorithm: HashName | { name: HashName }, data: BufferSource): Promise<ArrayBuffer>;
  importKey(format: "raw", data: BufferSource, algorithm: HMAC, extractable: boolean, usages: ("sign" | "verify")[]): Promise<CryptoKey>;
  importKey(format: "jwk", data: JsonWebKey, algorithm: HMAC, extractable: boolean, usages: ("sign" | "verify")[]): Promise<CryptoKey>;
  exportKey(format: "raw", key: CryptoKey): Promise<ArrayBuffer>;
  exportKey(format: "jwk", key: CryptoKey): Promise<JsonWebKey>;
  generateKey(algorithm: HMAC, extractable: boolean, usages: ("sign" | "verify")[]): Promise<CryptoKey>;
  sign(algorithm: "HMAC" | { name: "HMAC" }, key: CryptoKey, data: BufferSource): Promise<ArrayBuffer>;
  verify(algorithm: "HMAC" | { name: "HMAC" }, key: CryptoKey, signature: BufferSource, data: BufferSource): Promise<boolean>;
}
interface Crypto {
  getRandomValues<T extends ArrayBufferView>(array: T): T;
  randomUUID(): string;
  readonly subtle: SubtleCrypto;
}
declare const crypto: Crypto;
