package meter_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/api"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// account is the cost of a call of an audited module. An audited module is a metered one that also counts the
// instructions of its original that it executes. It shares nothing with the meter but the parser and the table of
// weights: charges say what was paid for, this says what was done. The host sets the count to zero whenever it is called,
// and a module that has done more than a limit by then ends itself.
//
// The original must not use i64 and not have a function after the imported ones that begins with a call, so that every
// instruction of the meter's own can be told from one of the original. Jumps and ifs are left out, because the meter uses
// them too: what is counted is a little less than what was done.
type account struct {
	most    int64 // the most that was done without the host
	total   int64 // all that was done
	charged int64 // all that was paid for
	ended   bool  // by the host
}

const auditExport = "audit:work"

// auditor rewrites a metered module.
type auditor struct {
	metered []byte
	m       *inspect.Module
	locals  []uint32 // of each function of the original; the meter's come after them
	globals uint32   // of the original
	work    uint32   // the index of the count
	limit   int64
	out     []byte
	pending int64 // weight of what stands since the last place where it was counted
}

// audit returns a metered module that counts what it does, and executes unreachable when that is more than the limit.
func audit(tb testing.TB, original []byte, res *meter.Result, limit int64) []byte {
	tb.Helper()
	before, err := inspect.Parse(original, roomy)
	require.NoError(tb, err)
	m, err := inspect.Parse(res.Wasm, inspect.Limits{CompileCost: 1 << 30, BodyBytes: 8 << 20, Depth: 100_000})
	require.NoError(tb, err)
	a := &auditor{metered: res.Wasm, m: m, globals: uint32(len(before.Globals)), work: uint32(len(m.Globals)), limit: limit}
	for i, b := range before.Bodies {
		a.locals = append(a.locals, b.Locals+uint32(len(before.Types[before.Functions[i]].Params)))
	}
	return a.module()
}

func (a *auditor) module() []byte {
	out := append([]byte{}, w.Header...)
	for _, s := range a.m.Sections {
		content := a.metered[s.Start:s.End]
		switch s.ID {
		case w.SecGlobal:
			content = w.Cat(w.U32(uint32(len(a.m.Globals)+1)), afterCount(content), w.Global("I", true, 0x42, 0))
		case w.SecExport:
			content = w.Cat(w.U32(uint32(len(a.m.Exports)+1)), afterCount(content), w.Export(auditExport, 3, a.work))
		case w.SecCode:
			content = w.U32(uint32(len(a.m.Bodies)))
			for i, b := range a.m.Bodies {
				content = append(content, w.RawBody(a.body(i, b))...)
			}
		}
		out = append(out, w.Section(s.ID, content)...)
	}
	return out
}

// afterCount is a vector without its length.
func afterCount(content []byte) []byte {
	for content[0] >= 0x80 {
		content = content[1:]
	}
	return content[1:]
}

func (a *auditor) body(n int, b inspect.Body) []byte {
	a.out, a.pending = append([]byte{}, a.metered[b.Start:b.Code]...), 0
	walk := a.m.Instructions(b)
	for in := walk.Next(); in != nil; in = walk.Next() {
		if n < len(a.locals) {
			a.instruction(n, in)
		}
		a.out = append(a.out, a.metered[in.Offset:in.End]...)
	}
	return a.out
}

// instruction counts what an instruction of the original weighs, at the next place where control may part.
func (a *auditor) instruction(n int, in *inspect.Instruction) {
	weight := meter.Weight(in.Op)
	parts := false
	switch in.Op {
	case inspect.OpGlobalGet, inspect.OpGlobalSet:
		if in.Index >= a.globals {
			weight = 0
		}
	case inspect.OpLocalGet, inspect.OpLocalSet, inspect.OpLocalTee:
		if in.Index >= a.locals[n] {
			weight = 0
		}
	case inspect.OpI64Const, 0x55, 0x57, 0x59, 0x7c, 0x7d, 0x86, 0x88, 0xad: // of the meter: comparing, adding, shifting
		weight = 0
	case inspect.OpBlock, inspect.OpLoop, inspect.OpIf, inspect.OpElse, inspect.OpEnd, inspect.OpBr, inspect.OpBrIf:
		weight, parts = 0, true
	case inspect.OpCall:
		parts = true
		if imported := in.Index < uint32(len(a.m.Imports)); imported || in.Index >= uint32(len(a.m.Imports)+len(a.locals)) {
			weight = 0 // of the host or a helper
		}
	case inspect.OpCallIndirect, inspect.OpBrTable, inspect.OpReturn, inspect.OpUnreachable:
		parts = true
	}
	a.pending += weight
	if parts && a.pending > 0 {
		get, limit := w.Cat([]byte{0x23}, w.U32(a.work)), w.S64(a.limit)
		a.out = append(a.out, w.Cat(get, []byte{0x42}, w.S64(a.pending), []byte{0x7c, 0x24}, w.U32(a.work), get, []byte{0x42}, limit, []byte{0x55, 0x04, 0x40, 0x00, 0x0b})...)
		a.pending = 0
	}
}

// errTooMuchWork ends an audited guest that has done too much.
var errTooMuchWork = errors.New("more was done between two calls of the host than the limit")

// runAudited runs an audited module until it ends, or until the host has been called so many times or it has done so much.
// Every check calls the host.
func (h *host) runAudited(tb testing.TB, audited []byte, res *meter.Result, yields int, units int64, args ...uint64) (a account, err error) {
	tb.Helper()
	instance := h.run(tb, &meter.Result{Wasm: audited, FuelExport: res.FuelExport})
	defer instance.Close(ctx)
	work := instance.ExportedGlobal(auditExport).(api.MutableGlobal)
	h.slice, h.budget, h.yields, h.worst, h.given = 1, 1<<40, 0, 0, 0
	h.seen = func() {
		done := int64(work.Get())
		a.most, a.total = max(a.most, done), a.total+done
		work.Set(0)
		if h.yields > yields || a.total > units {
			h.budget = 0
		}
	}
	defer func() { h.seen = nil }()
	_, err = instance.ExportedFunction("run").Call(ctx, args...)
	last := int64(work.Get())
	a.most, a.total = max(a.most, last), a.total+last
	a.charged = h.used()
	switch a.ended = h.budget < 0; {
	case a.ended:
		err = nil
	case err != nil && strings.Contains(err.Error(), "unreachable"):
		err = errTooMuchWork
	}
	if err == nil && a.total > a.charged+unpaid {
		err = fmt.Errorf("%d units were done and %d paid for", a.total, a.charged)
	}
	return a, err
}

// unpaid is the fuel that a loop that counts may owe when a call ends inside it.
const unpaid = 2*meter.LoopQuantum + 256
