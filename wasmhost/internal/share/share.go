// Package share divides processors, module slots, memory and fuel among the calls of
// guests.
//
// It runs no guest. A call holds a [Run] (its share of the processors) and a [Slot] (a slot of
// its module, and a [Place] in the host's queue); an instance holds a [Holding] (its share of
// the memory). All are made by the caller that runs the guest and belong to its goroutine,
// unless their type says that it is safe for concurrent use.
//
// A call that runs long takes its tenant's token first ([Account.Acquire]) and then one of the
// processors' ([Run.Wait]); it gives both back while it waits for anything else, so that no
// call holds a token that another one needs in order to go on.
package share

import (
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Call is the call that a method of this package waits for.
type Call interface {
	// Done is closed when the caller has left.
	Done() <-chan struct{}
	// Deadline is when the call must end at the latest.
	Deadline() time.Time
	// Blocks is called before the wait blocks.
	Blocks()
	// Over returns the reason to end the call, or nil if it may continue. It is not nil at
	// or after the deadline.
	Over(now time.Time) error
}

// ContextError returns the error of a call whose context ended with err: CANCELLED or
// DEADLINE_EXCEEDED.
func ContextError(err error) error {
	code := status.Of(err)
	return status.Publicf(code, "the call was ended: %s", code.Label()).WithCause(err)
}

// ErrClosing is the UNAVAILABLE of a call or an upload that comes while the host shuts down.
func ErrClosing() error {
	return status.Publicf(status.Unavailable, "the host is shutting down")
}
