package sandbox_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// outcome is all that a caller sees of a call, and what it is billed.
type outcome struct {
	Output, Interrupt, Error string
	Code                     status.Code
	Fuel                     int64
}

func outcomeOf(t *testing.T, m *sandbox.Module, export, in string) outcome {
	t.Helper()
	var usage sandbox.Usage
	res, err := m.Call(t.Context(), sandbox.Call{Export: export, Input: []byte(in), Usage: &usage})
	if err != nil {
		return outcome{Error: err.Error(), Code: status.Of(err), Fuel: usage.Fuel}
	}
	return outcome{Output: string(res.Output), Interrupt: string(res.Interrupt), Fuel: usage.Fuel}
}

// Every example and every foreign plug-in does the same, and costs the same, on the
// compiler (in a process of its own) and on the interpreter (by the module's switch).
// bigBytes is the size from which modules are compared in whole runs only: each takes seconds to compile, and many times
// that under the race detector.
const bigBytes = 400 << 10

// leftOut tells that a module is one of those.
func leftOut(wasm []byte) bool { return len(wasm) > bigBytes && (testing.Short() || raced) }

func TestTheCompilerEqualsTheInterpreter(t *testing.T) {
	corpus := wasmtest.Corpus(t)
	for _, pattern := range []string{"../../../examples/*/*.wasm", "../../../pdk/conformance/*/*.wasm", "../../../bench/guests/*.wasm"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			corpus[file] = read(t, file)
		}
	}
	sb := newSandbox(t, sandbox.Config{Compiler: compiler})
	inputs := []string{"", `{"a":1.5,"b":40,"pad":"é"}`, `"hello world"`, `{"text":"Ünïcödé — ☃ aeiou"}`, strings.Repeat("The quick brown fox. ", 50)}
	compared := 0
	for _, name := range slices.Sorted(maps.Keys(corpus)) {
		wasm := corpus[name]
		parsed, err := inspect.Parse(wasm, inspect.Limits{})
		if err != nil || leftOut(wasm) || (!linkable(parsed) && !native(parsed)) {
			continue
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			lim := limits()
			lim.Timeout, lim.Fuel = 5*time.Minute, 20_000_000
			both := make([]*sandbox.Module, 2)
			for i := range both {
				both[i], err = sb.Compile(t.Context(), sandbox.Source{Wasm: wasm, Module: parsed, Limits: lim, Interpreter: i == 1})
				require.NoError(t, err)
				defer both[i].Close()
			}
			for _, e := range parsed.Exports {
				if !callable(parsed, e) {
					continue
				}
				for _, in := range inputs {
					compiled, interpreted := outcomeOf(t, both[0], e.Name, in), outcomeOf(t, both[1], e.Name, in)
					if strings.Contains(compiled.Error+interpreted.Error, "call stack exhausted") {
						continue // how deep a stack may be is each engine's own
					}
					assert.Equal(t, interpreted, compiled, "%s(%q)", e.Name, in)
					compared++
				}
			}
		})
	}
	t.Logf("%d calls compared", compared)
	assert.Greater(t, compared, 100, "the corpus had next to nothing to compare")
}

func native(m *inspect.Module) bool {
	return slices.ContainsFunc(m.Imports, func(i inspect.Import) bool { return i.Module == abi.ModuleNative })
}
