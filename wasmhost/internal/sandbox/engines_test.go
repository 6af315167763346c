package sandbox_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// goModule builds a folder of the repository as a module.
func goModule(t *testing.T, dir string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
	return read(t, out)
}

// The interpreter is the oracle of the compiler: every function of every example gives
// the same output, chunks, log lines, error and fuel, to the unit, on both.
func TestTheCompilerDoesWhatTheInterpreterDoes(t *testing.T) {
	modules := map[string][]byte{"textkit": goModule(t, "../../../examples/textkit")}
	for name, file := range map[string]string{
		"calc": "../../../examples/calc/calc.wasm", "units": "../../../examples/units/units.wasm", "approval": "../../../examples/approval/approval.wasm",
		"calc-extism": "../../../bench/guests/calc-extism.wasm", "conformance": conformance,
	} {
		modules[name] = read(t, file)
	}
	inputs := []string{
		"", `{}`, `null`, `"Hello, Wörld ☃"`, `{"a":1.5,"b":40,"pad":"é"}`, `{"value":12.5,"from":"km","to":"mi"}`, `{"text":"The quick brown fox. ","n":3}`,
		`{"a":` + strings.Repeat("9", 300) + `,"b":0.1}`, `[1,2,`, `"` + strings.Repeat("word ", 3000) + `"`,
	}
	compiler, interpreter := newSandbox(t, sandbox.Config{}), newSandbox(t, sandbox.Config{Interpreter: true})
	lim := limits()
	lim.Timeout, lim.Fuel = time.Minute, 20_000_000
	for name, wasm := range modules {
		if leftOut(wasm) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			m, err := inspect.Parse(wasm, inspect.Limits{})
			require.NoError(t, err)
			both := [2]*sandbox.Module{compile(t, compiler, wasm, lim), compile(t, interpreter, wasm, lim)}
			// A runtime that seeds its hashes while it initialises takes as much fuel as it happens to.
			seeded := slices.ContainsFunc(m.Imports, func(i inspect.Import) bool { return i.Name == "random_get" })
			compared := 0
			for _, e := range m.Exports {
				if !callable(m, e) || e.Name == "_initialize" || strings.Contains(e.Name, "random") {
					continue
				}
				for _, in := range inputs {
					got := [2]string{observe(t, both[0], e.Name, in, !seeded), observe(t, both[1], e.Name, in, !seeded)}
					assert.Equal(t, got[1], got[0], "%s(%.60s)", e.Name, in)
					compared++
				}
			}
			assert.Positive(t, compared)
		})
	}
}

// observe is everything that is seen of a call.
func observe(t *testing.T, m *sandbox.Module, export, in string, fuel bool) string {
	t.Helper()
	var seen strings.Builder
	res, err := m.Call(t.Context(), sandbox.Call{
		Export: export, Input: []byte(in), Context: json.RawMessage(`{"auth":"x"}`),
		Emit: func(chunk json.RawMessage) error { fmt.Fprintf(&seen, "chunk %s\n", chunk); return nil },
		Log:  func(level sandbox.Level, line string) { fmt.Fprintf(&seen, "log %d %s\n", level, line) },
	})
	fmt.Fprintf(&seen, "error %v\n", err)
	if res != nil {
		fmt.Fprintf(&seen, "output %q, interrupted %v %s, %d bytes", res.Output, res.Interrupted, res.Interrupt, res.MemoryBytes)
		if fuel {
			fmt.Fprintf(&seen, ", %d units", res.Fuel)
		}
	}
	return seen.String()
}
