package meter

import (
	"slices"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

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
	editLeave  // a br_if to the function's label, out of a loop
	editUnroll // a plain loop is written out
)

// closeLoop leaves a loop: it is a candidate for counting when it is jumped back to and nothing in it lets the host see the
// fuel. A loop that nothing jumps back to is a block, and needs no check.
func (p *plan) closeLoop(in *inspect.Instruction, b *block) {
	l := &p.loops[b.loop]
	l.counted = l.backs > 0 && !b.calls && !p.each
	p.inner = l.parent
	if l.backs == 0 {
		p.regions[b.own].check = false
	}
	if p.writesOut(in, l) {
		p.edits = append(p.edits[:l.edits], edit{at: l.form.start, end: in.End, kind: editUnroll, region: b.own, index: uint32(len(p.plains))})
		p.plains = append(p.plains, l.form)
	} else {
		p.edits = append(p.edits, edit{at: in.End, end: in.End, kind: editUnwrap, loop: b.loop})
	}
	if p.live {
		after := p.newLanding()
		p.jumps = append(p.jumps, jump{loop: b.loop, around: l.parent, landing: after})
		p.arrive(in.End, after)
	}
}

// newLanding makes a landing that owes nothing yet; countLoops finds out what it owes.
func (p *plan) newLanding() int32 {
	p.owed = append(p.owed, 0)
	return int32(len(p.owed) - 1)
}

// flush reserves the place for a flush at an offset. It writes nothing where the landing owes nothing.
func (p *plan) flush(at int, landing int32) {
	p.steps = append(p.steps, step{kind: stepFlush, at: landing, edit: int32(len(p.edits))})
	p.edits = append(p.edits, edit{at: at, end: at, kind: editFlush, landing: landing})
}

// maxUnpaid is how many flushes may follow each other without an instruction that is paid for between. One jump out of a
// loop can pass through all those behind the ends of the blocks around it.
const maxUnpaid = 8

// arrive flushes where control may come from counted loops. Where there are too many such places in a row, it has the loops
// not counted instead.
func (p *plan) arrive(at int, landing int32) {
	if p.unpaid++; p.unpaid > maxUnpaid {
		p.crowded = append(p.crowded, landing)
		return
	}
	p.flush(at, landing)
}

// land notes where a jump out of a loop arrives. The end of the function is not followed by anything, so the counter
// is paid before a jump there.
func (p *plan) land(in *inspect.Instruction, target int) {
	if !p.live {
		return
	}
	if target == 0 {
		p.leaveFunction(in)
		return
	}
	b := &p.blocks[target]
	if b.landing < 0 {
		b.landing = p.newLanding()
	}
	p.jumps = append(p.jumps, jump{loop: p.inner, around: b.around, landing: b.landing})
}

// maxLeaves is how many br_ifs that leave counted loops become ifs; see roomyBlocks.
const maxLeaves = 256

// leaveIf notes a br_if out of a loop to the function's label. The counter is paid where the jump is made, in an if
// around it. If it were paid in every round, it would never fill up, and the loop would never call the host. An if can't
// take the results of the function along; then the loops around it are not counted.
func (p *plan) leaveIf(in *inspect.Instruction) {
	if p.leaves++; p.values || p.leaves > maxLeaves {
		p.upToDate()
	}
	landing := p.newLanding()
	p.jumps = append(p.jumps, jump{loop: p.inner, around: -1, landing: landing})
	p.steps = append(p.steps, step{kind: stepLeave, at: landing, edit: int32(len(p.edits))})
	p.edits = append(p.edits, edit{at: in.Offset, end: in.End, kind: editLeave, index: in.Index, loop: p.inner, around: -1, landing: landing})
}

// leaveIf writes a br_if out of a loop to the function's label.
func (w *rewriter) leaveIf(e *edit) {
	label := e.index + w.plan.wrappers(e.loop, e.around)
	if w.plan.owed[e.landing] == 0 {
		if e.on {
			w.check()
		}
		w.brIf(label)
		return
	}
	w.emit([]byte{byte(inspect.OpIf), typeEmpty})
	w.flush()
	if e.on {
		w.check()
	}
	w.code = append(appendU32(append(w.code, byte(inspect.OpBr)), label+1), opEnd)
}

// leaveFunction pays before an instruction that ends the function, and does nothing else.
func (p *plan) leaveFunction(in *inspect.Instruction) {
	if !p.live || p.inner < 0 {
		return
	}
	landing := p.newLanding()
	p.jumps = append(p.jumps, jump{loop: p.inner, around: -1, landing: landing})
	p.flush(in.Offset, landing)
}

// countLoops decides which loops are counted and where their counter is paid.
func (p *plan) countLoops() {
	for _, r := range p.regions {
		if r.loop >= 0 {
			p.loops[r.loop].cost += r.cost
		}
	}
	for _, v := range slices.Backward(p.loops) {
		if l := v; l.parent >= 0 {
			p.loops[l.parent].cost += l.cost
		}
	}
	p.uncount()
	// Parents come before their children here, so a parent's depth and most are known.
	for i := range p.loops {
		l := &p.loops[i]
		l.counted = l.counted && l.cost <= LoopQuantum
		p.counts = p.counts || l.counted
		if l.parent >= 0 {
			l.depth = p.loops[l.parent].depth
		}
		if l.counted {
			l.depth++
		}
		switch {
		case l.depth == 0:
		case p.counted(l.parent):
			l.most = p.loops[l.parent].most
		default: // the guard lets a round begin at LoopQuantum, and an unrolled body counts its rounds late
			l.most = LoopQuantum + l.cost + unrollRounds*unrollBytes
		}
	}
	for _, j := range p.jumps {
		if p.counted(j.loop) && !p.counted(j.around) {
			p.owed[j.landing] = max(p.owed[j.landing], p.loops[j.loop].most)
		}
	}
}

// uncount has those loops not counted of which jumps arrive where nothing is flushed.
func (p *plan) uncount() {
	if len(p.crowded) == 0 {
		return
	}
	crowded := make([]bool, len(p.owed))
	for _, landing := range p.crowded {
		crowded[landing] = true
	}
	out := make([]int32, len(p.loops)) // of each loop: the outermost that such jumps lead to, or itself
	for n := range out {
		out[n] = int32(n)
	}
	for _, j := range p.jumps {
		if crowded[j.landing] {
			out[j.loop] = min(out[j.loop], j.around)
		}
	}
	for n := len(out) - 1; n >= 0; n-- { // loops come after those around them
		if l := &p.loops[n]; out[n] < int32(n) {
			l.counted = false
			if l.parent > out[n] {
				out[l.parent] = min(out[l.parent], out[n])
			}
		}
	}
}

// wrappers is how many counted loops a jump from one loop to another around it leaves.
func (p *plan) wrappers(from, to int32) uint32 {
	n := p.loops[from].depth
	if to >= 0 {
		n -= p.loops[to].depth
	}
	return n
}

// rotate moves the check of a loop that is not counted from its head to the jumps back to it.
func (p *plan) rotate() {
	for i := range p.loops {
		l := &p.loops[i]
		if r := &p.regions[l.own]; r.check && !l.mixed && l.depth == 0 && !p.each {
			l.rotated, r.check = true, false
		}
	}
}

// back notes a jump to a loop.
func (p *plan) back(in *inspect.Instruction, target int) {
	n := p.blocks[target].loop
	if n < 0 || !p.live {
		return
	}
	l := &p.loops[n]
	s := step{kind: stepBack, at: n, to: -1, edit: int32(len(p.edits))}
	switch {
	case n == p.inner && in.Op == inspect.OpBrIf:
		p.edits = append(p.edits, edit{at: in.Offset, end: in.End, kind: editBack, index: in.Index, loop: n})
	case n == p.inner && in.Op == inspect.OpBr:
		if s.to = p.sentTo(n); s.to >= 0 {
			p.sends = append(p.sends, send{n, p.cur})
		}
		p.edits = append(p.edits, edit{at: in.Offset, end: in.Offset, kind: editBack, loop: n})
	default:
		l.mixed = true
	}
	if l.backs++; s.to >= 0 {
		p.blockEnds[s.to] = endsBehind
	} else {
		l.heads++
	}
	p.steps = append(p.steps, s)
}

// back writes a jump to a loop, or what stands before it.
func (w *rewriter) back(e *edit) {
	switch {
	case e.at == e.end && e.on:
		w.check()
	case e.at == e.end:
	case e.on:
		w.emit([]byte{byte(inspect.OpIf), typeEmpty})
		w.check()
		w.code = append(appendU32(append(w.code, byte(inspect.OpBr)), e.index+1), opEnd)
	case w.plan.loops[e.loop].mixed: // it may take values
		w.emit(w.wasm[e.at:e.end])
	default:
		w.jumpIf(e.index)
	}
}

// aheadUnits is the highest cost of a loop's head that the jumps to it pay for.
const aheadUnits = 1024

// payAhead charges the head of a loop that begins with a jump through a table in the places that jump to the loop, when
// all of these are known, so that nothing is charged in the head itself.
func (p *plan) payAhead() {
	paid := func(n int32) bool {
		l := &p.loops[n]
		return l.begins == beginsTable && l.backs > 0 && l.heads == 0 && p.regions[l.own].cost <= aheadUnits && !p.each
	}
	for _, s := range p.sends {
		if l := &p.loops[s.loop]; s.region == l.own {
			l.heads++ // the head would pay for itself
		}
	}
	for _, s := range p.sends {
		if paid(s.loop) {
			p.regions[s.region].cost += p.regions[p.loops[s.loop].own].cost
		}
	}
	for i := range p.loops {
		if paid(int32(i)) {
			own := &p.regions[p.loops[i].own]
			p.regions[own.parent].cost += own.cost
			own.cost = 0
		}
	}
}

const (
	beginsOpen  beginning = iota // nothing but blocks
	beginsLocal                  // and a local
	beginsOther                  // something else
	beginsTable
)

// begin looks for a jump through a table at the head of a loop.
func (p *plan) begin(l *loop, in *inspect.Instruction) {
	switch {
	case l.begins >= beginsOther:
	case l.begins == beginsOpen && in.Op == inspect.OpBlock:
	case l.begins == beginsOpen && in.Op == inspect.OpLocalGet:
		l.begins, l.local = beginsLocal, in.Index
	case l.begins == beginsLocal && in.Op == inspect.OpBrTable:
		l.begins, l.table, l.tables = beginsTable, len(p.table), len(in.Targets)
		for _, label := range in.Targets {
			p.table = append(p.table, p.blocks[p.target(label)].number)
		}
	default:
		l.begins = beginsOther
	}
}

// sentTo tells, of a jump to loop n, in which it stands, to the end of which block inside the loop its table sends it; -1 when
// that is not known.
func (p *plan) sentTo(n int32) int32 {
	l := &p.loops[n]
	if l.begins != beginsTable || p.prev.op != inspect.OpLocalSet || p.prev.index != l.local || p.prev2.op != inspect.OpI32Const {
		return -1
	}
	k := min(int64(uint32(readS32(p.wasm[p.prev2.at+1:]))), int64(l.tables-1))
	if number := p.table[l.table+int(k)]; number > l.number {
		return number
	}
	return -1
}

// leadsTo returns, of a jump that would come over a loop's table to the end of a block around it, the label of that block.
func (p *plan) leadsTo(in *inspect.Instruction) (label uint32, known bool) {
	target := p.target(in.Index)
	n := p.blocks[target].loop
	if !p.live || n < 0 || n != p.inner {
		return 0, false
	}
	number := p.sentTo(n)
	for i := len(p.blocks) - 1; i > target; i-- {
		if p.blocks[i].number == number {
			return uint32(len(p.blocks) - 1 - i), true
		}
	}
	return 0, false
}

// target is the number of the block that a label leads to. Labels beyond the function do not occur in what
// inspect.Parse accepts.
func (p *plan) target(label uint32) int { return max(0, len(p.blocks)-1-int(label)) }

// upToDate notes that the host can read the fuel here, so the global must hold all that is left of it. No loop around this
// place can be counted.
func (p *plan) upToDate() {
	if p.live {
		p.blocks[len(p.blocks)-1].calls = true
	}
}

// readS32 reads a signed LEB128 number that inspect.Parse has read before.
func readS32(src []byte) int32 {
	var v int64
	for i, b := range src {
		v |= int64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if b&0x40 != 0 {
				v |= -1 << (7 * (i + 1))
			}
			break
		}
	}
	return int32(v)
}

// watch looks for plain loops.
func (p *plan) watch(in *inspect.Instruction) {
	if p.inner < 0 {
		return
	}
	l := &p.loops[p.inner]
	p.begin(l, in)
	switch in.Op {
	case inspect.OpBrIf:
		if l.plain = l.plain && in.Index == 0 && l.form.jump == 0 && p.prev.at >= l.form.body; l.plain {
			l.form.test, l.form.testOp, l.form.jump = p.prev.at, p.prev.op, in.Offset
		}
	case inspect.OpEnd:
		l.plain = l.plain && l.form.jump > 0 && p.prev.at == l.form.jump
	case inspect.OpBlock, inspect.OpLoop, inspect.OpIf, inspect.OpElse, inspect.OpBr, inspect.OpBrTable, inspect.OpReturn, inspect.OpUnreachable,
		inspect.OpRefFunc: // whose index moves
		l.plain = false
	}
}
