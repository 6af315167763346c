package meter_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

// A function with very many checks calls a helper for each, and keeps its meaning, its price and its slices.
func TestManyChecksGoIntoAHelper(t *testing.T) {
	of := func(calls int) []byte {
		call := []byte{0x20, 0, 0x41, 0, 0x11, 1, 0, 0x6a, 0x21, 0} // adds what the function in the table gives
		return w.Module(w.Types(w.FuncType("i", "i"), w.FuncType("", "i")), w.Funcs(1, 0), w.Tables(w.Table("r", w.Limits(1))),
			w.Exports(w.Export("run", 0, 1)), w.Elements(w.Cat([]byte{0, 0x41, 0, 0x0b}, w.Vec(w.U32(0)))),
			w.Code(w.Body("", 0x41, 3), w.Body("", w.Cat(bytes.Repeat(call, calls), []byte{0x20, 0})...)))
	}
	few, many := rewrite(t, of(200)), rewrite(t, of(2000))
	assert.Greater(t, (len(few.Wasm)-len(of(200)))/200, (len(many.Wasm)-len(of(2000)))/2000+5, "bytes added for each call")
	for engine, config := range engines() {
		var per []int64
		for _, res := range []struct {
			calls int64
			wasm  []byte
		}{{200, of(200)}, {2000, of(2000)}} {
			h := newHost(t, config)
			h.slice = 1
			out, err := h.run(t, rewrite(t, res.wasm)).ExportedFunction("run").Call(ctx, 1)
			require.NoError(t, err)
			assert.Equal(t, []uint64{uint64(1 + 3*res.calls)}, out, "on the %s", engine)
			assert.GreaterOrEqual(t, int64(h.yields), res.calls, "on the %s", engine)
			per = append(per, h.used()/res.calls)
		}
		assert.Equal(t, per[0], per[1], "units for each call on the %s", engine)
	}
}
