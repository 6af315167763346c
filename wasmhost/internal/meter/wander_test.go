package meter_test

import (
	"bytes"
	"math/rand/v2"
	"slices"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

// wander writes random valid programs most of which never end: jumps of every kind to every label, with values and without,
// forward and back, out of any depth, from loops that nothing counts; constants that a table at the head of a loop is asked
// with; calls and calls through a table in all directions, in loops, in rows, with work before and after. Whether a
// jump is made is drawn when the program runs, from a global that changes all the time, or is always so or never so,
// which only a reader of the whole program could know.
//
// The only type of value is i32, because audit tells the meter's own code by its i64. How deep functions call each other
// is bounded by their parameter: a function that calls an earlier one or itself, or through the table, passes one less.
type wander struct {
	*rand.Rand
	fn     int // the function being written
	labels []wanderLabel
	depth  int
	budget int // statements that the function may still have
	locals int // that dispatch may still take
}

type wanderLabel struct {
	values int // how many a jump to it carries
}

// The types and locals of the functions. Each takes an i32, how deep it may go, and gives none, one or two.
const (
	wanderFuncs  = 8
	wanderFrames = 24
	wanderResult = 3                // so many types of functions
	localDeep    = 0                // how deep calls may still go
	localZero    = 1                // always zero
	localAny     = 2                // anything
	localWhere   = 3                // and 4, 5: what tables at the heads of loops are asked with
	localRounds  = 6                // and 7: rounds of loops that end
	typeOneOne   = wanderResult     // (i32) -> i32, of blocks
	typeTwoTwo   = wanderResult + 1 // (i32, i32) -> (i32, i32), of blocks
	typeTwo      = wanderResult + 2 // () -> (i32, i32), of blocks
	typeTwoNone  = wanderResult + 3 // (i32, i32) -> (), of blocks
)

// writeWander returns a module that exports run, of type (i32) -> ().
func writeWander(seed uint64) []byte {
	g := &wander{Rand: rand.New(rand.NewPCG(seed, 3))}
	types, bodies, all := make([]uint32, wanderFuncs), make([][]byte, wanderFuncs), make([][]byte, wanderFuncs)
	for i := range bodies {
		types[i], all[i] = uint32(g.results(i)), w.U32(uint32(i))
		bodies[i] = w.Body("iiiiiii", g.function(i)...)
	}
	return w.Module(
		w.Types(w.FuncType("i", ""), w.FuncType("i", "i"), w.FuncType("i", "ii"), w.FuncType("i", "i"), w.FuncType("ii", "ii"), w.FuncType("", "ii"), w.FuncType("ii", "")),
		w.Funcs(types...), w.Tables(w.Table("r", w.Limits(wanderFuncs))), w.Memories(w.Limits(1, 2)), w.Globals(w.Global("i", true, w.Cat([]byte{0x41}, w.S64(int64(seed|1)&0xffff))...)),
		w.Exports(w.Export("run", 0, 0)), w.Elements(w.Cat([]byte{0, 0x41, 0, 0x0b}, w.Vec(all...))), w.Code(bodies...))
}

// results is how many values a function gives. The first, which is exported, gives none.
func (g *wander) results(fn int) int { return fn % wanderResult }

func (g *wander) function(fn int) []byte {
	g.fn, g.depth, g.budget, g.locals = fn, 0, 8+g.IntN(40), 3
	g.labels = []wanderLabel{{g.results(fn)}}
	var out []byte
	leave := w.Cat([]byte{0x20, localDeep, 0x45, 0x04, 0x40}, g.values(g.results(fn)), []byte{0x0f, 0x0b})
	switch g.IntN(4) {
	case 0: // it works before it looks how deep it is
		out = w.Cat(g.work(), leave)
	default:
		out = leave
	}
	switch g.IntN(5) {
	case 0: // all of it is a loop that is not left at its end
		g.labels = append(g.labels, wanderLabel{0})
		out = w.Cat(out, []byte{0x03, 0x40}, g.statements(), []byte{0x0c, 0, 0x0b})
		g.labels = g.labels[:1]
	default:
		out = w.Cat(out, g.statements())
	}
	return w.Cat(out, g.values(g.results(fn)))
}

// values pushes so many.
func (g *wander) values(n int) []byte {
	var out []byte
	for range n {
		out = w.Cat(out, [][]byte{{0x20, localAny}, {0x41, 7}, {0x20, localDeep}, {0x23, 0}}[g.IntN(4)])
	}
	return out
}

func (g *wander) drop(n int) []byte { return bytes.Repeat([]byte{0x1a}, n) }

// condition pushes whether a jump is made: drawn at random, always, or never.
func (g *wander) condition() []byte {
	switch g.IntN(10) {
	case 0:
		return []byte{0x20, localZero} // never
	case 1:
		return []byte{0x20, localZero, 0x45} // always
	case 2:
		return []byte{0x20, localZero, 0x28, 2, 0} // never: memory is zero
	case 3:
		return []byte{0x41, byte(g.IntN(2))}
	case 4:
		return chance(20)
	case 5:
		return chanceOf(20)
	}
	return chance(2 + g.IntN(4))
}

// rarely pushes a condition for leaving the function: it holds at random, but not often, or never.
func (g *wander) rarely() []byte {
	switch g.IntN(4) {
	case 0:
		return []byte{0x20, localZero}
	case 1:
		return []byte{0x20, localZero, 0x28, 2, 0}
	case 2:
		return chanceOf(50)
	}
	return chanceOf(400)
}

// chanceOf pushes one in so many times a number other than zero.
func chanceOf(n int) []byte { return w.Cat(chance(n), []byte{0x45}) }

func (g *wander) statements() []byte {
	var out []byte
	for range 1 + g.IntN(4) {
		out = append(out, g.statement()...)
	}
	return out
}

func (g *wander) nested(l wanderLabel) []byte {
	g.labels = append(g.labels, l)
	g.depth++
	out := g.statements()
	g.depth--
	g.labels = g.labels[:len(g.labels)-1]
	return out
}

func (g *wander) statement() []byte {
	g.budget--
	if g.budget < 0 {
		return []byte{0x41, 1, 0x1a}
	}
	kind := g.IntN(24)
	if g.depth > 5 && kind < 10 {
		kind += 10
	}
	switch kind {
	case 0, 1, 2:
		return g.loop()
	case 3:
		return g.block()
	case 4:
		return g.when()
	case 5, 6:
		return g.dispatch()
	case 7:
		return g.bounded()
	case 8:
		return g.table()
	case 9: // an unconditional jump in an if
		return w.Cat(g.condition(), []byte{0x04, 0x40}, g.jump(0x0c, 1), []byte{0x0b})
	case 10, 11, 12:
		return g.jump(0x0d, 0)
	case 13:
		return w.Cat(g.rarely(), []byte{0x04, 0x40}, g.values(g.results(g.fn)), []byte{0x0f, 0x0b})
	case 14, 15, 16:
		return g.call()
	case 17:
		return w.Cat([]byte{0x41}, w.S64(int64(g.IntN(60000))), []byte{0x41, 0, 0x41}, w.S64(int64(g.IntN(300))), []byte{0xfc, 11, 0}) // memory.fill
	case 18:
		return []byte{0x20, localAny, 0x41, 3, 0x6c, 0x23, 0, 0x6a, 0x21, localAny}
	}
	return g.work()
}

// work is straight code.
func (g *wander) work() []byte {
	n := []int{1, 2, 4, 8, 20, 60, 300, 2500}[g.IntN(8)]
	return bytes.Repeat([]byte{0x41, 1, 0x1a}, n)
}

// A block, loop or if may take and give values.
func (g *wander) typed() (before, head []byte, takes, gives int) {
	switch g.IntN(8) {
	case 0:
		return nil, []byte{0x7f}, 0, 1
	case 1:
		return g.values(1), []byte{typeOneOne}, 1, 1
	case 2:
		return g.values(2), []byte{typeTwoTwo}, 2, 2
	case 3:
		return nil, []byte{typeTwo}, 0, 2
	case 4:
		return g.values(2), []byte{typeTwoNone}, 2, 0
	}
	return nil, []byte{0x40}, 0, 0
}

func (g *wander) block() []byte {
	before, head, takes, gives := g.typed()
	return w.Cat(before, []byte{0x02}, head, g.drop(takes), g.nested(wanderLabel{gives}), g.values(gives), []byte{0x0b}, g.drop(gives))
}

// loop may go on at its end, always, sometimes or never.
func (g *wander) loop() []byte {
	before, head, takes, gives := g.typed()
	body := w.Cat(g.drop(takes), g.nested(wanderLabel{takes}))
	var end []byte
	switch g.IntN(5) {
	case 0:
		end = w.Cat(g.values(takes), []byte{0x0c, 0}) // and nothing follows
		if g.IntN(2) == 0 {
			end = append(end, g.values(gives)...)
		}
	case 1:
		end = g.values(gives)
	default:
		end = w.Cat(g.values(takes), g.condition(), []byte{0x0d, 0}, g.drop(takes), g.values(gives))
	}
	return w.Cat(before, []byte{0x03}, head, body, end, []byte{0x0b}, g.drop(gives))
}

func (g *wander) when() []byte {
	before, head, takes, gives := g.typed()
	arm := func() []byte { return w.Cat(g.drop(takes), g.nested(wanderLabel{gives}), g.values(gives)) }
	out := w.Cat(before, g.condition(), []byte{0x04}, head, arm())
	if takes != gives || g.IntN(2) == 0 {
		out = w.Cat(out, []byte{0x05}, arm())
	}
	return w.Cat(out, []byte{0x0b}, g.drop(gives))
}

// jump writes a br or br_if to any label, from so many blocks further in.
func (g *wander) jump(op byte, in int) []byte {
	n := g.IntN(len(g.labels))
	values := g.labels[len(g.labels)-1-n].values
	out := g.values(values)
	switch {
	case op == 0x0d && n == len(g.labels)-1:
		out = w.Cat(out, g.rarely())
	case op == 0x0d:
		out = w.Cat(out, g.condition())
	case n == len(g.labels)-1 && n > 0 && g.IntN(4) > 0:
		return []byte{0x01} // an unconditional jump out of the function would end it soon
	}
	out = w.Cat(out, []byte{op}, w.U32(uint32(n+in)))
	if op == 0x0d {
		return w.Cat(out, g.drop(values))
	}
	return out
}

// table writes a br_table to labels that take as many values, in a block, so that it may also go on.
func (g *wander) table() []byte {
	values := g.labels[g.IntN(len(g.labels))].values
	var targets [][]byte
	for n := range g.labels {
		ends := n == len(g.labels)-1 // the function
		if g.labels[len(g.labels)-1-n].values == values && g.IntN(3) > 0 && (!ends || g.IntN(4) == 0) {
			targets = append(targets, w.U32(uint32(n+1)))
		}
	}
	head, pop := []byte{0x40}, g.drop(values)
	switch values {
	case 1:
		head = []byte{0x7f}
	case 2:
		head = []byte{typeTwo}
	}
	targets = append(targets, w.U32(0))
	g.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
	index := w.Cat(chance(len(targets)))
	if g.IntN(3) == 0 {
		index = []byte{0x41, byte(g.IntN(len(targets) + 1))}
	}
	last := len(targets) - 1
	return w.Cat([]byte{0x02}, head, g.values(values), index, []byte{0x0e}, w.Vec(targets[:last]...), targets[last], []byte{0x0b}, pop)
}

// bounded is a loop of so many rounds, of a kind that compilers emit and the meter treats with care.
func (g *wander) bounded() []byte {
	c := byte(localRounds + g.IntN(2))
	body := g.work()
	if g.IntN(2) == 0 {
		body = g.nested(wanderLabel{0}) // which may have another with the same counter, and then never ends
	}
	return w.Cat([]byte{0x41}, w.S64(int64(1+g.IntN(200))), []byte{0x21, c, 0x03, 0x40}, body, []byte{0x20, c, 0x41, 1, 0x6b, 0x22, c, 0x0d, 0, 0x0b})
}

// dispatch is a loop around a table, as Go's compiler writes it: jumps say in a local where they want to go, mostly with a
// constant, and go to the head of the loop.
func (g *wander) dispatch() []byte {
	x := byte(localWhere + g.IntN(3))
	outside := g.labels
	defer func() { g.labels = outside }()
	n := 1 + g.IntN(4)
	set := func() []byte {
		if g.IntN(8) == 0 {
			return w.Cat(chance(n), []byte{0x21, x})
		}
		return w.Cat([]byte{0x41}, w.S64(int64(g.IntN(n+2)-1)), []byte{0x21, x})
	}
	var out []byte
	if g.IntN(2) == 0 {
		out = set()
	}
	out = w.Cat(out, []byte{0x03, 0x40})
	g.labels = append(slices.Clone(outside), wanderLabel{})
	cases := make([][]byte, n)
	for i := range cases {
		g.labels = append(g.labels, wanderLabel{})
		out, cases[i] = append(out, 0x02, 0x40), w.U32(uint32(i))
	}
	if g.IntN(3) == 0 {
		g.Shuffle(n, func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
	}
	if g.IntN(6) == 0 { // one way leads back to the head, or somewhere else
		cases[g.IntN(n)] = w.U32(uint32(n))
	}
	out = w.Cat(out, []byte{0x20, x, 0x0e}, w.Vec(cases[:n-1]...), cases[n-1])
	g.depth++
	for i := range n {
		g.labels = g.labels[:len(g.labels)-1]
		out = append(out, 0x0b)
		if g.IntN(3) > 0 {
			out = append(out, g.statements()...)
		}
		switch g.IntN(4) {
		case 0: // straight on
		case 1: // always back
			out = w.Cat(out, set(), []byte{0x0c, byte(n - 1 - i)})
		default:
			out = w.Cat(out, g.condition(), []byte{0x04, 0x40}, set(), []byte{0x0c, byte(n - i), 0x0b})
		}
	}
	g.depth--
	return append(out, 0x0b)
}

// call calls a later function as deep as this one, or any with one frame less.
func (g *wander) call() []byte {
	to := g.IntN(wanderFuncs)
	deep := []byte{0x20, localDeep, 0x41, 1, 0x6b}
	if to > g.fn && g.IntN(2) == 0 {
		return w.Cat([]byte{0x20, localDeep, 0x10}, w.U32(uint32(to)), g.drop(g.results(to)))
	}
	if g.IntN(3) > 0 {
		return w.Cat(deep, []byte{0x10}, w.U32(uint32(to)), g.drop(g.results(to)))
	}
	results := g.results(to)
	index := []byte{0x41, byte(to)}
	if g.IntN(2) == 0 { // any function of its type
		many := (wanderFuncs-1-results)/wanderResult + 1
		index = w.Cat(chance(many), []byte{0x41, wanderResult, 0x6c, 0x41, byte(results), 0x6a})
	}
	return w.Cat(deep, index, []byte{0x11, byte(results), 0}, g.drop(results))
}
