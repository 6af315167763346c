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
//	    br_if wrapper (counter > LoopQuantum)
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
	counted bool   // it charges a local
	depth   uint32 // counted loops around it, itself included
	cost    int64  // of all regions that stand in it, which a trap may leave unpaid
	plain   bool   // so far nothing but straight code, or that and a jump to the loop at its end
	edits   int    // how many edits there were before it
	form    plainLoop
	own     int32 // its region
	mixed   bool  // it takes values, or there are jumps to it from loops inside or through tables
	rotated bool  // it is checked where it is jumped to instead of at its head
}

// jump is a branch out of at least one loop.
type jump struct {
	loop    int32 // in which it stands
	around  int32 // that it leads to, or -1
	landing int32 // where it arrives
}

func (p *plan) openLoop(in *inspect.Instruction, b *block) {
	n := int32(len(p.loops))
	p.loops = append(p.loops, loop{parent: p.inner, plain: in.Block == emptyBlock, edits: len(p.edits), form: plainLoop{start: in.Offset, body: in.End}})
	p.inner = n
	p.edits = append(p.edits, edit{at: in.Offset, end: in.Offset, kind: editWrap, loop: n, head: in.End})
	p.cur = p.start(in.End, p.cur, true)
	b.own, b.loop, b.around, b.landing = p.cur, n, n, p.newLanding()
	p.loops[n].own, p.loops[n].mixed = p.cur, in.Block >= 0
	r := &p.regions[p.cur]
	r.cost, r.landing = weightSimple, b.landing
	b.calls = in.Block >= 0 // it may take values, which a wrapper could not bring back
}

func (p *plan) closeLoop(in *inspect.Instruction, b *block) {
	l := &p.loops[b.loop]
	l.counted = b.joined && !b.calls && !p.each
	p.inner = l.parent
	if !b.joined {
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
	p.flushes = append(p.flushes, false)
	return int32(len(p.flushes) - 1)
}

func (p *plan) flush(at int, landing int32) {
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
	}
	for _, j := range p.jumps {
		if p.counted(j.loop) && !p.counted(j.around) {
			p.flushes[j.landing] = true
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
