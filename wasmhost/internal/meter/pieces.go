package meter

import (
	"encoding/binary"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

const (
	opI64GtS       = 0x55
	opI64LeS       = 0x57
	opI64GeS       = 0x59
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Shl       = 0x86
	opI64ShrU      = 0x88
	opI64ExtendU32 = 0xad
	typeEmpty      = 0x40
)

// PieceBytes is how much one memory.fill or memory.copy moves before the host may be called. Compiled code can't be
// interrupted within one, and 32 MiB take milliseconds, during which the garbage collector and everybody else on the
// processor would wait.
const PieceBytes = 64 << 10

const (
	helpCheck helper = iota // calls the host when fuel has run out; it has no parameters
	helpFill
	helpCopy
	helpers // how many there are
)

// inlineChecks is how many checks a function may have where they stand. One with more calls a helper for each: a check
// makes three blocks, and the time that compiling takes grows faster than their number.
const inlineChecks = 256

// outlines decides whether the function calls a helper for its checks.
func (p *plan) outlines() {
	n := 0
	for i := range p.edits {
		if p.edits[i].on {
			n++
		}
	}
	for i := range p.regions {
		if p.regions[i].before {
			n++
		}
	}
	if p.outline = n > inlineChecks; p.outline {
		p.helps = max(p.helps, helpCheck+1)
	}
}

// helperOf returns the helper that replaces an instruction.
func helperOf(op inspect.Op) (helper, bool) {
	switch op {
	case inspect.OpMemoryFill:
		return helpFill, true
	case inspect.OpMemoryCopy:
		return helpCopy, true
	}
	return 0, false
}

const (
	opI32LtU       = 0x49
	opI32LeU       = 0x4d
	opI64GtU       = 0x56
	opI32Add       = 0x6a
	opI32Sub       = 0x6b
	opDrop         = 0x1a
	opSelect       = 0x1b
	opReturn       = 0x0f
	opMemorySize   = 0x3f
	opLocalGet     = byte(inspect.OpLocalGet)
	opLocalSet     = byte(inspect.OpLocalSet)
	opEnd          = byte(inspect.OpEnd)
	bulkTo, bulkBy = 0, 2 // the helpers' parameters: destination, source or value, length
	bulkFrom       = 1
	bulkPiece      = 3 // a local
)

// helperBody writes a helper. Its length is charged piece by piece, which adds up to the same sum: a piece is a
// multiple of BytesPerUnit.
func (w *rewriter) helperBody(h helper) []byte {
	w.plan.outline = false
	if h == helpCheck {
		w.code = append(w.code[:0], 0)
		w.check()
		w.emit([]byte{opEnd})
		return w.code
	}
	op := []byte{0xfc, 11, 0}
	if h == helpCopy {
		op = []byte{0xfc, 10, 0, 0}
	}
	w.code, w.length = append(w.code[:0], 1, 1, byte(inspect.I32)), bulkPiece
	whole := func() { // the original, charged
		w.get(bulkTo, bulkFrom, bulkBy)
		w.chargeLength(bytesShift)
		w.code = append(append(w.code, op...), opReturn)
	}
	// Most lengths are at most one piece: they are charged and executed as they stand.
	w.get(bulkBy)
	w.emit(appendS64([]byte{byte(inspect.OpI32Const)}, PieceBytes), []byte{opI32LeU, byte(inspect.OpIf), typeEmpty})
	whole()
	w.emit([]byte{opEnd})
	// An operation that leaves memory traps before it has written anything, so it is executed whole as well.
	w.outside(bulkTo)
	if h == helpCopy {
		w.outside(bulkFrom)
		w.emit([]byte{0x72}) // i32.or
	}
	w.emit([]byte{byte(inspect.OpIf), typeEmpty})
	whole()
	w.emit([]byte{opEnd})
	// The direction of a copy is chosen by address, so that overlapping ranges give what one memory.copy gives.
	if h == helpFill {
		w.forward(op)
	} else {
		w.get(bulkTo, bulkFrom)
		w.emit([]byte{opI32LeU, byte(inspect.OpIf), typeEmpty})
		w.forward(op)
		w.emit([]byte{byte(inspect.OpElse)})
		w.backward(op)
		w.emit([]byte{opEnd})
	}
	w.emit([]byte{opEnd})
	return w.code
}

// outside pushes whether the range at a pointer ends beyond memory. The sum is taken in 64 bits, where it can't wrap, and
// memory.size counts pages of 64 KiB, hence the shift by 16.
func (w *rewriter) outside(pointer uint32) {
	w.get(pointer)
	w.emit([]byte{opI64ExtendU32})
	w.get(bulkBy)
	w.emit([]byte{opI64ExtendU32, opI64Add, opMemorySize, 0, opI64ExtendU32}, []byte{byte(inspect.OpI64Const), 16, opI64Shl, opI64GtU})
}

// piece sets the local to the length of the next piece and pays for it.
func (w *rewriter) piece() {
	limit := appendS64([]byte{byte(inspect.OpI32Const)}, PieceBytes)
	w.get(bulkBy)
	w.emit(limit)
	w.get(bulkBy)
	w.emit(limit, []byte{opI32LtU, opSelect})
	w.chargeLength(bytesShift) // sets the local
	w.emit([]byte{opDrop})
}

// forward moves from the beginning, which is right when the destination does not lie behind the source.
func (w *rewriter) forward(op []byte) {
	w.emit([]byte{byte(inspect.OpLoop), typeEmpty})
	w.piece()
	w.get(bulkTo, bulkFrom, bulkPiece)
	w.emit(op)
	w.advance(bulkTo, opI32Add)
	if op[1] == 10 {
		w.advance(bulkFrom, opI32Add)
	}
	w.advance(bulkBy, opI32Sub)
	w.get(bulkBy)
	w.emit([]byte{byte(inspect.OpBrIf), 0, opEnd})
}

// backward moves from the end.
func (w *rewriter) backward(op []byte) {
	w.emit([]byte{byte(inspect.OpLoop), typeEmpty})
	w.piece()
	w.advance(bulkBy, opI32Sub)
	for _, pointer := range []uint32{bulkTo, bulkFrom} {
		w.get(pointer, bulkBy)
		w.emit([]byte{opI32Add})
	}
	w.get(bulkPiece)
	w.emit(op)
	w.get(bulkBy)
	w.emit([]byte{byte(inspect.OpBrIf), 0, opEnd})
}

// advance changes a parameter by the length of the piece.
func (w *rewriter) advance(param uint32, by byte) {
	w.get(param, bulkPiece)
	w.emit(appendU32([]byte{by, opLocalSet}, param))
}

// get pushes locals.
func (w *rewriter) get(locals ...uint32) {
	for _, l := range locals {
		w.code = appendU32(append(w.code, opLocalGet), l)
	}
}

// emit appends bytes to the body being written.
func (w *rewriter) emit(parts ...[]byte) {
	for _, p := range parts {
		w.code = append(w.code, p...)
	}
}

// appendS64 writes a signed LEB128 number: groups of seven bits, lowest first, until the rest is the sign of the last group.
func appendS64(dst []byte, v int64) []byte {
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(dst, b)
		}
		dst = append(dst, b|0x80)
	}
}

// appendU32 writes an unsigned LEB128 number, as binary.Uvarint reads it.
func appendU32(dst []byte, v uint32) []byte { return binary.AppendUvarint(dst, uint64(v)) }

// chargeLength takes the price of the length on top of the stack, which stays there.
func (w *rewriter) chargeLength(shift int) {
	c := appendU32(append(w.code, byte(inspect.OpLocalTee)), w.length)
	c = appendU32(append(c, byte(inspect.OpGlobalGet)), w.fuel)
	c = appendU32(append(c, byte(inspect.OpLocalGet)), w.length)
	c = append(c, opI64ExtendU32, byte(inspect.OpI64Const))
	if shift >= 0 {
		c = append(appendS64(c, int64(shift)), opI64ShrU)
	} else {
		c = append(appendS64(c, int64(-shift)), opI64Shl)
	}
	w.code = appendU32(append(c, opI64Sub, byte(inspect.OpGlobalSet)), w.fuel)
	w.check()
}

// check calls the host when fuel is below zero. The arm without the call stands first, because wazero's allocator of
// registers takes the first way to a place as the one to be fast: so nothing is put on the stack and fetched back where
// the host is not called.
func (w *rewriter) check() {
	if w.plan.outline { // too many checks for one body, see inlineChecks
		w.code = appendU32(append(w.code, byte(inspect.OpCall)), w.helper+uint32(helpCheck))
		return
	}
	c := appendU32(append(w.code, byte(inspect.OpGlobalGet)), w.fuel)
	c = append(c, byte(inspect.OpI64Const), 0, opI64GeS, byte(inspect.OpIf), typeEmpty, byte(inspect.OpElse), byte(inspect.OpCall))
	w.code = append(appendU32(c, w.yield), byte(inspect.OpEnd))
}
