// Package intercept lets a program stand between the calls of guests and their host: to record what crosses, to answer in
// the host's place, or to play back what was recorded.
//
// A call that runs under a context of [With] is told to an [Interceptor] of that program's. It gets each request to a
// capability and decides what is answered; it gives the bytes and the times that a guest can't compute; and it is told of
// chunks, log lines and the end. What it sees is what the guest sees: a request holds references to secrets and never
// their values, and an answer has been cleaned of them.
//
//	ctx = intercept.With(ctx, func(c intercept.Call) intercept.Interceptor { return recorder })
//	out, err := tool.RunJSON(ctx, input, nil)
//
// Files of mounts are not intercepted. Guests in worker processes get their random bytes and times from there, and these
// are not intercepted, either.
package intercept

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Interceptor stands between one call of a guest and its host. Its functions are called by one goroutine at a time.
type Interceptor interface {
	Sources
	// Ask answers a request to a capability, all but emit, interrupt, context and next. host asks the host, under a context
	// that comes from ctx. The result is a JSON value; nil is null. An error goes to the guest as far as it is public.
	Ask(ctx context.Context, c abi.Capability, request []byte, host func(context.Context) (json.RawMessage, error)) (json.RawMessage, error)
	// Fetch answers Extism's http_request. An error ends the call.
	Fetch(ctx context.Context, request, body []byte, host func(context.Context) (*Fetched, error)) (*Fetched, error)
	// Chunk is told of a chunk that the guest emits, before anybody gets it.
	Chunk(chunk json.RawMessage)
	// Line is told of a log line.
	Line(level slog.Level, line string)
	// End is told how the call ended.
	End(Outcome)
}

// Profiler is an [Interceptor] that wants to know where a call's fuel has gone. It is told before the end, by a host whose
// Config.Explain is set.
type Profiler interface {
	Profile(Profile)
}

// Profile tells where the fuel of a call has gone, and where the guest was when something ended it. Names, files and lines
// are what the module says of itself.
type Profile struct {
	// Nodes are functions, each below the one that called it: the first is the host. What is called beyond 100 000 nodes
	// counts for its caller. A loop pays for some rounds at a time, so a part of its fuel may be that of a function that it calls.
	Nodes []Node
	// Trace are the functions that ran when the guest was ended, the innermost first; nil when it returned.
	Trace []Frame
}

// Node is a function, with all its calls by one caller.
type Node struct {
	Parent   int // in Nodes; -1 of the first
	Function string
	Calls    int64
	Fuel     int64 // its own
}

// Frame is a place in the code.
type Frame struct {
	Function string
	File     string // empty where the module has no lines
	Line     int
}

// Sources are where a guest has from what it can't compute.
type Sources interface {
	// Random fills p with what the guest takes for random bytes.
	Random(p []byte) error
	// Clock returns what a clock of WASI shows, in nanoseconds: 0 is the time of day, 1 the monotonic one. now is what it
	// would show otherwise. Clocks that stand still, because the real time was not granted, are not asked.
	Clock(clock uint32, now int64) int64
}

// Call says whose call begins.
type Call struct {
	Kind  string // "tool", "middleware", "format" or the kind of another action
	Name  string // "<module>/<name>"
	Input []byte // as the guest gets it; not to be changed
}

// Fetched is the answer to an http_request.
type Fetched struct {
	Status  int
	Headers json.RawMessage // an object of strings
	Body    []byte
}

// Outcome is how a call ended: with an output, an interrupt or an error.
type Outcome struct {
	Output      []byte // as the guest gave it
	Interrupted bool
	Interrupt   json.RawMessage // an object or nil
	Fuel        int64
	Err         error
}

type key struct{}

// With returns a context under which each call of a guest is told to what begin returns for it; nil leaves that call
// alone. A guest that runs an action which is a guest's makes two calls. begin may be called concurrently.
func With(ctx context.Context, begin func(Call) Interceptor) context.Context {
	return context.WithValue(ctx, key{}, begin)
}

// For returns who intercepts a call; nil when nobody does.
func For(ctx context.Context, c Call) Interceptor {
	begin, ok := ctx.Value(key{}).(func(Call) Interceptor)
	if !ok {
		return nil
	}
	return begin(c)
}
