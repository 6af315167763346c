package sandbox

import "time"

// Limits bound one call and the instance that serves it. All of them must be set.
type Limits struct {
	Timeout       time.Duration // wall time of a call
	Fuel          int64         // units of wasmhost/internal/meter for a call
	MemoryBytes   int64         // linear memory of an instance, and Extism's memory beside it
	TableElements uint32        // entries of a table
	InputBytes    int           // of a call's input
	OutputBytes   int           // of a call's output
	Concurrency   int           // calls at a time of one module
}

// Fixed bounds of a call.
const (
	// MaxLogLines and MaxLogBytes bound the log lines of a call; the rest is
	// counted and dropped.
	MaxLogLines = 200
	MaxLogBytes = 4 << 10
	// MaxChunks bounds the chunks that a call may emit.
	MaxChunks = 100_000
	// MaxInterruptBytes bounds the metadata of an interrupt.
	MaxInterruptBytes = 64 << 10
	// maxRandomBytes bounds the random bytes that a call may take.
	maxRandomBytes = 16 << 20
	// maxVarBytes bounds Extism's variables of a call.
	maxVarBytes = 1 << 20
)
