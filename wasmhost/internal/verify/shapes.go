package verify

import (
	"bytes"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// The meter's instructions in a function. They are read as bytes, each in its one encoding; everything else is refused or is
// the original's.
//
//	charge   fuel -= n
//	count    counter += n
//	flush    fuel -= counter; counter = 0
//	check    if fuel < 0, call yield; or a call of the helper that does that
//	guard    if counter > q, jump to the wrapper; stands first in a loop
//	wrapper  a loop around one loop, and in its head: if counter > q, flush and check
//	price    fuel -= length >> s or << s; check; stands before an operation over a length

func (c *checker) newShapes() shapes {
	s := shapes{
		fuelGet: appendU32([]byte{byte(inspect.OpGlobalGet)}, c.fuel),
		fuelSet: appendU32([]byte{byte(inspect.OpGlobalSet)}, c.fuel),
		check:   c.assemble(nil, "check"),
	}
	if c.check > 0 {
		s.checkCall = appendU32([]byte{byte(inspect.OpCall)}, c.check)
	}
	return s
}

const (
	opSub    = 0x7d // i64.sub
	opAdd    = 0x7c // i64.add
	opElse   = byte(inspect.OpElse)
	opEnd    = byte(inspect.OpEnd)
	opIf     = byte(inspect.OpIf)
	opBr     = byte(inspect.OpBr)
	opBrIf   = byte(inspect.OpBrIf)
	opBlock  = byte(inspect.OpBlock)
	opLoop   = byte(inspect.OpLoop)
	opConst  = byte(inspect.OpI64Const)
	opGet    = byte(inspect.OpLocalGet)
	opSet    = byte(inspect.OpLocalSet)
	opTee    = byte(inspect.OpLocalTee)
	opGreatS = 0x55 // i64.gt_s
	opLessS  = 0x57 // i64.le_s
	empty    = 0x40
)

// take passes these bytes if they come next.
func (b *body) take(want ...byte) bool {
	if b.end-b.at < len(want) || !bytes.Equal(b.to[b.at:b.at+len(want)], want) {
		return false
	}
	b.at += len(want)
	return true
}

// signed passes a signed number.
func (b *body) signed() (int64, bool) {
	v, size, ok := s64(b.to[b.at:b.end])
	b.at += size
	return v, ok
}

// label passes a label and tells to which of the open blocks it leads.
func (b *body) label() (frame int, ok bool) {
	v, size, ok := u32(b.to[b.at:b.end])
	b.at += size
	return len(b.frames) - 1 - int(v), ok && int64(v) < int64(len(b.frames))
}

// meters passes the meter's instructions that come next.
func (b *body) meters() {
	for b.fault == "" && b.at < b.end {
		at := b.at
		if !b.meter() {
			b.at = at
			return
		}
	}
}

// meter passes one of the meter's shapes, but for those that stand around an instruction of the original.
func (b *body) meter() bool {
	switch b.to[b.at] {
	case byte(inspect.OpGlobalGet):
		return b.fuelShape()
	case opGet:
		return b.count()
	case byte(inspect.OpCall):
		if s := b.shapes.checkCall; s != nil && b.take(s...) {
			b.emit(stepCheck, 0, 0)
			return true
		}
	}
	return false
}

// fuelShape passes what begins with the fuel: a charge, a flush or a check.
func (b *body) fuelShape() bool {
	s := &b.shapes
	if b.take(s.check...) {
		b.emit(stepCheck, 0, 0)
		return true
	}
	if !b.take(s.fuelGet...) {
		return false
	}
	if b.take(opConst) {
		n, ok := b.signed()
		if !ok || n <= 0 || n > maxCharge || !b.take(opSub) || !b.take(s.fuelSet...) {
			return false
		}
		b.emit(stepCharge, 0, n)
		return true
	}
	return b.take(b.counterGet...) && b.take(opSub) && b.take(s.fuelSet...) && b.take(opConst, 0) && b.take(b.counterSet...) && b.emit(stepFlush, 0, 0)
}

// maxCharge keeps sums in range.
const maxCharge = 1 << 30

// count passes an addition to the counter.
func (b *body) count() bool {
	if b.counterGet == nil || !b.take(b.counterGet...) || !b.take(opConst) {
		return false
	}
	n, ok := b.signed()
	return ok && n > 0 && n <= maxCharge && b.take(opAdd) && b.take(b.counterSet...) && b.emit(stepCount, 0, n)
}

// over passes a comparison of the counter with the most that it may hold.
func (b *body) over(comparison byte) (most int64, ok bool) {
	if b.counterGet == nil || !b.take(b.counterGet...) || !b.take(opConst) {
		return 0, false
	}
	most, ok = b.signed()
	return most, ok && most >= 0 && most <= MaxCounter && b.take(comparison, opIf, empty)
}

// wrapper passes the head of a wrapper, after its loop instruction.
func (b *body) wrapper() (most int64, ok bool) {
	most, ok = b.over(opGreatS)
	s := &b.shapes
	ok = ok && b.take(s.fuelGet...) && b.take(b.counterGet...) && b.take(opSub) && b.take(s.fuelSet...) && b.take(opConst, 0) && b.take(b.counterSet...)
	return most, ok && (b.take(s.check...) || s.checkCall != nil && b.take(s.checkCall...)) && b.take(opEnd)
}

// price passes the charge for a length.
func (b *body) price(shift int64) bool {
	s := &b.shapes
	op := byte(0x88) // i64.shr_u
	if shift < 0 {
		shift, op = -shift, 0x86 // i64.shl
	}
	return b.lengthGet != nil && b.take(opTee) && b.take(b.lengthGet[1:]...) && b.take(s.fuelGet...) && b.take(b.lengthGet...) &&
		b.take(0xad, opConst, byte(shift), op, opSub) && b.take(s.fuelSet...) && (b.take(s.check...) || s.checkCall != nil && b.take(s.checkCall...))
}

// emit notes a step, unless it can't be reached. It returns true.
func (b *body) emit(kind stepKind, at int32, n int64) bool {
	if b.live {
		b.flushWork()
		b.steps = append(b.steps, step{kind: kind, at: at, pos: int32(b.at), n: n})
	}
	return true
}

// flushWork appends a step for the work since the last step.
func (b *body) flushWork() {
	if b.work > 0 {
		b.steps = append(b.steps, step{kind: stepWork, pos: int32(b.at), n: b.work})
		b.work = 0
	}
}
