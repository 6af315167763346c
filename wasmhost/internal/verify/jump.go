package verify

import "github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"

// begins looks for a jump through a table at the head of a loop: blocks, a local and a br_table, nothing else. A jump to the
// loop after a constant has been put into the local leads on to the end of a block that is known.
func (b *body) begins(in *inspect.Instruction) {
	h := &b.head
	switch {
	case h.loop < 0:
	case in.Op == inspect.OpBlock && !h.seen:
	case in.Op == inspect.OpLocalGet && !h.seen:
		h.seen, h.local = true, in.Index
	default: // the table itself has its loop from before
		h.loop = -1
	}
}

// target is the frame to which a label of the original leads.
func (b *body) target(label uint32) (frame int, ok bool) {
	n := int64(len(b.blocks)) - 1 - int64(label)
	if n < 0 {
		return 0, b.refuse("the original is not valid: a label leads nowhere")
	}
	return b.blocks[n], true
}

// arrives notes a jump to a frame.
func (b *body) arrives(frame int) {
	f := &b.frames[frame]
	switch {
	case !b.live:
	case frame == 0:
		b.emit(stepReturn, 0, 0)
	case f.op == inspect.OpLoop:
		b.labels[f.label].backs = true
		b.emit(stepBack, f.label, 0)
	default:
		f.joined = true
		b.emit(stepJump, f.label, 0)
	}
}

// jump compares a br.
func (b *body) jump(in *inspect.Instruction) {
	want, ok := b.target(in.Index)
	if !ok || !b.take(opBr) {
		b.refuse("not the jump of the original")
		return
	}
	got, ok := b.label()
	known := b.known(want)
	switch {
	case !ok:
		b.refuse("a jump to nowhere")
	case got == want && known >= 0 && b.live && b.labels[known].closed && b.simple(&b.frames[want]):
		f := &b.frames[want]
		b.labels[known].backs = true
		b.emit(stepKnown, known, int64(f.from)<<32|int64(f.to))
	case got == want, b.live && known >= 0 && b.frames[got].label == known && b.frames[got].op != inspect.OpLoop && got > 0:
		b.arrives(got)
	default:
		b.refuse("a jump to another block")
	}
}

// known tells, of a jump to a frame, the label of the block inside it to which it leads on over a table; -1 when that can't be
// told.
func (b *body) known(frame int) int32 {
	f := &b.frames[frame]
	if f.tables == 0 || b.prev.op != inspect.OpLocalSet || b.prev.index != f.local || b.prev2.op != inspect.OpI32Const {
		return -1
	}
	v, _, ok := s64(b.from[b.prev2.start+1 : b.prev2.end])
	if !ok {
		return -1
	}
	k := min(int64(uint32(v)), int64(f.tables)-1)
	if l := b.targets[f.table+int(k)]; l > f.label {
		return l
	}
	return -1
}

// simple tells whether the head of a loop does so little that it can be repeated for each known jump to it.
func (b *body) simple(f *frame) bool {
	if b.labels[f.label].counts || f.to-f.from > 8 {
		return false
	}
	for _, s := range b.steps[f.from:f.to] {
		if s.kind != stepWork && s.kind != stepCharge && s.kind != stepCheck && s.kind != stepCount {
			return false
		}
	}
	return true
}

// jumpIf compares a br_if, which may have become a br in an if with the meter's instructions before it.
func (b *body) jumpIf(in *inspect.Instruction) {
	want, ok := b.target(in.Index)
	if !ok {
		return
	}
	if b.take(opBrIf) {
		if got, ok := b.label(); !ok || got != want {
			b.refuse("a jump to another block")
			return
		}
		b.arrives(want)
		return
	}
	if !b.take(opIf, empty) {
		b.refuse("not the jump of the original")
		return
	}
	b.emit(stepFork, 0, 0)
	b.meters()
	if !b.take(opBr) {
		b.refuse("not the jump of the original")
		return
	}
	v, size, ok := u32(b.to[b.at:b.end])
	b.at += size
	if !ok || int64(v) != int64(len(b.frames)-want) || !b.take(opEnd) {
		b.refuse("a jump to another block")
		return
	}
	b.arrives(want)
	b.emit(stepRejoin, 0, 0)
}

// jumpTable compares a br_table. loop is the frame at whose head it stands, or -1.
func (b *body) jumpTable(in *inspect.Instruction, loop int) {
	n, size, ok := u32(b.to[min(b.at+1, b.end):b.end])
	if !b.take(byte(inspect.OpBrTable)) || !ok || int64(n)+1 != int64(len(in.Targets)) {
		b.refuse("not the table of the original")
		return
	}
	b.at += size
	if loop >= 0 && b.live && b.prev.op == inspect.OpLocalGet {
		b.flushWork()
		f := &b.frames[loop]
		f.table, f.tables, f.local, f.to = len(b.targets), len(in.Targets), b.prev.index, len(b.steps)
	} else {
		loop = -1
	}
	last := -1
	for _, label := range in.Targets {
		want, ok := b.target(label)
		got, ok2 := b.label()
		if !ok || !ok2 || got != want {
			b.refuse("a jump to another block")
			return
		}
		if loop >= 0 {
			b.targets = append(b.targets, b.frames[got].label)
		}
		if got != last {
			b.arrives(got)
		}
		last = got
	}
}
