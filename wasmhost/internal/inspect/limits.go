package inspect

// Limits bounds a module. A field that is zero or negative means its default, which is given beside it. The defaults
// let through what Go (net/http included), TinyGo, Rust, C and Haskell compilers emit.
type Limits struct {
	ModuleBytes    int // whole file: 16 MiB
	CodeBytes      int // sum of all bodies: 12 MiB
	BodyBytes      int // one body: 1 MiB
	CustomBytes    int // all custom sections together, debug information included: 8 MiB
	CustomSections int // number of custom sections: 64
	NameBytes      int // one import, export or custom section name: 1,024

	Types        int // function types: 10,000
	Params       int // parameters of one function type: 128
	Results      int // results of one function type: 32
	Imports      int // imported functions: 1,000
	Functions    int // defined functions: 50,000
	Globals      int // globals: 10,000
	Exports      int // exports: 20,000
	Tables       int // tables: 8
	Elements     int // entries of all element segments, and segments: 100,000
	DataSegments int // data segments: 200,000

	MemoryPages   int // minimum of the memory, in pages of 64 KiB: 512, which is 32 MiB
	TableElements int // minimum of one table, in entries: 65,536

	Locals         int // parameters and locals of one function: 4,000
	Depth          int // nested blocks of one function: 20,000
	BrTableTargets int // labels of one br_table: 20,000
	CompileCost    int // estimated super-linear part of compiling, in units of about 1 µs: 600,000, and one for every two bytes of code
}

// DefaultLimits returns the limits that a zero [Limits] means.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

func (l Limits) withDefaults() Limits {
	for _, field := range []struct {
		value *int
		def   int
	}{
		{&l.ModuleBytes, 16 << 20},
		{&l.CodeBytes, 12 << 20},
		{&l.BodyBytes, 1 << 20},
		{&l.CustomBytes, 8 << 20},
		{&l.CustomSections, 64},
		{&l.NameBytes, 1024},
		{&l.Types, 10_000},
		{&l.Params, 128},
		{&l.Results, 32},
		{&l.Imports, 1000},
		{&l.Functions, 50_000},
		{&l.Globals, 10_000},
		{&l.Exports, 20_000},
		{&l.Tables, 8},
		{&l.Elements, 100_000},
		{&l.DataSegments, 200_000},
		{&l.MemoryPages, 512},
		{&l.TableElements, 65_536},
		{&l.Locals, 4000},
		{&l.Depth, 20_000},
		{&l.BrTableTargets, 20_000},
		{&l.CompileCost, 600_000},
	} {
		if *field.value <= 0 {
			*field.value = field.def
		}
	}
	return l
}
