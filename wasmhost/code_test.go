package wasmhost_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// interpreter is what a registry's value of the kind "interpreter" does.
type interpreter interface {
	Scope() (string, error)
	Run(ctx context.Context, request json.RawMessage, next func(context.Context, json.RawMessage) (json.RawMessage, error)) (json.RawMessage, error)
}

func interpreterOf(t *testing.T, h *wasmhost.Host) interpreter {
	t.Helper()
	reg := registry.New(nil)
	require.NoError(t, reg.AddProvider(h.Provider(tenant)))
	value, err := reg.ResolveValue("interpreter", "javascript")
	require.NoError(t, err)
	i, ok := value.(interpreter)
	require.True(t, ok)
	return i
}

// ran is the outcome of code whose tools return their inputs; what each round asked for is in rounds.
type ran struct {
	Result  *string  `json:"result"`
	Error   string   `json:"error"`
	Console []string `json:"console"`
	rounds  []string
}

func runCode(t *testing.T, i interpreter, code string) (*ran, error) {
	t.Helper()
	request, err := json.Marshal(map[string]any{"code": code, "tools": []string{"echo", "fail", "class", "__proto__", "a-b.c"}, "seed": 7})
	require.NoError(t, err)
	r := &ran{}
	raw, err := i.Run(t.Context(), request, func(_ context.Context, asked json.RawMessage) (json.RawMessage, error) {
		var in struct {
			Calls []struct{ Tool, Input string } `json:"calls"`
		}
		if err := json.Unmarshal(asked, &in); err != nil {
			return nil, err
		}
		round, outcomes := "", []string{}
		for _, c := range in.Calls {
			round += c.Tool + c.Input + " "
			if c.Tool == "fail" {
				outcomes = append(outcomes, `{"error":{"code":"NOT_FOUND","message":"no such thing"}}`)
				continue
			}
			outcomes = append(outcomes, `{"output":`+c.Input+`}`)
		}
		r.rounds = append(r.rounds, strings.TrimSpace(round))
		return json.RawMessage(`{"outcomes":[` + strings.Join(outcomes, ",") + `]}`), nil
	})
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(raw, r)
}

func TestCodeRunsWithItsTools(t *testing.T) {
	i := interpreterOf(t, scriptHost(t, nil))
	for code, c := range map[string]struct {
		result, err string
		rounds      []string
	}{
		`return 1 + 1`: {result: `2`},
		`const x = await tools.echo({ a: 1 }); return x.a`:                                                             {result: `1`, rounds: []string{`echo{"a":1}`}},
		`async () => { const x = await tools.echo([3]); return x[0]; }`:                                                {result: `3`, rounds: []string{`echo[3]`}},
		`async function main(tools) { return (await tools.echo(4)) }`:                                                  {result: `4`, rounds: []string{`echo4`}},
		`return (await Promise.all([1, 2, 3].map((n) => tools.echo(n)))).reduce((a, b) => a + b)`:                      {result: `6`, rounds: []string{`echo1 echo2 echo3`}},
		`const a = tools.echo(1); await null; const b = tools.echo(2); await a; return [await b, await tools.echo(3)]`: {result: `[2,3]`, rounds: []string{`echo1 echo2`, `echo3`}},
		`return [await tools.class(), await tools["__proto__"](1), await tools["a-b.c"](2)]`:                           {result: `[{},1,2]`, rounds: []string{`class{}`, `__proto__1`, `a-b.c2`}},
		`try { await tools.fail() } catch (e) { return [e.name, e.code, e.message] }`:                                  {result: `["GenkitError","NOT_FOUND","no such thing"]`, rounds: []string{`fail{}`}},
		`await tools.fail()`:  {err: `NOT_FOUND: no such thing`, rounds: []string{`fail{}`}},
		"\n\nnull.x":          {err: `TypeError: cannot read property 'x' of null (line 3)`},
		`return tools.none()`: {err: `TypeError: not a function (line 1)`},
		`let a: number = 1`:   {err: `SyntaxError: `},
		`return () => 1`:      {result: `null`},
		`return 7n`:           {err: `TypeError: `},
		`return { toJSON() { throw new RangeError("no") } }`:             {err: `RangeError: no (line 1)`},
		`throw { get x() { throw 1 } }`:                                  {err: "the code threw [a value that can't be shown]"},
		`return [Math.random(), Math.random()].map((n) => n.toFixed(4))`: {result: `["0.0117","0.0620"]`},
		`return [typeof genkit, typeof require, typeof fetch, typeof crypto, typeof tool, typeof defineModel, typeof s, typeof process, typeof URL, Object.keys(tools)[0]].join()`: {result: `"undefined,undefined,undefined,undefined,undefined,undefined,undefined,undefined,function,echo"`},
		`tools.echo = 1; return typeof tools.echo`: {result: `"function"`},
	} {
		r, err := runCode(t, i, code)
		require.NoError(t, err, code)
		if c.err != "" {
			assert.True(t, strings.HasPrefix(r.Error, c.err), "%s: %s", code, r.Error)
		} else if assert.NotNil(t, r.Result, "%s: %s", code, r.Error) {
			assert.Equal(t, c.result, *r.Result, code)
		}
		assert.Equal(t, c.rounds, r.rounds, code)
	}
	r, err := runCode(t, i, `console.log("a", { b: 1 }, new Error("c")); console.warn("x".repeat(9000)); console.log("lost"); return 1`)
	require.NoError(t, err)
	require.Len(t, r.Console, 2)
	assert.Equal(t, `a {"b":1} Error: c`, r.Console[0])
	assert.Less(t, len(r.Console[1]), 8200)
}

func TestHostileCodeIsContained(t *testing.T) {
	h := scriptHost(t, func(c *wasmhost.Config) { c.Limits = policy.Limits{TimeoutMS: 600_000, Fuel: 300_000_000} })
	i := interpreterOf(t, h)
	for what, c := range map[string]struct {
		code string
		want error
	}{
		"an endless loop":           {`for (;;);`, status.ErrResourceExhausted},
		"endless microtasks":        {`for (;;) await null`, status.ErrResourceExhausted},
		"ten million promises":      {`const all = []; for (let i = 0; i < 1e7; i++) all.push(new Promise(() => {})); await Promise.all(all)`, status.ErrResourceExhausted},
		"endless calls":             {`for (;;) await tools.echo(1)`, status.ErrResourceExhausted},
		"a promise that never ends": {`await new Promise(() => {})`, status.ErrInternal},
		"a huge result":             {`return "x".repeat(1 << 20)`, status.ErrResourceExhausted},
		"a regular expression":      {`return /^(a+)+$/.test("a".repeat(64) + "b")`, status.ErrResourceExhausted},
		"the driver's own function": {`__genkit.call(); __genkit.load(); __genkit.describe(); for (;;);`, status.ErrResourceExhausted},
	} {
		_, err := runCode(t, i, c.code)
		require.ErrorIs(t, err, c.want, what)
	}
	for what, code := range map[string]string{
		"a deep recursion":  `const f = () => f(); f()`,
		"too much memory":   `const all = []; for (;;) all.push("x".repeat(1 << 20) + all.length)`,
		"a huge input":      `await tools.echo("x".repeat(2 << 20))`,
		"a circular result": `const a = {}; a.a = a; return a`,
		"a circular input":  `const a = {}; a.a = a; await tools.echo(a)`,
		"a spoilt prelude":  `Array.prototype.map = Promise.prototype.then = JSON.stringify = undefined; return await tools.echo(1)`,
		"no input at all":   `await tools.echo(() => 1)`,
	} {
		r, err := runCode(t, i, code)
		if err == nil {
			assert.NotEmpty(t, r.Error, what)
		} else {
			require.ErrorIs(t, err, status.ErrResourceExhausted, what)
		}
	}
	r, err := runCode(t, i, `globalThis.left = 1; Object.prototype.left = 2; return 1`)
	require.NoError(t, err)
	assert.Equal(t, "1", *r.Result)
	r, err = runCode(t, i, `return typeof left`)
	require.NoError(t, err)
	assert.Equal(t, `"undefined"`, *r.Result, "a run leaves nothing behind")
}

func TestCodeDoesNotSeeItsCallersContextAndItsToolsDo(t *testing.T) {
	h := scriptHost(t, nil)
	i := interpreterOf(t, h)
	ctx := action.WithContext(t.Context(), json.RawMessage(`{"auth":{"uid":"ada"}}`))
	seen := ""
	raw, err := i.Run(ctx, json.RawMessage(`{"code":"return await tools.who()","tools":["who"],"seed":1}`), func(ctx context.Context, _ json.RawMessage) (json.RawMessage, error) {
		seen = string(action.Context(ctx))
		return json.RawMessage(`{"outcomes":[{"output":1}]}`), nil
	})
	require.NoError(t, err)
	assert.JSONEq(t, `{"result":"1","console":[]}`, string(raw))
	assert.JSONEq(t, `{"auth":{"uid":"ada"}}`, seen)
	usage, err := h.Usage(tenant)
	require.NoError(t, err)
	assert.Equal(t, int64(1), usage.Modules["genkit-code"].Calls)
	assert.Positive(t, usage.Modules["genkit-code"].Fuel)
	scope, err := i.Scope()
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("%s/", tenant), scope[:len(tenant)+1])

	modules, err := h.Modules(tenant)
	require.NoError(t, err)
	assert.Empty(t, modules, "it is no module of the tenant's")
	h.Close(t.Context())
	_, err = i.Run(t.Context(), json.RawMessage(`{"code":"return 1","tools":[],"seed":1}`), nil)
	require.ErrorIs(t, err, status.ErrUnavailable)
}
