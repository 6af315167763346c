package meter_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

const computeC = `void *memset(void *p, int c, unsigned long n) { char *q = p; while (n--) *q++ = c; return p; }
static unsigned char flags[1000001];
unsigned xorshift(unsigned n) { unsigned x = 2463534242u; for (unsigned i = 0; i < n; i++) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; } return x; }
unsigned sieve(unsigned n) {
  unsigned count = 0;
  for (unsigned i = 2; i <= n; i++) flags[i] = 1;
  for (unsigned i = 2; i <= n; i++) if (flags[i]) { count++; for (unsigned j = i + i; j <= n; j += i) flags[j] = 0; }
  return count;
}
unsigned fib(unsigned n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static unsigned a[64*64], b[64*64], c[64*64];
unsigned matmul(unsigned n) {
  for (unsigned i = 0; i < 64*64; i++) { a[i] = i ^ n; b[i] = i * 7; }
  for (unsigned i = 0; i < 64; i++) for (unsigned j = 0; j < 64; j++) { unsigned s = 0; for (unsigned k = 0; k < 64; k++) s += a[i*64+k] * b[k*64+j]; c[i*64+j] = s; }
  return c[n & 4095];
}
unsigned scan(unsigned n) {
  unsigned depth = 0, strings = 0, digits = 0; int in = 0;
  static const char text[] = "{\"a\":[1,2,3,{\"b\":\"x\\\"y\"}],\"c\":-12.5e3,\"d\":null}";
  for (unsigned i = 0; i < n; i++) {
    char ch = text[i % (sizeof text - 1)];
    if (in) { if (ch == '\\') i++; else if (ch == '"') in = 0; continue; }
    switch (ch) { case '{': case '[': depth++; break; case '}': case ']': depth--; break; case '"': in = 1; strings++; break; default: if (ch >= '0' && ch <= '9') digits++; }
  }
  return depth * 3 + strings * 5 + digits;
}
`

const computeGo = `package main

import (
	"encoding/json"
	"strings"
)

//go:wasmexport xorshift
func xorshift(n uint32) uint32 {
	x := uint32(2463534242)
	for range n { x ^= x << 13; x ^= x >> 17; x ^= x << 5 }
	return x
}

var flags [1000001]bool

//go:wasmexport sieve
func sieve(n uint32) uint32 {
	var count uint32
	for i := uint32(2); i <= n; i++ { flags[i] = true }
	for i := uint32(2); i <= n; i++ {
		if flags[i] { count++; for j := i + i; j <= n; j += i { flags[j] = false } }
	}
	return count
}

//go:wasmexport fib
func fib(n uint32) uint32 { if n < 2 { return n }; return fib(n-1) + fib(n-2) }

var text = []byte("{\"a\":40,\"b\":2,\"pad\":\"" + strings.Repeat("x", 1000) + "\"}")

//go:wasmexport add
func add(n uint32) uint32 {
	var sum uint32
	for range n {
		var p struct{ A, B uint32; Pad string }
		if json.Unmarshal(text, &p) != nil { return 0 }
		sum += p.A + p.B
	}
	return sum
}

func main() {}
`

const computeAS = `
export function xorshift(n: u32): u32 {
  let x: u32 = 2463534242;
  for (let i: u32 = 0; i < n; i++) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; }
  return x;
}
const flags = new StaticArray<bool>(1000001);
export function sieve(n: u32): u32 {
  let count: u32 = 0;
  for (let i: u32 = 2; i <= n; i++) flags[i] = true;
  for (let i: u32 = 2; i <= n; i++) {
    if (flags[i]) { count++; for (let j = i + i; j <= n; j += i) flags[j] = false; }
  }
  return count;
}
export function fib(n: u32): u32 { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
`

// BenchmarkCompute runs each kernel as it was and metered, in turns, and reports the ratio
// of the shortest times: what else the machine does makes both longer, never shorter.
func BenchmarkCompute(b *testing.B) {
	all := []job{{"xorshift", 1_000_000}, {"sieve", 1_000_000}, {"fib", 25}, {"matmul", 3}, {"scan", 1_000_000}}
	for _, g := range []kernels{
		{"C-O2", func(tb testing.TB) []byte { return w.BuildC(tb, computeC, "-O2", "-fno-builtin") }, all, nil},
		{"C-O1", func(tb testing.TB) []byte { return w.BuildC(tb, computeC, "-O1", "-fno-builtin") }, all, nil},
		{
			"C-tool", func(tb testing.TB) []byte { return readFile(tb, "../../../examples/calc/calc.wasm") },
			[]job{{name: "add"}},
			&exchange{`{"a":40,"b":2,"pad":"` + strings.Repeat("x", 1000) + `"}`, `{"sum":42}`},
		},
		{"Go", func(tb testing.TB) []byte { return w.BuildGo(tb, computeGo) }, []job{{"xorshift", 1_000_000}, {"sieve", 1_000_000}, {"fib", 22}, {"add", 100}}, nil},
		{"AS", func(tb testing.TB) []byte { return w.BuildAssemblyScript(tb, "../../..", computeAS) }, all[:3], nil},
		{
			"AS-tool", func(tb testing.TB) []byte { return readFile(tb, "../../../examples/units/units.wasm") },
			[]job{{name: "convert"}},
			&exchange{`{"value":2,` + strings.Repeat(" ", 1000) + `"from":"km","to":"m"}`, `{"value":2000,"unit":"m"}`},
		},
	} {
		b.Run(g.name, g.compare)
	}
}

type job struct {
	name string
	arg  uint64
}

// kernels are the jobs of one guest.
type kernels struct {
	name string
	wasm func(testing.TB) []byte
	jobs []job
	tool *exchange // nil: it calls nothing that it imports
}

// exchange is a tool's input and the answer it must give.
type exchange struct{ in, out string }

func (g kernels) compare(b *testing.B) {
	wasm := g.wasm(b)
	h := newHost(b, wazero.NewRuntimeConfigCompiler())
	if g.tool != nil {
		answer(b, h, *g.tool)
	} else {
		stub(b, h, wasm)
	}
	metered := h.run(b, rewrite(b, wasm))
	original, err := h.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	require.NoError(b, err)
	for _, m := range []api.Module{original, metered} {
		if f := m.ExportedFunction("_initialize"); f != nil {
			_, err := f.Call(ctx)
			require.NoError(b, err)
		}
	}
	for _, j := range g.jobs {
		b.Run(j.name, func(b *testing.B) {
			best := [2]time.Duration{time.Hour, time.Hour}
			functions := [2]api.Function{original.ExportedFunction(j.name), metered.ExportedFunction(j.name)}
			var results [2]uint64
			stack := make([]uint64, 1)
			for b.Loop() {
				for i, f := range functions {
					start := time.Now()
					stack[0] = j.arg
					if err := f.CallWithStack(ctx, stack); err != nil {
						b.Fatal(err)
					}
					best[i] = min(best[i], time.Since(start))
					results[i] = stack[0]
				}
			}
			require.Equal(b, results[0], results[1])
			b.ReportMetric(float64(best[0].Nanoseconds())/1000, "original-µs")
			b.ReportMetric(float64(best[1].Nanoseconds())/1000, "metered-µs")
			b.ReportMetric(float64(best[1])/float64(best[0]), "ratio")
		})
	}
}

func readFile(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(name)
	require.NoError(tb, err)
	return b
}

// answer gives the runtime what a tool imports.
func answer(tb testing.TB, r wazero.Runtime, want exchange) {
	tb.Helper()
	in := []byte(want.in)
	host := r.NewHostModuleBuilder("genkit_v1")
	export := func(name string, f api.GoModuleFunc, params, results []api.ValueType) {
		host.NewFunctionBuilder().WithGoModuleFunction(f, params, results).Export(name)
	}
	i32 := api.ValueTypeI32
	export("input_len", func(_ context.Context, _ api.Module, stack []uint64) { stack[0] = uint64(len(in)) }, nil, []api.ValueType{i32})
	export("input", func(_ context.Context, m api.Module, stack []uint64) { m.Memory().Write(uint32(stack[0]), in) }, []api.ValueType{i32}, nil)
	export("output", func(_ context.Context, m api.Module, stack []uint64) {
		if out, ok := m.Memory().Read(uint32(stack[0]), uint32(stack[1])); !ok || string(out) != want.out {
			panic("not the answer: " + string(out))
		}
	}, []api.ValueType{i32, i32}, nil)
	export("error", func(context.Context, api.Module, []uint64) { panic("the tool fails") }, []api.ValueType{i32, i32}, nil)
	_, err := host.Instantiate(ctx)
	require.NoError(tb, err)
}

func BenchmarkRewrite(b *testing.B) {
	wasm := w.Corpus(b)["count_vowels_std.wasm"]
	b.SetBytes(int64(len(wasm)))
	for b.Loop() {
		rewrite(b, wasm)
	}
}

func BenchmarkYield(b *testing.B) {
	wasm := w.BuildC(b, computeC, "-fno-builtin")
	h := newHost(b, wazero.NewRuntimeConfigCompiler())
	h.slice = 1 // every check yields
	f := h.run(b, rewrite(b, wasm)).ExportedFunction("fib")
	before := h.yields
	for b.Loop() {
		if _, err := f.Call(ctx, 15); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(h.yields-before), "ns/yield")
}
