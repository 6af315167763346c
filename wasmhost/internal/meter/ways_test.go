package meter_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// Index spaces of the modules that tangle writes. Every function is of type (i32) -> (): how many frames may still be put
// on top of its own. Local 1 counts rounds, local 2 is what a table at the head of a loop is asked with.
const (
	tangleFuncs  = 12
	tangleFrames = 2000
)

// tangle writes a module whose functions call each other, directly and through a table, in all directions, from loops,
// from branches and in a row, with little and with much work before, between and after. Its next step depends on a
// global that changes all the time. Most of these modules would run for ages.
type tangle struct{ *rand.Rand }

func (g tangle) module() []byte {
	types, bodies, all := make([]uint32, tangleFuncs), make([][]byte, tangleFuncs), make([][]byte, tangleFuncs)
	for i := range bodies {
		leaf := w.Cat([]byte{0x20, 0, 0x45, 0x04, 0x40, 0x0f, 0x0b}) // no more frames: return
		body := w.Cat(leaf, g.code(3))
		if g.IntN(3) == 0 {
			body = w.Cat(leaf, g.dispatch())
		}
		bodies[i], all[i] = w.Body("ii", body...), w.U32(uint32(i))
	}
	return w.Module(w.Types(w.FuncType("i", "")), w.Funcs(types...), w.Tables(w.Table("r", w.Limits(tangleFuncs))), w.Globals(w.Global("i", true, 0x41, 1)),
		w.Exports(w.Export("run", 0, 0)), w.Elements(w.Cat([]byte{0, 0x41, 0, 0x0b}, w.Vec(all...))), w.Code(bodies...))
}

func (g tangle) code(depth int) []byte {
	var out []byte
	for range 1 + g.IntN(4) {
		out = append(out, g.piece(depth)...)
	}
	return out
}

// chance pushes a number between zero and n, which is another one each time.
func chance(n int) []byte {
	return w.Cat([]byte{0x23, 0, 0x41}, w.S64(1103515245), []byte{0x6c, 0x41}, w.S64(12345), []byte{0x6a, 0x24, 0, 0x23, 0, 0x41, 16, 0x76, 0x41}, w.S64(int64(n)), []byte{0x70})
}

func (g tangle) piece(depth int) []byte {
	less := []byte{0x20, 0, 0x41, 1, 0x6b} // one frame fewer
	kind := g.IntN(9)
	if depth == 0 {
		kind %= 5
	}
	switch kind {
	case 0:
		return g.work()
	case 1, 2:
		return w.Cat(less, []byte{0x10}, w.U32(uint32(g.IntN(tangleFuncs))))
	case 3:
		return w.Cat(less, chance(tangleFuncs), []byte{0x11, 0, 0})
	case 4:
		return w.Cat(chance(6), []byte{0x45, 0x04, 0x40}, g.work(), []byte{0x0f, 0x0b}) // a return, one time in six
	case 5, 6:
		out := w.Cat(chance(2), []byte{0x04, 0x40}, g.code(depth-1))
		if g.IntN(2) == 0 {
			out = w.Cat(out, []byte{0x05}, g.code(depth-1))
		}
		return append(out, 0x0b)
	case 7: // out of a block
		return w.Cat([]byte{0x02, 0x40}, g.code(depth-1), chance(2), []byte{0x0d, 0}, g.code(depth-1), []byte{0x0b})
	default: // a loop that goes on four times in five
		return w.Cat([]byte{0x03, 0x40}, g.code(depth-1), chance(5), []byte{0x0d, 0, 0x0b})
	}
}

func (g tangle) work() []byte {
	n := []int{2, 20, 100, 400, 3000}[g.IntN(5)]
	return bytes.Repeat([]byte{0x41, 1, 0x1a}, n)
}

// dispatch is a function as Go's compiler writes them: a loop around a table, with constants for where to go on.
func (g tangle) dispatch() []byte {
	const cases = 5
	out := []byte{0x03, 0x40}
	for range cases {
		out = append(out, 0x02, 0x40)
	}
	out = append(out, 0x20, 2, 0x0e, cases-1, 0, 1, 2, 3, 4)
	for i := range cases {
		out = append(out, 0x0b)
		out = append(out, g.code(1)...)
		jump := w.Cat([]byte{0x41}, w.S64(int64(g.IntN(cases+1))), []byte{0x21, 2})
		if g.IntN(6) == 0 { // where to is not known
			jump = w.Cat(chance(cases), []byte{0x21, 2})
		}
		out = w.Cat(out, chance(2), []byte{0x04, 0x40}, jump, []byte{0x0c, byte(cases - i)}, []byte{0x0b})
	}
	return append(out, 0x0b)
}

// On no way through any of these modules is much more charged between two checks than the window promises, except
// for what the frames of a deep recursion may each do on their way up.
func TestNoWayGoesLongWithoutACheck(t *testing.T) {
	seeds := uint64(400)
	if testing.Short() || raced {
		seeds = 60
	}
	h := newHost(t, wazero.NewRuntimeConfigCompiler())
	var worst, ended, units int64
	for seed := range seeds {
		res := rewrite(t, tangle{rand.New(rand.NewPCG(seed, 2))}.module())
		require.LessOrEqual(t, res.MaxDebt, int64(3*meter.WindowUnits), "seed %d", seed)
		instance := h.run(t, res)
		h.slice, h.budget, h.yields, h.worst, h.given = 1, 100_000, 0, 0, 0 // every check calls the host
		_, err := instance.ExportedFunction("run").Call(ctx, tangleFrames)
		if err != nil {
			require.Negative(t, h.budget, "seed %d: %v", seed, err)
			ended++
		}
		h.worst = max(h.worst, h.given-int64(h.fuel.Get()))
		require.Less(t, h.worst, int64(2*meter.WindowUnits+meter.HubReturn*tangleFrames), "seed %d: so much was used without the host", seed)
		worst, units = max(worst, h.worst), units+h.used()
		require.NoError(t, instance.Close(ctx))
	}
	t.Logf("%d units in %d modules, %d of them ended by the host; %d units at most without it", units, seeds, ended, worst)
	require.Greater(t, ended, int64(seeds/3))
	require.Greater(t, worst, int64(1000))
}
