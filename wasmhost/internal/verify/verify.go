// Package verify proves of a metered module that it is the original with a meter in it, and that the meter works: a
// translation validator. It shares no code with the rewriter, wasmhost/internal/meter, and knows nothing of how that decides; it
// shares the parser, wasmhost/internal/inspect. So a fault of the rewriter refuses a module instead of letting a guest run for ever.
//
//	original, err := inspect.Parse(upload, limits)
//	metered, err := meter.Rewrite(upload, original, options)
//	rewritten, err := inspect.Parse(metered.Wasm, noLimits)
//	_, err = verify.Check(original, rewritten, verify.Claim{Fuel: metered.FuelExport, …})
//
// It proves, of a module that wazero has validated before and validates again after the rewriting:
//
//   - Meaning. Apart from the meter's instructions, which form a closed list of shapes, the code is the original's: the same
//     instructions with the same operands, labels that lead to the same block, calls of the same functions. The same holds for
//     everything else in the module, but for a maximum of each table.
//   - Price. Every instruction that has run has been charged at its weight before, or is charged before the loop that holds it is left.
//   - Time. Between two checks, at which the host may end the call, a module does at most 4·[MaxWork] units of work, and
//     [ReturnWork] for each frame that returns in between; operations over a length add what one of their pieces takes. So every
//     cycle in a function and every cycle of calls passes checks.
//   - Reach. Only the meter's instructions touch its globals, its locals and its functions.
//
// The argument is written out in docs/verifier.md. Time and memory are linear in the two modules, and nothing recurses.
package verify

import (
	"fmt"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// summary holds the facts about a function that its callers use. Work is the most, none where there is no such way.
type summary struct {
	done, hub, deep bool
	pre             int64 // from its entry to its first check, or to its end
	thru            int64 // from its entry to its end without a check
	post            int64 // from its last check to its end
	up              int64 // from the return of a hub to its end
	table           int64 // from the return of a call through a table to its end
}

// Version names the set of rules of Check. It changes with every rule, so that nothing stays in use that another version
// let in.
const Version = "verify/1"

const (
	// MaxWork is the most work, in units of weight, between two checks on a way within a function and those that it calls.
	MaxWork = 24 << 10
	// ReturnWork is the most work that a frame of a deep chain of calls does on its way up without a check.
	ReturnWork = 128
	// Prepaid is the most work that may be left to do, and paid for, when a call returns that may have met checks. More would
	// be done without fuel, and so without the host, in all the frames of a deep chain of calls.
	Prepaid = 64
	// MaxCredit is the same where a check stands, in its own function.
	MaxCredit = 6 << 10
	// MaxCounter is the most that a counted loop may hold in its counter when a round begins.
	MaxCounter = 4096
)

// Import names an imported function; the zero value names none.
type Import struct{ Module, Name string }

// Global is a mutable global of the original, which the rewritten module exports so that the host can put its value back.
type Global struct {
	Index        uint32
	Export       string
	Type         inspect.ValType
	Unrestorable bool // the host can't put it back: a vector or a reference
}

// Words are the exports through which the host takes part in reading and writing words; a name is empty where the module has
// no such global.
type Words struct {
	Ahead, Pending, Next string
	Behind               []string
}

// Hub is a function at which cycles of direct calls are cut.
type Hub struct {
	Func uint32 // number among the defined functions
	Pre  int64  // the most work from its entry to its first check, or to its end
}

// Claim holds the rewriter's statements about its result, on which the host will rely. All of it is checked.
type Claim struct {
	Fuel             string // export of the global that holds the fuel
	Globals          []Global
	Words            *Words // nil when the module imports neither Reads nor Writes
	MaxTableElements uint32 // of tables that start smaller
	Reads, Writes    Import // imports that may be replaced by functions that keep words
	// Order has the numbers of all defined functions, each after those that it calls; calls of hubs don't count. It is a
	// hint: with a wrong one the module is refused.
	Order []uint32
	Hubs  []Hub
}

// Report describes a module that is accepted.
type Report struct {
	Work   int64 // the most work between two checks within a function and those that it calls, in units of weight
	Steps  int   // events in all functions
	Rounds int   // walks over functions
}

// Failure is why a module is refused. It names places inside the module and is for the log of the operator, not for a caller.
type Failure struct { //nolint:errname // like inspect's refusal
	Func   int // number among the defined functions, or -1 where none is at fault
	Offset int // in the rewritten module, or -1
	Reason string
}

// Error gives reason and place.
func (f *Failure) Error() string {
	if f.Func < 0 {
		return "verify: " + f.Reason
	}
	return fmt.Sprintf("verify: %s (function %d, offset %d)", f.Reason, f.Func, f.Offset)
}
