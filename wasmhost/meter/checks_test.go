package meter_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/wasmhost/inspect/wasmtest"
)

// recursive has an export run that goes as deep as its parameter says. What it does on the way down and on the way up
// stands in an if, so that it is charged where it is done.
func recursive(down, up []byte) []byte {
	when := func(code []byte) []byte { return w.Cat([]byte{0x20, 0, 0x04, 0x40}, code, []byte{0x0b}) }
	again := w.Cat(down, []byte{0x20, 0, 0x41, 1, 0x6b, 0x10, 1})
	return w.Module(w.Types(w.FuncType("i", "")), w.Funcs(0, 0), w.Globals(w.Global("i", true, 0x41, 0)),
		w.Exports(w.Export("run", 0, 1)), w.Code(w.Body("", 0x01), w.Body("", w.Cat(when(again), when(up))...)))
}

// However work is spread over the frames of a deep recursion, or over calls in a straight line, the host is called
// before much of it has gone by.
func TestNoWorkGoesLongWithoutTheHost(t *testing.T) {
	work := bytes.Repeat([]byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0}, 500) // 2,000 units
	leaves := w.Module(w.Types(w.FuncType("i", "")), w.Funcs(0, 0), w.Globals(w.Global("i", true, 0x41, 0)), w.Exports(w.Export("run", 0, 0)),
		w.Code(w.Body("", bytes.Repeat([]byte{0x20, 0, 0x10, 1}, 10_000)...), w.Body("", bytes.Repeat([]byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0}, 60)...)))
	for name, wasm := range map[string][]byte{
		"on the way down": recursive(work, nil), "on the way up": recursive(nil, work), "both": recursive(work, work), "cheap functions in a straight line": leaves,
	} {
		for engine, config := range engines() {
			t.Run(name+"/"+engine, func(t *testing.T) {
				h := newHost(t, config)
				h.slice = 10_000
				instance := h.run(t, rewrite(t, wasm))
				depth := uint64(1500)
				_, err := instance.ExportedFunction("run").Call(ctx, depth)
				require.NoError(t, err)
				h.worst = max(h.worst, h.given-int64(h.fuel.Get()))
				require.Greater(t, h.used(), int64(1_500_000))
				assert.Less(t, h.worst, int64(140_000), "so much was used without the host")
			})
		}
	}
}
