package verify

import (
	"fmt"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// The types of this file refer to each other; the other files hold their methods.

// body compares the code of one function, instruction by instruction, and notes what happens on the ways through it.
type body struct {
	*checker
	function int
	fault    string

	at, end     int    // in the rewritten module
	locals      uint32 // of the original, parameters included
	counterGet  []byte // local.get of the counter; nil when the function has none
	counterSet  []byte
	lengthGet   []byte // the same of the local for a length
	frames      []frame
	blocks      []int // of the original's open blocks: the frame
	live        bool  // the next instruction can be reached
	work        int64 // since the last step
	began       bool  // a loop has begun
	steps       []step
	labels      []label
	prev, prev2 prior
	head        head
	targets     []int32 // labels that the tables at the heads of loops lead to
	writtens    []written

	flow flow
}

// frame is an open block of the rewritten code.
type frame struct {
	op      inspect.Op
	wrapper bool  // it is the meter's
	most    int64 // of a wrapper: what its head lets the counter hold
	label   int32 // its number in the function
	live    bool  // it can be entered
	then    bool  // of an else: the end of the first arm can be reached
	joined  bool  // a jump leads to its end

	// Of a loop that begins with a jump through a table.
	table, tables int    // in body.targets
	local         uint32 // that is looked up
	from, to      int    // the steps of the head
}

// head is how much of a jump through a table has been seen at the head of a loop.
type head struct {
	loop  int // frame, or -1
	seen  bool
	local uint32
}

// label holds the facts about a label besides the state that flows there.
type label struct {
	closed bool // its block has ended
	backs  bool // there are jumps back to it
	counts bool // it is that of a counted loop, or of its wrapper
}

// prior is an instruction of the original that has been passed.
type prior struct {
	op         inspect.Op
	start, end int
	index      uint32
}

// flow follows the ways through one function, until what it has assumed at the heads of loops holds.
type flow struct {
	cur, fork state
	ahead     []state // of each label: what jumps forward to it
	back      []state // the assumed state of jumps back to it
	found     []state // the actual state of those jumps
	ifs       []state // the state at its condition
	self      summary
	most      int64
	fault     string
	pos       int32
}

// state holds bounds for one place in the code. The first four are the most work done since an event, less the counter's
// present value, over the ways on which that event was the last of the four.
type state struct {
	entry  int64 // the function was entered
	check  int64 // there was a check
	up     int64 // a hub returned that had had a check: deep chains come up this way
	table  int64 // a call through a table returned
	credit int64 // the least that was charged and not yet done
	count  int64 // the most that the counter holds
	dry    int64 // the most flushes and checks in a row, with no work between
	live   bool
}

// step is something that happens on the ways through a function, in the order of its code.
type step struct {
	kind stepKind
	at   int32 // a label, a function, a written-out loop
	pos  int32 // in the rewritten module
	n    int64
}

type stepKind uint8

// words is where the globals are that keep words.
type words struct {
	reads, writes bool
	base          uint32 // offset of what was read ahead, its length in bytes, the words
	next          uint32 // offset after what waits, its length in words, the words
	write         uint32 // the import that stores one word
	types         []uint32
}

// shapes are the bytes that don't depend on the function.
type shapes struct {
	fuelGet, fuelSet []byte
	check            []byte // where it stands
	checkCall        []byte // nil when the module has no such helper
}

// written is a loop that is written out.
type written struct {
	cost, work, most int64 // charged for a round, done in it, and what the guard lets through
}

// checker is the state of one Check. Its first error sticks.
type checker struct {
	old, new *inspect.Module
	from, to []byte // their bytes
	claim    Claim
	err      *Failure
	report   Report

	imports uint32 // of the original; the first of the meter's follows them
	moved   uint32 // by how much indices of defined functions move up
	yield   uint32 // the function that ends a slice
	fuel    uint32 // index of the global
	extra   uint32 // index of the first function after the original's
	words   words
	instead []uint32 // of each import: the function that replaces it, or 0
	check   uint32   // the helpers; 0 where the module has none
	fill    uint32
	copies  uint32

	shapes    shapes
	summaries []summary // of each defined function
	body      body
}

// fail refuses the module, unless it is refused already.
func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = &Failure{Func: -1, Offset: -1, Reason: fmt.Sprintf(format, args...)}
	}
}

// want refuses the module unless a condition holds.
func (c *checker) want(holds bool, format string, args ...any) {
	if !holds {
		c.fail(format, args...)
	}
}

func newChecker(original, rewritten *inspect.Module, claim Claim) *checker {
	c := &checker{old: original, new: rewritten, from: original.Bytes(), to: rewritten.Bytes(), claim: claim}
	c.imports = uint32(len(c.old.Imports))
	c.moved = 1
	c.yield = c.imports
	c.fuel = uint32(len(c.old.Globals))
	c.instead = make([]uint32, c.imports)
	c.summaries = make([]summary, len(c.old.Functions))
	return c
}
