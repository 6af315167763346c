package inspect

// BlockType is the type of a block, loop or if as it is encoded: a type index, or a negative number for an empty
// type or a single result.
type BlockType int64

// Instruction is one decoded instruction.
type Instruction struct {
	Op      Op
	Offset  int       // of its opcode in the module
	End     int       // one after its last immediate
	Index   uint32    // its first index: label, function, type, local, global, table or segment
	Index2  uint32    // its second one: the table of call_indirect and table.init, the source of table.copy
	Block   BlockType // of block, loop and if
	Targets []uint32  // labels of br_table, the default last; overwritten by the next br_table
}

// Instructions walks the code of one body. It is not safe for concurrent use.
type Instructions struct {
	r     reader
	instr Instruction
}

// Instructions returns a walk over the code of b, which must be one of m's bodies.
func (m *Module) Instructions(b Body) *Instructions {
	return &Instructions{r: reader{buf: m.wasm, pos: b.Code, end: b.End}}
}

// Next returns the next instruction, or nil after the last one. The instruction is overwritten by the next call.
func (it *Instructions) Next() *Instruction {
	if it.r.pos >= it.r.end || it.r.err != nil {
		return nil
	}
	it.r.instruction(&it.instr)
	if it.r.err != nil {
		return nil
	}
	return &it.instr
}

// instruction decodes the instruction at r.pos into in.
func (r *reader) instruction(in *Instruction) {
	in.Offset = r.pos
	op := r.byte()
	var imm immediate
	switch op {
	case 0xfc:
		in.Op, imm = r.prefixed(op, &miscImmediates)
	case 0xfd:
		in.Op, imm = r.prefixed(op, &vectorImmediates)
	default:
		in.Op, imm = Op(op), plainImmediates[op]
		if imm == immUnknown && r.err == nil {
			r.unknownOp(op, in.Offset)
		}
	}
	if imm != immNone {
		r.immediate(in, imm)
	}
	in.End = r.pos
}

// prefixed reads the number after a prefix. wazero takes the number of a vector instruction for one byte and the
// 0x01 that follows the upper half for a nop, so only the shortest encoding is let through.
func (r *reader) prefixed(prefix byte, table *[256]immediate) (Op, immediate) {
	start := r.pos
	n := r.u32()
	if r.err != nil {
		return 0, immUnknown
	}
	if n > 0xff || table[n] == immUnknown {
		r.fail(CodeUnknownOpcode, start, "build without relaxed vector instructions and other proposals", "unknown instruction 0x%02x 0x%02x", prefix, n)
		return 0, immUnknown
	}
	if size := r.pos - start; size > 1 && n < 0x80 || size > 2 {
		r.fail(CodeBadLEB, start, "", "instruction 0x%02x 0x%02x is not encoded in its shortest form", prefix, n)
	}
	return Op(prefix)<<8 | Op(n), table[n]
}

func (r *reader) immediate(in *Instruction, imm immediate) {
	switch imm {
	case immBlock:
		in.Block = r.blockType()
	case immIndex:
		in.Index = r.u32()
	case immIndex2:
		in.Index, in.Index2 = r.u32(), r.u32()
	case immTargets:
		r.targets(in)
	case immS32:
		r.signed(32)
	case immS64:
		r.signed(64)
	case immSkip4:
		r.skip(4)
	case immSkip8:
		r.skip(8)
	case immSkip16:
		r.skip(16)
	case immMemArg:
		r.memArg()
	case immMemLane:
		r.memArg()
		r.byte()
	case immLane:
		r.byte()
	case immZero:
		r.zero()
	case immZero2:
		r.zero()
		r.zero()
	case immIndexMem:
		in.Index = r.u32()
		r.zero()
	case immSelect:
		if n := r.byte(); r.err == nil && n != 1 {
			r.fail(CodeMalformed, r.pos-1, "", "select with %d types", n)
		}
		r.immediateType(false)
	case immRefType:
		r.immediateType(true)
	}
}

// zero reads a memory index, of which zero is the only one.
func (r *reader) zero() {
	if b := r.byte(); r.err == nil && b != 0 {
		r.fail(CodeTooManyMemories, r.pos-1, "build without multiple memories", "an instruction refers to memory %d; one memory is allowed", b)
	}
}

func (r *reader) memArg() {
	start := r.pos
	align := r.u32()
	if r.err == nil && align >= 32 {
		if align&0x40 != 0 && align < 0x80 {
			r.fail(CodeTooManyMemories, start, "build without multiple memories", "an instruction refers to a second memory")
		}
		r.fail(CodeMalformed, start, "", "an alignment of 2^%d", align)
	}
	r.u32()
}

// blockType reads a type index or a one-byte type.
func (r *reader) blockType() BlockType {
	start := r.pos
	v := r.signed(33)
	if r.err != nil || v >= 0 {
		return BlockType(v)
	}
	if r.pos-start != 1 {
		r.fail(CodeBadType, start, "", "a block type is not encoded in its shortest form")
		return 0
	}
	if v != -64 {
		r.pos = start
		r.immediateType(false)
	}
	return BlockType(v)
}

func (r *reader) immediateType(refOnly bool) {
	start := r.pos
	switch t := ValType(r.byte()); t {
	case FuncRef, ExternRef:
	case I32, I64, F32, F64, V128:
		if refOnly {
			r.fail(CodeBadType, start, "", "%s is not a reference type", t)
		}
	case 0x63, 0x64, 0x6e, 0x6d, 0x6c, 0x6b, 0x6a, 0x71, 0x72, 0x73:
		r.fail(CodeTypedReferences, start, "build without typed references and garbage collection", "the code uses typed references")
	case 0x69, 0x74:
		r.fail(CodeExceptions, start, "build without exception handling", "the code uses exception references")
	default:
		if r.err == nil {
			r.fail(CodeBadType, start, "", "0x%02x is not a value type", byte(t))
		}
	}
}

// targets reads the labels of a br_table, which take at least a byte each.
func (r *reader) targets(in *Instruction) {
	start := r.pos
	n := r.u32()
	if r.err == nil && int64(n) >= int64(r.remaining()) {
		r.fail(CodeCountBounds, start, "", "a br_table declares %d labels, and %d bytes are left for them", n, r.remaining())
	}
	in.Targets = in.Targets[:0]
	for i := uint32(0); i <= n && r.err == nil; i++ {
		in.Targets = append(in.Targets, r.u32())
	}
}
