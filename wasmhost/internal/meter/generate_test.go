package meter_test

import (
	"math/rand/v2"
	"slices"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

// generator writes random valid functions that always end: calls go to later functions only, and loops count down.
type generator struct {
	*rand.Rand
	fn     int // index of the function being written, imports first
	depth  int // nesting of statements
	labels []label
	free   []uint32 // loop counters not in use
	calls  int      // calls that the function may still make
	tables bool     // it writes loops around tables
}

type label struct {
	loop    bool
	counter uint32
	typed   bool // a jump to it carries a value
}

// Index spaces of the generated modules. Every function has the type (i32, i64) -> i64 and the locals below.
const (
	genImports   = 1
	genFuncs     = 5
	typeFunc     = 0
	typeTick     = 1 // (i32) -> i32, also the type of blocks that take and give a value
	localI32     = 0
	localI64     = 1
	localF64     = 2
	localV128    = 3
	localScratch = 4
	counters     = 5
	globalI32    = 0
	globalI64    = 1
	globalF64    = 3 // 2 is a constant
)

// withTables is added to a seed for a module with loops around tables.
const withTables = 1 << 40

// generate returns a module that exports run, memory and three of its globals.
func generate(seed uint64) []byte {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), tables: seed&withTables != 0}
	types := make([]uint32, genFuncs)
	bodies := make([][]byte, genFuncs)
	exprs := make([][]byte, genFuncs)
	for i := range bodies {
		g.fn = genImports + i
		g.labels, g.depth = []label{{typed: true}}, 0
		g.free = []uint32{counters, counters + 1, counters + 2}
		g.calls = 4
		bodies[i] = w.Body("Fviiii", w.Cat(g.statements(), g.value('I', 3))...)
		exprs[i] = w.Cat([]byte{0xd2}, w.U32(uint32(g.fn)), []byte{0x0b})
	}
	return w.Module(
		w.Types(w.FuncType("iI", "I"), w.FuncType("i", "i")),
		w.Imports(w.ImportFunc("env", "tick", typeTick)),
		w.Funcs(types...),
		w.Tables(w.Table("r", w.Limits(8)), w.Table("x", w.Limits(2, 4))),
		w.Memories(w.Limits(1, 3)),
		w.Globals(w.Global("i", true, 0x41, 5), w.Global("I", true, 0x42, 6), w.Global("r", false, 0xd2, 2), w.Global("F", true, append([]byte{0x44}, make([]byte, 8)...)...)),
		w.Exports(w.Export("run", 0, genImports), w.Export("memory", 2, 0), w.Export("g0", 3, globalI32), w.Export("g1", 3, globalI64), w.Export("genkit:meter/fuel", 3, globalF64)),
		w.Elements(
			w.Cat([]byte{4, 0x41, 0, 0x0b}, w.Vec(exprs...)),
			w.Cat([]byte{1, 0}, w.Vec(w.U32(1), w.U32(2), w.U32(0))),
			w.Cat([]byte{3, 0}, w.Vec(w.U32(0), w.U32(3))),
		),
		w.DataCount(2),
		w.Code(bodies...),
		w.Data(w.Cat([]byte{0, 0x41, 16, 0x0b}, w.Name("some initial data in memory")), w.Cat([]byte{1}, w.Name("a passive segment"))),
		w.Custom("name", []byte{0, 2, 1, 'm'}),
		w.Custom("kept", []byte("kept")),
	)
}

func (g *generator) statements() []byte {
	var out []byte
	for range 1 + g.IntN(4) {
		out = append(out, g.statement()...)
	}
	return out
}

func (g *generator) nested(l label, body func() []byte) []byte {
	g.labels = append(g.labels, l)
	g.depth++
	out := body()
	g.depth--
	g.labels = g.labels[:len(g.labels)-1]
	return out
}

func (g *generator) statement() []byte {
	if g.tables && len(g.free) > 1 && g.depth < 4 && g.IntN(6) == 0 {
		return g.dispatch()
	}
	kind := g.IntN(26)
	if g.depth > 4 && kind < 10 {
		kind += 10
	}
	switch kind {
	case 0, 1: // if, with or without else
		out := w.Cat(g.value('i', 2), []byte{0x04, 0x40}, g.nested(label{}, g.statements))
		if g.IntN(2) == 0 {
			out = w.Cat(out, []byte{0x05}, g.nested(label{}, g.statements))
		}
		return append(out, 0x0b)
	case 2, 3:
		return w.Cat([]byte{0x02, 0x40}, g.nested(label{}, g.statements), []byte{0x0b})
	case 4, 5, 6:
		return g.loop()
	case 7: // a switch
		inner := func() []byte {
			return w.Cat(g.value('i', 2), []byte{0x0e}, w.Vec(g.forward(), g.forward(), g.forward()), g.forward())
		}
		return w.Cat([]byte{0x02, 0x40}, g.nested(label{}, func() []byte {
			return w.Cat([]byte{0x02, 0x40}, g.nested(label{}, func() []byte {
				return w.Cat([]byte{0x02, 0x40}, g.nested(label{}, inner), []byte{0x0b}, g.statements())
			}), []byte{0x0b}, g.statements())
		}), []byte{0x0b})
	case 8: // a conditional return
		return w.Cat(g.value('i', 2), []byte{0x04, 0x40}, g.value('I', 1), []byte{0x0f, 0x0b})
	case 9: // a block that takes and gives a value
		return w.Cat(g.value('i', 1), []byte{0x02, typeTick}, g.nested(label{typed: true}, func() []byte {
			return w.Cat([]byte{0x41, 3, 0x6a}, g.statements(), g.value('i', 1), []byte{0x0d, 0})
		}), []byte{0x0b, 0x21, localI32})
	case 10, 11:
		return w.Cat(g.value('i', 3), []byte{0x21, localI32})
	case 12:
		return w.Cat(g.value('I', 3), []byte{0x21, localI64})
	case 13:
		return w.Cat(g.value('F', 3), []byte{0x22, localF64, 0x24, globalF64})
	case 14:
		return w.Cat(g.value('i', 3), []byte{0x24, globalI32})
	case 15:
		return w.Cat(g.value('I', 3), []byte{0x24, globalI64})
	case 16:
		return w.Cat(g.address(), g.value('I', 2), []byte{0x37, 3, 8})
	case 17, 18: // a conditional jump forward, or back to a loop
		return g.jump()
	case 19:
		return w.Cat(g.value('v', 2), []byte{0x21, localV128})
	case 20:
		return w.Cat(g.address(), g.value('v', 1), []byte{0xfd, 11, 0, 0})
	case 21, 22:
		return g.bulk()
	case 23:
		return w.Cat(g.value('i', 1), []byte{0x10, 0, 0x24, globalI32}) // the host
	default:
		return w.Cat(g.value('I', 3), []byte{0x1a})
	}
}

// loop counts a local down, so that it ends however it is continued.
func (g *generator) loop() []byte {
	if len(g.free) == 0 {
		return []byte{0x01}
	}
	c := g.free[len(g.free)-1]
	g.free = g.free[:len(g.free)-1]
	defer func() { g.free = append(g.free, c) }()
	count := func() []byte { return w.Cat([]byte{0x20}, w.U32(c), []byte{0x41, 1, 0x6b, 0x22}, w.U32(c)) }
	head := w.Cat([]byte{0x41}, w.S64(int64(1+g.IntN(5))), []byte{0x21}, w.U32(c))
	switch g.IntN(4) {
	case 0: // the exit at the top, as compilers write it
		return w.Cat(head, []byte{0x02, 0x40, 0x03, 0x40}, count(), []byte{0x41, 0, 0x4c, 0x0d, 1},
			g.nested(label{}, func() []byte { return g.nested(label{loop: true, counter: c}, g.statements) }), []byte{0x0c, 0, 0x0b, 0x0b})
	case 1: // a loop that takes and gives a value
		return w.Cat(head, g.value('i', 1), []byte{0x03, typeTick}, g.nested(label{typed: true}, g.statements), []byte{0x41, 7, 0x73}, count(), []byte{0x41, 0, 0x4a, 0x0d, 0, 0x0b, 0x21, localI32})
	case 2: // a loop that is never continued
		return w.Cat([]byte{0x03, 0x40}, g.nested(label{loop: true, counter: c}, func() []byte { return g.value('i', 1) }), []byte{0x1a, 0x0b})
	default:
		return w.Cat(head, []byte{0x03, 0x40}, g.nested(label{loop: true, counter: c}, g.statements), count(), []byte{0x41, 0, 0x4a, 0x0d, 0, 0x0b})
	}
}

// dispatch is a loop around a table, as Go's compiler writes it: each jump says in a local where it wants to go, and goes
// to the head of the loop. Each counts the loop's counter down.
func (g *generator) dispatch() []byte {
	c, x := g.free[len(g.free)-1], g.free[len(g.free)-2]
	g.free = g.free[:len(g.free)-2]
	outside := g.labels
	defer func() { g.free, g.labels = append(g.free, x, c), outside }()
	n := 2 + g.IntN(4)
	set := func(local uint32, to int) []byte {
		return w.Cat([]byte{0x41}, w.S64(int64(to)), []byte{0x21}, w.U32(local))
	}
	out := w.Cat(set(c, 2+g.IntN(5)), set(x, g.IntN(n+2)-1), []byte{0x03, 0x40})
	g.labels = append(slices.Clone(outside), label{loop: true, counter: c})
	cases := make([][]byte, n)
	for i := range cases {
		g.labels = append(g.labels, label{})
		out, cases[i] = append(out, 0x02, 0x40), w.U32(uint32(i))
	}
	out = w.Cat(out, []byte{0x20}, w.U32(x), []byte{0x0e}, w.Vec(cases[:n-1]...), cases[n-1])
	g.depth++
	for i := range n {
		g.labels = g.labels[:len(g.labels)-1]
		out = w.Cat(out, []byte{0x0b}, g.statements(), []byte{0x20}, w.U32(c), []byte{0x41, 1, 0x6b, 0x22}, w.U32(c), []byte{0x41, 0, 0x4a}, g.value('i', 1), []byte{0x71, 0x04, 0x40})
		if g.IntN(5) > 0 {
			out = w.Cat(out, set(x, g.IntN(n+2)-1))
		} else {
			out = w.Cat(out, g.value('i', 1), []byte{0x21}, w.U32(x))
		}
		out = append(out, 0x0c, byte(n-i), 0x0b)
	}
	g.depth--
	return append(out, 0x0b)
}

// forward is a label of a block, not of a loop and not of the function, which wants a value.
func (g *generator) forward() []byte {
	for range 8 {
		n := g.IntN(len(g.labels))
		if l := g.labels[len(g.labels)-1-n]; !l.loop && !l.typed {
			return w.U32(uint32(n))
		}
	}
	return w.U32(0)
}

func (g *generator) jump() []byte {
	n := g.IntN(len(g.labels))
	switch l := g.labels[len(g.labels)-1-n]; {
	case n == len(g.labels)-1:
		return w.Cat(g.value('I', 1), g.value('i', 1), []byte{0x0d}, w.U32(uint32(n)), []byte{0x21, localI64})
	case l.loop && g.IntN(3) == 0: // an unconditional jump back, in an if
		return w.Cat([]byte{0x20}, w.U32(l.counter), []byte{0x41, 1, 0x6b, 0x22}, w.U32(l.counter), []byte{0x41, 0, 0x4a, 0x04, 0x40, 0x0c}, w.U32(uint32(n+1)), []byte{0x0b})
	case l.loop:
		return w.Cat([]byte{0x20}, w.U32(l.counter), []byte{0x41, 1, 0x6b, 0x22}, w.U32(l.counter), []byte{0x41, 0, 0x4a, 0x0d}, w.U32(uint32(n)))
	case l.typed:
		return []byte{0x01}
	default:
		return w.Cat(g.value('i', 2), []byte{0x0d}, w.U32(uint32(n)))
	}
}

func (g *generator) address() []byte {
	if g.IntN(40) == 0 {
		return w.Cat(g.value('i', 2)) // mostly out of bounds
	}
	return w.Cat(g.value('i', 2), []byte{0x41}, w.S64(0xfff8), []byte{0x71})
}

// bulk writes an operation over a length, with operands that are mostly in bounds.
func (g *generator) bulk() []byte {
	small := func(limit int) []byte { return w.Cat([]byte{0x41}, w.S64(int64(g.IntN(limit)))) }
	switch g.IntN(13) {
	case 0, 1:
		return w.Cat(small(30000), g.value('i', 1), small(20000), []byte{0xfc, 11, 0})
	case 2, 3:
		return w.Cat(small(30000), small(30000), small(20000), []byte{0xfc, 10, 0, 0})
	case 4:
		return w.Cat(small(30000), small(8), small(12), []byte{0xfc, 8, 1, 0})
	case 5:
		return []byte{0xfc, 9, 1}
	case 6:
		return w.Cat(small(9), []byte{0xd2}, w.U32(uint32(g.later())), []byte{0x26, 0})
	case 7:
		return w.Cat([]byte{0xd0, 0x70}, small(4), []byte{0xfc, 15, 0, 0x24, globalI32})
	case 8:
		return w.Cat([]byte{0xfc, 16, 0, 0x24, globalI32})
	case 9:
		return w.Cat([]byte{0x41, 6, 0xd0, 0x70}, small(3), []byte{0xfc, 17, 0})
	case 10:
		return w.Cat([]byte{0x41, 5, 0x41, 6}, small(3), []byte{0xfc, 14, 0, 0})
	case 11:
		return w.Cat(small(2), []byte{0x40, 0, 0x24, globalI32})
	default:
		return w.Cat([]byte{0x41, 0, 0xd0, 0x6f}, small(3), []byte{0xfc, 17, 1})
	}
}

// later is a function after the present one, or the host's.
func (g *generator) later() int {
	if left := genImports + genFuncs - 1 - g.fn; left > 0 {
		return g.fn + 1 + g.IntN(left)
	}
	return 0
}

// mayCall takes one call from the function's share. There are none inside two loops, so that programs end soon.
func (g *generator) mayCall() bool {
	if g.calls == 0 || len(g.free) < 2 || g.fn == genImports+genFuncs-1 {
		return false
	}
	g.calls--
	return true
}

// value writes an expression of the type given by its letter.
func (g *generator) value(t byte, depth int) []byte {
	if depth == 0 {
		return g.leaf(t)
	}
	sub := func(t byte) []byte { return g.value(t, depth-1) }
	pick := func(ops ...byte) []byte { return ops[g.IntN(len(ops)):][:1] }
	switch n := g.IntN(12); {
	case n < 3:
		return g.leaf(t)
	case n == 3: // a block whose value may come from a jump
		return g.nested(label{typed: true}, func() []byte {
			return w.Cat([]byte{0x02}, w.ValTypes(string(t)), sub(t), sub('i'), []byte{0x0d, 0, 0x1a}, sub(t), []byte{0x0b})
		})
	case n == 4:
		return w.Cat(sub('i'), []byte{0x04}, w.ValTypes(string(t)), g.nested(label{typed: true}, func() []byte { return w.Cat(sub(t), []byte{0x05}, sub(t), []byte{0x0b}) }))
	case n == 5:
		return w.Cat(sub(t), sub(t), sub('i'), []byte{0x1c, 1}, w.ValTypes(string(t)))
	case t == 'i' && n < 9:
		return w.Cat(sub('i'), sub('i'), pick(0x6a, 0x6b, 0x6c, 0x71, 0x72, 0x73, 0x74, 0x75, 0x46, 0x48, 0x77))
	case t == 'i':
		switch n {
		case 9:
			return w.Cat(sub('I'), pick(0xa7, 0x50))
		case 10:
			return w.Cat(g.address(), pick(0x28, 0x2c, 0x2f), []byte{0, 4})
		}
		return w.Cat(sub('i'), sub('i'), []byte{0x41, 1, 0x72}, pick(0x6d, 0x6e, 0x6f, 0x70))
	case t == 'I' && n == 6 && g.mayCall():
		return w.Cat(sub('i'), sub('I'), []byte{0x10}, w.U32(uint32(g.later())))
	case t == 'I' && n == 7 && g.mayCall(): // through the table
		return w.Cat(sub('i'), sub('I'), []byte{0x41}, w.S64(int64(g.later()-genImports)), []byte{0x11, typeFunc, 0})
	case t == 'I' && n < 11:
		return w.Cat(sub('I'), sub('I'), pick(0x7c, 0x7d, 0x7e, 0x83, 0x84, 0x85, 0x86, 0x88))
	case t == 'I':
		return w.Cat(sub('i'), pick(0xac, 0xad))
	case t == 'F' && n < 10:
		return w.Cat(sub('F'), sub('F'), pick(0xa0, 0xa1, 0xa2))
	case t == 'F':
		return w.Cat(sub('i'), pick(0xb7, 0xb8))
	case n < 9:
		return w.Cat(sub('v'), sub('v'), []byte{0xfd}, pick(0xae, 0xb1, 0xb5), []byte{1})
	}
	return w.Cat(sub('i'), []byte{0xfd, 17})
}

func (g *generator) leaf(t byte) []byte {
	switch n := g.IntN(3); {
	case t == 'i' && n == 0:
		return w.Cat([]byte{0x41}, w.S64(int64(int32(g.Uint32())>>g.IntN(32))))
	case t == 'i' && n == 1:
		return []byte{0x23, globalI32}
	case t == 'i':
		return []byte{0x20, localI32}
	case t == 'I' && n == 0:
		return w.Cat([]byte{0x42}, w.S64(int64(g.Uint64())>>g.IntN(64)))
	case t == 'I' && n == 1:
		return []byte{0x23, globalI64}
	case t == 'I':
		return []byte{0x20, localI64}
	case t == 'F' && n == 0:
		return []byte{0x23, globalF64}
	case t == 'F':
		return []byte{0x20, localF64}
	}
	return []byte{0x20, localV128}
}
