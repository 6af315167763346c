package meter_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	w "github.com/genkit-wasm/genkit-wasm/wasmhost/inspect/wasmtest"
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

func BenchmarkCompute(b *testing.B) {
	for _, opt := range []string{"-O2", "-O1"} {
		wasm := w.BuildC(b, computeC, opt, "-fno-builtin")
		res := rewrite(b, wasm)
		for _, job := range []struct {
			name string
			arg  uint64
		}{{"xorshift", 1_000_000}, {"sieve", 1_000_000}, {"fib", 25}, {"matmul", 3}, {"scan", 1_000_000}} {
			run := func(variant string, instance api.Module) {
				b.Run(fmt.Sprintf("%s%s/%s", job.name, opt, variant), func(b *testing.B) {
					f := instance.ExportedFunction(job.name)
					stack := []uint64{job.arg}
					for b.Loop() {
						stack[0] = job.arg
						if err := f.CallWithStack(ctx, stack); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
			original, err := r.Instantiate(ctx, wasm)
			require.NoError(b, err)
			run("original", original)
			r.Close(ctx)
			h := newHost(b, wazero.NewRuntimeConfigCompiler())
			run("metered", h.run(b, res))
		}
	}
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
