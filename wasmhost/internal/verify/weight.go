package verify

import "github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"

// weights are the units of work of instructions with one byte, written down a second time: a test compares them with the
// prices that the rewriter charges. One unit is about the work of one simple instruction.
var weights = plainWeights()

func plainWeights() (w [256]uint8) {
	for op := range w {
		w[op] = 1
	}
	for _, op := range []byte{0x01, 0x02, 0x05, 0x0b} { // nop, block, else, end: nothing is compiled
		w[op] = 0
	}
	w[0x10], w[0x11], w[0x0e] = 5, 10, 3                                        // call, call_indirect, br_table
	w[0x25], w[0x26], w[0xd2] = 3, 3, 3                                         // table.get, table.set, ref.func
	for _, op := range []byte{0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82} { // integer division and remainder
		w[op] = 8
	}
	for _, op := range []byte{0x91, 0x95, 0x9f, 0xa3} { // float division and square root
		w[op] = 4
	}
	return w
}

const (
	growWeight = 500 // memory.grow and table.grow
	bulkWeight = 20  // memory and table operations over a length
	pieceWork  = 64<<10/16 + 64
)

// Weight is the work of an instruction in units, without what a length adds.
func Weight(op inspect.Op) int64 {
	switch op >> 8 {
	case 0:
		if op == inspect.OpMemoryGrow {
			return growWeight
		}
		return int64(weights[op])
	case 0xfd:
		return 2
	case 0xfc:
		switch sub := op & 0xff; {
		case sub < 8: // saturating conversion
			return 1
		case sub == 15: // table.grow
			return growWeight
		case sub == 16: // table.size
			return 3
		}
		return bulkWeight
	}
	return growWeight
}

// lengthShift tells, of an operation over a length that runs as one instruction, how that is priced: shifted right by so
// many bits, or to the left when negative.
func lengthShift(op inspect.Op) (shift int64, ok bool) {
	switch op {
	case inspect.OpMemoryInit:
		return 4, true
	case inspect.OpTableFill, inspect.OpTableCopy, inspect.OpTableInit, inspect.OpTableGrow:
		return 2, true
	case inspect.OpMemoryGrow:
		return -8, true
	}
	return 0, false
}
