package verify_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/verify"
)

// Functions of the module that is damaged.
const (
	fnCounted   = iota // a loop that counts
	fnWritten          // one that is written out
	fnHost             // one that calls the host, with its check at the jump back
	fnRecursive        // it calls itself
	fnTable            // it calls through a table
	fnBulk             // operations over a length
	fnSwitch           // known jumps over a table, forward and back
	fnGlobals
	fnNested // counted loops in each other, left in several ways
)

func victim() []byte {
	store := []byte{0x41, 16, 0x41, 1, 0x36, 2, 0}
	body := func(locals string, code ...[]byte) []byte { return w.Body(locals, bytes.Join(code, nil)...) }
	down := []byte{0x20, 0, 0x41, 1, 0x6b, 0x22, 0} // local.get 0, i32.const 1, i32.sub, local.tee 0
	return w.Module(
		w.Types(w.FuncType("i", ""), w.FuncType("i", "i"), w.FuncType("", "")),
		w.Imports(w.ImportFunc("env", "tick", 1)),
		w.Funcs(0, 0, 0, 0, 0, 0, 0, 2, 1),
		w.Tables(w.Table("r", w.Limits(4)), w.Table("r", w.Limits(2, 5))),
		w.Memories(w.Limits(1, 4)),
		w.Globals(w.Global("i", true, 0x41, 5), w.Global("I", true, 0x42, 6), w.Global("r", false, 0xd2, 2)),
		w.Exports(w.Export("run", 0, 1), w.Export("memory", 2, 0), w.Export("g", 3, 0)),
		w.Elements(w.Cat([]byte{0, 0x41, 0, 0x0b}, w.Vec(w.U32(1), w.U32(2), w.U32(0)))),
		w.DataCount(2),
		w.Code(
			body("", []byte{0x03, 0x40, 0x20, 0, 0x04, 0x40}, store, store, []byte{0x0b}, down, []byte{0x0d, 0, 0x0b}),
			body("", []byte{0x03, 0x40}, store, down, []byte{0x0d, 0, 0x0b}),
			body("", []byte{0x03, 0x40, 0x41, 1, 0x10, 0, 0x1a}, store, down, []byte{0x0d, 0, 0x0b}),
			body("", []byte{0x20, 0, 0x04, 0x40}, down, []byte{0x10, 4}, bytes.Repeat(store, 80), []byte{0x0b}),
			body("", down, []byte{0x41, 0, 0x11, 0, 0}, bytes.Repeat(store, 80)),
			body("", []byte{0x41, 0, 0x41, 1, 0x20, 0, 0xfc, 11, 0}, // memory.fill
				[]byte{0x41, 0, 0x41, 1, 0x20, 0, 0xfc, 10, 0, 0}, // memory.copy
				[]byte{0x41, 0, 0x41, 1, 0x20, 0, 0xfc, 8, 1, 0},  // memory.init
				[]byte{0x20, 0, 0x40, 0, 0x1a},                    // memory.grow
				[]byte{0xd0, 0x70, 0x20, 0, 0xfc, 15, 0, 0x1a},    // table.grow
				[]byte{0x41, 0, 0xd0, 0x70, 0x20, 0, 0xfc, 17, 0}, // table.fill
			),
			// A loop around a table: from the first case to the third, from the second back to the first, from the third out.
			body("i", []byte{0x03, 0x40, 0x02, 0x40, 0x02, 0x40, 0x02, 0x40, 0x20, 1, 0x0e, 2, 0, 1, 2, 0x0b},
				bytes.Repeat(store, 3), []byte{0x41, 2, 0x21, 1, 0x0c, 2, 0x0b},
				bytes.Repeat(store, 3), down, []byte{0x04, 0x40, 0x41, 0, 0x21, 1, 0x0c, 2, 0x0b, 0x0b}, bytes.Repeat(store, 3), []byte{0x0b}),
			body("", []byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0, 0x42, 9, 0x24, 1}),
			body("i", []byte{0x02, 0x40, 0x03, 0x40}, down, []byte{0x45, 0x0d, 1, 0x41, 9, 0x21, 1, 0x03, 0x40}, store,
				[]byte{0x20, 1, 0x41, 1, 0x6b, 0x22, 1, 0x04, 0x40, 0x0c, 1, 0x0b, 0x20, 0, 0x0d, 1, 0x20, 0, 0x41, 3, 0x46, 0x04, 0x40, 0x41, 7, 0x0f, 0x0b, 0x0b, 0x0b, 0x0b, 0x20, 1}),
		),
		w.Data(w.Cat([]byte{0, 0x41, 16, 0x0b}, w.Name("some data")), w.Cat([]byte{1}, w.Name("a passive segment"))),
		w.Custom("kept", []byte("kept")),
	)
}

// code is a body as its instructions.
type code [][]byte

// find returns where instructions with these opcodes stand one after the other, for the n-th time.
func (c code) find(t *testing.T, n int, ops ...byte) int {
	t.Helper()
	for i := range c {
		if len(c)-i >= len(ops) {
			same := true
			for k, op := range ops {
				same = same && c[i+k][0] == op
			}
			if same {
				if n--; n < 0 {
					return i
				}
			}
		}
	}
	require.Fail(t, "the code has no such instructions", "% x in % x", ops, bytes.Join(c, []byte{'|'}))
	return 0
}

func (c code) replace(i, n int, with ...[]byte) code {
	return slices.Replace(slices.Clone(c), i, i+n, with...)
}

// The opcodes of the meter's shapes.
var (
	check   = []byte{0x23, 0x42, 0x59, 0x04, 0x05, 0x10, 0x0b}
	charge  = []byte{0x23, 0x42, 0x7d, 0x24}
	count   = []byte{0x20, 0x42, 0x7c, 0x21}
	flush   = []byte{0x23, 0x20, 0x7d, 0x24, 0x42, 0x21}
	guard   = []byte{0x20, 0x42, 0x57, 0x04, 0x05, 0x0c, 0x0b}
	wrapper = w.Cat([]byte{0x03, 0x20, 0x42, 0x55, 0x04}, flush, check, []byte{0x0b})
	price   = w.Cat([]byte{0x22, 0x23, 0x20, 0xad, 0x42, 0x88, 0x7d, 0x24}, check)
)

func i64(n int64) []byte { return w.Cat([]byte{0x42}, w.S64(n)) }

// evil are damages of single functions.
var evil = []struct {
	name string
	fn   int
	edit func(*testing.T, code) code
}{
	{"no check at a jump back", fnHost, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, check...), 7) }},
	{"no check before a recursive call", fnRecursive, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, check...), 7) }},
	{"no check after a recursive call", fnRecursive, func(t *testing.T, c code) code { return c.replace(c.find(t, 1, check...), 7) }},
	{"no check before a call through a table", fnTable, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, check...), 7) }},
	{"no check after a call through a table", fnTable, func(t *testing.T, c code) code { return c.replace(c.find(t, 1, check...), 7) }},
	{"no check after a known jump back", fnSwitch, func(t *testing.T, c code) code {
		for i := len(c) - 1; ; i-- { // the last one
			if c[i][0] == 0x10 {
				return c.replace(i-5, 7)
			}
		}
	}},
	{"a check the wrong way round", fnHost, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, check...)+2, 1, []byte{0x53}) }},
	{"a check for fuel above one", fnHost, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, check...)+1, 1, i64(1)) }},
	{"a check that calls another function", fnHost, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, check...)+5, 1, []byte{0x10, 0}) }},
	{"a check of another global", fnHost, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, check...), 1, []byte{0x23, 1}) }},
	{"a check with its arms exchanged", fnHost, func(t *testing.T, c code) code {
		i := c.find(t, 0, check...)
		return c.replace(i+4, 2, c[i+5], c[i+4])
	}},
	{"no charge at the entry", fnGlobals, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, charge...), 4) }},
	{"a charge that is one too small", fnGlobals, func(t *testing.T, c code) code {
		i := c.find(t, 0, charge...)
		return c.replace(i+1, 1, i64(int64(c[i+1][1])-1))
	}},
	{"a negative charge", fnGlobals, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, charge...)+1, 1, i64(-9)) }},
	{"a charge that is added", fnGlobals, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, charge...)+2, 1, []byte{0x7c}) }},
	{"a charge of a global of the guest", fnGlobals, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, charge...)+3, 1, []byte{0x24, 1}) }},
	{"a charge after the work", fnGlobals, func(t *testing.T, c code) code {
		i := c.find(t, 0, charge...)
		return slices.Concat(c[:i], c[i+4:len(c)-1], c[i:i+4], c[len(c)-1:])
	}},
	{"a charge that overflows", fnGlobals, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, charge...)+1, 1, i64(1<<62)) }},
	{"no count in a loop", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, count...), 4) }},
	{"a count that is one too small", fnCounted, func(t *testing.T, c code) code {
		i := c.find(t, 0, count...)
		return c.replace(i+1, 1, i64(int64(c[i+1][1])-1))
	}},
	{"a count below zero", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, count...)+1, 1, i64(-1)) }},
	{"the counter is emptied in each round", fnCounted, func(t *testing.T, c code) code {
		i := c.find(t, 0, count...)
		return c.replace(i, 0, []byte{0x42, 0}, []byte{0x21, 1})
	}},
	{"the counter is paid in each round without a check", fnCounted, func(t *testing.T, c code) code {
		i := c.find(t, 0, flush...)
		return c.replace(c.find(t, 0, count...), 0, slices.Clone(c[i:i+6])...)
	}},
	{"the counter is not paid at the end", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 1, flush...), 6) }},
	{"the counter is emptied and not paid", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 1, flush...), 4) }},
	{"the counter is paid twice", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 1, flush...)+4, 2) }},
	{"no guard", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, guard...), 7) }},
	{"a guard that lets 2^40 through", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, guard...)+1, 1, i64(1<<40)) }},
	{"a guard that lets less through than its wrapper", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, guard...)+1, 1, i64(4095)) }},
	{"the same in a loop that is written out", fnWritten, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, guard...)+1, 1, i64(4095)) }},
	{"a guard the wrong way round", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, guard...)+2, 1, []byte{0x55}) }},
	{"a guard that jumps to its own loop", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, guard...)+5, 1, []byte{0x0c, 1}) }},
	{"a guard that leaves", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, guard...)+5, 1, []byte{0x0c, 3}) }},
	{"a guard behind the count", fnCounted, func(t *testing.T, c code) code {
		i := c.find(t, 0, guard...)
		return slices.Concat(c[:i], c[i+7:i+11], c[i:i+7], c[i+11:])
	}},
	{"a wrapper that does not check", fnCounted, func(t *testing.T, c code) code {
		return c.replace(c.find(t, 0, wrapper...)+5+6, 7)
	}},
	{"a wrapper that does not pay", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, wrapper...)+5, 4) }},
	{"a wrapper that lets 2^40 through", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, wrapper...)+2, 1, i64(1<<40)) }},
	{"a wrapper that is a block", fnCounted, func(t *testing.T, c code) code {
		return c.replace(c.find(t, 0, wrapper...), 1, []byte{0x02, 0x40})
	}},
	{"no wrapper in the inner of two loops", fnNested, func(t *testing.T, c code) code {
		i := c.find(t, 1, wrapper...)
		end := i + len(wrapper)
		for c[end][0] != 0x0b || c[end+1][0] != 0x0b {
			end++
		}
		return c.replace(end, 1).replace(i, len(wrapper))
	}},
	{"a jump out of a counted loop that does not pay", fnNested, func(t *testing.T, c code) code {
		for i := len(c) - 1; ; i-- {
			if c[i][0] == 0x0f {
				for c[i][0] != 0x23 {
					i--
				}
				return c.replace(i, 6)
			}
		}
	}},
	{"a written-out loop that counts three rounds of four", fnWritten, func(t *testing.T, c code) code {
		i := c.find(t, 0, count...)
		return c.replace(i+1, 1, i64(int64(c[i+1][1])/4*3))
	}},
	{"a written-out loop that counts one unit too little in each round", fnWritten, func(t *testing.T, c code) code {
		cost := int64(c[c.find(t, 1, count...)+1][1]) - 1
		for n, rounds := range []int64{4, 1, 2, 3} {
			c = c.replace(c.find(t, n, count...)+1, 1, i64(rounds*cost))
		}
		return c
	}},
	{"a written-out loop that is left unpaid", fnWritten, func(t *testing.T, c code) code { return c.replace(c.find(t, 1, count...), 4) }},
	{"a written-out loop that goes on when it should be left", fnWritten, func(t *testing.T, c code) code {
		i := c.find(t, 0, 0x22, 0x45, 0x0d)
		return c.replace(i+1, 1)
	}},
	{"a written-out loop that leaves to the wrong place", fnWritten, func(t *testing.T, c code) code {
		return c.replace(c.find(t, 0, 0x22, 0x45, 0x0d)+2, 1, []byte{0x0d, 2})
	}},
	{"a written-out loop with another body", fnWritten, func(t *testing.T, c code) code {
		return c.replace(c.find(t, 1, 0x36), 1, []byte{0x36, 2, 4})
	}},
	{"memory.fill as it stands", fnBulk, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, 0x10), 1, []byte{0xfc, 11, 0}) }},
	{"memory.copy by the helper of memory.fill", fnBulk, func(t *testing.T, c code) code {
		return c.replace(c.find(t, 1, 0x10), 1, c[c.find(t, 0, 0x10)])
	}},
	{"memory.grow that is not paid", fnBulk, func(t *testing.T, c code) code {
		i := c.find(t, 0, 0x40)
		return c.replace(i-len(price), len(price))
	}},
	{"memory.grow that pays for bytes", fnBulk, func(t *testing.T, c code) code {
		i := c.find(t, 0, 0x40) - len(price) + 4
		return c.replace(i, 2, i64(4), []byte{0x88})
	}},
	{"table.grow that is not paid", fnBulk, func(t *testing.T, c code) code {
		i := c.find(t, 2, price...)
		return c.replace(i, len(price))
	}},
	{"a length that is paid for without a check", fnBulk, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, price...)+8, 7) }},
	{"a length that is changed on its way", fnBulk, func(t *testing.T, c code) code {
		return c.replace(c.find(t, 0, price...)+15, 0, []byte{0x41, 0}, []byte{0x1a})
	}},
	{"a known jump to another case", fnSwitch, func(t *testing.T, c code) code {
		return c.replace(c.find(t, 0, 0x41, 0x21, 0x0c)+2, 1, []byte{0x0c, 0})
	}},
	{"another constant before a known jump", fnSwitch, func(t *testing.T, c code) code {
		return c.replace(c.find(t, 0, 0x41, 0x21, 0x0c), 1, []byte{0x41, 1})
	}},
	{"a table with a label changed", fnSwitch, func(t *testing.T, c code) code {
		return c.replace(c.find(t, 0, 0x0e), 1, []byte{0x0e, 2, 0, 1, 1})
	}},
	{"a table with a label less", fnSwitch, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, 0x0e), 1, []byte{0x0e, 1, 0, 1}) }},
	{"a jump to the wrong block", fnNested, func(t *testing.T, c code) code {
		i := c.find(t, 0, 0x22, 0x45, 0x04, 0x0c)
		return c.replace(i+3, 1, []byte{0x0c, c[i+3][1] - 1})
	}},
	{"another constant", fnGlobals, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, 0x41), 1, []byte{0x41, 2}) }},
	{"another operation", fnGlobals, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, 0x6a), 1, []byte{0x6b}) }},
	{"an instruction more", fnGlobals, func(t *testing.T, c code) code { return c.replace(len(c)-1, 0, []byte{0x01}) }},
	{"an instruction less", fnHost, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, 0x36)-2, 3) }},
	{"a store to another address", fnHost, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, 0x36), 1, []byte{0x36, 2, 8}) }},
	{"a call of another function", fnHost, func(t *testing.T, c code) code {
		return c.replace(c.find(t, 0, 0x41, 0x10, 0x1a)+1, 1, []byte{0x10, 10})
	}},
	{"a call of the host's yield", fnGlobals, func(t *testing.T, c code) code { return c.replace(len(c)-1, 0, []byte{0x10, 1}) }},
	{"fuel is set", fnGlobals, func(t *testing.T, c code) code { return c.replace(len(c)-1, 0, i64(1<<60), []byte{0x24, 3}) }},
	{"the guest writes the fuel", fnGlobals, func(t *testing.T, c code) code {
		return c.replace(c.find(t, 0, 0x42, 0x24, 0x0b)+1, 1, []byte{0x24, 3})
	}},
	{"the guest reads the counter", fnCounted, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, 0x20, 0x04), 1, []byte{0x20, 1}) }},
	{"code after a return", fnNested, func(t *testing.T, c code) code { return c.replace(c.find(t, 0, 0x0f)+1, 0, []byte{0x01}) }},
	{"a block around everything", fnGlobals, func(t *testing.T, c code) code {
		return c.replace(len(c)-1, 0, []byte{0x0b}).replace(0, 0, []byte{0x02, 0x40})
	}},
	{"an endless loop at the end", fnGlobals, func(t *testing.T, c code) code {
		return c.replace(len(c)-1, 0, []byte{0x03, 0x40}, []byte{0x0c, 0}, []byte{0x0b})
	}},
}

// damaged is the module with one function of the rewritten form changed.
func damaged(t *testing.T, res *meter.Result, fn int, edit func(*testing.T, code) code) []byte {
	t.Helper()
	m, err := inspect.Parse(res.Wasm, roomy)
	require.NoError(t, err)
	var bodies [][]byte
	for i, b := range m.Bodies {
		body := res.Wasm[b.Start:b.End]
		if i == fn {
			var c code
			walk := m.Instructions(b)
			for in := walk.Next(); in != nil; in = walk.Next() {
				c = append(c, res.Wasm[in.Offset:in.End])
			}
			body = append(bytes.Clone(res.Wasm[b.Start:b.Code]), bytes.Join(edit(t, c), nil)...)
		}
		bodies = append(bodies, w.Cat(w.U32(uint32(len(body))), body))
	}
	return withSection(m, res.Wasm, inspect.SectionCode, w.Vec(bodies...))
}

// withSection is a module with one section changed.
func withSection(m *inspect.Module, wasm []byte, id byte, content []byte) []byte {
	out := bytes.Clone(wasm[:8])
	for _, s := range m.Sections {
		if s.ID == id {
			out = append(out, w.Section(id, content)...)
		} else {
			out = append(out, wasm[s.Offset:s.End]...)
		}
	}
	return out
}

func TestDamagedFunctionsAreRefused(t *testing.T) {
	wasm := victim()
	original, err := inspect.Parse(wasm, roomy)
	require.NoError(t, err)
	res, err := meter.Rewrite(wasm, original, meter.Options{})
	require.NoError(t, err)
	attempt := func(t *testing.T, fn int, edit func(*testing.T, code) code) error {
		t.Helper()
		rewritten, err := inspect.Parse(damaged(t, res, fn, edit), roomy)
		require.NoError(t, err)
		_, err = verify.Check(original, rewritten, claim(res, meter.Options{}))
		return err
	}
	require.NoError(t, attempt(t, 0, func(_ *testing.T, c code) code { return c }), "without a damage")
	for _, e := range evil {
		t.Run(e.name, func(t *testing.T) {
			err := attempt(t, e.fn, e.edit)
			var failure *verify.Failure
			require.ErrorAs(t, err, &failure)
			assert.Equal(t, e.fn, failure.Func)
			t.Log(err)
		})
	}
}

// Every single instruction of the rewritten module counts: without it the module is refused.
func TestEveryInstructionCounts(t *testing.T) {
	wasm := victim()
	original, err := inspect.Parse(wasm, roomy)
	require.NoError(t, err)
	res, err := meter.Rewrite(wasm, original, meter.Options{})
	require.NoError(t, err)
	m, err := inspect.Parse(res.Wasm, roomy)
	require.NoError(t, err)
	for fn, b := range m.Bodies {
		walk, n := m.Instructions(b), 0
		for in := walk.Next(); in != nil; in = walk.Next() {
			n++
		}
		for i := range n - 1 {
			wasm := damaged(t, res, fn, func(_ *testing.T, c code) code { return c.replace(i, 1) })
			rewritten, err := inspect.Parse(wasm, roomy)
			if _, refused := errors.AsType[*inspect.Refusal](err); refused { // its blocks don't fit together any more
				continue
			}
			_, err = verify.Check(original, rewritten, claim(res, meter.Options{}))
			assert.Error(t, err, "function %d without instruction %d", fn, i)
		}
	}
}
