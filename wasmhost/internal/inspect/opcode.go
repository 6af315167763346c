package inspect

// Op is an instruction: its opcode, with the prefix in the high byte for those that have one (0xfc00 | n, 0xfd00 | n).
type Op uint16

// The instructions that control flow, or that a rewriter has to know.
const (
	OpUnreachable  Op = 0x00
	OpBlock        Op = 0x02
	OpLoop         Op = 0x03
	OpIf           Op = 0x04
	OpElse         Op = 0x05
	OpEnd          Op = 0x0b
	OpBr           Op = 0x0c
	OpBrIf         Op = 0x0d
	OpBrTable      Op = 0x0e
	OpReturn       Op = 0x0f
	OpCall         Op = 0x10
	OpCallIndirect Op = 0x11
	OpLocalGet     Op = 0x20
	OpLocalSet     Op = 0x21
	OpLocalTee     Op = 0x22
	OpGlobalGet    Op = 0x23
	OpGlobalSet    Op = 0x24
	OpTableGet     Op = 0x25
	OpTableSet     Op = 0x26
	OpMemoryGrow   Op = 0x40
	OpI32Const     Op = 0x41
	OpI64Const     Op = 0x42
	OpRefFunc      Op = 0xd2
	OpMemoryInit   Op = 0xfc08
	OpDataDrop     Op = 0xfc09
	OpMemoryCopy   Op = 0xfc0a
	OpMemoryFill   Op = 0xfc0b
	OpTableInit    Op = 0xfc0c
	OpElemDrop     Op = 0xfc0d
	OpTableCopy    Op = 0xfc0e
	OpTableGrow    Op = 0xfc0f
	OpTableSize    Op = 0xfc10
	OpTableFill    Op = 0xfc11
)

// mayTrap tells whether a plain instruction checks its operands: loads and stores, integer division, conversion to
// integers, and the float minimum and maximum, which branch as well.
func (op Op) mayTrap() bool {
	switch {
	case op >= 0x28 && op <= 0x3e, op >= 0x6d && op <= 0x70, op >= 0x7f && op <= 0x82:
		return true
	case op == 0x96 || op == 0x97 || op == 0xa4 || op == 0xa5, op >= 0xa8 && op <= 0xab, op >= 0xae && op <= 0xb1:
		return true
	}
	return false
}

// immediate is the kind of operand that follows an opcode.
type immediate uint8

const (
	immUnknown immediate = iota // no such instruction
	immNone
	immBlock    // block type
	immIndex    // one index
	immIndex2   // two indices
	immTargets  // labels of br_table
	immS32      // i32.const
	immS64      // i64.const
	immSkip4    // f32.const
	immSkip8    // f64.const
	immSkip16   // v128.const and i8x16.shuffle
	immMemArg   // alignment and offset
	immMemLane  // alignment, offset and lane
	immLane     // lane
	immZero     // memory index, one zero byte
	immZero2    // two of them
	immIndexMem // segment index and memory index
	immSelect   // one value type
	immRefType  // reference type
)

var (
	plainImmediates  = plainTable()
	miscImmediates   = miscTable()
	vectorImmediates = vectorTable()
)

func fill(table *[256]immediate, imm immediate, from, to int) {
	for op := from; op <= to; op++ {
		table[op] = imm
	}
}

func plainTable() (t [256]immediate) {
	fill(&t, immNone, 0x00, 0x01)
	fill(&t, immBlock, 0x02, 0x04)
	t[0x05], t[0x0b], t[0x0f] = immNone, immNone, immNone
	fill(&t, immIndex, 0x0c, 0x0d)
	t[0x0e] = immTargets
	t[0x10] = immIndex
	t[0x11] = immIndex2
	fill(&t, immNone, 0x1a, 0x1b)
	t[0x1c] = immSelect
	fill(&t, immIndex, 0x20, 0x26)
	fill(&t, immMemArg, 0x28, 0x3e)
	fill(&t, immZero, 0x3f, 0x40)
	t[0x41], t[0x42], t[0x43], t[0x44] = immS32, immS64, immSkip4, immSkip8
	fill(&t, immNone, 0x45, 0xc4)
	t[0xd0], t[0xd1], t[0xd2] = immRefType, immNone, immIndex
	return t
}

func miscTable() (t [256]immediate) {
	fill(&t, immNone, 0x00, 0x07)
	t[0x08], t[0x09], t[0x0a], t[0x0b] = immIndexMem, immIndex, immZero2, immZero
	t[0x0c], t[0x0d], t[0x0e] = immIndex2, immIndex, immIndex2
	fill(&t, immIndex, 0x0f, 0x11)
	return t
}

func vectorTable() (t [256]immediate) {
	fill(&t, immNone, 0x00, 0xff)
	for _, gap := range []byte{
		0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee,
	} {
		t[gap] = immUnknown
	}
	fill(&t, immMemArg, 0x00, 0x0b)
	fill(&t, immSkip16, 0x0c, 0x0d)
	fill(&t, immLane, 0x15, 0x22)
	fill(&t, immMemLane, 0x54, 0x5b)
	fill(&t, immMemArg, 0x5c, 0x5d)
	return t
}

// unknownOp words the refusal of an opcode that this engine does not run.
func (r *reader) unknownOp(op byte, offset int) {
	switch {
	case op == 0xfe:
		r.fail(CodeThreads, offset, "build without threads and atomics", "the code uses atomic instructions")
	case op >= 0x06 && op <= 0x0a, op == 0x18, op == 0x19, op == 0x1f:
		r.fail(CodeExceptions, offset, "build without exception handling (-fno-exceptions, panic=abort)", "the code uses exception handling")
	case op == 0x12, op == 0x13, op == 0x15:
		r.fail(CodeTailCall, offset, "build without tail calls (-mno-tail-call)", "the code uses tail calls")
	case op == 0x14, op >= 0xd3 && op <= 0xd6, op == 0xfb:
		r.fail(CodeTypedReferences, offset, "build without typed references and garbage collection", "the code uses typed references or garbage collection")
	default:
		r.fail(CodeUnknownOpcode, offset, "", "unknown instruction 0x%02x", op)
	}
}
