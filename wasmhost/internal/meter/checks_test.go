package meter_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

// recursive has an export run that goes as deep as its parameter says. Its work on the way down and on the way up is
// in an if, so that it is charged where it is done.
func recursive(down, call, up []byte) []byte {
	when := func(code []byte) []byte { return w.Cat([]byte{0x20, 0, 0x04, 0x40}, code, []byte{0x0b}) }
	again := w.Cat(down, call)
	return w.Module(w.Types(w.FuncType("i", "")), w.Funcs(0, 0), w.Tables(w.Table("r", w.Limits(2))), w.Globals(w.Global("i", true, 0x41, 0)),
		w.Exports(w.Export("run", 0, 1)), w.Elements(w.Cat([]byte{0, 0x41, 0, 0x0b}, w.Vec(w.U32(0), w.U32(1)))), w.Code(w.Body("", 0x01), w.Body("", w.Cat(when(again), when(up))...)))
}

// However work is spread over the frames of a deep recursion, or over calls in a straight line, the host is called
// before much of it has gone by.
func TestNoWorkGoesLongWithoutTheHost(t *testing.T) {
	work := bytes.Repeat([]byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0}, 500) // 2,000 units
	leaves := w.Module(w.Types(w.FuncType("i", "")), w.Funcs(0, 0), w.Globals(w.Global("i", true, 0x41, 0)), w.Exports(w.Export("run", 0, 0)),
		w.Code(w.Body("", bytes.Repeat([]byte{0x20, 0, 0x10, 1}, 10_000)...), w.Body("", bytes.Repeat([]byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0}, 60)...)))
	long := w.Module(w.Types(w.FuncType("i", "")), w.Funcs(0), w.Globals(w.Global("i", true, 0x41, 0)), w.Exports(w.Export("run", 0, 0)),
		w.Code(w.Body("", bytes.Repeat(w.Cat([]byte{0x20, 0, 0x04, 0x40}, work, []byte{0x0b}), 280)...)))
	less := []byte{0x20, 0, 0x41, 1, 0x6b}
	direct, byTable := w.Cat(less, []byte{0x10, 1}), w.Cat(less, []byte{0x41, 1, 0x11, 0, 0})
	cheap := bytes.Repeat([]byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0}, 5)
	loop := w.Cat([]byte{0x41}, w.S64(400), []byte{0x24, 0, 0x03, 0x40, 0x23, 0, 0x41, 1, 0x6b, 0x24, 0, 0x23, 0, 0x0d, 0, 0x0b}) // 400 rounds
	for name, c := range map[string]struct {
		wasm  []byte
		depth uint64
	}{
		"on the way down":                      {recursive(work, direct, nil), 1500},
		"on the way up":                        {recursive(nil, direct, work), 1500},
		"both":                                 {recursive(work, direct, work), 1500},
		"on the way down through a table":      {recursive(work, byTable, nil), 1500},
		"on the way up through a table":        {recursive(nil, byTable, work), 1500},
		"short loops on the way down":          {recursive(loop, direct, nil), 1500},
		"short loops on the way up":            {recursive(nil, direct, loop), 1500},
		"short loops up from a table":          {recursive(nil, byTable, loop), 1500},
		"in a tree of cheap calls":             {recursive(nil, w.Cat(direct, direct), nil), 17},
		"in a tree of cheap calls by a table":  {recursive(cheap, w.Cat(byTable, byTable), nil), 16},
		"in a tree of cheap calls of two ways": {recursive(nil, w.Cat(byTable, direct), cheap), 16},
		"cheap functions in a straight line":   {leaves, 1},
		"a long function":                      {long, 1},
	} {
		for engine, config := range engines() {
			t.Run(name+"/"+engine, func(t *testing.T) {
				h := newHost(t, config)
				h.slice = 10_000
				instance := h.run(t, rewrite(t, c.wasm))
				_, err := instance.ExportedFunction("run").Call(ctx, c.depth)
				require.NoError(t, err)
				h.worst = max(h.worst, h.given-int64(h.fuel.Get()))
				require.Greater(t, h.used(), int64(500_000))
				assert.Less(t, h.worst, int64(140_000), "so much was used without the host")
			})
		}
	}
}

// A hundred thousand frames that each cost next to nothing come to much on their way down, and on their way up.
func TestADeepRecursionOfCheapFramesMeetsTheHost(t *testing.T) {
	less := []byte{0x20, 0, 0x41, 1, 0x6b}
	for name, call := range map[string][]byte{"direct": {0x10, 1}, "through a table": {0x41, 1, 0x11, 0, 0}} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, wazero.NewRuntimeConfigCompiler())
			h.slice = 10_000
			instance := h.run(t, rewrite(t, recursive(nil, w.Cat(less, call), nil)))
			_, err := instance.ExportedFunction("run").Call(ctx, 100_000)
			require.NoError(t, err)
			require.Greater(t, h.used(), int64(1_000_000))
			assert.Less(t, h.worst, int64(140_000), "so much was used without the host")
		})
	}
}
