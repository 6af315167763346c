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
	before  bool  // the host is called when fuel has run out, before it is charged
	check   bool  // after it
}

// block is an open block of the function being planned.
type block struct {
	op     inspect.Op
	typ    inspect.BlockType
	number int32 // in the function
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
	landing int32  // of a flush; or the number of the block that is jumped to
	on      bool   // the host is called when fuel has run out
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
	editBack   // a jump back to a loop
	editCheck  // nothing but a check
	editHelp   // a helper is called instead
	editDirect // a br gets another label
	editJump   // a br_if may become an if around a br
	editLabel  // a label may have to count wrappers
	editTable  // so may those of a br_table
	editWrap   // the beginning of the wrapper of a counted loop
	editUnwrap // its end
	editFlush  // where a counted loop has been left
	editUnroll // a plain loop is written out
)

// plan decides, for one body, which regions there are and where they are charged.
type plan struct {
	regions   []region
	blocks    []block
	edits     []edit
	loops     []loop
	jumps     []jump
	owed      []int64      // at each landing: the most that the counter may hold there
	steps     []step       // what happens on the ways through the function
	labels    []tableLabel // of each br_table that leaves a loop, the first with their number
	cur       int32        // region that the next instruction belongs to
	live      bool         // the next instruction can be reached
	inner     int32        // innermost open loop, or -1
	lengths   bool         // a length is charged, which needs a local
	counts    bool         // a loop is counted, which needs a local
	helps     helper       // the helpers before it may be called
	outline   bool         // for each check
	plains    []plainLoop  // loops that are written out
	locals    uint32       // of the function, parameters included
	wasm      []byte
	sends     []send     // jumps that are known to lead on through a table
	table     []int32    // what the tables at the heads of loops lead to: numbers of blocks
	blockEnds []blockEnd // of each block, by its number
	arrivals  []int32    // how many ways lead to its end
	prev      prior      // the instruction before the present one
	prev2     prior      // and the one before that
	moved     uint32     // by how much the indices of defined functions move up
	instead   []uint32   // of each import: the function that is called in its place, or 0
	each      bool       // every instruction is charged where it stands; tests compare with that
}

// prior is an instruction that has been passed.
type prior struct {
	op    inspect.Op
	at    int
	index uint32
}

func (p *plan) reset() {
	*p = plan{
		regions: p.regions[:0], blocks: p.blocks[:0], edits: p.edits[:0],
		loops: p.loops[:0], jumps: p.jumps[:0], owed: p.owed[:0], labels: p.labels[:0], plains: p.plains[:0],
		steps: p.steps[:0], blockEnds: p.blockEnds[:0], arrivals: p.arrivals[:0], live: true, inner: -1, each: p.each, wasm: p.wasm, moved: p.moved, instead: p.instead, table: p.table[:0], sends: p.sends[:0],
	}
}

// start begins a region that is charged at the given offset.
func (p *plan) start(at int, parent int32, check bool) int32 {
	n := int32(len(p.regions))
	p.regions = append(p.regions, region{parent: parent, loop: p.inner, landing: -1, check: check})
	p.edits = append(p.edits, edit{at: at, end: at, kind: editCharge, region: n})
	p.step(stepCharge, n)
	return n
}

func (p *plan) step(kind stepKind, at int32) { p.steps = append(p.steps, step{kind: kind, at: at}) }

// room makes room for a check at an offset, and returns the number of its edit.
func (p *plan) room(at int) int32 {
	p.edits = append(p.edits, edit{at: at, end: at, kind: editCheck})
	return int32(len(p.edits) - 1)
}

// body plans the body b. first is the function index from which on indices move up.
func (p *plan) body(m *inspect.Module, b inspect.Body, first uint32) {
	p.reset()
	p.locals = b.Locals
	p.cur = p.start(b.Code, -1, p.each)
	p.blocks = append(p.blocks, block{op: inspect.OpBlock, number: p.number(), live: true, out: math.MaxInt, loop: -1, around: -1, landing: -1})
	walk := m.Instructions(b)
	for in := walk.Next(); in != nil; in = walk.Next() {
		p.instruction(in, first)
		p.prev2, p.prev = p.prev, prior{in.Op, in.Offset, in.Index}
	}
	p.payAhead()
	if !p.each {
		p.fold()
	}
	p.countLoops()
	p.rotate()
}

// blockEnd is what is known of the end of a block.
type blockEnd uint8

const (
	endsOpen   blockEnd = iota // it lies ahead
	endsClosed                 // it has been passed
	endsBehind                 // and rounds begin there
)

// number gives a block that is opened its number.
func (p *plan) number() int32 {
	p.blockEnds, p.arrivals = append(p.blockEnds, endsOpen), append(p.arrivals, 0)
	return int32(len(p.blockEnds) - 1)
}

// stop notes that control does not go on.
func (p *plan) stop() {
	if p.live {
		p.step(stepStop, 0)
	}
	p.live = false
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
		if label, known := p.leadsTo(in); known {
			in.Index = label
			p.edits = append(p.edits, edit{at: in.Offset, end: in.End, kind: editDirect, index: label})
		}
		p.branch(in)
		p.stop()
	case inspect.OpBrIf:
		p.branch(in)
		if p.live {
			p.cur = p.start(in.End, p.cur, false)
		}
	case inspect.OpBrTable:
		p.brTable(in)
		p.stop()
	case inspect.OpReturn:
		p.leaveFunction(in)
		p.ends(in)
		p.reach(0)
		p.stop()
	case inspect.OpUnreachable:
		p.leaveFunction(in)
		p.stop()
	case inspect.OpRefFunc:
		if in.Index >= first {
			p.edits = append(p.edits, edit{at: in.Offset + 1, end: in.End, kind: editFunc, index: in.Index + p.moved})
		}
	case inspect.OpCall:
		if in.Index >= first {
			p.call(in, int32(in.Index-first))
		} else {
			p.upToDate()
			if h := p.instead[in.Index]; h > 0 {
				p.edits = append(p.edits, edit{at: in.Offset + 1, end: in.End, kind: editFunc, index: h})
			}
		}
	case inspect.OpCallIndirect:
		p.call(in, callAny)
	default:
		if h, ok := helperOf(in.Op); ok && p.live {
			p.upToDate()
			p.helps = helpers
			p.edits = append(p.edits, edit{at: in.Offset, end: in.End, kind: editHelp, index: uint32(h)})
			p.step(stepPay, 0)
		} else if shift, priced := lengthPrice(in.Op); priced && p.live {
			p.upToDate()
			p.lengths = true
			p.edits = append(p.edits, edit{at: in.Offset, end: in.Offset, kind: editLength, shift: shift})
			p.step(stepPay, 0)
		}
	}
}

// upToDate notes that the global must hold what is left here.
func (p *plan) upToDate() {
	if p.live {
		p.blocks[len(p.blocks)-1].calls = true
	}
}

// call notes a call of a defined function, or through a table.
func (p *plan) call(in *inspect.Instruction, function int32) {
	before := int32(-1)
	if p.live {
		p.upToDate()
		before = p.room(in.Offset)
	}
	if function >= 0 {
		p.edits = append(p.edits, edit{at: in.Offset + 1, end: in.End, kind: editFunc, index: in.Index + p.moved})
	}
	if p.live {
		after := p.room(in.End)
		p.steps = append(p.steps, step{kind: stepCall, at: function, to: after, edit: before})
	}
}

func (p *plan) open(in *inspect.Instruction) {
	b := block{op: in.Op, typ: in.Block, number: p.number(), head: p.cur, live: p.live, out: math.MaxInt, loop: -1, around: p.inner, landing: -1}
	switch {
	case !p.live:
	case in.Op == inspect.OpLoop:
		p.openLoop(in, &b)
	case in.Op == inspect.OpIf:
		p.step(stepIf, b.number)
		p.cur = p.start(in.End, p.cur, false)
	}
	p.blocks = append(p.blocks, b)
}

func (p *plan) otherwise(in *inspect.Instruction) {
	b := &p.blocks[len(p.blocks)-1]
	b.op, b.then = inspect.OpElse, p.live
	if p.live = b.live; p.live {
		p.step(stepElse, b.number)
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
	} else if p.live && p.blocks[target].loop < 0 {
		p.step(stepJump, p.blocks[target].number)
	}
	b := &p.blocks[target]
	if p.live && b.loop < 0 {
		p.arrivals[b.number]++
	}
	switch {
	case in.Op == inspect.OpBrIf && p.live && target > 0 && b.loop < 0 && b.typ == emptyBlock && !p.each:
		p.edits = append(p.edits, edit{at: in.Offset, end: in.End, kind: editJump, index: in.Index, loop: p.inner, around: around, landing: b.number})
	case around != p.inner:
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
		if b := &p.blocks[target]; p.live && target > 0 && b.loop < 0 {
			p.arrivals[b.number]++
			p.step(stepJump, b.number)
		}
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

// ends notes an instruction that may end the function.
func (p *plan) ends(in *inspect.Instruction) {
	if p.live {
		edit := p.room(in.Offset)
		p.steps = append(p.steps, step{kind: stepReturn, edit: edit})
	}
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
	p.blockEnds[b.number] = endsClosed
	if p.live {
		p.arrivals[b.number]++
	}
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
	p.steps = append(p.steps, step{kind: stepEnd, at: b.number})
	switch b.op {
	case inspect.OpLoop:
		p.closeLoop(in, &b)
	case inspect.OpIf:
		p.steps[len(p.steps)-1].to = 1
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
