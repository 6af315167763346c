package meter

import (
	"slices"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/inspect"
)

// LoopQuantum is how many units a loop that makes no calls may run up in a local before it pays them.
//
// Such a loop is wrapped in another one, so that what is rare stands outside of it:
//
//	loop                          ;; the wrapper
//	  if (counter > LoopQuantum)  ;; pay, and call the host when fuel has run out
//	  loop                        ;; the original
//	    if (counter > LoopQuantum) br wrapper
//	    counter += cost
//	    …
//
// A loop then costs an addition and a comparison of registers for each round. Charging the global there, with the call
// in the loop, was up to 2.5 times slower: the memory that holds the global is read and written in each round, and the
// values that live across the call are kept on the stack. What the counter holds is paid where control leaves the
// outermost counted loop, so the global is up to date wherever the host can see it, except after a trap: a call that
// traps inside such a loop pays up to LoopQuantum units, and what the loop costs once, too little.
const LoopQuantum = 4096

// loop is one loop of the function being planned that can be entered.
type loop struct {
	parent  int32  // the loop around it, or -1
	number  int32  // of its block
	counted bool   // it charges a local
	depth   uint32 // counted loops around it, itself included
	cost    int64  // of all regions that stand in it, which a trap may leave unpaid
	plain   bool   // so far nothing but straight code, or that and a jump to the loop at its end
	edits   int    // how many edits there were before it
	form    plainLoop
	own     int32 // its region
	mixed   bool  // it takes values, or there are jumps to it from loops inside or through tables
	rotated bool  // it is checked where it is jumped to instead of at its head
	backs   int   // jumps to it that begin another round
	heads   int   // those among them of which it is not known where its table sends them
	begin   int32 // its step
	most    int64 // what it and those around it may have run up in the counter

	// A loop that begins with a jump through a table.
	begins beginning
	local  uint32 // that is looked up
	table  int    // where in plan.table the numbers of the blocks begin that it leads to
	tables int    // how many those are
}

// jump is a branch out of at least one loop.
type jump struct {
	loop    int32 // in which it stands
	around  int32 // that it leads to, or -1
	landing int32 // where it arrives
}

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
	after := p.newLanding()
	p.jumps = append(p.jumps, jump{loop: b.loop, around: l.parent, landing: after})
	p.flush(in.End, after)
}

func (p *plan) newLanding() int32 {
	p.owed = append(p.owed, 0)
	return int32(len(p.owed) - 1)
}

func (p *plan) flush(at int, landing int32) {
	p.steps = append(p.steps, step{kind: stepFlush, at: landing, edit: int32(len(p.edits))})
	p.edits = append(p.edits, edit{at: at, end: at, kind: editFlush, landing: landing})
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

// leaveFunction pays before an instruction that ends the function.
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
		default:
			l.most = LoopQuantum + l.cost + unrollRounds*unrollBytes
		}
	}
	for _, j := range p.jumps {
		if p.counted(j.loop) && !p.counted(j.around) {
			p.owed[j.landing] = max(p.owed[j.landing], p.loops[j.loop].most)
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

// counted tells whether code in a loop charges the counter.
func (p *plan) counted(loop int32) bool {
	return loop >= 0 && p.loops[loop].depth > 0
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

// send is a jump whose way through the table at the head of a loop is known.
type send struct{ loop, region int32 }

// payAhead lets those who come to a loop that begins with a jump through a table pay for its head, where all of them are
// known, so that nothing is charged there.
func (p *plan) payAhead() {
	paid := func(n int32) bool {
		l := &p.loops[n]
		return l.begins == beginsTable && l.heads == 0 && !p.each
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

// beginning is how much of a jump through a table has been seen at the head of a loop.
type beginning uint8

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
	if !p.live || p.each || n < 0 || n != p.inner {
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
