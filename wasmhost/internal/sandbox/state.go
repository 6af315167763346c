package sandbox

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/compile"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/memory"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/wasi"
)

// The types of this file refer to each other; the other files hold their methods.

// arena is Extism's memory beside the guest's own: blocks in one buffer, named by
// their offset. Every offset and length that a guest names is checked here. It
// starts empty for each call.
type arena struct {
	mem    []byte
	blocks []span // by offset
	input  uint64 // the block that holds the input, once it was asked for

	output    span
	hasOutput bool
	err       uint64 // the block that holds the error; 0 when none
	vars      map[string][]byte
	varBytes  int
}

// freed is the length of a block that was given back: it stays in the table, because
// taking it out would cost a guest nothing and the host a copy of the table.
const freed = ^uint64(0)

type span struct{ offset, length uint64 }

// function is an exported function, and whether it returns something.
type function struct {
	api.Function
	returns bool
}

// instance is a guest: one instantiated module that serves one call at a time.
type instance struct {
	module *Module
	guest  api.Module
	memory *memory.Linear // nil when the module has none
	fuel   api.MutableGlobal
	words  words
	// globals are the module's mutable globals, in the order of the image.
	globals []api.MutableGlobal
	funcs   map[string]function
	// ctx leads host functions back to this instance.
	ctx   context.Context //nolint:containedctx // not a request's: it carries this value only
	state *state          // the call under way
	arena arena           // Extism's memory
	// process is the call's state in WASI: open files and the clock.
	process *wasi.Process
	held    share.Holding // the memory that it counts against budgets
	// Of the latest call: the bytes that it took in and gave out, and whether it is known
	// to have had no page fault.
	moved int
	calm  bool
	stack []uint64 // of arguments and results
	// running is the function under way, whose native stack is counted.
	running api.Function
	pinned  bool   // the module's code is pinned for this instance
	base    *base  // whose image its memory began as; nil: none
	image   *image // it is restored from; stays while the instance is busy; nil: not known yet
	// spent marks an instance that must not serve another call.
	spent bool
}

// Module is a compiled module and the pool of its instances.
type Module struct {
	sandbox      *Sandbox
	code         *compile.Code
	account      *share.Account // the tenant's; nil: counts for the process alone
	limits       Limits
	reuse        bool
	config       map[string]string
	wasi         *wasi.Config
	extism       bool // it speaks Extism's convention
	hasMemory    bool
	initialisers []Initialiser
	setup        string                                // the last initialiser, which reads the seed; empty: none
	seed         func(context.Context) ([]byte, error) // the input of the initialisation; nil: none
	base         *base                                 // what it shares with modules of the same code; nil: nothing
	// singleUse modules change state that an image can't restore.
	singleUse  bool
	fixedBytes int64 // of an instance beside its linear memory
	slots      chan struct{}
	used       atomic.Int64 // when a call last began, in nanoseconds since 1970
	load       share.Load
	stackField atomic.Int32 // see stackBytes
	// drained is closed when the module is closed and its last call has ended.
	drained chan struct{}

	mu     sync.Mutex // guards the fields below
	image  *image     // state after initialisation, the same for all instances
	idle   []*instance
	busy   int // calls under way, and goroutines that close instances
	closed bool
}

// image is the state that every call starts from.
type image struct {
	memory  *memory.Image // nil: the module has none
	globals []uint64
	process *wasi.State
	counted int64 // bytes
	base    *base // that memory is over; nil: none
}

// base is the state of an instance that has not read its seed yet: the same for all modules of the same code, so that they
// keep what they differ in. It is safe for concurrent use.
type base struct {
	sandbox *Sandbox
	key     baseKey
	users   int // modules; guarded by Sandbox.mu

	mu    sync.Mutex // guards the fields below
	image *image     // nil: it is to be made
	holds int        // instances and images that need it
}

// baseKey is all that an instance depends on before it reads its seed.
type baseKey struct {
	code  *compile.Code
	clock bool
}

// Sandbox holds the state that all modules share.
type Sandbox struct {
	log        *slog.Logger
	freed      func(*share.Account)
	memory     *share.Memory
	processors *share.Processors
	compiler   *compile.Compiler
	start      func() Sources // of initialisations; nil: the system

	life  context.Context //nolint:containedctx // ends with the sandbox, and what the host does for its guests
	end   context.CancelFunc
	swept chan struct{} // closed when the janitor has ended

	// closing tells guests under way to end at their next slice.
	closing atomic.Bool

	mu      sync.Mutex // guards the fields below
	modules map[*Module]struct{}
	bases   map[baseKey]*base
}

// words are the globals through which an instance reads input ahead, and leaves words for the host to store in its
// [arena]. The zero value is that of an instance that does neither.
type words struct {
	ahead, pending, next api.MutableGlobal
	behind               [meter.Words]api.Global
}
