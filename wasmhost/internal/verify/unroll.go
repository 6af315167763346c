package verify

import "github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"

// straight is the body of such a loop in the original.
type straight struct {
	start, test, jump int // where it begins, and its last instruction but one, and its jump
	testOp            inspect.Op
	work              int64
}

// straightLoop reads the rest of a loop of the original that may be written out.
func (b *body) straightLoop(in *inspect.Instruction, walk *inspect.Instructions) (s straight, ok bool) {
	s = straight{start: in.End, work: Weight(in.Op)}
	if in.Block != -64 {
		return s, false
	}
	for in = walk.Next(); in != nil; in = walk.Next() {
		s.work += Weight(in.Op)
		_, length := lengthShift(in.Op)
		switch in.Op {
		case inspect.OpBrIf:
			if in.Index != 0 || s.test == 0 {
				return s, false
			}
			s.jump = in.Offset
			in = walk.Next()
			return s, in != nil && in.Op == inspect.OpEnd
		case inspect.OpBlock, inspect.OpLoop, inspect.OpIf, inspect.OpElse, inspect.OpEnd, inspect.OpBr, inspect.OpBrTable, inspect.OpReturn,
			inspect.OpUnreachable, inspect.OpCall, inspect.OpCallIndirect, inspect.OpRefFunc, inspect.OpMemoryFill, inspect.OpMemoryCopy:
			return s, false
		case inspect.OpLocalGet, inspect.OpLocalSet, inspect.OpLocalTee:
			length = in.Index >= b.locals
		case inspect.OpGlobalGet, inspect.OpGlobalSet:
			length = in.Index >= b.fuel
		}
		if length {
			return s, false
		}
		s.test, s.testOp = in.Offset, in.Op
	}
	return s, false
}

// inverse gives the comparison of integers that holds when another does not.
func inverse(op inspect.Op) (byte, bool) {
	if op > 0xff {
		return 0, false
	}
	for _, pair := range [...][2]byte{ // eq ne, lt_s ge_s, lt_u ge_u, gt_s le_s, gt_u le_u; of i32 and of i64
		{0x46, 0x47},
		{0x48, 0x4e},
		{0x49, 0x4f},
		{0x4a, 0x4c},
		{0x4b, 0x4d},
		{0x51, 0x52},
		{0x53, 0x59},
		{0x54, 0x5a},
		{0x55, 0x57},
		{0x56, 0x58},
	} {
		switch byte(op) {
		case pair[0]:
			return pair[1], true
		case pair[1]:
			return pair[0], true
		}
	}
	return 0, false
}

// takeCount passes an addition to the counter and gives what is added.
func (b *body) takeCount() (int64, bool) {
	if !b.take(b.counterGet...) || !b.take(opConst) {
		return 0, false
	}
	n, ok := b.signed()
	return n, ok && n > 0 && n <= maxCharge && b.take(opAdd) && b.take(b.counterSet...)
}

// writtenOut compares a loop that is written out, behind the head of its wrapper.
func (b *body) writtenOut(in *inspect.Instruction, walk *inspect.Instructions, wrapper int) {
	s, ok := b.straightLoop(in, walk)
	if !ok {
		b.refuse("this loop can't be written out")
		return
	}
	loop := written{work: s.work}
	if !b.rounds(&s, &loop) || loop.most < b.frames[wrapper].most || !b.exits(&loop) || !b.take(opEnd) {
		b.refuse("a loop is not written out as it must be")
		return
	}
	b.frames = b.frames[:wrapper]
	b.emit(stepWritten, int32(len(b.writtens)), 0)
	b.writtens = append(b.writtens, loop)
}

// rounds passes the inner loop.
func (b *body) rounds(s *straight, loop *written) bool {
	for range writtenRounds {
		if !b.take(opBlock, empty) {
			return false
		}
	}
	ok := b.take(opLoop, empty)
	if !ok {
		return false
	}
	if loop.most, ok = b.over(opLessS); !ok || !b.take(opElse, opBr, writtenRounds+2, opEnd) {
		return false
	}
	for round := byte(1); round < writtenRounds; round++ {
		if !b.take(b.from[s.start:s.test]...) || !b.leaves(s) || !b.take(opBrIf, round) {
			return false
		}
	}
	n, ok := b.takeCount()
	loop.cost = n / writtenRounds
	return ok && n%writtenRounds == 0 && b.take(b.from[s.start:s.jump]...) && (b.take(opBrIf, 0) || b.take(opIf, empty, opBr, 1, opEnd)) && b.take(opEnd)
}

// leaves passes the test whether to leave the loop.
func (b *body) leaves(s *straight) bool {
	if s.testOp == 0x45 { // i32.eqz
		return true
	}
	if op, ok := inverse(s.testOp); ok {
		return b.take(op)
	}
	return b.take(b.from[s.test:s.jump]...) && b.take(0x45)
}

// exits passes what is counted where the rounds are left.
func (b *body) exits(loop *written) bool {
	for round := range int64(writtenRounds) {
		if round > 0 {
			if n, ok := b.takeCount(); !ok || n != round*loop.cost {
				return false
			}
		}
		if round < writtenRounds-1 && !b.take(opBr, byte(writtenRounds-1-round)) || !b.take(opEnd) {
			return false
		}
	}
	return true
}
