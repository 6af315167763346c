package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// roomy gives calc.wasm 4 MiB of memory from the start instead of 128 KiB, so that it
// takes a megabyte without growing.
func roomy(b *testing.B) []byte {
	b.Helper()
	small, large := []byte{5, 3, 1, 0, 2}, []byte{5, 3, 1, 0, 64}
	wasm := guest(b, "../examples/calc/calc.wasm", "")
	require.Equal(b, 1, bytes.Count(wasm, small), "the memory section")
	return bytes.Replace(wasm, small, large, 1)
}

// BenchmarkMegabyte echoes a megabyte of JSON, with fresh state, as a tool, where host and
// engine check that it is JSON on the way in and out; the sandbox has a benchmark of this
// name for what it takes alone. A guest that has to grow for it gets a new instance for
// each call.
func BenchmarkMegabyte(b *testing.B) {
	in := request(1 << 20)
	limits := policy.Limits{InputBytes: 4 << 20, OutputBytes: 4 << 20}.Or(policy.Defaults())
	for _, v := range []struct {
		name string
		wasm []byte
	}{{"grows", guest(b, "../examples/calc/calc.wasm", "")}, {"has_room", roomy(b)}} {
		b.Run("guest="+v.name+"/through=tool", func(b *testing.B) {
			host, err := wasmhost.New(b.Context(), wasmhost.Config{CacheDir: cacheDir(b), Limits: limits})
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, host.Close(context.Background())) })
			_, err = host.Load(b.Context(), wasmhost.DefaultTenant, wasmhost.Upload{Name: "calc", Wasm: v.wasm})
			require.NoError(b, err)
			a, err := host.Provider(wasmhost.DefaultTenant).Resolve(b.Context(), action.Key{Kind: action.Tool, Name: "calc/echo"})
			require.NoError(b, err)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				out, err := a.RunJSON(b.Context(), json.RawMessage(in), nil)
				if err != nil || len(out) != len(in) {
					b.Fatal(err)
				}
			}
		})
	}
}
