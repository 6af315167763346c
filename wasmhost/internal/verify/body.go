package verify

import (
	"bytes"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// align compares the n-th defined function and leaves its steps.
func (b *body) align(n int) {
	old, now := b.old.Bodies[n], b.new.Bodies[n]
	*b = body{
		checker: b.checker, function: n, at: now.Code, end: now.End, live: true, head: head{loop: -1},
		frames: b.frames[:0], blocks: b.blocks[:0], steps: b.steps[:0], labels: b.labels[:0], targets: b.targets[:0], writtens: b.writtens[:0], flow: b.flow,
	}
	b.locals = old.Locals + uint32(len(b.old.Types[b.old.Functions[n]].Params))
	if !b.declarations(b.from[old.Start:old.Code], b.to[now.Start:now.Code]) {
		b.refuse("the locals were changed")
		return
	}
	b.open(inspect.OpBlock, false)
	walk := b.old.Instructions(old)
	for in := walk.Next(); in != nil && b.fault == ""; in = walk.Next() {
		if len(b.frames) == 0 {
			b.refuse("code after the end")
			return
		}
		b.instruction(in, walk)
		b.prev2, b.prev = b.prev, prior{in.Op, in.Offset, in.End, in.Index}
	}
	if b.fault == "" && (b.at != b.end || len(b.frames) > 0) {
		b.refuse("the code goes on after the original has ended")
	}
}

// declarations compares the declared locals. The meter adds one for lengths, one for its counter, or both.
func (b *body) declarations(old, now []byte) bool {
	runs, size, ok := u32(old)
	more, moreSize, ok2 := u32(now)
	if !ok || !ok2 || more < runs || more-runs > 2 {
		return false
	}
	rest := old[size:]
	if now = now[moreSize:]; !bytes.HasPrefix(now, rest) {
		return false
	}
	next := b.locals
	for now = now[len(rest):]; len(now) > 0; now = now[2:] {
		switch {
		case len(now) >= 2 && now[0] == 1 && now[1] == byte(inspect.I32) && b.lengthGet == nil && b.counterGet == nil:
			b.lengthGet = appendU32([]byte{opGet}, next)
		case len(now) >= 2 && now[0] == 1 && now[1] == byte(inspect.I64) && b.counterGet == nil:
			b.counterGet, b.counterSet = appendU32([]byte{opGet}, next), appendU32([]byte{opSet}, next)
		default:
			return false
		}
		next++
	}
	return next-b.locals == more-runs
}

// stop notes that control does not go on.
func (b *body) stop() {
	b.emit(stepStop, 0, 0)
	b.live = false
}

// open opens a block of the rewritten code.
func (b *body) open(op inspect.Op, wrapper bool) *frame {
	b.frames = append(b.frames, frame{op: op, wrapper: wrapper, label: int32(len(b.labels)), live: b.live})
	b.labels = append(b.labels, label{})
	if !wrapper {
		b.blocks = append(b.blocks, len(b.frames)-1)
	}
	return &b.frames[len(b.frames)-1]
}

// instruction compares one instruction of the original with what comes next in the rewritten code.
func (b *body) instruction(in *inspect.Instruction, walk *inspect.Instructions) {
	b.meters()
	if b.began { // a round, after what stands at its head: what comes over a wrapper has not run the loop
		b.works(inspect.OpLoop)
		b.began = false
	}
	loop := b.head.loop
	b.begins(in)
	switch in.Op {
	case inspect.OpBlock, inspect.OpIf:
		b.copied(in)
		if in.Op == inspect.OpIf {
			b.works(in.Op)
			b.emit(stepIf, int32(len(b.labels)), 0)
		}
		b.open(in.Op, false)
	case inspect.OpLoop:
		b.loop(in, walk)
	case inspect.OpElse:
		b.otherwise(in)
	case inspect.OpEnd:
		b.close(in)
	case inspect.OpBr:
		b.works(in.Op)
		b.jump(in)
		b.stop()
	case inspect.OpBrIf:
		b.works(in.Op)
		b.jumpIf(in)
	case inspect.OpBrTable:
		b.works(in.Op)
		b.jumpTable(in, loop)
		b.stop()
	case inspect.OpReturn:
		b.works(in.Op)
		b.copied(in)
		b.emit(stepReturn, 0, 0)
		b.stop()
	case inspect.OpUnreachable:
		b.copied(in)
		b.stop()
	case inspect.OpCall, inspect.OpCallIndirect:
		b.works(in.Op)
		b.call(in)
	default:
		b.plain(in)
	}
}

// works notes that an instruction runs.
func (b *body) works(op inspect.Op) {
	if b.live {
		b.work += Weight(op)
	}
}

// copied wants an instruction as it stands in the original.
func (b *body) copied(in *inspect.Instruction) bool {
	return b.take(b.from[in.Offset:in.End]...) || b.refuse("not the instruction of the original")
}

// plain compares an instruction that neither jumps nor calls.
func (b *body) plain(in *inspect.Instruction) {
	switch op := in.Op; {
	case op == inspect.OpRefFunc && in.Index >= b.imports:
		_ = b.take(byte(op)) && b.take(appendU32(nil, in.Index+b.moved)...) || b.refuse("a reference to another function")
	case op == inspect.OpLocalGet || op == inspect.OpLocalSet || op == inspect.OpLocalTee:
		if in.Index >= b.locals {
			b.refuse("the original is not valid: it has no local %d", in.Index)
		}
		b.copied(in)
	case op == inspect.OpGlobalGet || op == inspect.OpGlobalSet:
		if in.Index >= b.fuel {
			b.refuse("the original is not valid: it has no global %d", in.Index)
		}
		b.copied(in)
	case b.live && (op == inspect.OpMemoryFill || op == inspect.OpMemoryCopy):
		helper := b.fill
		if op == inspect.OpMemoryCopy {
			helper = b.copies
		}
		_ = helper > 0 && b.take(byte(inspect.OpCall)) && b.take(appendU32(nil, helper)...) || b.refuse("a bulk operation that is not done in pieces")
		b.emit(stepPieces, 0, 0)
	default:
		if shift, ok := lengthShift(op); ok && b.live {
			_ = b.price(shift) || b.refuse("a length that is not paid for")
			b.emit(stepPrice, 0, 0)
		}
		b.copied(in)
	}
	b.works(in.Op)
}

// loop compares the beginning of a loop, or a whole loop that is written out.
func (b *body) loop(in *inspect.Instruction, walk *inspect.Instructions) {
	wrapper := -1
	if b.live && b.counterGet != nil {
		wrapper = b.wrap(in)
	}
	if wrapper >= 0 && b.at < b.end && b.to[b.at] == opBlock {
		b.writtenOut(in, walk, wrapper)
		return
	}
	b.copied(in)
	f := b.open(inspect.OpLoop, false)
	b.labels[f.label].counts = wrapper >= 0
	b.emit(stepLoop, f.label, 0)
	if wrapper >= 0 && !b.guard(wrapper) {
		b.refuse("a wrapped loop without a guard")
	}
	b.began = b.live
	if b.live && in.Block < 0 {
		b.head = head{loop: len(b.frames) - 1}
		b.frames[b.head.loop].from = len(b.steps)
	}
}

// wrap passes the beginning of a wrapper and returns its frame, or -1 when there is none.
func (b *body) wrap(in *inspect.Instruction) int {
	at := b.at
	if !b.take(b.from[in.Offset:in.End]...) {
		return -1
	}
	if len(b.to)-b.at < len(b.counterGet) || !bytes.Equal(b.to[b.at:b.at+len(b.counterGet)], b.counterGet) || in.Block >= 0 {
		b.at = at
		return -1
	}
	most, ok := b.wrapper()
	if !ok {
		b.at = at // its guard, perhaps, which a loop without a wrapper must not have
		return -1
	}
	f := b.open(inspect.OpLoop, true)
	f.most = most
	b.labels[f.label].counts = true
	b.emit(stepLoop, f.label, 0)
	b.emit(stepWrapper, 0, most)
	return len(b.frames) - 1
}

func (b *body) otherwise(in *inspect.Instruction) {
	f := &b.frames[len(b.frames)-1]
	if f.op != inspect.OpIf || f.wrapper {
		b.refuse("an else in another block")
		return
	}
	b.copied(in)
	if f.then = b.live; f.live {
		b.live = true
		b.emit(stepElse, f.label, 0)
	}
	f.op, b.live = inspect.OpElse, f.live
}

// close compares the end of a block, and passes that of a wrapper after it.
func (b *body) close(in *inspect.Instruction) {
	f := b.frames[len(b.frames)-1]
	if f.wrapper {
		b.refuse("a wrapper that holds more than a loop")
		return
	}
	b.copied(in)
	if len(b.frames) == 1 && b.live {
		b.emit(stepReturn, 0, 0)
	}
	b.leave(&f)
	b.blocks = b.blocks[:len(b.blocks)-1]
	if n := len(b.frames); n > 0 && b.frames[n-1].wrapper {
		if !b.take(opEnd) {
			b.refuse("a wrapper that holds more than a loop")
			return
		}
		w := b.frames[n-1]
		b.leave(&w)
	}
}

// leave ends the innermost block of the rewritten code.
func (b *body) leave(f *frame) {
	b.frames = b.frames[:len(b.frames)-1]
	b.labels[f.label].closed = true
	b.head.loop = -1
	if !f.live || f.op == inspect.OpLoop {
		b.live = b.live && f.live
		return
	}
	live, single := b.live || f.joined || f.then || f.op == inspect.OpIf, int64(0)
	if f.op == inspect.OpIf {
		single = 1
	}
	b.live = true
	b.emit(stepEnd, f.label, single)
	b.live = live
}

// call compares a call.
func (b *body) call(in *inspect.Instruction) {
	switch {
	case in.Op == inspect.OpCallIndirect:
		b.copied(in)
		b.emit(stepIndirect, 0, 0)
	case in.Index >= b.imports:
		_ = b.take(byte(in.Op)) && b.take(appendU32(nil, in.Index+b.moved)...) || b.refuse("a call of another function")
		b.emit(stepCall, int32(in.Index-b.imports), 0)
	default:
		_ = b.take(b.from[in.Offset:in.End]...) ||
			b.instead[in.Index] > 0 && b.take(byte(in.Op)) && b.take(appendU32(nil, b.instead[in.Index])...) ||
			b.refuse("a call of another function")
		b.emit(stepHost, 0, 0)
	}
}

// guard passes the guard of a counted loop, whose wrapper is the block around it. It lets through what the wrapper's head lets
// through, so that the two don't jump to each other for ever.
func (b *body) guard(wrapper int) bool {
	most, ok := b.over(opLessS)
	if !ok || most < b.frames[wrapper].most || !b.take(opElse, opBr) {
		return false
	}
	v, size, ok := u32(b.to[b.at:b.end])
	b.at += size
	return ok && int(v) == len(b.frames)-wrapper && b.take(opEnd) && b.emit(stepGuard, b.frames[wrapper].label, most)
}
