package wasmhost_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

func TestMain(m *testing.M) {
	program = wasmhost.CompileChild()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if codeDir != "" {
			_ = os.RemoveAll(codeDir)
		}
		os.Exit(code)
	}))
}

// program starts this test again as a compiling process or a worker.
var program []string

// isolated has the hosts of all tests run their guests in worker processes.
var isolated = os.Getenv("GENKIT_WASM_TEST_ISOLATION") == "process"

const tenant = wasmhost.DefaultTenant

// inMode is a configuration for the mode that the tests run in.
func inMode(config wasmhost.Config) wasmhost.Config {
	if isolated {
		config.Isolation, config.Compiler = wasmhost.Process, program
	}
	return config
}

// newHost is a host that ends with the test. Without a CacheDir of its own it uses the one of all tests.
func newHost(t testing.TB, config wasmhost.Config) *wasmhost.Host {
	t.Helper()
	if config.CacheDir == "" {
		config.CacheDir = sharedCode(t)
	}
	h, err := wasmhost.New(t.Context(), inMode(config))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close(context.Background())) })
	return h
}

func calc(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../examples/calc/calc.wasm")
	require.NoError(t, err)
	return b
}

func call(t testing.TB, h *wasmhost.Host, tool, in string) (string, error) {
	t.Helper()
	a, err := h.Provider(tenant).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: tool})
	if err != nil {
		return "", err
	}
	out, err := a.RunJSON(t.Context(), json.RawMessage(in), nil)
	return string(out), err
}

// tiny is a module with one function "f" of type () → i32 that does nothing, and
// more sections before its code.
func tiny(sections ...[]byte) []byte {
	all := [][]byte{w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body("", 0x41, 0))}
	return append(w.Module(all...), bytes.Join(sections, nil)...)
}

func importing(module, name, params, results string) []byte {
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType(params, results)),
		w.Imports(w.ImportFunc(module, name, 1)),
		w.Funcs(0), w.Exports(w.Export("f", 0, 1)), w.Code(w.Body("", 0x41, 0)),
	)
}

func describing(tool string) []byte {
	return fmt.Appendf(nil, `{"abi":"genkit/1","name":"m","tools":[%s]}`, tool)
}

// TestWhatABadUploadGets is the table of docs/errors.md: one status and one sentence
// for each, and nothing lost.
func TestWhatABadUploadGets(t *testing.T) {
	f := describing(`{"name":"f"}`)
	big := strings.Repeat("x", 300<<10)
	cases := []struct {
		says       string
		wasm       []byte
		descriptor []byte
		policy     string
		name       string
		code       status.Code
		contains   string
	}{
		{says: "nothing", wasm: nil, descriptor: f, code: status.InvalidArgument, contains: "empty"},
		{says: "not Wasm", wasm: []byte("#!/bin/sh\necho hello"), descriptor: f, code: status.InvalidArgument, contains: "not WebAssembly"},
		{says: "a component", wasm: []byte{0, 'a', 's', 'm', 0x0d, 0, 1, 0, 7, 1, 0}, descriptor: f, code: status.InvalidArgument, contains: "component"},
		{says: "a truncated module", wasm: calc(t)[:2000], code: status.InvalidArgument, contains: "offset"},
		{says: "a valid structure with invalid code", wasm: w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body(""))), descriptor: f, code: status.InvalidArgument, contains: "not a valid WebAssembly module"},
		{says: "an unknown import", wasm: importing("env", "abort", "iiii", ""), descriptor: f, code: status.InvalidArgument, contains: `"env"."abort"`},
		{says: "a known import of a wrong type", wasm: importing("genkit_v1", "output", "i", ""), descriptor: f, code: status.InvalidArgument, contains: "want (i32,i32)->()"},
		{says: "an unknown WASI import", wasm: importing("wasi_snapshot_preview1", "sock_steal", "i", "i"), descriptor: f, code: status.InvalidArgument, contains: "sock_steal"},
		{says: "a capability that is not granted", wasm: importing("genkit_v1", "http", "ii", "i"), descriptor: f, code: status.PermissionDenied, contains: `"http" (grant "http")`},
		{says: "Extism's HTTP without a grant", wasm: importing("extism:host/env", "http_request", "II", "I"), descriptor: f, code: status.PermissionDenied, contains: `"http"`},
		{says: "a grant beyond the server's", wasm: importing("genkit_v1", "http", "ii", "i"), descriptor: f, policy: `{"grants":{"http":[{"host":"a.example.com"}]}}`, code: status.PermissionDenied, contains: "http a.example.com"},
		{says: "an export that the module lacks", wasm: tiny(), descriptor: describing(`{"name":"g"}`), code: status.InvalidArgument, contains: `names the export "g"`},
		{says: "an export of a wrong type", wasm: w.Module(w.Types(w.FuncType("i", "i")), w.Funcs(0), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body("", 0x41, 0))), descriptor: f, code: status.InvalidArgument, contains: "has the type (i32)->(i32)"},
		{says: "a broken schema", wasm: tiny(), descriptor: describing(`{"name":"f","inputSchema":{"type":"strin"}}`), code: status.InvalidArgument, contains: "input schema"},
		{says: "a remote reference in a schema", wasm: tiny(), descriptor: describing(`{"name":"f","outputSchema":{"$ref":"http://169.254.169.254/x"}}`), code: status.InvalidArgument, contains: "other documents"},
		{says: "a descriptor over its size", wasm: tiny(), descriptor: describing(`{"name":"f","description":"` + big + `"}`), code: status.InvalidArgument, contains: "exceeds the limit"},
		{says: "a descriptor that is not JSON", wasm: tiny(), descriptor: []byte(`{"abi":`), code: status.InvalidArgument, contains: "not valid JSON"},
		{says: "a descriptor of another contract", wasm: tiny(), descriptor: []byte(`{"abi":"genkit/9","name":"m","tools":[{"name":"f"}]}`), code: status.InvalidArgument, contains: `want "genkit/1"`},
		{says: "a duplicate tool name", wasm: tiny(), descriptor: describing(`{"name":"f"},{"name":"f"}`), code: status.InvalidArgument, contains: "named twice"},
		{says: "a tool name that can't be part of a key", wasm: tiny(), descriptor: describing(`{"name":"../f","export":"f"}`), code: status.InvalidArgument, contains: "tool name"},
		{says: "no tools", wasm: tiny(), descriptor: describing(``), code: status.InvalidArgument, contains: "at least one tool"},
		{says: "no descriptor at all", wasm: tiny(), code: status.InvalidArgument, contains: "has no descriptor"},
		{says: "two descriptor sections", wasm: tiny(w.Custom("genkit.module", f), w.Custom("genkit.module", f)), code: status.InvalidArgument, contains: "genkit.module"},
		{says: "a module name that can't be part of a path", wasm: tiny(), descriptor: f, name: "../../etc", code: status.InvalidArgument, contains: "module name"},
		{says: "a policy with a mistyped limit", wasm: tiny(), descriptor: f, policy: `{"limits":{"timeoutMS_":5}}`, code: status.InvalidArgument, contains: "timeoutMS_"},
		{says: "a policy with a negative limit", wasm: tiny(), descriptor: f, policy: `{"limits":{"fuel":-1}}`, code: status.InvalidArgument, contains: `limit "fuel"`},
		{says: "a policy with an unknown state", wasm: tiny(), descriptor: f, policy: `{"state":"warm"}`, code: status.InvalidArgument, contains: "fresh"},
		{says: "a WASI command", wasm: w.Module(w.Types(w.FuncType("", "")), w.Funcs(0), w.Exports(w.Export("_start", 0, 0)), w.Code(w.Body(""))), descriptor: f, code: status.InvalidArgument, contains: "WASI command"},
		{says: "more memory than the limit", wasm: w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Memories(w.Limits(100)), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body("", 0x41, 0))), descriptor: f, policy: `{"limits":{"memoryBytes":1048576}}`, code: status.InvalidArgument, contains: "memory"},
		{says: "genkit_describe that does not end", wasm: describeLoop(), policy: `{"limits":{"timeoutMs":50}}`, code: status.InvalidArgument, contains: "genkit_describe failed"},
		{says: "middleware without hooks", wasm: tiny(), descriptor: []byte(`{"abi":"genkit/1","name":"m","middleware":[{"name":"f"}]}`), code: status.InvalidArgument, contains: "no hooks"},
		{says: "a hook that there is not", wasm: tiny(), descriptor: []byte(`{"abi":"genkit/1","name":"m","middleware":[{"name":"f","hooks":["system"]}]}`), code: status.InvalidArgument, contains: "hook \"system\""},
		{says: "the same hook twice", wasm: tiny(), descriptor: []byte(`{"abi":"genkit/1","name":"m","middleware":[{"name":"f","hooks":["tool","tool"]}]}`), code: status.InvalidArgument, contains: "twice"},
		{says: "middleware that streams in a way of its own", wasm: tiny(), descriptor: []byte(`{"abi":"genkit/1","name":"m","middleware":[{"name":"f","hooks":["tool"],"chunks":"some"}]}`), code: status.InvalidArgument, contains: "withhold"},
		{says: "middleware whose config schema is broken", wasm: tiny(), descriptor: []byte(`{"abi":"genkit/1","name":"m","middleware":[{"name":"f","hooks":["tool"],"configSchema":{"type":1}}]}`), code: status.InvalidArgument, contains: "config schema"},
		{says: "middleware without its function", wasm: tiny(), descriptor: []byte(`{"abi":"genkit/1","name":"m","middleware":[{"name":"x","hooks":["tool"]}]}`), code: status.InvalidArgument, contains: "export \"x\""},
		{says: "a format without its function", wasm: tiny(), descriptor: []byte(`{"abi":"genkit/1","name":"m","formats":[{"name":"x"}]}`), code: status.InvalidArgument, contains: "export \"x\""},
		{says: "two formats of one name", wasm: tiny(), descriptor: []byte(`{"abi":"genkit/1","name":"m","formats":[{"name":"f"},{"name":"f"}]}`), code: status.InvalidArgument, contains: "named twice"},
		{says: "nothing at all", wasm: tiny(), descriptor: []byte(`{"abi":"genkit/1","name":"m"}`), code: status.InvalidArgument, contains: "at least one tool"},
	}
	h := newHost(t, wasmhost.Config{Grants: &policy.Grants{KV: true, Clock: true}})
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: calc(t)})
	require.NoError(t, err)
	for _, c := range cases {
		t.Run(c.says, func(t *testing.T) {
			name := c.name
			if name == "" {
				name = "calc" // each tries to replace what is there
			}
			_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Name: name, Wasm: c.wasm, Descriptor: c.descriptor, Policy: []byte(c.policy)})
			require.Error(t, err)
			wire := status.ToWire(err, false)
			assert.Equal(t, c.code.String(), wire.Status, wire.Message)
			assert.Contains(t, wire.Message, c.contains)
			assert.NotContains(t, wire.Message, "\n")

			rec, err := h.Module(tenant, "calc")
			require.NoError(t, err)
			assert.Equal(t, 1, rec.Revision, "the old module must stay")
			out, err := call(t, h, "calc/add", `{"a":40,"b":2}`)
			require.NoError(t, err)
			assert.JSONEq(t, `{"sum":42}`, out)
		})
	}
	_, err = h.Load(t.Context(), "nobody", wasmhost.Upload{Wasm: calc(t)})
	require.ErrorIs(t, err, status.ErrNotFound)
}

// describeLoop never answers what it is.
func describeLoop() []byte {
	return w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(w.Export("genkit_describe", 0, 0)),
		w.Code(w.Body("", 0x03, 0x40, 0x0c, 0, 0x0b, 0x00)))
}

// TestWhatABadCallGets is the second half of the table.
func TestWhatABadCallGets(t *testing.T) {
	h := newHost(t, wasmhost.Config{})
	wasm, err := os.ReadFile("../pdk/conformance/c/conformance.wasm")
	require.NoError(t, err)
	_, err = h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: wasm, Policy: []byte(`{"limits":{"timeoutMs":200,"memoryBytes":4194304,"outputBytes":1000,"callsPerMinute":0}}`)})
	require.NoError(t, err)
	for _, c := range []struct {
		says, tool, in string
		code           status.Code
		contains       string
	}{
		{"an unknown tool", "nope", `{}`, status.NotFound, `tool "conformance/nope" not found`},
		{"input that breaks the schema", "big", `{"size":"x"}`, status.InvalidArgument, "/size"},
		{"input that is not JSON", "echo", `{"a":`, status.InvalidArgument, "not valid JSON"},
		{"input that is not UTF-8", "echo", "\"\xff\"", status.InvalidArgument, "not valid UTF-8"},
		{"text wanted, object given", "upper", `{}`, status.InvalidArgument, "must be a JSON string"},
		{"output that is not JSON", "badoutput", `{}`, status.Internal, "not valid JSON"},
		{"output that is not UTF-8", "invalidutf8", `{}`, status.Internal, "not valid UTF-8"},
		{"output that breaks the schema", "wrongshape", `{}`, status.Internal, "want integer"},
		{"output over its limit", "big", `{"size":2000}`, status.ResourceExhausted, "exceeds the limit of 1000"},
		{"a trap", "trap", `{}`, status.Internal, "trapped"},
		{"a loop past its deadline", "spin", `{}`, status.DeadlineExceeded, "time limit of 200ms"},
		{"memory past its cap", "hog", `{}`, status.ResourceExhausted, ""},
		{"an error of the guest", "fail", `{}`, status.NotFound, "no such thing"},
	} {
		t.Run(c.says, func(t *testing.T) {
			_, err := call(t, h, "conformance/"+c.tool, c.in)
			require.Error(t, err)
			wire := status.ToWire(err, false)
			assert.Equal(t, c.code.String(), wire.Status, wire.Message)
			assert.Contains(t, wire.Message, c.contains)
			out, err := call(t, h, "conformance/counter", `{}`)
			require.NoError(t, err)
			assert.JSONEq(t, `{"count":1}`, out)
		})
	}
}

func TestCallsPerMinuteAreCounted(t *testing.T) {
	h := newHost(t, wasmhost.Config{})
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: calc(t), Policy: []byte(`{"limits":{"callsPerMinute":2}}`)})
	require.NoError(t, err)
	for range 2 {
		_, err = call(t, h, "calc/add", `{"a":1,"b":2}`)
		require.NoError(t, err)
	}
	_, err = call(t, h, "calc/add", `{"a":1,"b":2}`)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Positive(t, status.Convert(err).RetryAfter)
}

func TestARegistryRefusesTheProviderOfAnUnknownTenant(t *testing.T) {
	host, err := wasmhost.New(t.Context(), wasmhost.Config{})
	require.NoError(t, err)
	defer host.Close(context.Background())
	err = registry.New(nil).AddProvider(host.Provider("acme"))
	require.ErrorIs(t, err, status.ErrNotFound)
	assert.Contains(t, err.Error(), `"acme"`)
	require.NoError(t, registry.New(nil).AddProvider(host.Provider(wasmhost.DefaultTenant)))
}
