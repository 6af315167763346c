package verify_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/verify"
)

// Modules metered by hand. Each function has the type (i32) -> (). The fuel is global 0, yield is function 0, and the function n
// of the original is n+1.
type hand struct {
	code    [][]byte // of the original
	metered [][]byte // a result that a rewriter may give
	hubs    []verify.Hub
}

func pay(n int64) []byte { return w.Cat([]byte{0x23, 0, 0x42}, w.S64(n), []byte{0x7d, 0x24, 0}) }

var (
	look  = []byte{0x23, 0, 0x42, 0, 0x59, 0x04, 0x40, 0x05, 0x10, 0, 0x0b}
	drops = []byte{0x41, 1, 0x1a} // two units
)

func idle(n int) []byte { return bytes.Repeat(drops, n/2) }

// check verifies a module metered by hand.
func (h hand) check(t *testing.T) error {
	t.Helper()
	build := func(bodies [][]byte, moved byte) []byte {
		types, code := make([]uint32, len(bodies)), make([][]byte, len(bodies))
		for i, b := range bodies {
			code[i] = w.Body("", b...)
		}
		sections := [][]byte{w.Types(w.FuncType("i", ""))}
		exports := [][]byte{w.Export("run", 0, uint32(moved))}
		table := w.Tables(w.Table("r", w.Limits(4)))
		var globals []byte
		if moved > 0 {
			sections[0] = w.Types(w.FuncType("i", ""), w.FuncType("", ""), w.FuncType("iii", ""), w.FuncType("I", "IIIIIIII"))
			sections = append(sections, w.Imports(w.ImportFunc("genkit:meter", "yield", 1)))
			exports = append(exports, w.Export("fuel", 3, 0))
			table = w.Tables(w.Table("r", w.Limits(4, 10)))
			globals = w.Globals(w.Global("I", true, 0x42, 0))
		}
		sections = append(sections, w.Funcs(types...), table, globals, w.Exports(exports...), w.Code(code...))
		return w.Module(sections...)
	}
	original, err := inspect.Parse(build(h.code, 0), roomy)
	require.NoError(t, err)
	rewritten, err := inspect.Parse(build(h.metered, 1), roomy)
	require.NoError(t, err)
	claim := verify.Claim{Fuel: "fuel", MaxTableElements: 10, Hubs: h.hubs}
	for i := range h.code {
		claim.Order = append(claim.Order, uint32(i))
	}
	_, err = verify.Check(original, rewritten, claim)
	return err
}

// Each rule is held by a case that breaks no other: what is accepted and what is refused differ in one thing.
func TestRules(t *testing.T) {
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	one := func(code, metered []byte) hand { return hand{code: [][]byte{code}, metered: [][]byte{metered}} }
	table := []byte{0x20, 0, 0x41, 0, 0x11, 0, 0} // local.get, i32.const, call_indirect: 12 units
	call := func(n byte) []byte { return []byte{0x20, 0, 0x10, n} }
	for _, rule := range []struct {
		name     string
		good     hand
		bad      hand
		refusals string
	}{
		{
			"no more than so much work without a check",
			one(idle(24_000), cat(pay(24_000), idle(24_000))), one(idle(26_000), cat(pay(26_000), idle(26_000))),
			"units of work without a check",
		},
		{
			"work of callees counts",
			hand{code: [][]byte{idle(12_000), cat(call(0), call(0))}, metered: [][]byte{cat(pay(12_000), idle(12_000)), cat(pay(12), call(1), look, call(1))}},
			hand{code: [][]byte{idle(13_000), cat(call(0), call(0))}, metered: [][]byte{cat(pay(13_000), idle(13_000)), cat(pay(12), call(1), call(1))}},
			"units of work without a check",
		},
		{
			"work of callees since their last check counts",
			hand{code: [][]byte{idle(13_000), cat(call(0), idle(13_000))}, metered: [][]byte{cat(look, pay(13_000), idle(13_000)), cat(pay(6), call(1), look, pay(13_000), idle(13_000))}},
			hand{code: [][]byte{idle(13_000), cat(call(0), idle(13_000))}, metered: [][]byte{cat(look, pay(13_000), idle(13_000)), cat(pay(6), call(1), pay(13_000), idle(13_000))}},
			"units of work without a check",
		},
		{
			"work of callees after a check counts",
			hand{code: [][]byte{idle(12_000), cat(call(0), call(0))}, metered: [][]byte{cat(pay(12_000), idle(12_000)), cat(pay(12), look, call(1), call(1))}},
			hand{code: [][]byte{idle(12_000), cat(call(0), call(0), call(0))}, metered: [][]byte{cat(pay(12_000), idle(12_000)), cat(pay(18), look, call(1), call(1), call(1))}},
			"units of work without a check",
		},
		{
			"work of hubs counts",
			hand{code: [][]byte{idle(12_000), cat(call(0), call(0))}, metered: [][]byte{cat(pay(12_000), idle(12_000)), cat(pay(12), call(1), look, call(1))}, hubs: []verify.Hub{{Func: 0, Pre: 12_000}}},
			hand{code: [][]byte{idle(13_000), cat(call(0), call(0))}, metered: [][]byte{cat(pay(13_000), idle(13_000)), cat(pay(12), call(1), call(1))}, hubs: []verify.Hub{{Func: 0, Pre: 13_000}}},
			"units of work without a check",
		},
		{
			"a check between calls through tables",
			one(cat(table, table), cat(pay(24), look, table, look, table)), one(cat(table, table), cat(pay(24), look, table, table)),
			"a call through a table without a check before it",
		},
		{
			"a check between calls through tables, one of them in a callee",
			hand{code: [][]byte{table, cat(call(0), table)}, metered: [][]byte{cat(pay(12), look, table), cat(pay(18), call(1), look, table)}},
			hand{code: [][]byte{table, cat(call(0), table)}, metered: [][]byte{cat(pay(12), look, table), cat(pay(18), call(1), table)}},
			"a call through a table without a check before it",
		},
		{
			"little work between a call through a table and the end",
			one(cat(table, idle(128)), cat(pay(12), look, table, pay(128), idle(128))),
			one(cat(table, idle(130)), cat(pay(12), look, table, pay(130), idle(130))),
			"ends without a check after a deep call",
		},
		{
			"a hub checks before it calls itself",
			hand{code: [][]byte{call(0)}, metered: [][]byte{cat(pay(6), look, call(1))}, hubs: []verify.Hub{{Func: 0, Pre: 6}}},
			hand{code: [][]byte{call(0)}, metered: [][]byte{cat(pay(6), call(1))}, hubs: []verify.Hub{{Func: 0, Pre: 100}}},
			"calls deep before a check",
		},
		{
			"little work between a recursive call and the end of a hub",
			hand{code: [][]byte{cat(call(0), idle(128))}, metered: [][]byte{cat(pay(6), look, call(1), pay(128), idle(128))}, hubs: []verify.Hub{{Func: 0, Pre: 6}}},
			hand{code: [][]byte{cat(call(0), idle(130))}, metered: [][]byte{cat(pay(6), look, call(1), pay(130), idle(130))}, hubs: []verify.Hub{{Func: 0, Pre: 6}}},
			"ends without a check after a deep call",
		},
		{
			"a hub checks at its end when it has called through a table",
			hand{code: [][]byte{cat(table)}, metered: [][]byte{cat(pay(12), look, table, look)}, hubs: []verify.Hub{{Func: 0, Pre: 12}}},
			hand{code: [][]byte{cat(table)}, metered: [][]byte{cat(pay(12), look, table)}, hubs: []verify.Hub{{Func: 0, Pre: 12}}},
			"ends without a check after a deep call",
		},
		{
			"little is prepaid when a recursive call returns",
			hand{code: [][]byte{cat(call(0), idle(64))}, metered: [][]byte{cat(pay(70), look, call(1), idle(64))}, hubs: []verify.Hub{{Func: 0, Pre: 6}}},
			hand{code: [][]byte{cat(call(0), idle(66))}, metered: [][]byte{cat(pay(72), look, call(1), look, idle(66))}, hubs: []verify.Hub{{Func: 0, Pre: 6}}},
			"that was not charged",
		},
		{
			"little is prepaid when a call through a table returns",
			one(cat(table, idle(64)), cat(pay(76), look, table, look, idle(64))), one(cat(table, idle(66)), cat(pay(78), look, table, look, idle(66))),
			"that was not charged",
		},
		{
			"little is prepaid when a call that may have checked returns",
			hand{code: [][]byte{idle(2), cat(call(0), idle(100))}, metered: [][]byte{cat(pay(2), idle(2)), cat(pay(106), call(1), idle(100))}},
			hand{code: [][]byte{idle(2), cat(call(0), idle(100))}, metered: [][]byte{cat(pay(2), look, idle(2)), cat(pay(106), call(1), idle(100))}},
			"that was not charged",
		},
		{
			"not too much is prepaid behind a check",
			one(idle(6144), cat(pay(6144), look, idle(6144))), one(idle(6146), cat(pay(6146), look, idle(6146))),
			"that was not charged",
		},
		{
			"the meter does not work for nothing",
			one(idle(2), cat(pay(2), bytes.Repeat(look, 64), idle(2))), one(idle(2), cat(pay(2), bytes.Repeat(look, 65), idle(2))),
			"in a row",
		},
		{
			"no charge that may make fuel overflow",
			one(idle(2), cat(pay(1<<30), idle(2))), one(idle(2), cat(pay(1<<31), idle(2))),
			"not the instruction of the original",
		},
		{
			"a round pays for itself", // (loop (br_if 0 (local.get 0)))
			one([]byte{0x03, 0x40, 0x20, 0, 0x0d, 0, 0x0b}, cat([]byte{0x03, 0x40}, pay(3), look, []byte{0x20, 0, 0x0d, 0, 0x0b})),
			one([]byte{0x03, 0x40, 0x20, 0, 0x0d, 0, 0x0b}, cat(pay(3), []byte{0x03, 0x40}, look, []byte{0x20, 0, 0x0d, 0, 0x0b})),
			"that was not charged",
		},
		{
			"a round checks",
			one([]byte{0x03, 0x40, 0x20, 0, 0x0d, 0, 0x0b}, cat([]byte{0x03, 0x40}, pay(3), []byte{0x20, 0, 0x04, 0x40}, look, []byte{0x0c, 1, 0x0b, 0x0b})),
			one([]byte{0x03, 0x40, 0x20, 0, 0x0d, 0, 0x0b}, cat([]byte{0x03, 0x40}, pay(3), []byte{0x20, 0, 0x0d, 0, 0x0b})),
			"without a check",
		},
		{
			"a conditional jump leads where it did",
			one([]byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0d, 1, 0x0b, 0x0b}, cat(pay(2), []byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0d, 1, 0x0b, 0x0b})),
			one([]byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0d, 1, 0x0b, 0x0b}, cat(pay(2), []byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0d, 0, 0x0b, 0x0b})),
			"a jump to another block",
		},
		{
			"a jump leads where it did",
			one([]byte{0x02, 0x40, 0x02, 0x40, 0x0c, 1, 0x0b, 0x0b}, cat(pay(1), []byte{0x02, 0x40, 0x02, 0x40, 0x0c, 1, 0x0b, 0x0b})),
			one([]byte{0x02, 0x40, 0x02, 0x40, 0x0c, 1, 0x0b, 0x0b}, cat(pay(1), []byte{0x02, 0x40, 0x02, 0x40, 0x0c, 0, 0x0b, 0x0b})),
			"a jump to another block",
		},
		{
			"a table leads where it did",
			one([]byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 1, 0, 1, 0x0b, 0x0b}, cat(pay(4), []byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 1, 0, 1, 0x0b, 0x0b})),
			one([]byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 1, 0, 1, 0x0b, 0x0b}, cat(pay(4), []byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 1, 1, 1, 0x0b, 0x0b})),
			"a jump to another block",
		},
		{
			"a jump to a block is a jump to that block",
			one([]byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0d, 1, 0x0b, 0x41, 1, 0x1a, 0x0b}, cat(pay(4), []byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x04, 0x40, 0x0c, 2, 0x0b, 0x0b, 0x41, 1, 0x1a, 0x0b})),
			one([]byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0d, 1, 0x0b, 0x41, 1, 0x1a, 0x0b}, cat(pay(4), []byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x04, 0x40, 0x0c, 1, 0x0b, 0x0b, 0x41, 1, 0x1a, 0x0b})),
			"a jump to another block",
		},
	} {
		t.Run(rule.name, func(t *testing.T) {
			require.NoError(t, rule.good.check(t))
			require.ErrorContains(t, rule.bad.check(t), rule.refusals)
		})
	}
}

// A known jump needs a constant in the local that the table looks up, and a table that stands at the head of its loop.
func TestKnownJumpsAreKnown(t *testing.T) {
	// (loop (block (block (br_table 0 1 (local.get X))) …) (i32.const 0) …), from the second case to the first
	write := func(head, set []byte) (code, metered []byte) {
		code = bytes.Join([][]byte{{0x03, 0x40, 0x02, 0x40, 0x02, 0x40}, head, {0x0e, 1, 0, 1, 0x0b}, drops, {0x0b}, drops, {0x20, 0, 0x04, 0x40}, set, {0x0c, 1, 0x0b, 0x0b}}, nil)
		// the jump back has no check, because on the way from the first case to the second there is one
		metered = bytes.Join([][]byte{pay(100), {0x03, 0x40}, pay(20), {0x02, 0x40, 0x02, 0x40}, head, {0x0e, 1, 0, 1, 0x0b}, look, drops, {0x0b}, drops, {0x20, 0, 0x04, 0x40}, set, {0x0c, 1, 0x0b, 0x0b}}, nil)
		return code, metered
	}
	for name, c := range map[string]struct {
		head, set []byte
		ok        bool
	}{
		"as it must be":                     {[]byte{0x20, 0}, []byte{0x41, 0, 0x21, 0}, true},
		"to the case without a check":       {[]byte{0x20, 0}, []byte{0x41, 1, 0x21, 0}, false},
		"beyond the cases":                  {[]byte{0x20, 0}, []byte{0x41, 0x7f, 0x21, 0}, false},
		"through something that is unknown": {[]byte{0x20, 0}, []byte{0x20, 0, 0x21, 0}, false},
		"by another local":                  {[]byte{0x20, 0}, []byte{0x41, 0, 0x21, 1}, false},
		"through a local that is tee'd":     {[]byte{0x20, 0}, []byte{0x41, 0, 0x22, 0, 0x1a}, false},
		"over a head that does more":        {[]byte{0x41, 1, 0x21, 0, 0x20, 0}, []byte{0x41, 0, 0x21, 0}, false},
	} {
		t.Run(name, func(t *testing.T) {
			code, metered := write(c.head, c.set)
			original, err := inspect.Parse(w.Module(w.Types(w.FuncType("i", "")), w.Funcs(0), w.Code(w.Body("i", code...))), roomy)
			require.NoError(t, err)
			rewritten, err := inspect.Parse(w.Module(w.Types(w.FuncType("i", ""), w.FuncType("", ""), w.FuncType("iii", ""), w.FuncType("I", "IIIIIIII")),
				w.Imports(w.ImportFunc("genkit:meter", "yield", 1)), w.Funcs(0), w.Globals(w.Global("I", true, 0x42, 0)), w.Exports(w.Export("fuel", 3, 0)), w.Code(w.Body("i", metered...))), roomy)
			require.NoError(t, err)
			_, err = verify.Check(original, rewritten, verify.Claim{Fuel: "fuel", Order: []uint32{0}, MaxTableElements: meter.DefaultTableElements})
			if c.ok {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
				t.Log(err)
			}
		})
	}
}
