package worker

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/experimental/sys"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// The types of this file refer to each other; the other files hold their methods.

// fileTable holds the files that the guests of a worker have open in the server.
type fileTable struct {
	mu     sync.Mutex // guards the fields below
	last   uint32
	open   map[uint32]*openFile
	closed bool
}

// openFile is a file of one module.
type openFile struct {
	module *Module
	mu     sync.Mutex // held while something is done with file: a worker might do two things at a time
	file   sys.File
}

// inbox holds the messages of one call.
type inbox struct {
	slot uint16
	gen  uint32
	want int // bytes that a message of the peer may have (see link.most); set before the peer can know of the call

	partial []byte // used by the receiver alone
	total   uint32
	kind    kind

	// leave is called, on the server's side, by the receiver, when the guest waits; nil
	// for calls without a place. It does not block.
	leave func(body []byte) error
	// cancel ends the call, on the worker's side; set before started returns.
	cancel context.CancelFunc
	// slow has somebody else receive, on the worker's side; nil elsewhere.
	slow func()

	queued atomic.Int32 // len(queue)
	mu     sync.Mutex   // guards the fields below
	queue  []message
	first  [1]message // where queue begins: most calls never have two
	bytes  int
	ended  bool
	bell   chan struct{} // gets a token for each message; nil while nobody has waited
}

// link is one side of the connection of a server and a worker: calls in slots, each with
// an inbox of messages. It is safe for concurrent use; one slot's inbox has one reader.
type link struct {
	transport transport
	active    atomic.Int32 // slots in use
	// started is called on the worker's side for a message that begins a call; what
	// it returns runs the call. nil on the server's side.
	started func(in *inbox, m message) task
	// late takes, on the server's side, a kindClose of a call that has ended, and a
	// kindHolding, which belongs to none. It does not block.
	late func(k kind, body []byte)
	// most bounds a message of a kind; see limits.
	most func(in *inbox, k kind) int

	strays int // frames in a row that belonged to no call; for the receiver alone

	once sync.Once
	dead chan struct{}   // closed when the link has ended
	err  error           // why; set before dead is closed
	life context.Context //nolint:containedctx // ends with the link, or with the pool
	end  context.CancelFunc

	inboxes [slots]atomic.Pointer[inbox]
	bells   [slots]atomic.Pointer[chan struct{}] // of inboxes, made when somebody first waits
}

// message is a whole message.
type message struct {
	kind kind
	body []byte
}

// startReply is a worker's first message, when it has started.
type startReply struct {
	Confined []string `json:"confined"` // the mechanisms that hold
	Missing  []string `json:"missing"`  // those that don't, and why
}

// Module is a module that workers run. It has the methods of a [sandbox.Module].
type Module struct {
	pool   *Pool
	class  string
	key    string // class and code
	source sandbox.Source
	used   atomic.Int64 // when a call last began, in nanoseconds since 1970
	closed atomic.Bool
	home   atomic.Pointer[home] // where the module is; nil when that has to be found out

	mu       sync.Mutex // guards the fields below
	prepared *sandbox.Prepared
}

// home is the worker of a module's class, which has the module under a number. It counts
// as long as the worker is not leaving.
type home struct {
	w      *process
	number uint32
}

// Config says how a pool runs its workers.
type Config struct {
	// Command starts this program again, in a way that reaches [Child].
	Command []string
	// Sandbox checks and compiles the modules that workers run. The pool does not close it.
	Sandbox *sandbox.Sandbox
	// Interpreter has all guests interpreted.
	Interpreter bool
	// MemoryBytes bounds the memory of the guests of one worker and their code.
	MemoryBytes int64
	// IdleTimeout is how long a worker may wait for a call before it is ended, and a
	// module before it is dropped; 0 keeps them.
	IdleTimeout time.Duration
	// Workers is how many are kept when they have nothing to do: those that were idle
	// longest are ended first. 4 and 2 for each processor when 0.
	Workers int
	// Spare keeps one worker more, which belongs to nobody yet: the next tenant, or one
	// whose worker has ended, does not wait for it to start.
	Spare bool
	// Stream connects workers by pipes where a ring could be had, for tests.
	Stream bool
	// without leaves out what would confine workers from outside, for tests: "landlock",
	// "namespaces" and "no-new-privileges".
	without map[string]bool
	// Logger is told of workers that end; nil drops that.
	Logger *slog.Logger
}

// Pool starts, watches and ends workers.
type Pool struct {
	config  Config
	log     *slog.Logger
	spawner spawner
	null    *os.File        // the standard streams of workers
	group   sync.WaitGroup  // everything that the pool has started
	life    context.Context //nolint:containedctx // ends with the pool
	end     context.CancelFunc
	closing atomic.Bool
	numbers atomic.Uint32 // of modules
	calls   atomic.Int64  // whose callers wait
	under   atomic.Int64  // slots in use, of all workers; the watch sleeps at 0
	stir    chan struct{} // wakes the watch
	tell    sync.Once     // the mechanisms that confine the workers

	spare chan *process // has room for one

	mu       sync.Mutex // guards the fields below
	classes  map[string]*class
	workers  map[*process]struct{}
	modules  map[*Module]struct{}
	accounts map[*share.Account]uint32
	numbered uint32            // accounts that have been given a number
	blames   map[string]*blame // by class and digest

	blamed atomic.Int32 // len(blames)
}

// blame is how often a module has brought its worker to an end.
type blame struct {
	count int
	first time.Time
	until time.Time // in quarantine
}

// class is those whose guests may share a worker.
type class struct {
	name     string
	worker   *process
	starting chan struct{} // closed when an attempt to start one has ended
	failures int           // workers in a row that did not last
	notUntil time.Time     // the next one may start
}

// callState is a call under way, as the watch sees it.
type callState struct {
	module *Module
	in     *inbox
	own    inbox // the value that in points to
	began  time.Time
	// patience is when the call is given up, in nanoseconds since 1970, whatever the
	// worker's clocks say; 0 while it waits for the server.
	patience atomic.Int64
	effects  atomic.Bool // something of it can't be taken back
	// The state of the watch: the beat, and the worker's processor time when it was
	// first seen.
	beat   int64
	cpu    time.Duration
	thread int64         // the guest's, once it is late
	spent  time.Duration // the processor time used by then
}

// away stops the clock of the call's patience, and back lets it go on: with as much as was
// left, however often the worker has the server do something. The first part of what the
// server does, of that length, counts as the guest's time.
func (c *callState) away(counts time.Duration) (back func()) {
	left, began := c.patience.Swap(0), time.Now()
	return func() { c.patience.Store(left + int64(max(0, time.Since(began)-counts))) }
}

// quickFile is how long an operation on a file may take as the guest's own time. A worker may
// ask for any number of them; what takes longer is a slow disk's.
const quickFile = 10 * time.Millisecond

// process is a worker, seen from the server. It is safe for concurrent use.
type process struct {
	pool    *Pool
	class   string
	cmd     *exec.Cmd
	link    *link
	started time.Time
	says    startReply
	used    atomic.Int64  // when a call last began or ended, in nanoseconds since 1970
	nudged  time.Time     // when both sides were last made to look for frames; the watch's
	held    atomic.Int64  // bytes that its modules hold, as it says
	exited  chan struct{} // closed when it has ended, after verdict is set
	verdict verdict
	// leaving is set when it is no longer its class's, and takes no new calls.
	leaving atomic.Bool

	mu      sync.Mutex // guards the fields below
	free    []uint16
	next    uint16 // slots that were never used begin here
	gen     uint32
	calls   [slots]*callState
	under   int // how many of calls there are
	modules map[*Module]*residence
	// accounts are those of its modules, by their numbers.
	accounts map[uint32]*share.Account
	doubted  bool   // one of its guests may not come back
	retired  bool   // no new calls: it ends when the last one has
	killed   string // why this side has killed it
	files    fileTable
	frozen   []*callState
}

// residence is a module in a worker.
type residence struct {
	number uint32
	ready  chan struct{} // closed when it has been loaded, or has failed
	err    error
}

// verdict is how a worker ended and which module may have caused that.
type verdict struct {
	cause    string // "frozen", "crashed", "killed", "stopped"
	suspects map[*callState]bool
	err      error
}

// watched counts a slot in use, and wakes the watch for the first.
func (p *Pool) watched() {
	if p.under.Add(1) == 1 {
		select {
		case p.stir <- struct{}{}:
		default:
		}
	}
}
