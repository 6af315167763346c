// Package inspect bounds a WebAssembly module before anything else sees its bytes. It owns the one parser of the whole
// binary format, down to every instruction, and the limits that a module must keep.
//
//	module, err := inspect.Parse(upload, inspect.Limits{MemoryPages: 256})
//	var refusal *inspect.Refusal
//	if errors.As(err, &refusal) {
//		return fmt.Errorf("%s: %s", refusal.Message, refusal.Hint)
//	}
//	fmt.Println(module.Kind(), module.Imports)
//
// It accepts core WebAssembly as wazero's CoreFeaturesV2 runs it: the first version, sign extension,
// saturating conversion, multiple values, bulk memory, reference types and vectors. Components, threads, exceptions,
// tail calls, typed references, 64-bit or several memories, and imports other than functions are refused, each with
// its own code and a hint.
//
// Parse allocates in proportion to the bytes it is given, whatever counts they declare, and takes time in proportion
// to them. It does not type-check the code: wazero validates afterwards, safe from the claims and shapes that make it
// allocate or compile without bound. Where wazero reads an encoding more loosely than the specification, Parse is
// strict, so that the two never disagree about where an instruction ends.
//
// It lists imports and does not judge their names.
package inspect

import "fmt"

// Section numbers of the binary format.
const (
	SectionCustom byte = iota
	SectionType
	SectionImport
	SectionFunction
	SectionTable
	SectionMemory
	SectionGlobal
	SectionExport
	SectionStart
	SectionElement
	SectionCode
	SectionData
	SectionDataCount
	sectionTag
)

var sectionNames = [...]string{
	SectionCustom: "custom", SectionType: "type", SectionImport: "import", SectionFunction: "function",
	SectionTable: "table", SectionMemory: "memory", SectionGlobal: "global", SectionExport: "export",
	SectionStart: "start", SectionElement: "element", SectionCode: "code", SectionData: "data",
	SectionDataCount: "datacount",
}

// SectionName returns the specification's name of a section.
func SectionName(id byte) string {
	if int(id) < len(sectionNames) {
		return sectionNames[id]
	}
	return fmt.Sprintf("section %d", id)
}

// sectionRank orders the sections: the data count stands between the elements and the code.
var sectionRank = [...]int{
	SectionType: 1, SectionImport: 2, SectionFunction: 3, SectionTable: 4, SectionMemory: 5, SectionGlobal: 6,
	SectionExport: 7, SectionStart: 8, SectionElement: 9, SectionDataCount: 10, SectionCode: 11, SectionData: 12,
}

// Parse reads the whole module and returns its content, or a *[Refusal]; it never panics. It keeps wasm, which the
// caller must not change afterwards. Zero fields of lim mean their defaults.
func Parse(wasm []byte, lim Limits) (*Module, error) {
	p := &parser{
		reader:    reader{buf: wasm, end: len(wasm)},
		lim:       lim.withDefaults(),
		mod:       &Module{Size: len(wasm), wasm: wasm},
		dataCount: -1, needsCount: -1,
	}
	p.header()
	rank := 0
	for p.err == nil && p.pos < len(wasm) {
		rank = p.section(rank)
	}
	p.crossChecks()
	if p.err != nil {
		return nil, p.err
	}
	return p.mod, nil
}

func (p *parser) header() {
	buf := p.buf
	switch {
	case len(buf) == 0:
		p.fail(CodeEmpty, 0, "send the bytes of a .wasm file", "the file is empty")
	case len(buf) > p.lim.ModuleBytes:
		p.fail(CodeModuleTooLarge, 0, "strip debug information (-ldflags='-s -w', wasm-strip, wasm-opt -Oz) or choose a smaller toolchain",
			"the module is %d bytes long, more than the limit of %d", len(buf), p.lim.ModuleBytes)
	case len(buf) < 4 && string(buf) == "\x00asm"[:len(buf)]:
		p.fail(CodeTruncated, len(buf), "send the whole file", "the module ends in its magic number")
	case len(buf) < 4 || string(buf[:4]) != "\x00asm":
		p.fail(CodeBadMagic, 0, "send a binary .wasm file; text (.wat) is assembled with wat2wasm, archives are unpacked first",
			"the file is not WebAssembly: it does not begin with \\0asm")
	case len(buf) < 8:
		p.fail(CodeTruncated, len(buf), "send the whole file", "the module ends in its version")
	case string(buf[4:8]) == "\x0d\x00\x01\x00" || buf[6] == 1 && buf[7] == 0:
		p.fail(CodeComponent, 4, rebuildHint(buf), "the file is a WebAssembly component, not a core module%s", worldOf(buf))
	case string(buf[4:8]) != "\x01\x00\x00\x00":
		p.fail(CodeBadVersion, 4, "build for version 1 of WebAssembly", "the module has the unknown version % x", buf[4:8])
	}
	p.pos = 8
}

// section reads one section and returns the rank that the next one must exceed.
func (p *parser) section(rank int) int {
	start := p.pos
	p.end = len(p.buf)
	id := p.byte()
	size := p.u32()
	if p.err != nil {
		return rank
	}
	if uint64(size) > uint64(p.remaining()) {
		p.fail(CodeTruncated, start, "the upload was cut short or damaged; send the whole file",
			"section %d declares %d bytes and %d are left", id, size, p.remaining())
		return rank
	}
	p.end = p.pos + int(size)
	p.mod.Sections = append(p.mod.Sections, Section{ID: id, Offset: start, Start: p.pos, End: p.end})
	if id != SectionCustom {
		if rank = p.nextRank(id, start, rank); p.err != nil {
			return rank
		}
	}
	p.content(id)
	if p.err == nil && p.pos != p.end {
		p.fail(CodeSectionBounds, p.pos, "", "section %d is %d bytes longer than its content", id, p.end-p.pos)
	}
	p.end = len(p.buf)
	return rank
}

func (p *parser) nextRank(id byte, start, rank int) int {
	switch {
	case id == sectionTag:
		p.fail(CodeExceptions, start, "build without exception handling", "the module uses exception handling (a tag section)")
	case int(id) >= len(sectionRank):
		p.fail(CodeSectionUnknown, start, "", "unknown section %d", id)
	case sectionRank[id] == rank:
		p.fail(CodeSectionOrder, start, "", "section %d occurs twice", id)
	case sectionRank[id] < rank:
		p.fail(CodeSectionOrder, start, "", "section %d is out of order", id)
	default:
		return sectionRank[id]
	}
	return rank
}

func (p *parser) content(id byte) {
	switch id {
	case SectionCustom:
		p.customSection()
	case SectionType:
		p.typeSection()
	case SectionImport:
		p.importSection()
	case SectionFunction:
		p.functionSection()
	case SectionTable:
		p.tableSection()
	case SectionMemory:
		p.memorySection()
	case SectionGlobal:
		p.globalSection()
	case SectionExport:
		p.exportSection()
	case SectionStart:
		p.fail(CodeStartSection, p.pos, "export the function as _initialize instead, where limits hold",
			"the module has a start function, which would run while it is being loaded")
	case SectionElement:
		p.elementSection()
	case SectionDataCount:
		p.dataCount = int64(p.u32())
	case SectionCode:
		p.codeSection()
	case SectionData:
		p.dataSection()
	}
}

// crossChecks compares what several sections say about each other.
func (p *parser) crossChecks() {
	m := p.mod
	if p.codeCount != len(m.Functions) {
		p.fail(CodeFunctionMismatch, len(p.buf), "", "%d functions are declared and %d have a body", len(m.Functions), p.codeCount)
	}
	if p.dataCount >= 0 && p.dataCount != int64(m.DataSegments) {
		p.fail(CodeDataCountMismatch, len(p.buf), "", "%d data segments are announced and %d follow", p.dataCount, m.DataSegments)
	}
	if p.dataCount < 0 && p.needsCount >= 0 {
		p.fail(CodeDataCountMismatch, p.needsCount, "", "memory.init and data.drop need a data count section, and there is none")
	}
	limits := map[ExternKind]int{
		ExternFunc: len(m.Imports) + len(m.Functions), ExternTable: len(m.Tables), ExternGlobal: len(m.Globals), ExternMemory: 0,
	}
	if m.Memory != nil {
		limits[ExternMemory] = 1
	}
	for _, e := range m.Exports {
		if int64(e.Index) >= int64(limits[e.Kind]) {
			p.fail(CodeBadIndex, len(p.buf), "", "export %q refers to item %d, which does not exist", e.Name, e.Index)
		}
	}
	for _, ref := range m.FuncUses {
		if int64(ref.Index) >= int64(limits[ExternFunc]) {
			p.fail(CodeBadIndex, ref.Offset, "", "function %d does not exist", ref.Index)
		}
	}
}
