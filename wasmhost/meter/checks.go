package meter

import "github.com/genkit-wasm/genkit-wasm/wasmhost/inspect"

// Where the host is called, besides at the heads of loops and after the price of a length.
//
// Every chain of calls has to meet a check on its way down, or endless recursion would go without; and on its way up,
// or a million frames that each do much after their call would. What does not call anything and is cheap needs none of
// its own: whoever calls it has one.
const (
	// cheapCall is what a function without loops may cost on a way that meets no check.
	cheapCall = 256
	// cheapReturn is what a function may cost after calls without a check where it ends.
	cheapReturn = 64
	// manyCalls is how many calls may stand in a function between two checks.
	manyCalls = 128
)

// placeChecks moves the check of the function's entry to where calls are made, when there are ways without any, and
// decides whether there is one where the function ends.
func (p *plan) placeChecks() {
	var entry, after int64
	for _, r := range p.regions {
		entry += r.cost
		if r.returns {
			after += r.cost
		}
	}
	p.rises = after > cheapReturn
	p.rotate()
	if entry > cheapCall || p.regions[0].calls > 0 || len(p.loops) > 0 || p.each {
		return
	}
	p.regions[0].check = false
	for i := 1; i < len(p.regions); i++ {
		if r := &p.regions[i]; r.calls > 0 && !p.checked(r.parent) {
			r.check = true
		}
	}
}

// checked tells whether a region, or one that it branches off from, has a check.
func (p *plan) checked(n int32) bool {
	for ; n >= 0; n = p.regions[n].parent {
		if p.regions[n].check {
			return true
		}
	}
	return false
}

// ends notes an instruction that may end the function after a call.
func (p *plan) ends(in *inspect.Instruction) {
	if p.live && p.calls > 0 {
		p.edits = append(p.edits, edit{at: in.Offset, end: in.Offset, kind: editRise})
	}
}

// rotate moves the check of a loop from its head to the jumps back to it, where the way to its first round has met one:
// many loops that call something run for a round or two.
func (p *plan) rotate() {
	if p.each {
		return
	}
	for i := range p.loops {
		l := &p.loops[i]
		r := &p.regions[l.own]
		if l.rotated = r.check && !l.mixed && !p.counted(int32(i)) && p.checked(r.parent); l.rotated {
			r.check = false
		}
	}
}

// back notes a jump to a loop.
func (p *plan) back(in *inspect.Instruction, target int) {
	n := p.blocks[target].loop
	switch {
	case n < 0 || !p.live:
	case n == p.inner && in.Op == inspect.OpBrIf:
		p.edits = append(p.edits, edit{at: in.Offset, end: in.End, kind: editBack, index: in.Index, loop: n})
	case n == p.inner && in.Op == inspect.OpBr:
		p.edits = append(p.edits, edit{at: in.Offset, end: in.Offset, kind: editBack, loop: n})
	default:
		p.loops[n].mixed = true
	}
}

// back writes a jump to a loop, or what stands before it.
func (w *rewriter) back(e *edit) {
	rotated := w.plan.loops[e.loop].rotated
	switch {
	case e.at == e.end && rotated:
		w.check()
	case e.at == e.end:
	case rotated:
		w.emit([]byte{byte(inspect.OpIf), typeEmpty})
		w.check()
		w.code = append(appendU32(append(w.code, byte(inspect.OpBr)), e.index+1), opEnd)
	default:
		w.emit(w.wasm[e.at:e.end])
	}
}
