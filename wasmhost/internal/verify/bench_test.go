//go:build unix

package verify_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/verify"
)

// BenchmarkCheck measures, in turns, how much processor time each real module takes to be parsed again and verified, and to be
// compiled, and reports the least and the ratio over all modules.
func BenchmarkCheck(b *testing.B) {
	ctx := context.Background()
	type times struct{ parse, verify, compile time.Duration }
	best := map[string]*times{}
	all := modules(b)
	for b.Loop() {
		for name, wasm := range all {
			original, err := inspect.Parse(wasm, roomy)
			require.NoError(b, err)
			res, err := meter.Rewrite(wasm, original, words)
			require.NoError(b, err)
			start := processor(b)
			rewritten, err := inspect.Parse(res.Wasm, roomy)
			require.NoError(b, err)
			parsed := processor(b)
			_, err = verify.Check(original, rewritten, claim(res, words))
			require.NoError(b, err)
			verified := processor(b)
			r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
			_, err = r.CompileModule(ctx, res.Wasm)
			require.NoError(b, err)
			compiled := processor(b)
			require.NoError(b, r.Close(ctx))
			t := best[name]
			if t == nil {
				t = &times{time.Hour, time.Hour, time.Hour}
				best[name] = t
			}
			t.parse, t.verify, t.compile = min(t.parse, parsed-start), min(t.verify, verified-parsed), min(t.compile, compiled-verified)
		}
	}
	var sum times
	for name, t := range best {
		sum.parse, sum.verify, sum.compile = sum.parse+t.parse, sum.verify+t.verify, sum.compile+t.compile
		b.Logf("%s: parse %v, verify %v, compile %v: %.1f %%", name, t.parse, t.verify, t.compile, 100*float64(t.parse+t.verify)/float64(t.compile))
	}
	b.ReportMetric(float64(sum.parse.Microseconds())/1000, "parse-ms")
	b.ReportMetric(float64(sum.verify.Microseconds())/1000, "verify-ms")
	b.ReportMetric(float64(sum.compile.Microseconds())/1000, "compile-ms")
	b.ReportMetric(float64(sum.parse+sum.verify)/float64(sum.compile), "ratio")
}

// processor is the time that this process has had a processor.
func processor(tb testing.TB) time.Duration {
	tb.Helper()
	var use syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
