package meter_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// guardTime is how long a test's guest may run. It is far more than any needs, because it means "never ends".
const guardTime = 20 * time.Second

// guarded returns the engines with a guard of wazero's own in their code, so that a guest that the meter does not end
// fails its test instead of stopping the test process for good.
func guarded() map[string]wazero.RuntimeConfig {
	configs := engines()
	for name, c := range configs {
		configs[name] = c.WithCloseOnContextDone(true)
	}
	return configs
}

// callGuarded calls a function, and fails the test when nothing but the guard ends it.
func callGuarded(tb testing.TB, f api.Function, args ...uint64) error {
	tb.Helper()
	guard, cancel := context.WithTimeout(ctx, guardTime)
	defer cancel()
	_, err := f.Call(guard, args...)
	require.NoError(tb, guard.Err(), "the guest ran for %v without an end", guardTime)
	return err
}

// endless are programs that never end by themselves, each in one function of type () -> () with an i32 local, or with
// the result that is given.
func endless() map[string][]byte {
	in := func(results string, code ...byte) []byte {
		return w.Module(w.Types(w.FuncType("", results), w.FuncType("i", "i")), w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("run", 0, 0)), w.Code(w.Body("ii", code...)))
	}
	return map[string][]byte{
		// (loop (br_if 1 (local.get 0)) (br 0))
		"a conditional jump to the function": in("", 0x03, 0x40, 0x20, 0, 0x0d, 1, 0x0c, 0, 0x0b),
		// (loop (br_if 1 (i32.load (local.get 0))) (br_if 0 (i32.eqz (local.get 0))))
		"two conditional jumps": in("", 0x03, 0x40, 0x20, 0, 0x28, 2, 0, 0x0d, 1, 0x20, 0, 0x45, 0x0d, 0, 0x0b),
		// (loop (block (br_if 2 (local.get 0))) (br 0))
		"a conditional jump out of a block": in("", 0x03, 0x40, 0x02, 0x40, 0x20, 0, 0x0d, 2, 0x0b, 0x0c, 0, 0x0b),
		// (loop (loop (br_if 2 (local.get 0)) (br_if 1 (i32.const 1))) (br 0))
		"a conditional jump out of two loops": in("", 0x03, 0x40, 0x03, 0x40, 0x20, 0, 0x0d, 2, 0x41, 1, 0x0d, 1, 0x0b, 0x0c, 0, 0x0b),
		// (loop (if (local.get 0) (then (br 2))) (br_if 1 (local.get 0)) (br 0))
		"a jump in an if beside a conditional one": in("", 0x03, 0x40, 0x20, 0, 0x04, 0x40, 0x0c, 2, 0x0b, 0x20, 0, 0x0d, 1, 0x0c, 0, 0x0b),
		// (loop (drop (br_if 1 (i32.const 7) (local.get 0))) (br 0)) (i32.const 1)
		"a conditional jump with a result": in("i", 0x03, 0x40, 0x41, 7, 0x20, 0, 0x0d, 1, 0x1a, 0x0c, 0, 0x0b, 0x41, 1),
		// (loop (br_if 1 (i32.const 7) (i64.const 8) (local.get 0)) (drop) (drop) (br 0)) …
		"a conditional jump with two results": in("iI", 0x03, 0x40, 0x41, 7, 0x42, 8, 0x20, 0, 0x0d, 1, 0x1a, 0x1a, 0x0c, 0, 0x0b, 0x41, 1, 0x42, 1),
		// (loop (block (br_table 0 2 (local.get 0))) (br 0))
		"a table that may lead out of the function": in("", 0x03, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 1, 0, 2, 0x0b, 0x0c, 0, 0x0b),
		// (loop (br_table 0 1 (local.get 0)))
		"a table to a loop or out of the function": in("", 0x03, 0x40, 0x20, 0, 0x0e, 1, 0, 1, 0x0b),
		// (loop (i32.const 7) (block (param i32) (result i32) (br_table 0 2 (local.get 0))) (drop) (br 0)) (i32.const 1)
		"a table with a result": in("i", 0x03, 0x40, 0x41, 7, 0x02, 1, 0x20, 0, 0x0e, 1, 0, 2, 0x0b, 0x1a, 0x0c, 0, 0x0b, 0x41, 1),
		// (loop (block (block (br_table 0 1 (local.get 0)))) (local.set 0 (i32.const 1)) (br 0))
		"a known jump in the region of its loop": in("", 0x03, 0x40, 0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 1, 0, 1, 0x0b, 0x0b, 0x41, 1, 0x21, 0, 0x0c, 0, 0x0b),
		// (loop (block (br_table 0 (local.get 0))) (local.set 0 (i32.const 0)) (br 0))
		"a known jump over a table of one": in("", 0x03, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 0, 0, 0x0b, 0x41, 0, 0x21, 0, 0x0c, 0, 0x0b),
		// the same inside a loop that would be left
		"a known jump in an inner loop": in("", 0x03, 0x40, 0x20, 1, 0x0d, 1, 0x03, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 0, 0, 0x0b, 0x41, 0, 0x21, 0, 0x0c, 0, 0x0b, 0x0b),
		// (loop (block (block (br_table 0 1 (local.get 0))) (local.set 0 (i32.const 1)) (br 1)) (local.set 0 (i32.const 0)) (br 0))
		"known jumps to and fro": in("", 0x03, 0x40, 0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 1, 0, 1, 0x0b, 0x41, 1, 0x21, 0, 0x0c, 1, 0x0b, 0x41, 0, 0x21, 0, 0x0c, 0, 0x0b),
	}
}

// Loops of every shape return to the host, slice after slice, until it ends them.
func TestEndlessLoopsAreEnded(t *testing.T) {
	for name, wasm := range endless() {
		for engine, config := range guarded() {
			t.Run(name+"/"+engine, func(t *testing.T) {
				h := newHost(t, config)
				h.slice = 10_000
				h.budget = 50 * h.slice
				err := callGuarded(t, h.run(t, rewrite(t, wasm)).ExportedFunction("run"))
				require.Error(t, err)
				require.Negative(t, h.budget, "ended by %v", err)
				assert.Less(t, h.worst, h.slice+2*meter.WindowUnits)
			})
		}
	}
}

// climbing is a module whose run calls a function that calls itself so many times, directly or through a table, and
// then does so much, without a branch between. Each unit of work adds one to a global, unless that is busy already.
func climbing(frames int64, byTable bool, work []byte) []byte {
	call := []byte{0x10, 1}
	if byTable {
		call = []byte{0x41, 0, 0x11, 1, 0}
	}
	body := w.Cat([]byte{0x20, 0, 0x45, 0x04, 0x40, 0x0f, 0x0b, 0x20, 0, 0x41, 1, 0x6b}, call, work)
	return w.Module(w.Types(w.FuncType("", ""), w.FuncType("i", "")), w.Imports(w.ImportFunc("env", "now", 0)), w.Funcs(1, 0), w.Tables(w.Table("r", w.Limits(1))),
		w.Globals(w.Global("i", true, 0x41, 0)), w.Exports(w.Export("run", 0, 2), w.Export("done", 3, 0)), w.Elements(w.Cat([]byte{0, 0x41, 0, 0x0b}, w.Vec(w.U32(1)))),
		w.Code(w.Body("", body...), w.Body("", w.Cat([]byte{0x41}, w.S64(frames), []byte{0x10, 1})...)))
}

// Code after the calls of a deep recursion is charged where it is, so that the host is called in between.
func TestWorkOnTheWayUpMeetsTheHost(t *testing.T) {
	const rounds, frames = 1000, 1500
	work := bytes.Repeat([]byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0}, rounds) // adds one, for four units
	for name, byTable := range map[string]bool{"direct": false, "through a table": true} {
		for engine, config := range engines() {
			t.Run(name+"/"+engine, func(t *testing.T) {
				h := newHost(t, config)
				_, err := h.NewHostModuleBuilder("env").NewFunctionBuilder().WithFunc(func() {}).Export("now").Instantiate(ctx)
				require.NoError(t, err)
				instance := h.run(t, rewrite(t, climbing(frames, byTable, work)))
				done, last, most := instance.ExportedGlobal("done"), int64(0), int64(0)
				h.slice = 1
				h.seen = func() {
					now := int64(int32(done.Get()))
					most, last = max(most, now-last), now
				}
				_, err = instance.ExportedFunction("run").Call(ctx)
				require.NoError(t, err)
				h.seen()
				require.Equal(t, int64(rounds*frames), int64(done.Get()))
				assert.Less(t, 4*most, int64(3*meter.WindowUnits), "units of work between two calls of the host")
			})
		}
	}
}

// A caller has charged much when it calls a recursive function that begins with a loop.
func TestMaxDebtCountsALoopAtTheBeginningOfARecursion(t *testing.T) {
	again := []byte{0x20, 0, 0x04, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x10, 1, 0x0b}
	body := bytes.Repeat([]byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0}, 70)                                                                 // 280 units
	loop := w.Cat([]byte{0x41}, w.S64(14), []byte{0x21, 1, 0x03, 0x40}, body, []byte{0x20, 1, 0x41, 1, 0x6b, 0x22, 1, 0x0d, 0, 0x0b}) // 14 rounds don't fill the counter
	before := bytes.Repeat([]byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0}, 1785)                                                             // 7,140 units
	wasm := w.Module(w.Types(w.FuncType("", ""), w.FuncType("i", "")), w.Funcs(0, 1), w.Globals(w.Global("i", true, 0x41, 0)), w.Exports(w.Export("run", 0, 0)),
		w.Code(w.Body("", w.Cat(before, []byte{0x41, 3, 0x10, 1})...), w.Body("i", w.Cat(loop, again)...)))
	res := rewrite(t, wasm)
	h := newHost(t, wazero.NewRuntimeConfigCompiler())
	h.slice = 1
	_, err := h.run(t, res).ExportedFunction("run").Call(ctx)
	require.NoError(t, err)
	assert.LessOrEqual(t, h.worst, res.MaxDebt+h.slice)
	assert.LessOrEqual(t, res.MaxDebt, int64(3*meter.WindowUnits))
}

// flushes are modules of type () -> () with a jump out of a counted loop to any of the blocks around it.
func flushes() map[string][]byte {
	const blocks = 1000
	all := map[string][]byte{}
	for name, c := range map[string]struct{ between, after []byte }{
		"ends in a row":         {nil, []byte{0x0b}},
		"with nothing between":  {nil, []byte{0x0b, 0x01, 0x02, 0x40, 0x0b}},
		"ends of ifs with else": {[]byte{0x20, 0, 0x04, 0x40}, []byte{0x0b, 0x05, 0x41, 1, 0x1a, 0x0b}},
	} {
		step := 1
		open := []byte{0x02, 0x40}
		if c.between != nil {
			open, step = w.Cat(c.between, open), 2
		}
		targets := make([][]byte, blocks)
		for i := range targets {
			targets[i] = w.U32(uint32(1 + i*step)) // from in the loop
		}
		inner := w.Cat([]byte{0x03, 0x40, 0x20, 0, 0x0e}, w.Vec(targets...), []byte{0, 0x0b})
		body := w.Cat([]byte{0x03, 0x40}, bytes.Repeat(open, blocks), inner, bytes.Repeat(c.after, blocks), []byte{0x10, 0, 0x0c, 0, 0x0b})
		all[name] = w.Module(w.Types(w.FuncType("", "")), w.Imports(w.ImportFunc("env", "now", 0)), w.Funcs(0), w.Exports(w.Export("run", 0, 1)), w.Code(w.Body("i", body...)))
	}
	return all
}

// A jump out of a counted loop arrives behind the end of a block, where the counter is paid; so it does behind the ends of
// all the blocks around that one. None of that is paid for, so there must not be much of it.
func TestAJumpOutOfALoopPassesFewFlushes(t *testing.T) {
	for name, wasm := range flushes() {
		t.Run(name, func(t *testing.T) {
			res := rewrite(t, wasm)
			flush := []byte{0x23, 0, 0x20, 1, 0x7d, 0x24, 0, 0x42, 0, 0x21, 1}
			assert.Less(t, bytes.Count(res.Wasm, flush), 20, "flushes")
			require.NoError(t, verified(t, wasm, res, meter.Options{}))
		})
	}
}
