package meter

import "github.com/genkit-wasm/genkit-wasm/wasmhost/inspect"

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

// plainLoop is a loop that may be written out.
type plainLoop struct {
	start, body, test, jump, end int // offsets: of loop, after it, of the instruction before br_if, of br_if, after end
	testOp                       inspect.Op
	cost                         int64
}

// emptyBlock is the type of a block that takes and gives nothing.
const emptyBlock inspect.BlockType = -64

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
