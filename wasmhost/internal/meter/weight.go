package meter

import "github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"

// Prices of operations, in units of fuel. One unit is about the work of one simple instruction.
const (
	weightSimple       = 1   // constants, locals, globals, arithmetic, comparisons, conversions, loads, stores, branches
	weightDivide       = 8   // integer division and remainder
	weightFloatDivide  = 4   // float division and square root
	weightVector       = 2   // every vector instruction
	weightCall         = 5   // a direct call, on top of what the callee costs
	weightCallIndirect = 10  // an indirect one
	weightBrTable      = 3   // a jump through a table
	weightTable        = 3   // table.get, set and size, ref.func
	weightBulk         = 20  // memory and table operations over a length, on top of the length
	weightGrow         = 500 // memory.grow and table.grow, which leave compiled code, on top of the length
)

// Prices of lengths.
const (
	// BytesPerUnit is how many bytes of memory.fill, memory.copy and memory.init cost one unit.
	BytesPerUnit = 1 << bytesShift
	// UnitsPerPage is the price of each page that memory.grow asks for.
	UnitsPerPage = 1 << pageShift
	// EntriesPerUnit is how many entries of table.fill, copy, init and grow cost one unit.
	EntriesPerUnit = 1 << entriesShift

	bytesShift   = 4
	pageShift    = 8
	entriesShift = 2
)

// FoldedCost is the price up to which a stretch of code is charged with the one it branches off from, because a charge
// of its own would cost more than the stretch.
const FoldedCost = 8

// Weight is the fixed price of an instruction in units of fuel, before any price for a length. Block, else, end and nop
// are free, since they compile to nothing; a loop that is jumped to costs one unit for each round.
func Weight(op inspect.Op) int64 {
	switch op {
	case 0x01, inspect.OpBlock, inspect.OpElse, inspect.OpEnd:
		return 0
	case inspect.OpCall:
		return weightCall
	case inspect.OpCallIndirect:
		return weightCallIndirect
	case inspect.OpBrTable:
		return weightBrTable
	case inspect.OpTableGet, inspect.OpTableSet, inspect.OpTableSize, inspect.OpRefFunc:
		return weightTable
	case inspect.OpMemoryGrow, inspect.OpTableGrow:
		return weightGrow
	case inspect.OpMemoryFill, inspect.OpMemoryCopy, inspect.OpMemoryInit, inspect.OpDataDrop,
		inspect.OpTableFill, inspect.OpTableCopy, inspect.OpTableInit, inspect.OpElemDrop:
		return weightBulk
	case 0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82:
		return weightDivide
	case 0x91, 0x95, 0x9f, 0xa3: // f32.sqrt, f32.div, f64.sqrt, f64.div
		return weightFloatDivide
	}
	if op>>8 == 0xfd {
		return weightVector
	}
	return weightSimple
}

// lengthPrice tells how the length on top of the stack is priced: shifted right, or left when negative.
func lengthPrice(op inspect.Op) (shift int, priced bool) {
	switch op {
	case inspect.OpMemoryFill, inspect.OpMemoryCopy, inspect.OpMemoryInit:
		return bytesShift, true
	case inspect.OpTableFill, inspect.OpTableCopy, inspect.OpTableInit, inspect.OpTableGrow:
		return entriesShift, true
	case inspect.OpMemoryGrow:
		return -pageShift, true
	}
	return 0, false
}
