package meter_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/api"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// bulkModule has 16 pages, and fill and copy as functions of three parameters.
func bulkModule() []byte {
	params := []byte{0x20, 0, 0x20, 1, 0x20, 2}
	return w.Module(w.Types(w.FuncType("iii", "")), w.Funcs(0, 0), w.Memories(w.Limits(16)),
		w.Exports(w.Export("fill", 0, 0), w.Export("copy", 0, 1), w.Export("memory", 2, 0)),
		w.Code(w.Body("", w.Cat(params, []byte{0xfc, 11, 0})...), w.Body("", w.Cat(params, []byte{0xfc, 10, 0, 0})...)))
}

// A long operation in pieces leaves what the original leaves, traps where it traps and has then written nothing, and
// pays the same whether or not the host is called between the pieces.
func TestLongOperationsInPiecesKeepTheirMeaning(t *testing.T) {
	const piece, size = meter.PieceBytes, 16 << 16
	wasm := bulkModule()
	res := rewrite(t, wasm)
	type op struct {
		name string
		args [3]uint64
	}
	var ops []op
	for _, n := range []uint64{0, 1, 17, piece - 1, piece, piece + 1, 3*piece + 5, size - 1, size, size + 1, 1<<32 - 1} {
		for _, to := range []uint64{0, 1, piece, size - piece, size - 1, size, size + 1, 1<<32 - 1} {
			ops = append(ops, op{"fill", [3]uint64{to, 0x1ab, n}})
			for _, from := range []uint64{0, 3, to, to + 1, to + piece + 7, size - piece, size, 1<<32 - 1} {
				ops = append(ops, op{"copy", [3]uint64{to, from & (1<<32 - 1), n}})
			}
		}
	}
	if testing.Short() || raced {
		few := ops[:0]
		for i := 0; i < len(ops); i += 7 { // shares no factor with the lists above
			few = append(few, ops[i])
		}
		ops = few
	}
	for engine, config := range engines() {
		t.Run(engine, func(t *testing.T) {
			h := newHost(t, config)
			original, err := h.Instantiate(ctx, wasm)
			require.NoError(t, err)
			instance := h.run(t, res)
			pattern := make([]byte, size)
			for i := range pattern {
				pattern[i] = byte(i*7 + i>>8)
			}
			traps, yields := 0, 0
			for _, o := range ops {
				run := func(m api.Module) string {
					require.True(t, m.ExportedMemory("memory").Write(0, pattern))
					text := attempt(m.ExportedFunction(o.name), o.args[:]...)
					return fmt.Sprintf("%s %x", text, memoryHash(m))
				}
				want := run(original)
				fuel := int64(-1)
				for _, slice := range []int64{1 << 40, 5000, 1} {
					h.slice, h.yields = slice, 0
					h.fuel.Set(0)
					require.Equal(t, want, run(instance), "%v with slices of %d", o, slice)
					if fuel >= 0 {
						require.Equal(t, fuel, h.used(), "%v with slices of %d", o, slice)
					}
					fuel = h.used()
					if slice == 5000 && h.yields > 0 && want[0] == '[' {
						yields += h.yields
						assert.GreaterOrEqual(t, int64(h.yields)*5000, int64(o.args[2]/meter.BytesPerUnit))
					}
				}
				if want[0] != '[' {
					traps++
				}
			}
			assert.Positive(t, traps)
			assert.Positive(t, yields)
			t.Logf("%d operations, %d traps", len(ops), traps)
		})
	}
}

// No piece is longer than it may be: the host is called at least once for each.
func TestTheHostIsCalledBetweenPieces(t *testing.T) {
	for engine, config := range engines() {
		t.Run(engine, func(t *testing.T) {
			h := newHost(t, config)
			instance := h.run(t, rewrite(t, bulkModule()))
			h.slice, h.yields = 1, 0
			_, err := instance.ExportedFunction("fill").Call(ctx, 0, 1, 16<<16)
			require.NoError(t, err)
			assert.GreaterOrEqual(t, h.yields, (16<<16)/meter.PieceBytes)
		})
	}
}
