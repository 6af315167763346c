package meter

import "github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"

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
// values that live across the call are kept on the stack. The counter is paid where control leaves the outermost
// counted loop, so the global is up to date wherever the host can see it, except after a trap: a call that traps
// inside such a loop pays up to LoopQuantum units, and what the loop costs once, too little.
const LoopQuantum = 4096

// A loop whose only jump is the one at its end, and whose body is short, is written several times over, so that the
// comparison and the addition that each round costs are paid once in several:
//
//	loop                            ;; the wrapper, which pays; see LoopQuantum
//	  block block block block
//	    loop
//	      if (counter > LoopQuantum) br wrapper
//	      body, br_if 1st block unless it goes on
//	      body, br_if 2nd block unless it goes on
//	      body, br_if 3rd block unless it goes on
//	      counter += 4 * cost
//	      body, if it goes on br the loop
//	    end
//	    br out
//	  end counter += cost, br out
//	  …
//
// Where it is left, the rounds that have run are counted, so the price of a loop stays what it was.
const (
	unrollRounds = 4
	unrollBytes  = 64 // a longer body carries its own counting
	// A function may only have so many loops written out, and only so many locals, because the time that compiling
	// takes grows with the product of blocks and locals, and inspect has estimated that of the original.
	unrollLoops  = 16
	unrollLocals = 64
	// For the same reason only a function with few blocks gets more for its jumps.
	roomyBlocks = 512
)

// roomy tells whether the function may get more blocks.
func (p *plan) roomy() bool { return p.locals <= unrollLocals && len(p.blockEnds) <= roomyBlocks }

// emptyBlock is the type of a block that takes and gives nothing.
const emptyBlock inspect.BlockType = -64

// writesOut decides, at the end of a loop, whether it is written out.
func (p *plan) writesOut(in *inspect.Instruction, l *loop) bool {
	l.form.end = in.End
	return l.plain && l.counted && l.form.jump-l.form.body <= unrollBytes && len(p.plains) < unrollLoops && p.locals <= unrollLocals
}

// inverse gives the comparison that holds when another does not.
var inverse = map[inspect.Op]byte{
	0x46: 0x47, 0x47: 0x46, 0x48: 0x4e, 0x4e: 0x48, 0x49: 0x4f, 0x4f: 0x49, 0x4a: 0x4c, 0x4c: 0x4a, 0x4b: 0x4d, 0x4d: 0x4b,
	0x51: 0x52, 0x52: 0x51, 0x53: 0x59, 0x59: 0x53, 0x54: 0x5a, 0x5a: 0x54, 0x55: 0x57, 0x57: 0x55, 0x56: 0x58, 0x58: 0x56,
}

const opI32Eqz = 0x45

// writeOut puts a plain loop and its wrapper in the place of the original.
func (w *rewriter) writeOut(l *plainLoop) {
	const rounds = unrollRounds
	head := []byte{byte(inspect.OpLoop), typeEmpty}
	block := []byte{byte(inspect.OpBlock), typeEmpty}
	w.wrap(head)
	for range rounds {
		w.emit(block)
	}
	w.emit(head)
	w.leaveOverQuantum(rounds + 1)
	// All rounds but the last leave the loop when the condition does not hold, so its comparison is inverted. A
	// condition without an inverse (a comparison of floats, because of NaN, or no comparison at all) is negated.
	for round := uint32(1); round < rounds; round++ {
		w.emit(w.wasm[l.body:l.test])
		inverted, ok := inverse[l.testOp]
		switch {
		case l.testOp == opI32Eqz:
		case ok:
			w.emit([]byte{inverted})
		default:
			w.emit(w.wasm[l.test:l.jump], []byte{opI32Eqz})
		}
		w.code = appendU32(append(w.code, byte(inspect.OpBrIf)), round)
	}
	w.count(rounds * l.cost)
	w.emit(w.wasm[l.body:l.jump])
	w.jumpIf(0)
	w.emit([]byte{opEnd})
	for round := range int64(rounds) {
		if round > 0 {
			w.count(round * l.cost)
		}
		if round < rounds-1 {
			w.code = appendU32(append(w.code, byte(inspect.OpBr)), uint32(rounds-1-round))
		}
		w.emit([]byte{opEnd})
	}
	w.emit([]byte{opEnd})
}

// count adds to the counter.
func (w *rewriter) count(cost int64) {
	c := appendU32(append(w.code, byte(inspect.OpLocalGet)), w.counter)
	c = appendS64(append(c, byte(inspect.OpI64Const)), cost)
	w.code = appendU32(append(c, opI64Add, byte(inspect.OpLocalSet)), w.counter)
}

// brIf writes a br_if to a label.
func (w *rewriter) brIf(label uint32) {
	w.code = appendU32(append(w.code, byte(inspect.OpBrIf)), label)
}

// flush pays what the counter holds.
func (w *rewriter) flush() {
	c := appendU32(append(w.code, byte(inspect.OpGlobalGet)), w.fuel)
	c = appendU32(append(c, byte(inspect.OpLocalGet)), w.counter)
	c = appendU32(append(c, opI64Sub, byte(inspect.OpGlobalSet)), w.fuel)
	w.code = appendU32(append(c, byte(inspect.OpI64Const), 0, byte(inspect.OpLocalSet)), w.counter)
}

// jumpIf is a br_if, as an if around a br where that is faster: where several ways lead to a place, wazero puts a block of
// its own on the way of a br_if, and then compares into a register first.
func (w *rewriter) jumpIf(label uint32) {
	if w.plan.roomy() {
		w.emit([]byte{byte(inspect.OpIf), typeEmpty, byte(inspect.OpBr)})
		w.code = append(appendU32(w.code, label+1), byte(inspect.OpEnd))
	} else {
		w.brIf(label)
	}
}

// leaveOverQuantum jumps when the counter holds more than it should. The arm that goes on stands first, as in check.
func (w *rewriter) leaveOverQuantum(label uint32) {
	c := appendU32(append(w.code, byte(inspect.OpLocalGet)), w.counter)
	c = append(appendS64(append(c, byte(inspect.OpI64Const)), LoopQuantum), opI64LeS, byte(inspect.OpIf), typeEmpty)
	w.code = append(appendU32(append(c, byte(inspect.OpElse), byte(inspect.OpBr)), label+1), byte(inspect.OpEnd))
}

// overQuantum pushes whether the counter holds more than it should.
func (w *rewriter) overQuantum() []byte {
	c := appendU32(append(w.code, byte(inspect.OpLocalGet)), w.counter)
	return append(appendS64(append(c, byte(inspect.OpI64Const)), LoopQuantum), opI64GtS)
}

// wrap opens the loop around a counted loop, of which it is given the first bytes.
func (w *rewriter) wrap(head []byte) {
	w.code = append(w.code, head...)
	w.code = append(w.overQuantum(), byte(inspect.OpIf), typeEmpty)
	w.flush()
	w.check()
	w.code = append(w.code, byte(inspect.OpEnd))
}
