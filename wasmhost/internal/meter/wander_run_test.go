package meter_test

import (
	"bytes"
	"context"
	"flag"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// frameUnits is the work that each frame of a recursion may do on its way up without a
// check.
const frameUnits = meter.HubReturn + meter.PrepaidUnits

// workLimit is the most that a module may do between two checks, by the package comment.
func workLimit(res *meter.Result, frames int64) int64 {
	return res.MaxDebt + meter.CreditUnits + frames*frameUnits
}

// Hours of it: go test -run ProgramsWithoutAnEndAreEnded -timeout 0 ./wasmhost/internal/meter -wander 100000 -from 300.
var (
	wanderSeeds = flag.Uint64("wander", 300, "how many programs without an end are run on each engine")
	wanderFrom  = flag.Uint64("from", 0, "the seed of the first")
)

// Programs that never end return to the host again and again, however they are written, and do no more in between
// than promised; nothing runs without being charged.
func TestProgramsWithoutAnEndAreEnded(t *testing.T) {
	from, seeds := *wanderFrom, *wanderSeeds
	if testing.Short() || raced {
		seeds /= 5
	}
	ended, most := 0, int64(0)
	for name, config := range engines() {
		h := newHost(t, config)
		for seed := from; seed < from+seeds; seed++ {
			a, err := h.wander(t, seed)
			if err != nil {
				t.Errorf("seed %d on the %s: %v", seed, name, err)
			}
			most = max(most, a.most)
			if a.ended {
				ended++
			}
		}
	}
	t.Logf("%d of %d programs were ended by the host; %d units of work at most without it", ended, 2*seeds, most)
	require.Greater(t, ended, int(seeds))
	require.Greater(t, most, int64(4000))
}

// wander runs the program of a seed, audited.
func (h *host) wander(tb testing.TB, seed uint64) (account, error) {
	tb.Helper()
	wasm := writeWander(seed)
	res := rewrite(tb, wasm)
	return h.runAudited(tb, audit(tb, wasm, res, workLimit(res, wanderFrames*wanderFuncs)), res, 400, 1_000_000, wanderFrames)
}

// The same is ended, on both engines, by a caller who goes away: no more than one slice passes after that.
func TestProgramsWithoutAnEndAreEndedByTheirCaller(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() || raced {
		seeds = 20
	}
	for name, config := range guarded() {
		h := newHost(t, config)
		h.slice = 20_000
		ended := 0
		for seed := range seeds {
			res := rewrite(t, writeWander(seed))
			caller, cancel := context.WithCancel(ctx)
			h.budget, h.yields = 100*h.slice, 0
			after := -1
			h.seen = func() {
				if after++; h.yields == 3 {
					gone := make(chan struct{})
					go func() { cancel(); close(gone) }()
					<-gone
					after = 0
				}
				if caller.Err() != nil {
					h.budget = 0
				}
			}
			instance := h.run(t, res)
			err := callGuarded(t, instance.ExportedFunction("run"), wanderFrames)
			if h.budget < 0 {
				ended++
				require.Error(t, err, "seed %d on the %s", seed, name)
				require.Zero(t, after, "seed %d on the %s: slices after the caller went away", seed, name)
			}
			cancel()
			require.NoError(t, instance.Close(ctx))
		}
		require.Greater(t, ended, int(seeds/5), "on the %s", name)
		h.seen = nil
	}
}

// FuzzProgramsWithoutAnEnd does the same with seeds of the fuzzer's choice.
func FuzzProgramsWithoutAnEnd(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed*7919 + 1_000_000)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		for name, config := range engines() {
			h := newHost(t, config)
			if _, err := h.wander(t, seed); err != nil {
				t.Fatalf("seed %d on the %s: %v", seed, name, err)
			}
		}
	})
}

// heavies are modules of type (i32) -> () that do much work in one go, or would, if it were all paid for before it.
func heavies() map[string][]byte {
	work := func(units int) []byte { return bytes.Repeat([]byte{0x41, 1, 0x1a}, units/2) }
	when := func(code ...[]byte) []byte { return w.Cat([]byte{0x20, 0, 0x04, 0x40}, w.Cat(code...), []byte{0x0b}) }
	module := func(bodies ...[]byte) []byte {
		types, all := make([]uint32, len(bodies)), make([][]byte, len(bodies))
		for i, b := range bodies {
			all[i] = w.Body("i", b...)
		}
		return w.Module(w.Types(w.FuncType("i", "")), w.Funcs(types...), w.Memories(w.Limits(1)), w.Exports(w.Export("run", 0, 0)), w.Code(all...))
	}
	countdown := []byte{0x41, 9, 0x21, 1, 0x03, 0x40, 0x20, 1, 0x41, 1, 0x6b, 0x22, 1, 0x0d, 0, 0x0b}
	fill := []byte{0x41, 0, 0x41, 0, 0x41, 16, 0xfc, 11, 0}
	nest := func(inner []byte, depth int, block func(...[]byte) []byte) []byte {
		for range depth {
			inner = block(inner, work(3000))
		}
		return inner
	}
	block := func(code ...[]byte) []byte { return w.Cat([]byte{0x02, 0x40}, when(code...), []byte{0x0b}) }
	var chain [][]byte
	for i := range 40 {
		chain = append(chain, w.Cat(work(100), []byte{0x20, 0, 0x10}, w.U32(uint32(i+1)), work(3000)))
	}
	cheap := make([][]byte, 0, 3000) // arms that are charged with what they branch off from
	for range 3000 {
		cheap = append(cheap, when(work(6)))
	}
	return map[string][]byte{
		"straight code":                              module(work(60_000)),
		"what follows ifs around a check":            module(nest(work(9000), 40, when)),
		"what follows blocks around a check":         module(nest(work(9000), 40, block)),
		"what follows ifs around a loop":             module(nest(countdown, 40, when)),
		"what follows ifs around an operation":       module(nest(fill, 40, when)),
		"what follows calls of a function with loop": module(append(slices.Clone(chain), countdown)...),
		"what follows calls of a long function":      module(append(slices.Clone(chain), nest(work(9000), 2, when))...),
		"cheap arms":                                 module(w.Cat(cheap...)),
		"a loop of dear rounds":                      module(w.Cat([]byte{0x41, 9, 0x21, 1, 0x03, 0x40}, bytes.Repeat(when(work(3000)), 20), countdown[6:])),
	}
}

// Charged work is done soon: little of what is charged before a check is done long after it.
func TestWhatIsDoneBetweenChecksIsBounded(t *testing.T) {
	for name, wasm := range heavies() {
		for engine, config := range engines() {
			t.Run(name+"/"+engine, func(t *testing.T) {
				res := rewrite(t, wasm)
				require.LessOrEqual(t, res.MaxDebt, int64(2*meter.WindowUnits+2048))
				a, err := newHost(t, config).runAudited(t, audit(t, wasm, res, workLimit(res, 1)), res, 1<<30, 1<<40, 1)
				require.NoError(t, err)
				require.Greater(t, a.total, int64(10_000))
			})
		}
	}
}
