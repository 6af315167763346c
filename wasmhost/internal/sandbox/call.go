package sandbox

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/memory"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// Door serves the capabilities of a guest that need more than its call. Its functions run on the guest's
// goroutine; their context ends at the call's deadline, when the caller leaves or when
// the sandbox closes, and they have to end with it. Errors go to the guest as far as
// they are public.
type Door interface {
	// Do serves every capability but emit, interrupt and context. The request
	// is Do's own; it may be any bytes.
	Do(ctx context.Context, c abi.Capability, request []byte) (json.RawMessage, error)
	// Fetch is Extism's http_request: a request in Extism's JSON, and a body.
	Fetch(ctx context.Context, request, body []byte) (*Fetched, error)
}

// Fetched is the answer that Extism's HTTP functions give a guest.
type Fetched struct {
	Status  int
	Headers json.RawMessage // an object of strings
	Body    []byte
}

// Sources are where a guest has from what it can't compute. They belong to one call or initialisation.
type Sources interface {
	// Random fills p.
	Random(p []byte) error
	// Clock returns what a clock of WASI shows in the place of now. Clocks that were not granted are not asked.
	Clock(clock uint32, now int64) int64
}

// Next calls the rest of the chain that a middleware wraps: request and answer are those of the hook.
// It may take as long as its caller allows, and has to end with ctx. Errors go to the guest as far
// as they are public.
type Next func(ctx context.Context, request []byte) (json.RawMessage, error)

// Call is one call of an exported function.
type Call struct {
	Export string
	// WIT is the type of the function where it is one of the canonical ABI.
	WIT abi.WIT
	// Input is copied into the guest; it is not changed and not kept.
	Input []byte
	// Context is the answer of the capability context; "{}" when empty.
	Context json.RawMessage
	// MaxOutput bounds the output and each chunk in bytes; the module's limit
	// when 0.
	MaxOutput int
	// Emit receives the chunks of the capability emit, each a checked JSON
	// value of its own; nil when nobody streams. It runs on the guest's
	// goroutine, so a slow Emit slows the guest, against its deadline; the guest
	// counts as one that waits.
	Emit func(chunk json.RawMessage) error
	// WriteBy, when it is set, is told before each Emit when the call will be over,
	// so that a write to a slow reader waits no longer than that.
	WriteBy func(deadline time.Time)
	// Place is given back while the guest waits; nil when nothing beyond the module
	// bounds its calls.
	Place share.Place
	// Next serves the capability next; nil when the call is not a middleware's.
	Next Next
	// Door serves the guest's capabilities; nil refuses all of them.
	Door Door
	// Files is for [Bound] file systems, which find it in their call and in its
	// initialisation; the sandbox looks at it not.
	Files any
	// Sources give random bytes and clocks; nil is the system.
	Sources Sources
	// Log receives the guest's log lines, cleaned; nil drops them.
	Log func(level Level, line string)
	// Usage is filled in when the call ends, also when it fails; nil when nobody
	// asks.
	Usage *Usage
	// Profile is filled in while the call runs, where Config.Explain is set; nil when nobody asks.
	Profile *Profile
	// Beat tells a watch beside the process when the guest last came back to the host; nil
	// when there is none.
	Beat *Beat
	// Slow is called when the call turns out to take longer than a slice, or is about to
	// wait for a processor or a timer; perhaps more than once. nil when nobody asks.
	Slow func()
}

// Beat tells a watch whether a guest runs. It may lie in memory that another process shares.
type Beat struct {
	// At is the time, in nanoseconds since 1970, at which the guest last came back to the
	// host, and 0 while it does not run: before, after, and while it waits for something.
	At atomic.Int64
	// Thread is the system's number of the thread that the guest went on with; 0 when the
	// system has none that others could look at.
	Thread atomic.Int64
}

// Run notes that the guest runs on from now, on the calling goroutine's thread.
func (b *Beat) Run(now time.Time) {
	b.Thread.Store(threadID())
	b.At.Store(now.UnixNano())
}

// Rest notes that it does not run.
func (b *Beat) Rest() { b.At.Store(0) }

// Usage is the consumption of a call.
type Usage struct {
	Began       time.Time // when the guest began to run
	Fuel        int64
	MemoryBytes int64 // linear memory, blocks and native stack at the end
}

// Level is the level of a guest's log line.
type Level int32

// Levels, as genkit_v1 numbers them.
const (
	LevelTrace Level = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
)

// Result is the outcome of a successful call.
type Result struct {
	// Output is the guest's output, nil when it gave none or an empty one. The caller
	// owns it.
	Output []byte
	// Interrupted is set when the guest asked to stop; Interrupt is then the
	// metadata, a JSON object or nil.
	Interrupted bool
	Interrupt   json.RawMessage
	// Fuel is the fuel of the call, deterministic for the same module and
	// input.
	Fuel int64
	// MemoryBytes is the size of the linear memory at the end.
	MemoryBytes int64
}

// state is the call under way, as the host functions see it. It belongs to the goroutine that
// runs the guest. It implements [share.Call], for waits.
type state struct {
	ctx      context.Context
	limits   *Limits
	call     Call
	deadline time.Time
	began    time.Time    // when the guest began to run
	closing  *atomic.Bool // the sandbox's

	maxOutput int

	run     share.Run
	slot    *share.Slot // own, but in an initialisation
	own     share.Slot
	watch   memory.FaultWatch
	granted int64          // fuel handed out so far
	charged int64          // fuel that the tenant has been charged
	token   *share.Account // whose token the call has; nil: none
	slices  int            // run with it

	output      []byte
	errorText   []byte
	reply       []byte
	interrupted bool
	interrupt   json.RawMessage
	fetched     *Fetched // the answer to Extism's latest http_request

	work        int // bytes that the host has moved since it last looked at the clock
	chunks      int
	nexts       int
	logLines    int
	randomBytes int64
	denied      bool // the memory limit refused to grow
	failed      bool // a function of WIT returned an error
}

// states keeps the states of calls that have ended, all of them zero. A call would allocate and clear nearly a kilobyte
// otherwise, which is a tenth of the time of a short one.
var states = sync.Pool{New: func() any { return new(state) }}

// drop ends the use of the state's slot, and keeps the state for another call where nothing refers to it any more.
func (st *state) drop() {
	if unused := st.slot.Finish(); unused && st.slot == &st.own && st.run.Unused() {
		*st = state{} // the mutex in it is free, and nobody waits for it
		states.Put(st)
	}
}

// stop ends a guest from within a host function: it is panicked through the
// guest's frames and comes out of the call as an error.
type stop struct{ err error }

func (s *stop) Error() string { return s.err.Error() }
func (s *stop) Unwrap() error { return s.err }

func halt(code status.Code, format string, args ...any) {
	panic(&stop{status.Publicf(code, format, args...)})
}

// check ends the guest when its time is over or its caller has left. It returns the time.
func (st *state) check() time.Time {
	now := time.Now()
	if err := st.Over(now); err != nil {
		panic(&stop{err})
	}
	st.beat(now)
	return now
}

// beat tells the watch that the guest is about to run.
func (st *state) beat(now time.Time) {
	if st.call.Beat != nil {
		st.call.Beat.Run(now)
	}
}

var _ share.Call = (*state)(nil)

// Done implements [share.Call].
func (st *state) Done() <-chan struct{} { return st.ctx.Done() }

// Deadline implements [share.Call].
func (st *state) Deadline() time.Time { return st.deadline }

// Blocks implements [share.Call]: it calls Call.Slow.
func (st *state) Blocks() {
	if st.call.Slow != nil {
		st.call.Slow()
	}
}

// rest tells the watch that the guest does not run.
func (st *state) rest() {
	if st.call.Beat != nil {
		st.call.Beat.Rest()
	}
}

// Over implements [share.Call].
func (st *state) Over(now time.Time) error {
	if err := st.ctx.Err(); err != nil {
		return share.ContextError(err)
	}
	if st.closing.Load() {
		return share.ErrClosing()
	}
	if !now.Before(st.deadline) {
		return errDeadline(st.limits.Timeout)
	}
	return nil
}

// A host function costs the guest little fuel and may move many bytes, so the host
// looks at the clock itself each time it has moved checkAfter bytes; a call counts as
// callWork.
const (
	checkAfter = 256 << 10
	callWork   = 128
)

// worked counts bytes that the host has moved for the guest.
func (st *state) worked(bytes int) {
	if st.work += bytes + callWork; st.work >= checkAfter {
		st.work = 0
		st.check()
	}
}

func errDeadline(timeout time.Duration) error {
	return status.Publicf(status.DeadlineExceeded, "the module ran past its time limit of %v", timeout)
}

func errFuel(fuel int64) error {
	return status.Publicf(status.ResourceExhausted, "the module used up its fuel of %d units", fuel)
}

// setOutput takes a copy of the guest's output.
func (st *state) setOutput(view []byte) {
	st.worked(len(view))
	if len(view) > st.maxOutput {
		halt(status.ResourceExhausted, "output of %d bytes exceeds the limit of %d", len(view), st.maxOutput)
	}
	st.output = append(st.output[:0:0], view...)
}

func (st *state) setError(view []byte) {
	if len(view) > abi.MaxErrorBytes {
		view = view[:abi.MaxErrorBytes]
	}
	st.worked(len(view))
	st.errorText = append(st.errorText[:0:0], view...)
}

func (st *state) log(level Level, view []byte) {
	st.worked(0)
	if st.call.Log == nil {
		return
	}
	switch st.logLines++; {
	case st.logLines < MaxLogLines:
		if level < LevelTrace || level > LevelError {
			level = LevelInfo
		}
		if len(view) > 4*MaxLogBytes {
			view = view[:4*MaxLogBytes]
		}
		st.call.Log(level, abi.Line(string(view), MaxLogBytes))
	case st.logLines == MaxLogLines:
		st.call.Log(LevelWarn, "the module logs too much; the rest of this call is dropped")
	}
}
