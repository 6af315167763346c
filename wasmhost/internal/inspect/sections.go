package inspect

import "fmt"

// parser is the state of one Parse.
type parser struct {
	reader
	lim         Limits
	mod         *Module
	codeCount   int
	customBytes int
	elements    int
	dataCount   int64 // -1 when the module has no data count section
	needsCount  int   // offset of the first instruction that needs a data count, or -1
	frames      []frame
	blocks      int32 // blocks of the function so far
	instr       Instruction
	shape       shape
}

func (p *parser) valType() ValType {
	start := p.pos
	t := ValType(p.byte())
	switch t {
	case I32, I64, F32, F64, V128, FuncRef, ExternRef:
		return t
	case 0x63, 0x64:
		p.fail(CodeTypedReferences, start, "build without typed references and garbage collection", "the module uses typed references")
	case 0x69:
		p.fail(CodeExceptions, start, "build without exception handling", "the module uses exception references")
	default:
		p.fail(CodeBadType, start, "", "0x%02x is not a value type", byte(t))
	}
	return 0
}

func (p *parser) refType() ValType {
	start := p.pos
	t := p.valType()
	if p.err == nil && t != FuncRef && t != ExternRef {
		p.fail(CodeBadType, start, "", "%s is not a reference type", t)
	}
	return t
}

func (p *parser) typeSection() {
	n := p.count("function types", CodeTooManyTypes, p.lim.Types, 3)
	p.mod.Types = make([]FuncType, 0, n)
	for range n {
		start := p.pos
		form := p.byte()
		if p.err == nil && form != 0x60 {
			p.fail(CodeTypedReferences, start, "build without garbage collection", "type 0x%02x is not a function type", form)
		}
		t := FuncType{
			Params:  p.valTypes("parameters", CodeTooManyParams, p.lim.Params),
			Results: p.valTypes("results", CodeTooManyResults, p.lim.Results),
		}
		if p.err != nil {
			return
		}
		p.mod.Types = append(p.mod.Types, t)
	}
}

func (p *parser) valTypes(what, code string, limit int) []ValType {
	n := p.count(what, code, limit, 1)
	if n == 0 {
		return nil
	}
	types := make([]ValType, n)
	for i := range types {
		types[i] = p.valType()
	}
	return types
}

func (p *parser) typeIndex() uint32 {
	start := p.pos
	index := p.u32()
	if p.err == nil && int64(index) >= int64(len(p.mod.Types)) {
		p.fail(CodeBadIndex, start, "", "type %d does not exist", index)
	}
	return index
}

func (p *parser) importSection() {
	n := p.count("imports", CodeTooManyImports, p.lim.Imports, 4)
	for range n {
		module := p.name("import module", p.lim.NameBytes)
		name := p.name("import name", p.lim.NameBytes)
		start := p.pos
		kind := p.byte()
		if p.err == nil && kind != byte(ExternFunc) {
			what := "an item of unknown kind"
			if kind <= 4 {
				what = [...]string{1: "a table", 2: "a memory", 3: "a global", 4: "an exception tag"}[kind]
			}
			p.fail(CodeImportKind, start, "define and export it in the module; the host provides functions only (for clang and Rust: drop --import-memory and --import-table)",
				"import %s is %s, and only functions can be imported", quoteImport(module, name), what)
		}
		typ := p.typeIndex()
		if p.err != nil {
			return
		}
		p.mod.Imports = append(p.mod.Imports, Import{Module: module, Name: name, Type: typ})
	}
}

func (p *parser) functionSection() {
	n := p.count("functions", CodeTooManyFunctions, p.lim.Functions, 1)
	p.mod.Functions = make([]uint32, n)
	for i := range p.mod.Functions {
		p.mod.Functions[i] = p.typeIndex()
	}
}

// limits reads a minimum and a maximum, of a memory or of a table.
func (p *parser) limits(what string) (min, max uint32, hasMax bool) {
	start := p.pos
	flags := p.byte()
	switch {
	case p.err != nil:
	case flags&^7 != 0:
		p.fail(CodeMalformed, start, "", "unknown flags 0x%02x in the limits of a %s", flags, what)
	case flags&2 != 0:
		p.fail(CodeSharedMemory, start, "build without threads (no -pthread, no atomics)", "the %s is shared", what)
	case flags&4 != 0:
		p.fail(CodeMemory64, start, "build for wasm32", "the %s has 64-bit addresses", what)
	}
	min = p.u32()
	if flags&1 != 0 {
		max, hasMax = p.u32(), true
	}
	if p.err == nil && hasMax && max < min {
		p.fail(CodeMalformed, start, "", "the %s has a minimum of %d above its maximum of %d", what, min, max)
	}
	return min, max, hasMax
}

func (p *parser) tableSection() {
	n := p.count("tables", CodeTooManyTables, p.lim.Tables, 3)
	for range n {
		start := p.pos
		if p.err == nil && p.remaining() > 0 && p.buf[p.pos] == 0x40 {
			p.fail(CodeTypedReferences, start, "build without typed references", "a table has an initial value")
		}
		elem := p.refType()
		min, max, hasMax := p.limits("table")
		if p.err == nil && int64(min) > int64(p.lim.TableElements) {
			p.fail(CodeTableTooLarge, start, "", "a table starts with %d entries, more than the limit of %d", min, p.lim.TableElements)
		}
		if p.err != nil {
			return
		}
		p.mod.Tables = append(p.mod.Tables, TableType{Elem: elem, Min: min, Max: max, HasMax: hasMax})
	}
}

func (p *parser) memorySection() {
	n := p.count("memories", CodeTooManyMemories, 1, 2)
	if n == 0 || p.err != nil {
		return
	}
	start := p.pos
	min, max, hasMax := p.limits("memory")
	if p.err == nil && int64(min) > int64(p.lim.MemoryPages) {
		p.fail(CodeMemoryTooLarge, start, "lower the initial memory (--initial-memory, or smaller static data)",
			"the memory starts with %d pages of 64 KiB, more than the limit of %d", min, p.lim.MemoryPages)
	}
	if p.err == nil && max > 65536 {
		p.fail(CodeMemoryTooLarge, start, "", "the memory has a maximum of %d pages; 65,536 are addressable", max)
	}
	p.mod.Memory = &MemoryType{Min: min, Max: max, HasMax: hasMax}
}

func (p *parser) globalSection() {
	n := p.count("globals", CodeTooManyGlobals, p.lim.Globals, 4)
	p.mod.Globals = make([]Global, 0, n)
	for range n {
		typ := p.valType()
		start := p.pos
		mut := p.byte()
		if p.err == nil && mut > 1 {
			p.fail(CodeMalformed, start, "", "0x%02x is neither a constant nor a mutable global", mut)
		}
		p.constExpr()
		if p.err != nil {
			return
		}
		p.mod.Globals = append(p.mod.Globals, Global{Type: typ, Mutable: mut == 1})
	}
}

func (p *parser) exportSection() {
	n := p.count("exports", CodeTooManyExports, p.lim.Exports, 3)
	p.mod.Exports = make([]Export, 0, n)
	p.mod.exports = make(map[string]int, n)
	for range n {
		start := p.pos
		name := p.name("export name", p.lim.NameBytes)
		kind := p.byte()
		if p.err == nil && kind > byte(ExternGlobal) {
			p.fail(CodeMalformed, start, "", "export %q is of the unknown kind %d", name, kind)
		}
		if _, twice := p.mod.exports[name]; twice && p.err == nil {
			p.fail(CodeDuplicateExport, start, "", "%q is exported twice", name)
		}
		var index uint32
		if ExternKind(kind) == ExternFunc {
			index = p.funcRef()
		} else {
			index = p.u32()
		}
		if p.err != nil {
			return
		}
		p.mod.exports[name] = len(p.mod.Exports)
		p.mod.Exports = append(p.mod.Exports, Export{Name: name, Kind: ExternKind(kind), Index: index})
	}
}

// funcRef reads a function index and remembers where it stands.
func (p *parser) funcRef() uint32 {
	start := p.pos
	index := p.u32()
	if p.err == nil {
		p.mod.FuncUses = append(p.mod.FuncUses, FuncUse{Offset: start, End: p.pos, Index: index})
	}
	return index
}

// constExpr reads the initial value of a global or the offset of a segment: one constant and its end.
func (p *parser) constExpr() {
	start := p.pos
	switch op := p.byte(); {
	case p.err != nil:
	case op == 0x41:
		p.signed(32)
	case op == 0x42:
		p.signed(64)
	case op == 0x43:
		p.skip(4)
	case op == 0x44:
		p.skip(8)
	case op == 0x23:
		p.u32()
	case op == 0xd0:
		p.refType()
	case op == 0xd2:
		p.funcRef()
	case op == 0xfd:
		if sub := p.u32(); p.err == nil && sub != 0x0c {
			p.fail(CodeUnknownOpcode, start, "", "vector instruction 0x%02x in a constant expression", sub)
		}
		p.skip(16)
	default:
		p.fail(CodeUnknownOpcode, start, "", "instruction 0x%02x in a constant expression", op)
	}
	if end := p.byte(); p.err == nil && end != 0x0b {
		p.fail(CodeUnknownOpcode, p.pos-1, "build without extended constant expressions", "a constant expression of more than one instruction")
	}
}

// quoteImport names an import in a message.
func quoteImport(module, name string) string { return fmt.Sprintf("%q.%q", module, name) }
