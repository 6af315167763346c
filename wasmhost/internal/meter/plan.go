package meter

import (
	"math"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// reset empties the plan for the next body. The slices keep their memory, and what holds for the whole module stays.
func (p *plan) reset() {
	*p = plan{
		regions: p.regions[:0], blocks: p.blocks[:0], edits: p.edits[:0],
		loops: p.loops[:0], jumps: p.jumps[:0], owed: p.owed[:0], crowded: p.crowded[:0], labels: p.labels[:0], plains: p.plains[:0],
		steps: p.steps[:0], blockEnds: p.blockEnds[:0], arrivals: p.arrivals[:0], live: true, inner: -1, each: p.each, wasm: p.wasm, moved: p.moved, instead: p.instead, table: p.table[:0], sends: p.sends[:0],
		functions: p.functions,
	}
}

// start begins a region that is charged at the given offset.
func (p *plan) start(at int, parent int32, check bool) int32 {
	n := int32(len(p.regions))
	p.regions = append(p.regions, region{parent: parent, fold: FoldedCost, loop: p.inner, landing: -1, check: check})
	p.edits = append(p.edits, edit{at: at, end: at, kind: editCharge, region: n})
	p.step(stepCharge, n)
	return n
}

// step appends what happens here to the steps that the checker walks over.
func (p *plan) step(kind stepKind, at int32) { p.steps = append(p.steps, step{kind: kind, at: at}) }

// room reserves a place for a check at an offset, and returns the number of its edit. The checker turns the edit on where
// a check is needed.
func (p *plan) room(at int) int32 {
	p.edits = append(p.edits, edit{at: at, end: at, kind: editCheck})
	return int32(len(p.edits) - 1)
}

// body plans body n of m. first is the function index from which on indices move up.
func (p *plan) body(m *inspect.Module, n int, first uint32) {
	b := m.Bodies[n]
	p.reset()
	p.locals, p.values = b.Locals, len(m.Types[m.Functions[n]].Results) > 0
	p.cur = p.start(b.Code, -1, p.each)
	p.blocks = append(p.blocks, block{op: inspect.OpBlock, number: p.number(), live: true, out: math.MaxInt, loop: -1, around: -1, landing: -1})
	walk := m.Instructions(b)
	for in := walk.Next(); in != nil; in = walk.Next() {
		p.instruction(in, first)
		p.prev2, p.prev = p.prev, prior{in.Op, in.Offset, in.Index}
	}
	// The order matters: paying ahead moves the cost of loop heads, folding and the costs of counted loops rest on it, and
	// only a loop that is not counted can be rotated.
	p.payAhead()
	if !p.each {
		p.fold()
	}
	p.countLoops()
	p.rotate()
}

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

// instruction adds one instruction to the plan. The cost is paid first, because the instruction belongs to the region that
// leads to it; then come the effects on control.
func (p *plan) instruction(in *inspect.Instruction, first uint32) {
	p.watch(in)
	// Tests compare the fuel of both ways of charging: this one gives each instruction a region of its own.
	if p.each && p.live && Weight(in.Op) > 0 && in.Op != inspect.OpLoop {
		p.cur = p.start(in.Offset, p.cur, false)
	}
	if p.live && in.Op != inspect.OpLoop { // a loop is paid for by its own region
		p.pay(in)
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
		if p.live { // where it does not jump, code runs less often than before it
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
		} else { // an import may look at the fuel
			p.upToDate()
			if h := p.instead[in.Index]; h > 0 {
				p.edits = append(p.edits, edit{at: in.Offset + 1, end: in.End, kind: editFunc, index: h})
			}
		}
	case inspect.OpCallIndirect:
		p.call(in, callAny)
	default:
		// Both a helper and a price for a length contain a check, so the steps record one.
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

// RegionUnits is the highest cost that one charge covers, but for aheadUnits more where jumps to a loop pay for its head.
const RegionUnits = 4096

// pay puts an instruction into the present region, or into a new one.
func (p *plan) pay(in *inspect.Instruction) {
	weight := Weight(in.Op)
	if p.weight += weight; weight > 0 {
		p.unpaid = 0
	}
	if p.regions[p.cur].cost+weight > RegionUnits {
		p.cur = p.start(in.Offset, p.cur, false)
	}
	p.regions[p.cur].cost += weight
}

// call notes a call of a defined function, or through a table (callAny). A place for a check is reserved on both sides of it;
// when the callee is known to pause, the region ends with the call.
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
		if function == callAny || p.functions[function].pauses() {
			p.pause(in.End)
		}
	}
}

// A pause is a call in which the host may be called to check, or which may come back from a deep recursion. Code that
// follows a pause is paid for where it is. If it were paid before, as much could be done without a check as had been paid
// for in all the frames of a recursion, whatever the charges say. Only what is cheap is charged before a pause that it
// follows: all that follows one in its function, and has been charged before, costs PrepaidUnits at the most.
const (
	PrepaidUnits = afterPause + afterBlocks*FoldedCost
	afterPause   = 32 // right behind it
	afterBlocks  = 4  // behind so many of the blocks around it, FoldedCost each
)

// pause ends the region of a call that is a pause.
func (p *plan) pause(at int) {
	p.blocks[len(p.blocks)-1].pauses = true
	if !p.each {
		p.cur = p.start(at, p.cur, false)
		p.regions[p.cur].fold = afterPause
	}
}

// open enters a block. Only a loop and an if begin regions: a plain block runs exactly when what stands before it does.
func (p *plan) open(in *inspect.Instruction) {
	b := block{
		op: in.Op, typ: in.Block, number: p.number(), head: p.cur, live: p.live, out: math.MaxInt,
		before: p.weight, begun: len(p.regions), loop: -1, around: p.inner, landing: -1,
	}
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

// otherwise begins the second arm of an if. Its region branches off from where the if was entered, not from the first arm.
func (p *plan) otherwise(in *inspect.Instruction) {
	b := &p.blocks[len(p.blocks)-1]
	b.op, b.then, b.unpaid = inspect.OpElse, p.live, p.unpaid
	if p.live = b.live; p.live {
		p.step(stepElse, b.number)
		p.cur = p.start(in.End, b.head, false)
	}
}

// branch notes the jump of a br or br_if. There are three kinds of targets: the head of a loop (back), the end of a block, and
// the end of the function (label 0 of blocks), where nothing follows that could still be charged. A jump out of counted
// loops passes their wrappers, so its label grows and the place where it arrives gets a flush.
func (p *plan) branch(in *inspect.Instruction) {
	target := p.target(in.Index)
	p.reach(target)
	p.back(in, target)
	around := p.blocks[target].around
	if target == 0 && in.Op == inspect.OpBrIf && p.inner >= 0 && p.live {
		p.leaveIf(in)
		return
	}
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

// brTable notes a jump through a table. All its labels are kept when one of them leaves a loop, because their numbers then
// depend on which loops turn out to be counted. Equal neighbours are looked at once: tables may be long.
func (p *plan) brTable(in *inspect.Instruction) {
	first := len(p.labels)
	p.labels = append(p.labels, tableLabel{index: uint32(len(in.Targets))})
	crosses, ends := false, false
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
		if target > 0 {
			p.land(in, target)
		}
	}
	if ends {
		p.upToDate() // it can't be known whether it leaves the loops around it, so none of them is counted
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

// reach notes that control arrives at the label of a block.
func (p *plan) reach(target int) {
	if !p.live {
		return
	}
	p.blocks[target].joined = true
	top := &p.blocks[len(p.blocks)-1]
	top.out = min(top.out, target)
}

// insideUnits is the weight up to which a block lies within a region that goes on after it. Code that follows the
// blocks around a check has been charged before it, and costs no more than that and what one region covers.
const insideUnits = 1024

// CreditUnits is the most that may have been paid for, and not be done, when the host is called, in the frame that calls it;
// in every frame below there are no more than [PrepaidUnits].
const CreditUnits = RegionUnits + aheadUnits + insideUnits

// long tells whether a block that ends here has regions of its own and so much in it that what follows it is not
// charged before it.
func (p *plan) long(b *block) bool {
	return len(p.regions) > b.begun && p.weight-b.before > insideUnits
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
	outer.calls, outer.pauses = outer.calls || b.calls, outer.pauses || b.pauses
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
		p.unpaid = max(p.unpaid, b.unpaid)
	default:
		p.live = p.live || b.joined
	}
	if b.landing >= 0 && b.op != inspect.OpLoop {
		p.arrive(in.End, b.landing)
	}
	long := p.long(&b)
	// Which region does what follows belong to? After a straight block, the present one goes on. When all jumps inside stay
	// inside (b.out), what follows runs exactly when the block was entered and is charged there, in b.head. Otherwise it
	// may run less often and needs a region of its own.
	straight := !b.joined && (b.op == inspect.OpBlock || b.op == inspect.OpLoop)
	switch {
	case straight || !p.live:
	case b.out >= last && !b.pauses && !long:
		p.cur = b.head
	default:
		p.cur = p.start(in.End, b.head, false)
		if b.pauses && last > afterBlocks || long {
			p.regions[p.cur].fold = 0
		}
	}
}

// fold moves cheap regions to the ones that they branch off from. Later regions are visited first, so that what has
// been moved moves on.
func (p *plan) fold() {
	for i := len(p.regions) - 1; i > 0; i-- {
		r := &p.regions[i]
		if !r.check && r.cost <= r.fold && p.regions[r.parent].cost+r.cost <= RegionUnits {
			p.regions[r.parent].cost += r.cost
			r.cost = 0
		}
	}
}

// openLoop enters a loop. Its region is charged at the head and checks there, until rotate moves the check; the edit for the
// wrapper stands before the loop and does nothing unless the loop is counted.
func (p *plan) openLoop(in *inspect.Instruction, b *block) {
	n := int32(len(p.loops))
	p.loops = append(p.loops, loop{parent: p.inner, number: b.number, plain: in.Block == emptyBlock, edits: len(p.edits), form: plainLoop{start: in.Offset, body: in.End}})
	p.inner = n
	p.edits = append(p.edits, edit{at: in.Offset, end: in.Offset, kind: editWrap, loop: n, head: in.End})
	p.step(stepLoop, n)
	p.cur = p.start(in.End, p.cur, true)
	b.own, b.loop, b.around, b.landing = p.cur, n, n, p.newLanding()
	p.loops[n].own, p.loops[n].mixed = p.cur, in.Block >= 0
	if in.Block >= 0 {
		p.loops[n].begins = beginsOther // the values that it takes lie below the blocks in it
	}
	r := &p.regions[p.cur]
	r.cost, r.landing = weightSimple, b.landing
	b.calls = in.Block >= 0 // it may take values, which a wrapper could not bring back
}
