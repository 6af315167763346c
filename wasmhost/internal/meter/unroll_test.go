package meter_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// countdown counts its parameter down in a loop that ends with the given test, and returns what it has added up.
func countdown(test ...byte) []byte {
	step := []byte{0x20, 1, 0x20, 0, 0x6a, 0x21, 1, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0}
	return w.Module(w.Types(w.FuncType("i", "i")), w.Funcs(0), w.Exports(w.Export("run", 0, 0)),
		w.Code(w.Body("i", w.Cat([]byte{0x03, 0x40}, step, test, []byte{0x0d, 0, 0x0b, 0x20, 1})...)))
}

// Every number of rounds costs what it costs one by one, whatever the test at the end of the loop.
func TestLoopsThatAreWrittenOutKeepMeaningAndPrice(t *testing.T) {
	tests := map[string][]byte{
		"the value itself": {}, "eqz of eqz": {0x45, 0x45}, "ne": {0x41, 0, 0x47}, "gt_s": {0x41, 0, 0x4a}, "gt_u": {0x41, 0, 0x4b}, "ge_s": {0x41, 1, 0x4e}, "ge_u": {0x41, 1, 0x4f},
		"lt_s": {0x21, 0, 0x41, 0, 0x20, 0, 0x48}, "lt_u": {0x21, 0, 0x41, 0, 0x20, 0, 0x49}, "le_s": {0x21, 0, 0x41, 1, 0x20, 0, 0x4c}, "le_u": {0x21, 0, 0x41, 1, 0x20, 0, 0x4d},
		"i64 ne": {0xad, 0x42, 0, 0x52}, "i64 gt_s": {0xac, 0x42, 0, 0x55}, "i64 gt_u": {0xad, 0x42, 0, 0x56}, "f64 gt": {0xb7, 0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0x64}, "and": {0x41, 0x7f, 0x71},
	}
	for name, test := range tests {
		wasm := countdown(test...)
		res := rewrite(t, wasm)
		m, err := inspect.Parse(wasm, roomy)
		require.NoError(t, err)
		each, err := meter.RewriteEach(wasm, m)
		require.NoError(t, err)
		assert.Greater(t, len(res.Wasm), len(wasm)+3*len(test)+40, "%s: the loop is not written out", name)
		for engine, config := range engines() {
			h := newHost(t, config)
			original, err := h.Instantiate(ctx, wasm)
			require.NoError(t, err)
			fuel := map[uint64][2]int64{}
			for i, r := range []*meter.Result{res, each} {
				instance := h.run(t, r)
				for _, n := range []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 4000, 4001, 4002, 4003, 100_000} {
					h.yields = 0
					h.fuel.Set(0)
					assert.Equal(t, results(t, original, n), results(t, instance, n), "%s, %d rounds on the %s", name, n, engine)
					f := fuel[n]
					f[i] = h.used()
					fuel[n] = f
				}
			}
			for n, f := range fuel {
				assert.Equal(t, f[1], f[0], "%s: the price of %d rounds", name, n)
			}
		}
	}
}

func results(t *testing.T, m api.Module, n uint64) []uint64 {
	t.Helper()
	out, err := m.ExportedFunction("run").Call(ctx, n)
	require.NoError(t, err)
	return out
}

// A function's index in a loop that could be written out moves like any other. Fuzzing found that it did not.
func TestALoopThatTakesAReferenceTakesTheRightOne(t *testing.T) {
	step := []byte{0x41, 0, 0xd2, 2, 0x26, 0, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0} // table[0] = the third function, n times
	wasm := w.Module(w.Types(w.FuncType("i", "i"), w.FuncType("", "i")), w.Funcs(0, 1, 1), w.Tables(w.Table("r", w.Limits(1))), w.Exports(w.Export("run", 0, 0)),
		w.Elements(w.Cat([]byte{3, 0}, w.Vec(w.U32(2)))),
		w.Code(w.Body("", w.Cat([]byte{0x03, 0x40}, step, []byte{0x0b, 0x41, 0, 0x11, 1, 0})...), w.Body("", 0x41, 1), w.Body("", 0x41, 2)))
	for engine, config := range engines() {
		instance := newHost(t, config)
		assert.Equal(t, []uint64{2}, results(t, instance.run(t, rewrite(t, wasm)), 5), "on the %s", engine)
	}
}

// The parameters of a loop lie below the blocks in it, so a jump to the head of such a loop may not go on to their
// ends, even if its table would lead there.
func TestAJumpToALoopThatTakesValuesBringsThem(t *testing.T) {
	wasm := w.Module(w.Types(w.FuncType("", "i"), w.FuncType("ii", "i"), w.FuncType("i", "i")), w.Funcs(0), w.Exports(w.Export("run", 0, 0)),
		w.Code(w.Body("i", w.Cat([]byte{0x41, 10, 0x41, 20, 0x03, 1, 0x02, 2, 0x02, 2, 0x20, 0, 0x0e, 1, 0, 1, 0x0b, 0x1a},
			[]byte{0x41}, w.S64(100), []byte{0x41, 7, 0x41, 1, 0x21, 0, 0x0c, 1, 0x0b, 0x6a, 0x0b})...)))
	for engine, config := range engines() {
		h := newHost(t, config)
		original, err := h.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName(""))
		require.NoError(t, err)
		for _, m := range []api.Module{original, h.run(t, rewrite(t, wasm))} {
			out, err := m.ExportedFunction("run").Call(ctx)
			require.NoError(t, err)
			assert.Equal(t, []uint64{107}, out, "on the %s", engine)
		}
	}
}
