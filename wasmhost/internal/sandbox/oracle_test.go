package sandbox_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// skippedOracle names modules whose outcome rests on what this host withholds on
// purpose.
var skippedOracle = map[string]string{
	"config.wasm":     "reads a configuration, which no module gets here",
	"fs.wasm":         "reads files, which no module gets here",
	"fs_std.wasm":     "reads files, which no module gets here",
	"sleep.wasm":      "sleeps by a clock that runs, which no module gets here",
	"println.wasm":    "writes to the process's standard output under the SDK",
	"var.wasm":        "keeps variables between calls, which is state; see TestExtismVariablesEndWithTheCall",
	"read_write.wasm": "writes files, which no module gets here",
}

// The Extism SDK is the oracle: the same module and input must give the same bytes or
// the same error text.
func TestExtismModulesDoWhatTheyDoUnderTheSDK(t *testing.T) {
	corpus := wasmtest.Corpus(t)
	corpus["calc-extism.wasm"] = read(t, "../../../bench/guests/calc-extism.wasm")
	sb := newSandbox(t, sandbox.Config{})
	inputs := []string{"", `{"a":1.5,"b":40,"pad":"é"}`, "hello world", "Ünïcödé — ☃ aeiou", strings.Repeat("The quick brown fox. ", 500)}
	compared := 0
	for _, name := range slices.Sorted(maps.Keys(corpus)) {
		if _, skip := skippedOracle[name]; skip {
			continue
		}
		wasm := corpus[name]
		parsed, err := inspect.Parse(wasm, inspect.Limits{})
		if err != nil || leftOut(wasm) || !linkable(parsed) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			manifest := extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: wasm}}, Timeout: 60_000}
			sdk, err := extism.NewCompiledPlugin(t.Context(), manifest, extism.PluginConfig{EnableWasi: true}, nil)
			require.NoError(t, err)
			defer func() { require.NoError(t, sdk.Close(context.Background())) }()
			lim := limits()
			lim.Timeout = time.Minute
			ours, err := sb.Compile(t.Context(), sandbox.Source{Wasm: wasm, Module: parsed, Limits: lim})
			require.NoError(t, err)
			for _, e := range parsed.Exports {
				if !callable(parsed, e) {
					continue
				}
				for i, in := range inputs {
					if name == "alloc.wasm" && i > 0 {
						break // it ignores its input and takes seconds
					}
					compareWithSDK(t, sdk, ours, e.Name, in)
					compared++
				}
			}
		})
	}
	assert.Greater(t, compared, 20, "the corpus had next to nothing to compare")
}

func compareWithSDK(t *testing.T, sdk *extism.CompiledPlugin, ours *sandbox.Module, export, in string) {
	t.Helper()
	ctx := context.Background()
	plugin, err := sdk.Instance(ctx, extism.PluginInstanceConfig{})
	require.NoError(t, err)
	defer func() { require.NoError(t, plugin.Close(ctx)) }()
	rc, want, wantErr := plugin.CallWithContext(ctx, export, []byte(in))
	got, gotErr := ours.Call(ctx, sandbox.Call{Export: export, Input: []byte(in)})
	if wantErr != nil {
		require.Error(t, gotErr, "%s(%q): the SDK said %d %v", export, in, rc, wantErr)
		text, _, _ := strings.Cut(wantErr.Error(), "\n")
		if !strings.Contains(wantErr.Error(), "wasm error") && !strings.Contains(text, "unknown error") && !strings.Contains(text, "exit_code") {
			assert.Contains(t, status.Convert(gotErr).Message, abi.Line(text, 200), "%s(%q)", export, in)
		}
		return
	}
	require.NoError(t, gotErr, "%s(%q)", export, in)
	assert.Equal(t, string(want), string(got.Output), "%s(%q)", export, in)
}

func linkable(m *inspect.Module) bool {
	for _, i := range m.Imports {
		switch i.Module {
		case abi.ModuleExtism:
			if strings.HasPrefix(i.Name, "http_") {
				return false
			}
		case abi.ModuleWASI:
		default:
			return false
		}
	}
	return true
}

func callable(m *inspect.Module, e inspect.Export) bool {
	if e.Kind != inspect.ExternFunc || strings.HasPrefix(e.Name, "_") || strings.HasPrefix(e.Name, "asyncify_") {
		return false
	}
	typ := m.FuncType(e.Index)
	return len(typ.Params) == 0 && (len(typ.Results) == 0 || (len(typ.Results) == 1 && typ.Results[0] == inspect.I32))
}

func TestExtismVariablesEndWithTheCall(t *testing.T) {
	wasm := wasmtest.Corpus(t)["var.wasm"]
	require.NotNil(t, wasm)
	m := compile(t, newSandbox(t, sandbox.Config{}), wasm, limits())
	first, err := m.Call(t.Context(), sandbox.Call{Export: "run_test"})
	require.NoError(t, err)
	second, err := m.Call(t.Context(), sandbox.Call{Export: "run_test"})
	require.NoError(t, err)
	assert.Equal(t, string(first.Output), string(second.Output))
}
