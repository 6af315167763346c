package meter_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// attempt calls a function and words what came of it.
func attempt(f api.Function, args ...uint64) string {
	results, err := f.Call(ctx, args...)
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return first
	}
	return fmt.Sprint(results)
}

// same calls functions on the original and on its metered form, in order, and compares what they give and leave.
func same(t *testing.T, config wazero.RuntimeConfig, wasm []byte, res *meter.Result, calls func(api.Module) []string) int64 {
	t.Helper()
	h := newHost(t, config)
	h.budget = 200_000_000
	stub(t, h, wasm)
	instance := h.run(t, res)
	got := calls(instance)
	if h.budget < 0 {
		t.Skip("the module does not end without its host")
	}
	original, err := h.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	require.NoError(t, err)
	assert.Equal(t, calls(original), got)
	if instance.ExportedMemory("memory") != nil {
		assert.Equal(t, memoryHash(original), memoryHash(instance))
	}
	return h.used()
}

func TestTheExtismCorpusKeepsItsMeaning(t *testing.T) {
	for name, wasm := range w.Corpus(t) {
		if len(wasm) > 400<<10 && (testing.Short() || raced) { // it takes seconds to compile
			continue
		}
		res := rewrite(t, wasm)
		require.NoError(t, verified(t, wasm, res, meter.Options{}))
		for engine, config := range engines() {
			t.Run(name+"/"+engine, func(t *testing.T) {
				used := same(t, config, wasm, res, func(m api.Module) []string {
					var out []string
					names := []string{"_initialize", "_start"}
					for name := range m.ExportedFunctionDefinitions() {
						if !slices.Contains(names, name) {
							names = append(names, name)
						}
					}
					slices.Sort(names[2:])
					for _, name := range names {
						if f := m.ExportedFunction(name); f != nil && len(f.Definition().ParamTypes()) == 0 {
							out = append(out, name+" "+attempt(f))
						}
					}
					return out
				})
				t.Logf("%d bytes to %d, %d units", len(wasm), len(res.Wasm), used)
			})
		}
	}
}

func TestCompilersOutputKeepsItsMeaning(t *testing.T) {
	const goSource = `package main

import (
	"encoding/json"
	"sort"
	"strings"
)

//go:wasmexport run
func run(n int32) int32 {
	words := map[string]int{}
	for i := int32(0); i < n; i++ { words[strings.Repeat("x", int(i%13))] += int(i) }
	b, err := json.Marshal(words)
	if err != nil { panic(err) }
	var back map[string]int
	if err := json.Unmarshal(b, &back); err != nil { panic(err) }
	var keys []string
	for k := range back { keys = append(keys, k) }
	sort.Strings(keys)
	return int32(len(b)) * int32(back[keys[len(keys)-1]])
}

func main() {}
`
	const rust = `#[no_mangle]
pub extern "C" fn run(n: u32) -> u32 {
    let mut v: Vec<String> = (0..n).map(|i| format!("{:x}", i.wrapping_mul(2654435761))).collect();
    v.sort();
    v.join(",").bytes().fold(7u32, |h, b| h.wrapping_mul(31).wrapping_add(b as u32))
}
`
	one := func(name string, args ...uint64) func(api.Module) []string {
		return func(m api.Module) []string {
			var out []string
			if f := m.ExportedFunction("_initialize"); f != nil {
				out = append(out, attempt(f))
			}
			for _, arg := range args {
				out = append(out, attempt(m.ExportedFunction(name), arg))
			}
			return out
		}
	}
	compute := func(m api.Module) []string {
		var out []string
		for _, name := range []string{"xorshift", "sieve", "fib", "matmul", "scan"} {
			out = append(out, attempt(m.ExportedFunction(name), 17))
		}
		return out
	}
	compilers := []struct {
		name  string
		build func(testing.TB) []byte
		calls func(api.Module) []string
	}{
		{"C", func(tb testing.TB) []byte { return w.BuildC(tb, computeC, "-fno-builtin") }, compute},
		{"C without optimising", func(tb testing.TB) []byte { return w.BuildC(tb, computeC, "-O0") }, compute},
		{"C with vectors", func(tb testing.TB) []byte { return w.BuildC(tb, computeC, "-O3", "-msimd128", "-mbulk-memory") }, compute},
		{"Rust", func(tb testing.TB) []byte { return w.BuildRust(tb, rust) }, one("run", 5, 300)},
		{"Go", func(tb testing.TB) []byte { return w.BuildGo(tb, goSource) }, one("run", 5, 300)},
	}
	if testing.Short() || raced { // the others are big, and take long to compile
		compilers = compilers[:3]
	}
	for _, c := range compilers {
		t.Run(c.name, func(t *testing.T) {
			wasm := c.build(t)
			start := time.Now()
			res := rewrite(t, wasm)
			require.NoError(t, verified(t, wasm, res, meter.Options{}))
			t.Logf("%d bytes to %d in %v, debt at most %d", len(wasm), len(res.Wasm), time.Since(start), res.MaxDebt)
			used := map[int64]bool{}
			for engine, config := range engines() {
				start := time.Now()
				used[same(t, config, wasm, res, c.calls)] = true
				t.Logf("%s: %v", engine, time.Since(start))
			}
			assert.Len(t, used, 1, "the same fuel on both engines: %v", used)
		})
	}
}

// BenchmarkCompile compares how long a module takes to compile before and after.
func BenchmarkCompile(b *testing.B) {
	corpus := w.Corpus(b)
	for _, name := range []string{"count_vowels_std.wasm", "hello_haskell.wasm", "http.wasm"} {
		for variant, wasm := range map[string][]byte{"original": corpus[name], "metered": rewrite(b, corpus[name]).Wasm} {
			b.Run(name+"/"+variant, func(b *testing.B) {
				for b.Loop() {
					r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
					if _, err := r.CompileModule(ctx, wasm); err != nil {
						b.Fatal(err)
					}
					r.Close(ctx)
				}
			})
		}
	}
}
