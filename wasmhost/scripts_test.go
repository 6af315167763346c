package wasmhost_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// scripted is an upload of a script.
func scripted(name, source string) wasmhost.Upload {
	return wasmhost.Upload{Name: name, Language: script.TypeScript, Wasm: []byte(source)}
}

// scriptHost is a host with the JavaScript engine, which keeps its code for all tests of a run. What bounds a call is its
// fuel: a time limit would be met by chance on a busy machine.
func scriptHost(t testing.TB, more func(*wasmhost.Config)) *wasmhost.Host {
	t.Helper()
	config := wasmhost.Config{JavaScript: jsenginetest.File(t), Limits: policy.Limits{TimeoutMS: 600_000}}
	if more != nil {
		more(&config)
	}
	return newHost(t, config)
}

// sharedCode is a folder for compiled code that the tests of a run share: compiling a large module takes seconds, and under
// the race detector a minute.
func sharedCode(t testing.TB) string {
	t.Helper()
	codeOnce.Do(func() { codeDir, errCode = os.MkdirTemp("", "shared-code-") })
	require.NoError(t, errCode)
	return codeDir
}

var (
	codeOnce sync.Once
	codeDir  string
	errCode  error
)

const greeting = `
import { tool, s } from "genkit";
interface Greeting { name: string }
tool({
  name: "greet", description: "Greets somebody.",
  input: s.object({ name: s.string({ minLength: 1 }) }), output: s.string(),
  run: async ({ name }: Greeting) => {
    if (name === "nobody") {
      throw new RangeError("nobody to greet");
    }
    return ` + "`Hello, ${name}!`" + `;
  },
});`

func TestAScriptIsAToolAtOnce(t *testing.T) {
	h := scriptHost(t, nil)
	reg := registry.New(nil)
	require.NoError(t, reg.AddProvider(h.Provider(tenant)))
	rec, err := h.Load(t.Context(), tenant, scripted("hello", greeting))
	require.NoError(t, err)
	assert.Equal(t, []string{"/tool/hello/greet"}, rec.Actions)
	assert.Equal(t, "typescript", rec.Language)
	assert.Equal(t, "export", rec.DescriptorSource)
	assert.Equal(t, module.Digest([]byte(greeting)), rec.Digest)
	assert.Equal(t, len(greeting), rec.Size)
	a, err := reg.Resolve(t.Context(), "greet", action.Tool)
	require.NoError(t, err)
	assert.JSONEq(t, `{"type":"object","properties":{"name":{"type":"string","minLength":1}},"required":["name"],"additionalProperties":false}`, string(a.Desc().InputSchema))

	out, err := call(t, h, "hello/greet", `{"name":"Ada \"ü\" 🎉"}`)
	require.NoError(t, err)
	assert.JSONEq(t, `"Hello, Ada \"ü\" 🎉!"`, out)
	_, err = call(t, h, "hello/greet", `{"name":7}`)
	require.ErrorIs(t, err, status.ErrInvalidArgument, "the schema is checked before the script is asked")
	_, err = call(t, h, "hello/greet", `{"name":"nobody"}`)
	require.ErrorIs(t, err, status.ErrInternal)
	assert.Equal(t, "RangeError: nobody to greet (hello.ts:9:17)", status.Convert(err).Message)

	again, err := h.Load(t.Context(), tenant, scripted("hello", greeting))
	require.NoError(t, err)
	assert.False(t, again.Changed)
	asJavaScript := scripted("hello", greeting)
	asJavaScript.Language = script.JavaScript
	_, err = h.Load(t.Context(), tenant, asJavaScript)
	require.ErrorIs(t, err, status.ErrInvalidArgument, "types are no JavaScript")
	assert.Contains(t, status.Convert(err).Message, "hello.js:3:")
}

func TestSchemasOfLibrariesAreConverted(t *testing.T) {
	h := scriptHost(t, nil)
	rec, err := h.Load(t.Context(), tenant, scripted("m", `
const plain = { type: "object", properties: { a: { type: "string", [Symbol("kind")]: "String" } }, [Symbol("kind")]: "Object" };
const standard = Object.assign(() => {}, { "~standard": { version: 1, jsonSchema: { input: (o) => ({ title: "in " + o.target }), output: (o) => ({ title: "out " + o.target }) } }, toJSONSchema() { throw new Error("the standard comes first") } });
const method = { _zod: {}, "~standard": { version: 1 }, toJSONSchema: (o) => ({ $schema: "https://json-schema.org/draft/2020-12/schema", title: "by a method, " + o.io }) };
tool({ name: "a", input: plain, run() {} });
tool({ name: "b", input: standard, output: standard, run() {} });
tool({ name: "c", input: method, output: method, run() {} });`))
	require.NoError(t, err)
	var d struct {
		Tools []struct{ InputSchema, OutputSchema json.RawMessage }
	}
	require.NoError(t, json.Unmarshal(rec.Descriptor, &d))
	require.Len(t, d.Tools, 3)
	assert.JSONEq(t, `{"type":"object","properties":{"a":{"type":"string"}}}`, string(d.Tools[0].InputSchema))
	assert.JSONEq(t, `{"title":"in draft-2020-12"}`, string(d.Tools[1].InputSchema))
	assert.JSONEq(t, `{"title":"out draft-2020-12"}`, string(d.Tools[1].OutputSchema))
	assert.JSONEq(t, `{"title":"by a method, input"}`, string(d.Tools[2].InputSchema))
	assert.JSONEq(t, `{"title":"by a method, output"}`, string(d.Tools[2].OutputSchema))
}

func TestAScriptThatIsWrongIsRefused(t *testing.T) {
	h := scriptHost(t, nil)
	for name, c := range map[string]struct{ source, says string }{
		"no tool":              {`console.log(1)`, "declares no tool"},
		"a syntax error":       {"tool({\n  name: 'x',\n  run() { return } }\n});;}", "m.ts:4:1"},
		"an error at the top":  {"\n\n  null.x;", `m.ts:3:`},
		"an import of a file":  {`import { a } from "./a"; a();`, `imports "./a"`},
		"no name":              {`tool({ run() {} })`, `"name" wants a text`},
		"no function":          {`tool({ name: "x" })`, `"run" wants a function`},
		"the same tool twice":  {`tool({ name: "x", run() {} }); tool({ name: "x", run() {} })`, "declared twice"},
		"a bad tool name":      {`tool({ name: "../x", run() {} })`, "tool name"},
		"a bad schema":         {`tool({ name: "x", input: { type: "strin" }, run() {} })`, "input schema"},
		"a schema of another":  {`tool({ name: "x", input: { _zod: {} }, run() {} })`, "z.toJSONSchema"},
		"a schema of zod 3":    {`tool({ name: "x", output: { _def: {}, parse() {} }, run() {} })`, `tool "x": its output is of a library`},
		"a schema that throws": {`tool({ name: "x", input: { toJSONSchema() { throw new Error("Date can't be") } }, run() {} })`, `tool "x": its input has no JSON Schema: Date can't be`},
		"a list of schemas":    {`tool({ name: "x", input: [{}], run() {} })`, `tool "x": its input wants a schema`},
		"a schema of nothing":  {`tool({ name: "x", input: { toJSONSchema() {} }, run() {} })`, `tool "x": its input wants a schema`},
		"a getter that throws": {`tool({ get name() { throw new Error("no name today") }, run() {} })`, "no name today"},
		"an odd descriptor":    {`genkit.module({ version: 7 }); tool({ name: "x", run() {} })`, "version"},
		"odd requests":         {`genkit.module({ requests: { kv: "yes" } }); tool({ name: "x", run() {} })`, "requests"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.Load(t.Context(), tenant, scripted("m", c.source))
			require.Error(t, err)
			assert.Equal(t, status.InvalidArgument, status.Of(err), "%v", err)
			assert.Contains(t, status.Convert(err).Message, c.says)
		})
	}
	unknown := scripted("m", greeting)
	unknown.Language = "cobol"
	_, err := h.Load(t.Context(), tenant, unknown)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	sidecar := scripted("m", greeting)
	sidecar.Descriptor = []byte(`{"abi":"genkit/1","tools":[{"name":"greet","export":"genkit_setup"}]}`)
	_, err = h.Load(t.Context(), tenant, sidecar)
	require.ErrorIs(t, err, status.ErrInvalidArgument, "what a caller sends is not to be evaluated")

	_, err = newHost(t, wasmhost.Config{}).Load(t.Context(), tenant, scripted("m", greeting))
	require.ErrorIs(t, err, status.ErrUnimplemented)
	assert.Contains(t, status.Convert(err).Message, "--engine javascript=FILE")
}

// hostile are tools of one script that do harm, and how their calls end. They run with a bound of fuel, which
// does not depend on a clock.
var hostile = []struct {
	name, run string
	code      status.Code
	says      string // is in the error, or the whole result
}{
	{"endless loop", `for (;;);`, status.ResourceExhausted, "fuel"},
	{"endless microtasks that hold memory", `const held = []; const f = () => { held.push("x".repeat(999) + held.length); return Promise.resolve().then(f); }; return f();`, status.Internal, "out of memory"},
	{"endless await", `return (async () => { for (;;) await 0; })();`, status.ResourceExhausted, "fuel"},
	{"endless microtasks after the result", `const f = () => queueMicrotask(f); queueMicrotask(f); return new Promise(() => {});`, status.ResourceExhausted, "fuel"},
	{"a regular expression that backtracks", `return /^(a+)+$/.test("a".repeat(40) + "b");`, status.ResourceExhausted, "fuel"},
	{"deep recursion", `const f = (n) => f(n + 1) + 1; return f(0);`, status.Internal, "RangeError: Maximum call stack size exceeded"},
	{"deep recursion that is caught", `let n = 0; const f = () => { n++; f(); }; try { f(); } catch (e) { return e instanceof RangeError && n > 100; }`, status.OK, "true"},
	{"deep recursion of getters", `const o = { get a() { return this.a; } }; return o.a;`, status.Internal, "RangeError"},
	{"deep recursion in JSON", `let a = {}; for (let i = 0; i < 1e5; i++) a = { a }; return a;`, status.ResourceExhausted, "fuel"},
	{"deep recursion of a regular expression", `return new RegExp("(".repeat(2e4) + ")".repeat(2e4)).test("a");`, status.Internal, "Error"},
	{"deep recursion of the parser", `return (0, eval)("[".repeat(1e5) + "]".repeat(1e5));`, status.Internal, "RangeError"},
	{"a deep proxy", `let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); return p.x;`, status.Internal, "RangeError"},
	{"arrays without end", `const a = []; for (;;) a.push(new Uint8Array(1 << 20));`, status.Internal, "out of memory"},
	{"a text without end", `let s = "x".repeat(1 << 20); for (;;) s += s;`, status.Internal, "Error: "},
	{"objects without end", `const a = []; for (;;) a.push({ i: a });`, status.Internal, "InternalError: out of memory (m.ts:"},
	{"a huge array", `return new Array(4294967295).fill(0).length;`, status.Internal, "InternalError: out of memory (m.ts:"},
	{"a million promises", `const all = []; for (let i = 0; i < 1e6; i++) all.push(Promise.resolve(i)); return Promise.all(all).then((x) => x.length);`, status.ResourceExhausted, ""},
	{"a cyclic result", `const a = {}; a.a = a; return a;`, status.Internal, "the result is no JSON: TypeError: circular reference"},
	{"a bigint", `return 10n;`, status.Internal, "the result is no JSON: TypeError: BigInt"},
	{"a function as result", `return () => 1;`, status.Internal, "the result is a function"},
	{"a symbol as result", `return Symbol("x");`, status.Internal, "the result is a symbol"},
	{"a getter on the result that throws", `return { get a() { throw new Error("boo"); } };`, status.Internal, "the result is no JSON: boo"},
	{"a getter on the result without end", `return { get a() { for (;;); } };`, status.ResourceExhausted, "fuel"},
	{"toJSON that throws null", `return { toJSON() { throw null; } };`, status.Internal, "the script threw null"},
	{"a proxy as result", `return new Proxy({ a: 1 }, { ownKeys() { throw new Error("no keys"); } });`, status.Internal, "no keys"},
	{"a proxy for a result that is one", `return new Proxy({ a: 1 }, {});`, status.OK, `{"a":1}`},
	{"a revoked proxy", `const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy;`, status.Internal, "TypeError: revoked proxy"},
	{"then that never settles", `return { then() {} };`, status.Internal, "never comes"},
	{"then that throws", `return { get then() { throw new Error("no then"); } };`, status.Internal, "no then"},
	{"a promise that never settles", `return new Promise(() => {});`, status.Internal, "never comes"},
	{"throws null", `throw null;`, status.Internal, "the script threw null"},
	{"throws undefined", `throw undefined;`, status.Internal, "the script threw undefined"},
	{"throws a symbol", `throw Symbol("x");`, status.Internal, "the script threw a symbol"},
	{"throws a text", `throw "just a text";`, status.Internal, "just a text"},
	{"throws an object", `throw { a: 1 };`, status.Internal, `the script threw {"a":1}`},
	{"throws what can't be read", `throw new Proxy({}, { get() { throw 1; }, getPrototypeOf() { throw 1; } });`, status.Internal, "can't be described"},
	{"throws an error with odd parts", `throw Object.defineProperties(new Error("x"), { message: { get() { throw 1; } } });`, status.Internal, "can't be described"},
	{"rejects with a cyclic value", `const a = {}; a.a = a; return Promise.reject(a);`, status.Internal, "can't be described"},
	{"a long error", `throw new Error("x".repeat(1 << 20));`, status.Internal, "xxx"},
	{"a result over its limit", `return "x".repeat(1 << 19);`, status.ResourceExhausted, "output of"},
	{"prototypes changed", `
		const throws = () => { throw new Error("changed"); };
		for (const [p, names] of [[String.prototype, ["indexOf", "slice", "replace"]],
			[Function.prototype, ["call", "apply", "bind"]], [Object.prototype, ["toString", "hasOwnProperty"]], [Promise.prototype, ["then"]], [RegExp.prototype, ["exec"]], [Array.prototype, ["map", "join", "push", Symbol.iterator]]])
			for (const name of names) p[name] = throws;
		JSON.stringify = JSON.parse = Reflect.apply = Object.create = throws;
		globalThis.Promise = globalThis.Error = globalThis.genkit = undefined;
		Object.defineProperty(Object.prototype, "error", { get: throws });
		Object.defineProperty(Object.prototype, "0", { set: throws });
		return "still here";`, status.OK, `"still here"`},
	{"the prelude overwritten", `try { globalThis.__genkit = { call() {} }; } catch {} delete globalThis.__genkit; return typeof __genkit.call;`, status.OK, `"function"`},
	{"the prelude's own functions", `__genkit.load(); __genkit.call(); __genkit.finish(); return 1;`, status.Internal, "never comes"},
	{"code made of text", `return new Function("return typeof std + typeof os + typeof bjson")() + (0, eval)("1 + 1");`, status.OK, `"undefinedundefinedundefined2"`},
	{"the engine's own modules", `return import("qjs:std").then((std) => [std.getenv("PATH") ?? null, std.open("/etc/passwd", "r") ?? null]);`, status.OK, `[null,null]`},
	{"the end of the process", `return import("qjs:std").then((std) => std.exit(0));`, status.Internal, "ended itself"},
	{"bytecode", `return import("qjs:bjson").then((b) => b.read(new Uint8Array(64).fill(7).buffer, 0, 64, 1));`, status.Internal, ""},
	{"files of the host", `return import("/etc/passwd");`, status.Internal, "could not load"},
	{"a module of the network", `return import("https://example.com/x.js");`, status.Internal, "could not load"},
	{"lines without end", `for (let i = 0; i < 1e3; i++) console.log("x".repeat(1e3)); return 1;`, status.OK, "1"},
	{"timers without end", `setInterval(() => {}, 0); return new Promise((ok) => setTimeout(ok, 5)).then(() => "ended");`, status.OK, `"ended"`},
	{"a timer that throws", `return new Promise(() => setTimeout(() => { throw new Error("late"); }, 1));`, status.Internal, "late"},
	{"a tool declared in a call", `tool({ name: "y", run() {} });`, status.FailedPrecondition, "top level"},
	{"capabilities that nobody granted", `return genkit.kv.get("x");`, status.PermissionDenied, "without saying so"},
	{"the network without a grant", `return fetch("https://example.com");`, status.PermissionDenied, "without saying so"},
	{"a huge request", `return genkit.http({ url: "x".repeat(9 << 20) });`, status.Internal, "InternalError: out of memory (m.ts:"},
	{"a chunk that is no JSON", `genkit.emit(10n);`, status.Internal, "BigInt"},
	{"memory that is gone when the error is made", `const a = []; try { for (;;) a.push("x".repeat(1 << 16) + a.length); } catch { for (;;) a.push([]); }`, status.Internal, "out of memory"},
}

func TestHostileScriptsAreContained(t *testing.T) {
	h := scriptHost(t, nil)
	var source strings.Builder
	for i, c := range hostile {
		fmt.Fprintf(&source, "tool({ name: \"t%d\", run: (): any => { %s } });\n", i, c.run)
	}
	source.WriteString(`tool({ name: "well", run: () => [typeof [].map, String(Promise), JSON.stringify({}), genkit.context()] });`)
	up := scripted("m", source.String())
	up.Policy = []byte(`{"limits":{"fuel":3000000000,"timeoutMs":300000}}`)
	_, err := h.Load(t.Context(), tenant, up)
	require.NoError(t, err)
	well, err := call(t, h, "m/well", `{}`)
	require.NoError(t, err)
	for i, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			out, err := call(t, h, fmt.Sprintf("m/t%d", i), `{}`)
			assert.Equal(t, c.code, status.Of(err), "%s %v", out, err)
			if err == nil {
				assert.Equal(t, c.says, out)
			} else {
				message := status.Convert(err).Message
				assert.Contains(t, message, c.says)
				assert.Less(t, len(message), 5000)
			}
			again, err := call(t, h, "m/well", `{}`)
			require.NoError(t, err)
			assert.Equal(t, well, again, "the next call finds what it always finds")
		})
	}
}

// TestAScriptThatIsHostileAtItsTopLevelIsRefused has the same things happen while a script is loaded.
func TestAScriptThatIsHostileAtItsTopLevelIsRefused(t *testing.T) {
	h := scriptHost(t, nil)
	for name, source := range map[string]string{
		"a loop":              `for (;;);`,
		"microtasks":          `const f = () => Promise.resolve().then(f); f(); tool({ name: "x", run() {} });`,
		"memory":              `globalThis.all = []; for (;;) all.push(new Uint8Array(1 << 20));`,
		"the prelude's table": `for (const f of Object.values(__genkit)) f(); for (;;);`,
		"deep recursion":      `const f = () => f(); f();`,
		"a huge descriptor":   `tool({ name: "x", description: "x".repeat(1 << 20), run() {} })`,
		"many tools":          `for (let i = 0; i < 1e4; i++) tool({ name: "t" + i, run() {} });`,
		"asks the host":       `genkit.kv.set("a", 1); tool({ name: "x", run() {} });`,
	} {
		t.Run(name, func(t *testing.T) {
			up := scripted("m", source)
			up.Policy = []byte(`{"limits":{"fuel":2000000000,"timeoutMs":300000}}`)
			_, err := h.Load(t.Context(), tenant, up)
			require.Error(t, err)
			assert.Contains(t, []status.Code{status.ResourceExhausted, status.InvalidArgument, status.PermissionDenied}, status.Of(err), "%v", err)
			_, err = h.Module(tenant, "m")
			require.ErrorIs(t, err, status.ErrNotFound)
		})
	}
}

const counting = `
let calls = 0;
globalThis.shared = (globalThis.shared ?? 0) + 1;
tool({ name: "count", run: () => [++calls, shared, (globalThis.seen = (globalThis.seen ?? 0) + 1), genkit.kv.get("k")] });
tool({ name: "random", run: () => [Math.random(), Math.random(), crypto.randomUUID(), ...crypto.getRandomValues(new Uint8Array(8))] });
tool({ name: "keep", run: (v) => { genkit.kv.set("k", v); return genkit.kv.list().keys; } });
genkit.module({ requests: { kv: true } });`

func TestCallsAndTenantsShareNothing(t *testing.T) {
	h := scriptHost(t, func(c *wasmhost.Config) { c.Tenants = map[string]wasmhost.TenantConfig{"other": {}} })
	on := func(tenant, name, in string) string {
		a, err := h.Provider(tenant).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: name})
		require.NoError(t, err)
		out, err := a.RunJSON(t.Context(), json.RawMessage(in), nil)
		require.NoError(t, err)
		return string(out)
	}
	for _, name := range []string{tenant, "other"} {
		up := scripted("m", counting)
		up.Policy = []byte(`{"grants":{"kv":true}}`)
		_, err := h.Load(t.Context(), name, up)
		require.NoError(t, err)
	}
	_, err := h.Load(t.Context(), "other", scripted("poison", `Array.prototype.map = JSON.parse = undefined; globalThis.shared = 100; tool({ name: "x", run: () => shared });`))
	require.NoError(t, err)
	assert.Equal(t, "100", on("other", "poison/x", `{}`))
	seen := map[string]bool{}
	for range 3 {
		for _, name := range []string{tenant, "other"} {
			assert.Equal(t, "[1,1,1,null]", on(name, "m/count", `{}`))
			random := on(name, "m/random", `{}`)
			assert.False(t, seen[random], "%s came twice", random)
			seen[random] = true
		}
	}
	assert.Equal(t, `["k"]`, on("other", "m/keep", `{"a":1}`))
	assert.Equal(t, `[1,1,1,{"a":1}]`, on("other", "m/count", `{}`))
	assert.Equal(t, "[1,1,1,null]", on(tenant, "m/count", `{}`), "the values of the other tenant")
}

func TestAScriptIsGrantedWhatItListsAndItsPolicyGives(t *testing.T) {
	h := scriptHost(t, nil)
	up := scripted("m", counting)
	_, err := h.Load(t.Context(), tenant, up)
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	assert.Contains(t, status.Convert(err).Message, `"kv_get" (grant "kv")`)
	up.Policy = []byte(`{"grants":{"kv":true,"clock":true}}`)
	rec, err := h.Load(t.Context(), tenant, up)
	require.NoError(t, err)
	assert.Equal(t, []string{"kv_delete", "kv_get", "kv_list", "kv_set"}, rec.Capabilities)
	unlisted := scripted("m2", `tool({ name: "now", run: () => genkit.now() })`)
	unlisted.Policy = up.Policy
	_, err = h.Load(t.Context(), tenant, unlisted)
	require.NoError(t, err)
	_, err = call(t, h, "m2/now", `{}`)
	require.ErrorIs(t, err, status.ErrPermissionDenied, "granted, and not listed")
}

func TestAScriptUsesItsCapabilities(t *testing.T) {
	r := newReach(t, func(rw http.ResponseWriter, req *http.Request) {
		body := new(bytes.Buffer)
		_, _ = body.ReadFrom(req.Body)
		rw.Header().Set("X-Seen", req.Header.Get("Authorization"))
		rw.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(rw, `{"method":%q,"body":%q,"type":%q}`, req.Method, body, req.Header.Get("Content-Type"))
	}, func(c *wasmhost.Config) { c.JavaScript = jsenginetest.File(t) })
	up := scripted("m", `
genkit.module({ name: "m", version: "1.2.3", requests: { http: [{ host: "api.example.com" }], kv: true, actions: ["tool/*"], clock: true, secrets: ["TOKEN"] } });
tool({ name: "fetch", run: async ({ port }) => {
  const r = await fetch("https://api.example.com:" + port + "/x", { method: "post", body: new URLSearchParams({ q: "a b" }), headers: { Authorization: "Bearer " + genkit.secret("TOKEN") } });
  return { status: r.status, ok: r.ok, seen: r.headers.get("x-seen"), ...(await r.json()) };
} });
tool({ name: "elsewhere", run: ({ port }) => fetch("https://evil.example.net:" + port) });
tool({ name: "bytes", run: async ({ port }) => (await (await fetch("https://api.example.com:" + port, { method: "PUT", body: new Uint8Array([104, 105]) })).json()).body });
tool({ name: "emit", run: () => { genkit.emit({ a: 1 }); genkit.emit("b"); return "done"; } });
tool({ name: "interrupt", run: () => { const r = genkit.resumed(); if (r) return r.resumed; try { genkit.interrupt({ ask: "sure?" }); } catch {} return "not looked at"; } });
tool({ name: "context", run: () => genkit.context() });
tool({ name: "again", run: ({ n }) => n === 0 ? "bottom" : genkit.run("/tool/m/again", { n: n - 1 }) });
tool({ name: "now", run: () => typeof genkit.now() });
tool({ name: "coded", run: () => { throw genkit.error("NOT_FOUND", "no such city", { city: "X" }); } });`)
	up.Policy = []byte(`{"grants":` + everything(r.port) + `}`)
	_, err := r.host.Load(t.Context(), tenant, up)
	require.NoError(t, err)
	port := fmt.Sprintf(`{"port":%d}`, r.port)
	out, err := call(t, r.host, "m/fetch", port)
	require.NoError(t, err)
	assert.JSONEq(t, `{"status":418,"ok":false,"seen":"Bearer [secret:TOKEN]","method":"POST","body":"q=a+b","type":"application/x-www-form-urlencoded;charset=UTF-8"}`, out)
	assert.NotContains(t, r.log.String(), token)
	_, err = call(t, r.host, "m/elsewhere", port)
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	out, err = call(t, r.host, "m/bytes", port)
	require.NoError(t, err)
	assert.Equal(t, `"hi"`, out)

	a, err := r.reg.Resolve(t.Context(), "m/emit", action.Tool)
	require.NoError(t, err)
	var chunks []string
	raw, err := a.RunJSON(t.Context(), nil, func(chunk json.RawMessage) error {
		chunks = append(chunks, string(chunk))
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, []string{`{"a":1}`, `"b"`}, chunks)
	assert.Equal(t, `"done"`, string(raw))

	_, err = call(t, r.host, "m/interrupt", `{}`)
	i, ok := tool.AsInterrupt(err)
	require.True(t, ok, "%v", err)
	assert.JSONEq(t, `{"ask":"sure?"}`, string(i.Metadata))

	a, err = r.reg.Resolve(t.Context(), "m/context", action.Tool)
	require.NoError(t, err)
	raw, err = a.RunJSON(action.WithContext(t.Context(), json.RawMessage(`{"auth":{"uid":"ada"}}`)), nil, nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"auth":{"uid":"ada"}}`, string(raw))

	for name, want := range map[string]string{"m/again": `"bottom"`, "m/now": `"string"`} {
		out, err = call(t, r.host, name, `{"n":2}`)
		require.NoError(t, err, name)
		assert.Equal(t, want, out, name)
	}
	_, err = call(t, r.host, "m/coded", `{}`)
	require.ErrorIs(t, err, status.ErrNotFound)
	e := status.Convert(err)
	assert.Equal(t, "no such city", e.Message)
	assert.JSONEq(t, `{"city":"X"}`, string(e.Details))
}

// TestThePrelude checks what scripts share with browsers.
func TestThePrelude(t *testing.T) {
	h := scriptHost(t, nil)
	cases := map[string][2]string{
		"bytes of texts":      {`[...new TextEncoder().encode("aü€🎉\ud800")]`, `[97,195,188,226,130,172,240,159,142,137,239,191,189]`},
		"texts of bytes":      {`new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 97, 0xc3, 0xbc, 0xf0, 0x9f, 0x8e, 0x89, 0xff, 0xe2, 0x82, 98]))`, `"aü🎉\ufffd\ufffdb"`},
		"bytes that are none": {`(() => { try { new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array([0xc0, 0x80])); } catch (e) { return e.name; } })()`, `"TypeError"`},
		"another encoding":    {`(() => { try { new TextDecoder("latin1"); } catch (e) { return e.name; } })()`, `"RangeError"`},
		"base64":              {`[btoa(""), btoa("a"), btoa("ab"), btoa("abc"), btoa("\xff\xfe"), atob("YWI="), atob(" YW Jj "), atob("YQ")]`, `["","YQ==","YWI=","YWJj","//4=","ab","abc","a"]`},
		"no base64":           {`["ü", "a", "?a=="].map((x) => { try { return atob(x); } catch (e) { return e.name; } })`, `["InvalidCharacterError","InvalidCharacterError","InvalidCharacterError"]`},
		"queries":             {`(() => { const p = new URLSearchParams("?a=1&b=%20x+y&a=2&=3&c"); p.append("d", "ü&"); p.delete("b"); p.set("a", "9"); return [p.toString(), p.get("c"), p.get("zz"), p.getAll("a"), p.size, [...p].length]; })()`, `["a=9&=3&c=&d=%C3%BC%26","",null,["9"],4,4]`},
		"order of jobs":       {`(async () => { const o = []; setTimeout(() => o.push(4), 2); setTimeout(() => o.push(3), 0); queueMicrotask(() => o.push(2)); o.push(1); await new Promise((ok) => setTimeout(ok, 5)); return o; })()`, `[1,2,3,4]`},
		"a timer is stopped":  {`(async () => { let n = 0; const t = setInterval(() => { if (++n === 3) clearInterval(t); }, 1); await new Promise((ok) => setTimeout(ok, 20)); return n; })()`, `3`},
		"undefined is null":   {`undefined`, `null`},
		"nothing is left":     {`["std", "os", "bjson", "print", "gc", "scriptArgs", "navigator"].filter((n) => n in globalThis)`, `[]`},
		"headers":             {`(() => { const x = new Headers({ "X-A": 1 }); x.append("x-a", "2"); return [x.get("X-a"), x.has("b"), [...x]]; })()`, `["1, 2",false,[["x-a","1, 2"]]]`},
		"dates stand still":   {`(() => { const a = Date.now(); for (let i = 0; i < 1e5; i++); return Date.now() - a; })()`, `0`},
		"schemas":             {`s.object({ a: s.enum("x", "y").describe("d").optional(), b: s.array(s.union(s.integer(), s.literal(null))), c: s.record(s.boolean()), d: s.string().nullable() })`, `{"type":"object","properties":{"a":{"enum":["x","y"],"description":"d"},"b":{"type":"array","items":{"anyOf":[{"type":"integer"},{"const":null}]}},"c":{"type":"object","additionalProperties":{"type":"boolean"}},"d":{"anyOf":[{"type":"string"},{"type":"null"}]}},"required":["b","c","d"],"additionalProperties":false}`},
	}
	var source strings.Builder
	names := make([]string, 0, len(cases))
	for name, c := range cases {
		fmt.Fprintf(&source, "tool({ name: \"t%d\", run: (): any => %s });\n", len(names), c[0])
		names = append(names, name)
	}
	_, err := h.Load(t.Context(), tenant, scripted("m", source.String()))
	require.NoError(t, err)
	for i, name := range names {
		out, err := call(t, h, fmt.Sprintf("m/t%d", i), `{}`)
		require.NoError(t, err, name)
		assert.JSONEq(t, cases[name][1], out, name)
	}
}

func TestAScriptIsRestoredAndRolledBack(t *testing.T) {
	store := module.NewMemory()
	config := func(c *wasmhost.Config) { c.Store = store }
	first := scriptHost(t, config)
	_, err := first.Load(t.Context(), tenant, scripted("hello", greeting))
	require.NoError(t, err)
	second := scripted("hello", strings.Replace(greeting, "Hello", "Goodbye", 1))
	_, err = first.Load(t.Context(), tenant, second)
	require.NoError(t, err)
	out, err := call(t, first, "hello/greet", `{"name":"Ada"}`)
	require.NoError(t, err)
	assert.Equal(t, `"Goodbye, Ada!"`, out)
	_, err = first.Rollback(t.Context(), tenant, "hello", 0)
	require.NoError(t, err)

	restarted := scriptHost(t, config)
	rec, err := restarted.Module(tenant, "hello")
	require.NoError(t, err)
	assert.Empty(t, rec.Problem)
	out, err = call(t, restarted, "hello/greet", `{"name":"Ada"}`)
	require.NoError(t, err)
	assert.Equal(t, `"Hello, Ada!"`, out)
	_, err = call(t, restarted, "hello/greet", `{"name":"nobody"}`)
	assert.Contains(t, status.Convert(err).Message, "hello.ts:9:17")
	restarted.Evict(0)
	out, err = call(t, restarted, "hello/greet", `{"name":"Bo"}`)
	require.NoError(t, err, "it comes back")
	assert.Equal(t, `"Hello, Bo!"`, out)

	without := newHost(t, wasmhost.Config{Store: store})
	rec, err = without.Module(tenant, "hello")
	require.NoError(t, err)
	assert.Contains(t, rec.Problem, "no JavaScript engine")
}

func TestAScriptsLinesNameItsFile(t *testing.T) {
	var log bytes.Buffer
	h := scriptHost(t, func(c *wasmhost.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&lockedWriter{b: &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	_, err := h.Load(t.Context(), tenant, scripted("m", "interface A {}\n\ntool({ name: \"x\", run: () => {\n  console.warn('look', { a: 1 }, new Error('here'));\n} });"))
	require.NoError(t, err)
	_, err = call(t, h, "m/x", `{}`)
	require.NoError(t, err)
	require.NoError(t, h.Close(context.Background()))
	assert.Contains(t, log.String(), `level=WARN msg=guest tenant=default tool=m/x line="look {\"a\":1} Error: here at run (m.ts:4:`)
	assert.NotContains(t, log.String(), "<genkit>")
}

func TestAScriptRunsInAWorkerProcess(t *testing.T) {
	h := scriptHost(t, func(c *wasmhost.Config) { c.Isolation, c.Compiler = wasmhost.Process, program })
	_, err := h.Load(t.Context(), tenant, scripted("hello", greeting))
	require.NoError(t, err)
	out, err := call(t, h, "hello/greet", `{"name":"Ada"}`)
	require.NoError(t, err)
	assert.Equal(t, `"Hello, Ada!"`, out)
	_, err = call(t, h, "hello/greet", `{"name":"nobody"}`)
	assert.Equal(t, "RangeError: nobody to greet (hello.ts:9:17)", status.Convert(err).Message)
	_, err = h.Load(t.Context(), tenant, scripted("bad", "null.x"))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Contains(t, status.Convert(err).Message, "bad.ts:1:")

	r, err := runCode(t, interpreterOf(t, h), `return await Promise.all([tools.echo(1), tools.echo(2)])`)
	require.NoError(t, err)
	assert.Equal(t, "[1,2]", *r.Result)
	assert.Equal(t, []string{"echo1 echo2"}, r.rounds)
}

func TestAScriptIsDescribedWithoutAHost(t *testing.T) {
	a, err := wasmhost.DescribeScript(t.Context(), scripted("m", counting), jsenginetest.File(t), nil)
	require.NoError(t, err)
	assert.Equal(t, script.TypeScript, a.Language)
	assert.Len(t, a.Descriptor.Tools, 3)
	assert.Len(t, a.Linkage.Capabilities, 4)
	_, err = wasmhost.DescribeScript(t.Context(), scripted("m", "\nnull.x"), jsenginetest.File(t), nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Contains(t, status.Convert(err).Message, "m.ts:2:")
	_, err = wasmhost.DescribeScript(t.Context(), scripted("m", counting), nil, nil)
	require.ErrorIs(t, err, status.ErrUnimplemented)
}
