package inspect

func (p *parser) codeSection() {
	start := p.pos
	if p.remaining() > p.lim.CodeBytes {
		p.fail(CodeCodeTooLarge, start, "leave out what is not needed, optimise for size (-Oz, wasm-opt -Oz) or choose a smaller toolchain",
			"the code is %d bytes long, more than the limit of %d", p.remaining(), p.lim.CodeBytes)
	}
	n := p.count("bodies", CodeTooManyFunctions, p.lim.Functions, 3)
	if p.err == nil && n != len(p.mod.Functions) {
		p.fail(CodeFunctionMismatch, start, "", "%d functions are declared and %d have a body", len(p.mod.Functions), n)
		return
	}
	p.mod.Bodies = make([]Body, 0, n)
	var cost int64
	allowed := int64(p.lim.CompileCost) + int64(p.remaining())/2
	for i := range n {
		s := p.body(i)
		if p.err != nil {
			return
		}
		if cost += s.cost(); cost/1000 > allowed {
			p.fail(CodeCompileExplosion, p.mod.Bodies[i].Start, "split the function, or lower the optimiser's inlining and unrolling",
				"the code would take too long to compile: function %d has %d locals and %d branches, %d of them loops", i, s.locals, s.points, s.loops)
			return
		}
	}
	p.codeCount = n
	p.mod.CompileCost = int(cost / 1000)
}

// body reads the size, the locals and every instruction of the i-th defined function.
func (p *parser) body(i int) *shape {
	sectionEnd := p.end
	start := p.pos
	size := p.u32()
	if p.err != nil || uint64(size) > uint64(p.remaining()) {
		p.short()
		return nil
	}
	if int(size) > p.lim.BodyBytes {
		p.fail(CodeBodyTooLarge, start, "split the function; a big table belongs into data", "the body of function %d is %d bytes long, more than the limit of %d", i, size, p.lim.BodyBytes)
		return nil
	}
	b := Body{Start: p.pos, End: p.pos + int(size)}
	p.end = b.End
	typ := p.mod.Types[p.mod.Functions[i]]
	b.Locals = p.locals(i, len(typ.Params))
	b.Code = p.pos
	s := p.walk(i, typ, len(typ.Params)+int(b.Locals))
	p.end = sectionEnd
	if p.err != nil {
		return nil
	}
	p.mod.Bodies = append(p.mod.Bodies, b)
	p.mod.CodeBytes += int(size)
	p.mod.MaxBody = max(p.mod.MaxBody, int(size))
	p.mod.MaxLocals = max(p.mod.MaxLocals, s.locals)
	return s
}

// locals reads the declarations, which come in runs of a count and a type.
func (p *parser) locals(i, params int) uint32 {
	start := p.pos
	runs := p.count("runs of locals", CodeTooManyLocals, p.lim.Locals, 2)
	total := uint64(0)
	for range runs {
		total += uint64(p.u32())
		p.valType()
	}
	if p.err == nil && total+uint64(params) > uint64(p.lim.Locals) {
		p.fail(CodeTooManyLocals, start, "split the function, or build with optimisation",
			"function %d has %d locals, more than the limit of %d", i, total+uint64(params), p.lim.Locals)
		return 0
	}
	return uint32(total)
}

// walk reads every instruction of a function and checks that its blocks and labels fit together.
func (p *parser) walk(i int, typ FuncType, locals int) *shape {
	s := &p.shape
	if p.err != nil {
		return s
	}
	s.reset(locals)
	p.blocks = 0
	p.frames = append(p.frames[:0], frame{op: OpBlock, arity: int32(len(typ.Results))})
	in := &p.instr
	for len(p.frames) > 0 && p.err == nil {
		p.instruction(in)
		if p.err != nil {
			break
		}
		switch op := in.Op; op {
		case OpBlock, OpLoop, OpIf:
			p.open(i, in, s)
		case OpElse:
			p.otherwise(in, s)
		case OpEnd:
			p.close(s)
		case OpBr:
			p.branch(in, in.Index, s)
		case OpBrIf:
			p.branch(in, in.Index, s)
			s.points++
		case OpBrTable:
			p.brTable(in, s)
		case OpLocalGet:
			s.get(in.Index, p.top())
		case OpLocalSet, OpLocalTee:
			s.set(in.Index, p.top())
		case OpCall:
			p.call(in)
		default:
			p.note(in, s)
		}
	}
	if p.err == nil && p.pos != p.end {
		p.fail(CodeMalformed, p.pos, "", "function %d has %d bytes after its end", i, p.end-p.pos)
	}
	return s
}

// open enters a block, loop or if.
func (p *parser) open(i int, in *Instruction, s *shape) {
	if len(p.frames) > p.lim.Depth {
		p.fail(CodeTooDeep, in.Offset, "split the function", "function %d nests more than %d blocks", i, p.lim.Depth)
		return
	}
	params, results := 0, 1
	switch {
	case in.Block >= 0 && int64(in.Block) >= int64(len(p.mod.Types)):
		p.fail(CodeBadIndex, in.Offset, "", "type %d does not exist", in.Block)
		return
	case in.Block >= 0:
		params, results = len(p.mod.Types[in.Block].Params), len(p.mod.Types[in.Block].Results)
	case in.Block == -64:
		results = 0
	}
	f := frame{op: in.Op, loops: p.top().loops, arity: int32(results), mark: len(s.undo)}
	if in.Op == OpLoop {
		f.loops++
		f.arity = int32(params)
		s.loop(f.loops)
	}
	p.blocks++
	f.block = p.blocks
	p.frames = append(p.frames, f)
	p.mod.MaxDepth = max(p.mod.MaxDepth, len(p.frames)-1)
}

// otherwise turns the if around it into its else.
func (p *parser) otherwise(in *Instruction, s *shape) {
	top := p.top()
	if top.op != OpIf || len(p.frames) < 2 {
		p.fail(CodeMalformed, in.Offset, "", "an else without an if")
		return
	}
	s.points++
	s.leave(*top, &p.frames[len(p.frames)-2])
	p.blocks++
	top.op, top.mark, top.block = OpElse, len(s.undo), p.blocks
}

// close leaves the innermost block.
func (p *parser) close(s *shape) {
	f := *p.top()
	p.frames = p.frames[:len(p.frames)-1]
	if len(p.frames) == 0 {
		return
	}
	if f.join || f.op == OpIf || f.op == OpElse {
		s.merge()
		s.phis += int64(f.arity) * costMerge
	}
	s.leave(f, p.top())
}

// top is the innermost block.
func (p *parser) top() *frame { return &p.frames[len(p.frames)-1] }

// branch checks a label and notes that it is jumped to.
func (p *parser) branch(in *Instruction, label uint32, s *shape) {
	if int64(label) >= int64(len(p.frames)) {
		p.fail(CodeBadIndex, in.Offset, "", "a branch to label %d, in %d blocks", label, len(p.frames))
		return
	}
	target := &p.frames[len(p.frames)-1-int(label)]
	target.join = true
	s.phis += int64(target.arity) * costMerge
}

func (p *parser) brTable(in *Instruction, s *shape) {
	if len(in.Targets)-1 > p.lim.BrTableTargets {
		p.fail(CodeBrTableTooLarge, in.Offset, "split the switch", "a br_table has %d labels, more than the limit of %d", len(in.Targets)-1, p.lim.BrTableTargets)
		return
	}
	for _, label := range in.Targets {
		p.branch(in, label, s)
	}
	s.minor += int64(len(in.Targets)) * minorsPerPoint / 4
}

func (p *parser) call(in *Instruction) {
	if int64(in.Index) >= int64(len(p.mod.Imports)+len(p.mod.Functions)) {
		p.fail(CodeBadIndex, in.Offset, "", "function %d does not exist", in.Index)
	}
}

// note records what the other instructions tell about the module.
func (p *parser) note(in *Instruction, s *shape) {
	m := p.mod
	switch op := in.Op; op {
	case OpCallIndirect:
		s.minor++
		s.heavy += costCallIndirect
	case OpTableGet:
		s.minor++
	case OpTableSet, OpElemDrop:
		s.minor++
		m.MutatesTables = true
	case OpTableGrow:
		m.MutatesTables = true
		s.points++
	case OpTableInit, OpTableCopy, OpTableFill:
		m.MutatesTables = true
		s.points += 2
	case OpMemoryGrow:
		m.GrowsMemory = true
	case OpMemoryInit, OpDataDrop:
		m.DropsData, m.UsesBulkMemory = true, true
		s.points += 2
		if p.needsCount < 0 {
			p.needsCount = in.Offset
		}
	case OpMemoryCopy, OpMemoryFill:
		m.UsesBulkMemory = true
		s.points += 2
	case OpRefFunc:
		p.call(in)
	default:
		if op.mayTrap() {
			s.minor++
		}
		m.UsesSIMD = m.UsesSIMD || op>>8 == 0xfd
	}
}
