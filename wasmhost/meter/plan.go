package meter

import (
	"math"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/inspect"
)

// region is a set of instructions that is charged in one place, because they all execute exactly when the place does.
type region struct {
	cost    int64
	parent  int32 // the region it branches off from, which executes at least as often; -1 for the function
	loop    int32 // the loop it stands in, or -1
	landing int32 // of a loop head: the place where jumps from counted loops arrive, or -1
	calls   int   // calls and priced lengths in it
	check   bool  // the host is called when fuel has run out
	returns bool  // a call may have come back before it
}

// block is an open block of the function being planned.
type block struct {
	op     inspect.Op
	head   int32 // region in which it was entered
	own    int32 // region of a loop
	live   bool  // it can be entered at all
	then   bool  // the end of the first arm of an if with an else can be reached
	joined bool  // a branch leads to its label
	calls  bool  // something inside it leaves the function or charges for a length
	out    int   // outermost block that a branch from inside leads to

	loop    int32 // number of a loop, or -1
	around  int32 // loop that a jump to its label stays in: itself, or the one around it, or -1
	landing int32 // place after it where jumps from counted loops arrive, or -1
}

// edit is one change to a body: what stands from at to end is replaced.
type edit struct {
	at, end int
	kind    editKind
	region  int32  // of a charge
	index   uint32 // of a function, already moved; or a label
	shift   int    // of a length
	loop    int32  // of a wrapper, or the one in which a label stands
	around  int32  // loop that the label leads to
	head    int    // end of the first bytes of a wrapped loop
	landing int32  // of a flush
}

// tableLabel is a label of a br_table.
type tableLabel struct {
	index  uint32
	around int32
}

type editKind uint8

const (
	editCharge editKind = iota
	editFunc
	editLength
	editRise   // the function may end after a call
	editBack   // a jump back to a loop
	editCheck  // the host is called when fuel has run out
	editHelp   // a helper is called instead
	editLabel  // a label may have to count wrappers
	editTable  // so may those of a br_table
	editWrap   // the beginning of the wrapper of a counted loop
	editUnwrap // its end
	editFlush  // where a counted loop has been left
	editUnroll // a plain loop is written out
)

// plan decides, for one body, which regions there are and where they are charged.
type plan struct {
	regions []region
	blocks  []block
	edits   []edit
	loops   []loop
	jumps   []jump
	flushes []bool       // of each landing: the counter may be above zero there
	labels  []tableLabel // of each br_table that leaves a loop, the first with their number
	cur     int32        // region that the next instruction belongs to
	live    bool         // the next instruction can be reached
	inner   int32        // innermost open loop, or -1
	lengths bool         // a length is charged, which needs a local
	counts  bool         // a loop is counted, which needs a local
	helps   bool         // a helper is called
	calls   int          // calls and priced lengths so far
	rises   bool         // the host is called where the function ends after a call
	plains  []plainLoop  // loops that are written out
	locals  uint32       // of the function, parameters included
	prev    struct {     // the instruction before the present one
		op inspect.Op
		at int
	}
	each bool // every instruction is charged where it stands; tests compare with that
}

func (p *plan) reset() {
	*p = plan{
		regions: p.regions[:0], blocks: p.blocks[:0], edits: p.edits[:0],
		loops: p.loops[:0], jumps: p.jumps[:0], flushes: p.flushes[:0], labels: p.labels[:0], plains: p.plains[:0],
		live: true, inner: -1, each: p.each,
	}
}

// start begins a region that is charged at the given offset.
func (p *plan) start(at int, parent int32, check bool) int32 {
	n := int32(len(p.regions))
	p.regions = append(p.regions, region{parent: parent, loop: p.inner, landing: -1, check: check, returns: p.calls > 0})
	p.edits = append(p.edits, edit{at: at, end: at, kind: editCharge, region: n})
	return n
}

// body plans the body b. first is the function index from which on indices move up.
func (p *plan) body(m *inspect.Module, b inspect.Body, first uint32) {
	p.reset()
	p.locals = b.Locals
	p.cur = p.start(b.Code, -1, true)
	p.blocks = append(p.blocks, block{op: inspect.OpBlock, live: true, out: math.MaxInt, loop: -1, around: -1, landing: -1})
	walk := m.Instructions(b)
	for in := walk.Next(); in != nil; in = walk.Next() {
		p.instruction(in, first)
		p.prev.op, p.prev.at = in.Op, in.Offset
	}
	if !p.each {
		p.fold()
	}
	p.countLoops()
	p.placeChecks()
}

func (p *plan) instruction(in *inspect.Instruction, first uint32) {
	p.watch(in)
	if p.each && p.live && Weight(in.Op) > 0 && in.Op != inspect.OpLoop {
		p.cur = p.start(in.Offset, p.cur, false)
	}
	if p.live && in.Op != inspect.OpLoop { // a loop is paid for by its own region
		p.regions[p.cur].cost += Weight(in.Op)
	}
	switch in.Op {
	case inspect.OpBlock, inspect.OpLoop, inspect.OpIf:
		p.open(in)
	case inspect.OpElse:
		p.otherwise(in)
	case inspect.OpEnd:
		p.close(in)
	case inspect.OpBr:
		p.branch(in)
		p.live = false
	case inspect.OpBrIf:
		p.branch(in)
		if p.live {
			p.cur = p.start(in.End, p.cur, false)
		}
	case inspect.OpBrTable:
		p.brTable(in)
		p.live = false
	case inspect.OpReturn:
		p.leaveFunction(in)
		p.ends(in)
		p.reach(0)
		p.live = false
	case inspect.OpUnreachable:
		p.leaveFunction(in)
		p.live = false
	case inspect.OpCall, inspect.OpRefFunc:
		p.call(in, in.Op == inspect.OpCall)
		if in.Index >= first {
			p.edits = append(p.edits, edit{at: in.Offset + 1, end: in.End, kind: editFunc, index: in.Index + 1})
		}
	case inspect.OpCallIndirect:
		p.call(in, true)
	default:
		if h, ok := helperOf(in.Op); ok && p.live {
			p.call(in, true)
			p.helps = true
			p.edits = append(p.edits, edit{at: in.Offset, end: in.End, kind: editHelp, index: uint32(h)})
		} else if shift, priced := lengthPrice(in.Op); priced && p.live {
			p.call(in, true)
			p.lengths = true
			p.edits = append(p.edits, edit{at: in.Offset, end: in.Offset, kind: editLength, shift: shift})
		}
	}
}

// call notes that fuel must be up to date here.
func (p *plan) call(in *inspect.Instruction, is bool) {
	if !is || !p.live {
		return
	}
	p.blocks[len(p.blocks)-1].calls = true
	p.regions[p.cur].calls++
	if p.calls++; p.calls%manyCalls == 0 {
		p.edits = append(p.edits, edit{at: in.Offset, end: in.Offset, kind: editCheck})
	}
}

func (p *plan) open(in *inspect.Instruction) {
	b := block{op: in.Op, head: p.cur, live: p.live, out: math.MaxInt, loop: -1, around: p.inner, landing: -1}
	switch {
	case !p.live:
	case in.Op == inspect.OpLoop:
		p.openLoop(in, &b)
	case in.Op == inspect.OpIf:
		p.cur = p.start(in.End, p.cur, false)
	}
	p.blocks = append(p.blocks, b)
}

func (p *plan) otherwise(in *inspect.Instruction) {
	b := &p.blocks[len(p.blocks)-1]
	b.op, b.then = inspect.OpElse, p.live
	if p.live = b.live; p.live {
		p.cur = p.start(in.End, b.head, false)
	}
}

// branch notes the jump of a br or br_if.
func (p *plan) branch(in *inspect.Instruction) {
	target := p.target(in.Index)
	p.reach(target)
	p.back(in, target)
	around := p.blocks[target].around
	if around != p.inner {
		p.land(in, target)
	}
	if target == 0 {
		p.ends(in)
	}
	if around != p.inner {
		p.edits = append(p.edits, edit{at: in.Offset + 1, end: in.End, kind: editLabel, index: in.Index, loop: p.inner, around: around})
	}
}

func (p *plan) brTable(in *inspect.Instruction) {
	first := len(p.labels)
	p.labels = append(p.labels, tableLabel{index: uint32(len(in.Targets))})
	crosses, leaves, ends := false, false, false
	for i, label := range in.Targets {
		target := p.target(label)
		around := p.blocks[target].around
		p.labels = append(p.labels, tableLabel{label, around})
		ends = ends || target == 0
		p.back(in, target)
		if i > 0 && label == in.Targets[i-1] {
			continue
		}
		p.reach(target)
		if around == p.inner {
			continue
		}
		crosses = true
		if target > 0 || !leaves { // it is enough to pay once before the end of the function
			p.land(in, target)
			leaves = leaves || target == 0
		}
	}
	if ends {
		p.ends(in)
	}
	if !crosses {
		p.labels = p.labels[:first]
		return
	}
	p.edits = append(p.edits, edit{at: in.Offset + 1, end: in.End, kind: editTable, index: uint32(first), loop: p.inner})
}

// target is the number of the block that a label leads to. Labels beyond the function do not occur in what
// inspect.Parse accepts.
func (p *plan) target(label uint32) int { return max(0, len(p.blocks)-1-int(label)) }

// reach notes that control arrives at the label of a block.
func (p *plan) reach(target int) {
	if !p.live {
		return
	}
	p.blocks[target].joined = true
	top := &p.blocks[len(p.blocks)-1]
	top.out = min(top.out, target)
}

// close ends a block. When control can only leave it through its end, what follows runs as often as what came before
// it and goes on with the same region.
func (p *plan) close(in *inspect.Instruction) {
	last := len(p.blocks) - 1
	b := p.blocks[last]
	p.blocks = p.blocks[:last]
	if last == 0 {
		p.ends(in)
		return
	}
	outer := &p.blocks[last-1]
	outer.out = min(outer.out, b.out)
	outer.calls = outer.calls || b.calls
	if !b.live {
		p.live = false
		return
	}
	switch b.op {
	case inspect.OpLoop:
		p.closeLoop(in, &b)
	case inspect.OpIf:
		p.live = true
	case inspect.OpElse:
		p.live = p.live || b.then || b.joined
	default:
		p.live = p.live || b.joined
	}
	if b.landing >= 0 && b.op != inspect.OpLoop {
		p.flush(in.End, b.landing)
	}
	straight := !b.joined && (b.op == inspect.OpBlock || b.op == inspect.OpLoop)
	switch {
	case straight || !p.live:
	case b.out >= last:
		p.cur = b.head
	default:
		p.cur = p.start(in.End, b.head, false)
	}
}

// fold moves cheap regions to the ones that they branch off from. Later regions are visited first, so that what has
// been moved moves on.
func (p *plan) fold() {
	for i := len(p.regions) - 1; i > 0; i-- {
		r := &p.regions[i]
		if !r.check && r.cost <= FoldedCost {
			p.regions[r.parent].cost += r.cost
			r.cost = 0
		}
	}
}

// debt is the most that one pass through the function can charge between two checks.
func (p *plan) debt() int64 {
	var sum int64
	for _, r := range p.regions {
		sum += r.cost
	}
	if p.counts {
		sum += 2 * LoopQuantum // what one loop has left in the counter, and what the next one adds
	}
	return sum
}
