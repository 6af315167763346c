package inspect

// ValType is the type of a value, as the binary format encodes it.
type ValType byte

// Value types.
const (
	I32       ValType = 0x7f
	I64       ValType = 0x7e
	F32       ValType = 0x7d
	F64       ValType = 0x7c
	V128      ValType = 0x7b
	FuncRef   ValType = 0x70
	ExternRef ValType = 0x6f
)

// String gives the name of the type in the text format.
func (t ValType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	case V128:
		return "v128"
	case FuncRef:
		return "funcref"
	case ExternRef:
		return "externref"
	}
	return "unknown"
}

// FuncType is the type of a function.
type FuncType struct {
	Params  []ValType
	Results []ValType
}

// Import is an imported function; nothing else may be imported.
type Import struct {
	Module string
	Name   string
	Type   uint32 // index in Module.Types
}

// ExternKind is the kind of an export.
type ExternKind byte

// Kinds of exports.
const (
	ExternFunc ExternKind = iota
	ExternTable
	ExternMemory
	ExternGlobal
)

// Export is one exported item.
type Export struct {
	Name  string
	Kind  ExternKind
	Index uint32 // in the index space of its kind
}

// Global is the type of one global.
type Global struct {
	Type    ValType
	Mutable bool
}

// MemoryType is the declared size of the memory, in pages of 64 KiB.
type MemoryType struct {
	Min    uint32
	Max    uint32 // meaningful when HasMax
	HasMax bool
}

// TableType is the declared size of a table, in entries.
type TableType struct {
	Elem   ValType
	Min    uint32
	Max    uint32 // meaningful when HasMax
	HasMax bool
}

// Section is the place of one section in the file.
type Section struct {
	ID     byte
	Offset int // of its number
	Start  int // of its content
	End    int
}

// CustomSection is the place of one custom section in the file.
type CustomSection struct {
	Name   string
	Offset int // of its bytes, after the name
	Size   int // of its bytes, without the name
}

// Body is the place of one function body in the file.
type Body struct {
	Start  int    // of its local declarations
	Code   int    // of its first instruction
	End    int    // one after its final end
	Locals uint32 // declared locals, without the parameters
}

// FuncUse is a function index that stands outside the code: in an export, an element segment or the initial value of
// a global.
type FuncUse struct {
	Offset int // of its LEB128
	End    int // one after it
	Index  uint32
}

// Module is the result of [Parse]. It keeps the bytes that it was parsed from, which must not change afterwards; it is
// safe for concurrent use as long as nobody writes to it.
type Module struct {
	Types     []FuncType
	Imports   []Import
	Functions []uint32 // index in Types of each defined function
	Tables    []TableType
	Memory    *MemoryType // nil when the module has none
	Globals   []Global
	Exports   []Export
	HasStart  bool   // always false after Parse, which refuses a start section
	StartFunc uint32 // meaningful when HasStart

	ElemSegments int
	PassiveElem  int // passive and declarative segments
	DataSegments int
	PassiveData  int

	Sections []Section // in file order, custom sections included
	Custom   []CustomSection
	Bodies   []Body
	FuncUses []FuncUse // in file order

	Size        int // bytes of the file
	CodeBytes   int // bytes of all bodies
	MaxBody     int // bytes of the largest body
	MaxLocals   int // parameters and locals of the function that has most
	MaxDepth    int // deepest nesting of blocks
	CompileCost int // estimated super-linear part of compiling, in units of about 1 µs

	UsesSIMD       bool // a vector instruction occurs
	UsesBulkMemory bool // memory.fill, copy or init, or data.drop occurs
	MutatesTables  bool // table.set, grow, fill, copy or init, or elem.drop occurs
	DropsData      bool // data.drop or memory.init occurs
	GrowsMemory    bool // memory.grow occurs

	wasm    []byte
	exports map[string]int
}

// Bytes returns the binary from which the module was parsed. They belong to the module and must not be changed.
func (m *Module) Bytes() []byte { return m.wasm }

// Kind tells how a module is to be started.
type Kind string

const (
	// KindReactor exports _initialize, to be called once before any other function.
	KindReactor Kind = "reactor"
	// KindCommand exports _start without _initialize: it runs once and ends.
	KindCommand Kind = "command"
	// KindPlain exports neither.
	KindPlain Kind = "plain"
)

// Kind tells how the module is to be started, from the functions that it exports.
func (m *Module) Kind() Kind {
	if e, ok := m.Export("_initialize"); ok && e.Kind == ExternFunc {
		return KindReactor
	}
	if e, ok := m.Export("_start"); ok && e.Kind == ExternFunc {
		return KindCommand
	}
	return KindPlain
}

// Export returns the export of that name.
func (m *Module) Export(name string) (Export, bool) {
	i, ok := m.exports[name]
	if !ok {
		return Export{}, false
	}
	return m.Exports[i], true
}

// FuncType returns the type of the function with that index, imported functions first; the zero type when there is no
// such function. The slices belong to the module.
func (m *Module) FuncType(index uint32) FuncType {
	if n := uint32(len(m.Imports)); index < n {
		return m.Types[m.Imports[index].Type]
	} else if index -= n; index < uint32(len(m.Functions)) {
		return m.Types[m.Functions[index]]
	}
	return FuncType{}
}

// CustomSection returns the bytes of the one custom section of that name, and whether there is one. The bytes belong
// to the module. A name that occurs twice is refused with [CodeDuplicateCustom], since readers would disagree on which
// one counts.
func (m *Module) CustomSection(name string) ([]byte, bool, error) {
	var found *CustomSection
	for i := range m.Custom {
		if m.Custom[i].Name != name {
			continue
		}
		if found != nil {
			return nil, false, &Refusal{
				Code: CodeDuplicateCustom, Offset: m.Custom[i].Offset,
				Message: "the custom section " + name + " occurs more than once",
				Hint:    "keep one of them",
			}
		}
		found = &m.Custom[i]
	}
	if found == nil {
		return nil, false, nil
	}
	return m.wasm[found.Offset : found.Offset+found.Size : found.Offset+found.Size], true, nil
}
