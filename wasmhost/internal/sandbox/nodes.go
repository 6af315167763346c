package sandbox

import "github.com/genkit-wasm/genkit-wasm/wasmhost/internal/symbols"

// maxNodes bounds a [Profile]; what is called beyond it counts for its caller.
const maxNodes = 100_000

// Profile tells where the fuel of a call has gone, and where the guest was when something ended it. The first node is
// the host, which calls the export. Loops pay in turns, so fuel of a loop may be a function's that it calls.
type Profile struct {
	Nodes []Node
	// Trace are the functions that ran when the guest was ended, the innermost first; nil when it returned.
	Trace []symbols.Frame

	open  []int32        // the nodes of the calls under way
	below map[step]int32 // nodes by caller and function
	last  int64          // fuel used when the last call began or ended
}

// Node is a function called by another one, with all its calls from there.
type Node struct {
	Parent   int32 // in Nodes; -1 for the first
	Function string
	Calls    int64
	Fuel     int64 // its own
}

type step struct {
	caller   int32
	function uint32
}
