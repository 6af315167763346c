package sandbox_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// BenchmarkMegabyte echoes a megabyte of JSON, with fresh state; that of ./bench does it as
// a tool. A guest that has to grow for it gets a new instance for each call.
func BenchmarkMegabyte(b *testing.B) {
	in := []byte(`{"pad":"` + strings.Repeat("x", 1<<20) + `"}`)
	grows, err := os.ReadFile("../../../examples/calc/calc.wasm")
	require.NoError(b, err)
	// The memory section: 4 MiB from the start instead of 128 KiB.
	small, large := []byte{5, 3, 1, 0, 2}, []byte{5, 3, 1, 0, 64}
	require.Equal(b, 1, bytes.Count(grows, small))
	for name, wasm := range map[string][]byte{"grows": grows, "has_room": bytes.Replace(grows, small, large, 1)} {
		b.Run("guest="+name, func(b *testing.B) {
			sb, err := sandbox.New(b.Context(), sandbox.Config{})
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, sb.Close(context.Background())) })
			parsed, err := inspect.Parse(wasm, inspect.Limits{})
			require.NoError(b, err)
			m, err := sb.Compile(b.Context(), sandbox.Source{Wasm: wasm, Module: parsed, Limits: sandbox.Limits{
				Timeout: 5 * time.Second, Fuel: 2_000_000_000, MemoryBytes: 32 << 20, TableElements: 65_536, InputBytes: 4 << 20, OutputBytes: 4 << 20, Concurrency: 16,
			}})
			require.NoError(b, err)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				res, err := m.Call(b.Context(), sandbox.Call{Export: "echo", Input: in})
				if err != nil || len(res.Output) != len(in) {
					b.Fatal(err)
				}
			}
		})
	}
}
