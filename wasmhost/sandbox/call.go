package sandbox

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Call is one call of an exported function.
type Call struct {
	Export string
	// Input is copied into the guest; it is not changed and not kept.
	Input []byte
	// Context is what the capability context answers; "{}" when empty.
	Context json.RawMessage
	// MaxOutput bounds the output and each chunk in bytes; the module's limit
	// when 0.
	MaxOutput int
	// Emit receives the chunks of the capability emit, each a checked JSON
	// value of its own; nil when nobody streams. It runs on the guest's
	// goroutine, so a slow Emit slows the guest, against its deadline.
	Emit func(chunk json.RawMessage) error
	// Next is what the capability next continues; nil for what is no middleware.
	Next Next
	// Door leads to what the host does for the guest; nil refuses
	// everything.
	Door Door
	// Log receives the guest's log lines, cleaned; nil drops them.
	Log func(level Level, line string)
	// Usage is filled in when the call ends, also when it fails; nil when nobody
	// asks.
	Usage *Usage
}

// Usage is what a call has taken.
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

// Result is what a call that did not fail came to.
type Result struct {
	// Output is the guest's output, nil when it gave none. The caller owns it.
	Output []byte
	// Interrupted is set when the guest asked to stop; Interrupt is then the
	// metadata, a JSON object or nil.
	Interrupted bool
	Interrupt   json.RawMessage
	// Fuel is what the call used, deterministic for the same module and
	// input.
	Fuel int64
	// MemoryBytes is the size of the linear memory at the end.
	MemoryBytes int64
}

// state is what the host functions know of the call under way. It belongs to the
// goroutine that runs the guest.
type state struct {
	ctx      context.Context
	limits   *Limits
	call     *Call
	deadline time.Time
	began    time.Time    // when the guest began to run
	closing  *atomic.Bool // the sandbox's

	maxOutput int
	lane      lane
	watch     faultWatch
	granted   int64         // fuel handed out so far
	charged   int64         // fuel that the tenant has been charged
	turn      chan struct{} // the tenant's, while the call has it
	turns     int           // slices run in it

	output      []byte
	hasOutput   bool
	errorText   []byte
	hasError    bool
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
	if err := st.over(now); err != nil {
		panic(&stop{err})
	}
	return now
}

// over says why the call may not go on, nil when it may.
func (st *state) over(now time.Time) error {
	if err := st.ctx.Err(); err != nil {
		return contextError(err)
	}
	if st.closing.Load() {
		return errClosing()
	}
	if now.After(st.deadline) {
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

func contextError(err error) error {
	code := status.Of(err)
	return status.Publicf(code, "the call was ended: %s", code.Label()).WithCause(err)
}

func errDeadline(timeout time.Duration) error {
	return status.Publicf(status.DeadlineExceeded, "the module ran past its time limit of %v", timeout)
}

func errFuel(fuel int64) error {
	return status.Publicf(status.ResourceExhausted, "the module used up its fuel of %d units", fuel)
}

// setOutput takes a copy of what the guest wrote.
func (st *state) setOutput(view []byte) {
	st.worked(len(view))
	if len(view) > st.maxOutput {
		halt(status.ResourceExhausted, "output of %d bytes exceeds the limit of %d", len(view), st.maxOutput)
	}
	st.output, st.hasOutput = append(st.output[:0:0], view...), true
}

func (st *state) setError(view []byte) {
	if len(view) > abi.MaxErrorBytes {
		view = view[:abi.MaxErrorBytes]
	}
	st.worked(len(view))
	st.errorText, st.hasError = append(st.errorText[:0:0], view...), true
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
