package hosttest

import (
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

// Instructions of these cases.
var (
	dataDrop  = []byte{0xfc, 9, 0}
	elemDrop  = []byte{0xfc, 13, 0}
	tableCopy = []byte{0xfc, 14, 0, 0}
	tableFill = []byte{0xfc, 17, 0}
	tableSize = []byte{0xfc, 16, 0}
)

// memoryInit and tableInit copy from the segment 0.
var (
	memoryInit = []byte{0xfc, 8, 0, 0}
	tableInit  = []byte{0xfc, 12, 0, 0}
)

// segments is a guest with a passive segment of data, "0123456789", a table of four entries
// and a passive segment with one function in it, and a memory of two pages.
func segments() *guest {
	g := native()
	g.pages = 2
	g.passive = []string{"0123456789"}
	g.tables = [][]byte{w.Table("r", w.Limits(4, 8))}
	g.elems = [][]byte{cat([]byte{1, 0}, w.Vec(w.U32(uint32(len(g.imports)+1))))}
	return g
}

// engineCases are about what WebAssembly promises, and engines have got wrong: each is what
// just breaks a rule, and its twin what just keeps it.
func engineCases() []Case {
	traps := func(id, says, twin string, make func() *guest, bad, good []byte) Case {
		with := func(code []byte) func() *guest {
			return func() *guest { return make().tool("i", code, i32(0)) }
		}
		return calls(id, says, with(bad), "", status.Internal).twinCall(twin, "", with(good))
	}
	paged := func() *guest {
		g := bare()
		g.pages = 1
		return g
	}
	// indirect is a guest whose table holds a function () → i32 and nothing else, and which has a type
	// (i32, i64) → i64 too.
	indirect := func() *guest {
		g := bare()
		g.types = append(g.types, w.FuncType("iI", "I"))
		g.tables, g.elems = [][]byte{w.Table("r", w.Limits(3, 3))}, [][]byte{cat([]byte{0}, i32(0), []byte{opEnd}, w.Vec(w.U32(1)))}
		return g
	}
	through := func(entry int64) []byte { return cat(i32(entry), []byte{0x11, 0, 0}, drop) }
	const page = 65_536
	return []Case{
		traps("W01", "a load whose end is one byte past memory", "one that ends with it", paged, cat(i32(page-3), i32Load, drop), cat(i32(page-4), i32Load, drop)).seen("CVE-2023-26489"),
		traps("W02", "a load whose address and offset together wrap", "one with an offset within memory", paged,
			cat(i32(-1), []byte{0x28, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}, drop), cat(i32(0), []byte{0x28, 0, 0xfc, 0xff, 0x03}, drop)).seen("CVE-2023-26489"),
		traps("W03", "a fill that begins inside memory and ends outside", "one that ends with it", paged, cat(i32(page-4), i32(1), i32(5), memoryFill), cat(i32(page-4), i32(1), i32(4), memoryFill)).seen("wazero/wazero#1008"),
		traps("W04", "a copy of nothing from beyond the end", "a copy of nothing from the end", paged, cat(i32(0), i32(page+1), i32(0), memoryCopy), cat(i32(0), i32(page), i32(0), memoryCopy)).seen("WebAssembly/bulk-memory-operations#124"),
		traps("W05", "a copy of 2^32-1 bytes", "a copy of the whole memory", paged, cat(i32(1), i32(0), i32(-1), memoryCopy), cat(i32(0), i32(0), i32(page), memoryCopy)).seen("wasm3/wasm3#554"),
		traps("W06", "reading a segment past its end", "reading to its end", segments, cat(i32(0), i32(1), i32(10), memoryInit), cat(i32(0), i32(1), i32(9), memoryInit)).seen("bytecodealliance/wasmtime#7779"),
		traps("W07", "reading a segment that was dropped", "reading nothing of it", segments, cat(dataDrop, i32(0), i32(0), i32(1), memoryInit), cat(dataDrop, i32(0), i32(0), i32(0), memoryInit)).seen("wasm-micro-runtime/wasm-micro-runtime#5114", "WebAssembly/wabt#2311"),
		traps("W08", "filling a table from a segment that was dropped", "filling it before", segments, cat(elemDrop, i32(0), i32(0), i32(1), tableInit), cat(i32(0), i32(0), i32(1), tableInit, elemDrop)).seen("fluentlabs-xyz/rwasm#172"),
		traps("W09", "a copy within a table past its end", "one to its end", segments, cat(i32(1), i32(0), i32(4), tableCopy), cat(i32(1), i32(0), i32(3), tableCopy)).seen("dp-labs/dora#290"),
		traps("W10", "a table that is filled past what it has grown to", "one that is filled as far", segments,
			cat(refNull, i32(4), tableGrow, drop, i32(4), refNull, i32(5), tableFill), cat(refNull, i32(4), tableGrow, drop, i32(4), refNull, i32(4), tableFill)).seen("wazero/wazero#721"),
		traps("W11", "calling a function through a table as if it took more", "calling it as what it is", indirect,
			cat(i32(1), i64(-1), i32(0), []byte{0x11, 1, 0}, drop), through(0)).seen("wazero/wazero#2313", "wasm3/wasm3#11"),
		traps("W12", "calling an empty place of a table", "calling the one that is not", indirect, through(1), through(0)).seen("bytecodealliance/wasmtime#8870"),
		traps("W13", "calling far past a table, at 2^32-1", "calling within it", indirect, through(-1), through(0)),
		traps("W14", "the smallest number by minus one", "the smallest but one", bare, cat(i32(-1<<31), i32(-1), []byte{0x6d}, drop), cat(i32(-1<<31+1), i32(-1), []byte{0x6d}, drop)).seen("WebAssembly specification: i32.div_s"),
		traps("W15", "NaN as a number that is whole", "1 as one", bare, cat([]byte{0x44, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f, 0xaa}, drop), cat([]byte{0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0xaa}, drop)).seen("WebAssembly specification: i32.trunc_f64_s"),
		traps("W16", "reading a place of a table behind its last", "reading its last", segments, cat(i32(4), []byte{0x25, 0}, drop), cat(i32(3), []byte{0x25, 0}, drop)).seen("dp-labs/dora#290"),
		traps("W17", "a shift by more than there are bits, and a load from where it leads", "a shift that wraps", paged,
			cat(i32(1), i32(31+32), []byte{0x74}, i32Load, drop), cat(i32(1), i32(2+32), []byte{0x74}, i32Load, drop)).seen("CVE-2023-41880"),
		calling("W18", "memory that is to grow by more than there can be, and by as much as wraps to nothing", func() *guest {
			g := native()
			grow := func(k, by int64) []byte { return cat(i32(4096+k), i32(by), memoryGrow, i32('1'), add, i32Store8) }
			return g.tool("", grow(0, 64), grow(1, 65_536), grow(2, 1<<20), i32(4099), []byte{0x3f, 0}, i32('0'), add, i32Store8, i32(4096), i32(4), call(nativeOutput), i32(0)).with("f", `"io":"text"`)
		}, `"x"`, answers(`"0001"`), status.OK).seen("wasm3/wasm3#554"),
		calling("W19", "a table that is to grow by 2^32-1 entries, and to one more than it may have", func() *guest {
			g := native()
			g.tables = [][]byte{w.Table("r", w.Limits(2))}
			grow := func(k, by int64) []byte {
				return cat(i32(4096+k), refNull, i32(by), tableGrow, i32('1'), add, i32Store8)
			}
			return g.tool("", grow(0, -1), grow(1, 9_999), i32(4098), tableSize, i32('0'), add, i32Store8, i32(4096), i32(3), call(nativeOutput), i32(0)).with("f", `"io":"text"`)
		}, `"x"`, answers(`"002"`), status.OK).seen("wasmerio/wasmer#5297", "WebAssembly/wabt#2396"),
	}
}
