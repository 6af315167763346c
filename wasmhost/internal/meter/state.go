package meter

import "github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"

// The types of this file refer to each other; the other files hold their methods.

// step is something that happens on the ways through a function, in the order of its code.
type step struct {
	kind stepKind
	at   int32
	to   int32
	edit int32 // that holds its check
}

// stepKind is the kind of a step; the remarks explain its at and to.
type stepKind uint8

// beginning is how much of a jump through a table has been seen at the head of a loop.
type beginning uint8

// jump is a branch out of at least one loop.
type jump struct {
	loop    int32 // in which it stands
	around  int32 // that it leads to, or -1
	landing int32 // where it arrives
}

// loop is one loop of the function being planned that can be entered.
type loop struct {
	parent  int32  // the loop around it, or -1
	number  int32  // of its block
	counted bool   // it charges a local
	depth   uint32 // counted loops around it, itself included
	cost    int64  // of all regions that stand in it, which a trap may leave unpaid
	plain   bool   // so far nothing but straight code, or that and a jump to the loop at its end
	edits   int    // how many edits there were before it
	form    plainLoop
	own     int32 // its region
	mixed   bool  // it takes values, or there are jumps to it from loops inside or through tables
	rotated bool  // it is checked where it is jumped to instead of at its head
	backs   int   // jumps to it that begin another round
	heads   int   // those of them that are not known jumps
	begin   int32 // its step
	most    int64 // the most that it and the loops around it may have added to the counter

	// A loop that begins with a jump through a table.
	begins beginning
	local  uint32 // that is looked up
	table  int    // where in plan.table the numbers of the blocks begin that it leads to
	tables int    // how many those are
}

// send is a jump whose way through the table at the head of a loop is known.
type send struct{ loop, region int32 }

// Global is a mutable global of the original module, as the rewritten one exports it.
type Global struct {
	Index  uint32 // in both modules
	Export string
	Type   inspect.ValType
	// Unrestorable tells that the host cannot put the value back through its export: vectors and references. A
	// module that has such a global needs a new instance for fresh state.
	Unrestorable bool
}

// Hints spare a verifier the search; it must not believe them.
type Hints struct {
	Order []uint32 // numbers of all defined functions, each after those that it calls; calls of hubs don't count
	Hubs  []Hub
}

// Hub is a function at which cycles of direct calls are cut.
type Hub struct {
	Func uint32 // its number among the defined functions
	Pre  int64  // the most that it charges before its first check, or to its end without one
}

// Options are the choices of a caller.
type Options struct {
	// MaxTableElements becomes the maximum of tables that have none or a larger one, but never less than their
	// minimum. Zero means DefaultTableElements.
	MaxTableElements uint32
	// Reads is an import of type (i64) -> i64 that reads a 64-bit word of an input that is immutable during a call; any
	// offset is valid. The module reads [Words] of them at a time.
	Reads Import
	// Writes is an import of type (i64, i64) -> () that stores a word at an offset. The module leaves as many to the
	// host, which stores them when it is called next, or when the call has ended.
	Writes Import
	// Map has [Result].Map filled in.
	Map bool
}

// Result is a metered module.
type Result struct {
	Wasm       []byte
	FuelExport string       // the exported mutable i64 global that holds what is left of the present slice
	Globals    []Global     // every mutable global of the original, in index order
	Words      *WordGlobals // nil when the module imports neither Reads nor Writes
	MaxDebt    int64        // the most that is charged between two checks, without lengths; see the package comment
	Hints      Hints        // for a verifier
	// Functions from First on have moved up by Moved.
	First, Moved uint32
	Map          []Span // where code of the original stands, in the order of the metered form; when Options.Map asks for it
}

// Span is a stretch of the original's code that stands unchanged in the metered form. Code that a loop is written out
// with stands in none, but for its first round.
type Span struct {
	Out int // where it begins, after the beginning of the metered code section's content
	In  int // where it begins in the original's file
	Len int
}

// helper is a function that a metered module gets at its end: it does in pieces what one instruction of the original
// does at once. Where that instruction would trap, it is executed as it stands, so that nothing has been written.
type helper uint8

// block is an open block of the function being planned.
type block struct {
	op     inspect.Op
	typ    inspect.BlockType
	number int32 // in the function
	head   int32 // region in which it was entered
	own    int32 // region of a loop
	live   bool  // it can be entered at all
	then   bool  // the end of the first arm of an if with an else can be reached
	joined bool  // a branch leads to its label
	calls  bool  // something inside it leaves the function or charges for a length
	pauses bool  // there is a pause in it, see plan.pause
	out    int   // outermost block that a branch from inside leads to
	before int64 // weight of what stands before it in the function
	begun  int   // regions before it
	unpaid int   // of the first arm of an if with an else: what plan.unpaid was where it ended

	loop    int32 // number of a loop, or -1
	around  int32 // loop that a jump to its label stays in: itself, or the one around it, or -1
	landing int32 // place after it where jumps from counted loops arrive, or -1
}

// blockEnd says whether the end of a block has been passed.
type blockEnd uint8

// edit is one change to a body: what stands from at to end is replaced.
type edit struct {
	at, end int
	kind    editKind
	region  int32  // of a charge
	index   uint32 // of a function, already moved; or a label
	shift   int    // of a length
	loop    int32  // of a wrapper, or the one in which a label stands
	around  int32  // loop that the label leads to
	head    int    // end of the first bytes of a wrapped loop
	landing int32  // of a flush; or the number of the block that is jumped to
	on      bool   // the host is called when fuel has run out
}

// editKind is the kind of an edit. Kinds without a remark replace an index or insert the charge that they are named after.
type editKind uint8

// plan decides, for one body, which regions there are and where they are charged. It is reused for one body after the
// other, so that its slices are allocated once for a module.
type plan struct {
	regions   []region
	blocks    []block
	edits     []edit
	loops     []loop
	jumps     []jump
	owed      []int64      // at each landing: the most that the counter may hold there
	steps     []step       // the steps on the ways through the function
	labels    []tableLabel // of each br_table that leaves a loop, the first with their number
	cur       int32        // region that the next instruction belongs to
	weight    int64        // of the instructions so far that can be reached
	unpaid    int          // flushes since the last instruction that has a weight
	crowded   []int32      // landings that follow too many others, so that none of the loops they are for is counted
	live      bool         // the next instruction can be reached
	inner     int32        // innermost open loop, or -1
	lengths   bool         // a length is charged, which needs a local
	counts    bool         // a loop is counted, which needs a local
	helps     helper       // the helpers before it may be called
	outline   bool         // for each check
	plains    []plainLoop  // loops that are written out
	locals    uint32       // of the function, parameters included
	wasm      []byte
	sends     []send     // jumps that are known to lead on through a table
	table     []int32    // the blocks that the tables at the heads of loops lead to, by number
	blockEnds []blockEnd // of each block, by its number
	arrivals  []int32    // how many ways lead to its end
	prev      prior      // the instruction before the present one
	prev2     prior      // and the one before that
	moved     uint32     // number that is added to the indices of defined functions
	instead   []uint32   // of each import: the function that is called in its place, or 0
	functions []function // of the module; those that are called without a hub between are known
	values    bool       // the function gives results
	leaves    int        // how many br_ifs out of counted loops to the function's label there are
	each      bool       // every instruction is charged where it stands; tests compare with that
}

// prior is an instruction that has been passed.
type prior struct {
	op    inspect.Op
	at    int
	index uint32
}

// Planning a function is one pass over its instructions. The pass writes two lists: edits, the replacements in
// the body, and steps, the charges and jumps in the order of the code. An edit may turn out to
// be nothing: whether a loop is counted and whether a check stands at a place is decided after the pass, when the whole
// function is known (countLoops, rotate, checker.place). The rewriter then applies the edits in the order of their offsets.
// region is a set of instructions that is charged in one place, because they all execute exactly when the place does.
type region struct {
	cost    int64
	parent  int32 // the region it branches off from, which executes at least as often; -1 for the function
	loop    int32 // the loop it stands in, or -1
	landing int32 // of a loop head: the place where jumps from counted loops arrive, or -1
	fold    int64 // the cost up to which it is charged with that one
	before  bool  // there is a check before the charge
	check   bool  // there is a check after the charge
}

// tableLabel is a label of a br_table, and the innermost loop that its target stands in, -1 for none.
type tableLabel struct {
	index  uint32
	around int32
}

// rewriter is the state of one Rewrite. It reads wasm and mod and writes out; offsets are those of wasm, and function indices
// those of the original until they are written.
type rewriter struct {
	wasm   []byte
	mod    *inspect.Module
	opt    Options
	out    []byte
	yield  uint32            // index of the imported function, and of the first one that moves
	moved  uint32            // number that is added to the indices of functions from yield on
	fuel   uint32            // index of the fuel global
	uses   []inspect.FuncUse // function indices outside of code that are not yet written, by offset
	plan   plan
	result Result

	helps   helper // the module gets those before it
	helper  uint32 // index of the first one
	words   words
	code    []byte // the body being written
	spans   []Span // of it, from its beginning
	length  uint32 // its local for a length
	counter uint32 // its local for what counted loops owe
}

// plainLoop is a loop that may be written out.
type plainLoop struct {
	start, body, test, jump, end int // offsets: of loop, after it, of the instruction before br_if, of br_if, after end
	testOp                       inspect.Op
	cost                         int64
}

// Import names an imported function.
type Import struct{ Module, Name string }

// WordGlobals are the exported globals through which the host takes part. A name is empty where the module has no such
// global.
type WordGlobals struct {
	// Ahead holds how many bytes have been read ahead, as i64. The host sets it to 0 before each call.
	Ahead string `json:"ahead,omitempty"`
	// Pending holds, as i32, how many words of Behind, from the first, wait to be stored, the last of them 8 bytes before the
	// offset in Next (i64). The host stores them and sets Pending to 0 before it does anything else, and sets Next after each
	// word that it was called to store.
	Pending string   `json:"pending,omitempty"`
	Next    string   `json:"next,omitempty"`
	Behind  []string `json:"behind,omitempty"`
}

// words holds the replacements of a module's imports: a function for each of the two, and the globals that these share
// with the host. Only the globals named in WordGlobals are exported; a guest has no index for any of them.
type words struct {
	reads, writes         bool
	types                 []uint32 // of the functions
	write                 uint32   // the import that stores one word
	globals               uint32   // index of the first
	base, ahead, firstIn  uint32   // of what was read ahead: its offset, its length in bytes, the words
	next, pending, behind uint32   // of what waits: the offset after it, its length in words, the words
}
