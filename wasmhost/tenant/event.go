package tenant

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Event is the consumption of one call: a line of a bill. Fuel is the same for the same
// module and input on every machine; the times are this machine's.
type Event struct {
	Time     time.Time `json:"time"` // of the end
	Tenant   string    `json:"tenant"`
	TenantID string    `json:"tenantId,omitempty"` // tells the tenant from others of its name
	Module   string    `json:"module"`
	Revision int       `json:"revision"`
	Digest   string    `json:"digest"`
	Tool     string    `json:"tool"`
	// Kind is empty for a tool, else "middleware", "format", the kind of another action such as
	// "embedder", or "module-model" for a model.
	Kind string `json:"kind,omitempty"`
	// Caller is who called, where the server asks: see [WithCaller].
	Caller string      `json:"caller,omitempty"`
	Code   status.Code `json:"code"` // "OK", or why it failed
	Fuel   int64       `json:"fuel"`
	// QueuedNS is the time before the guest began to run: the queue, and a new instance
	// where none waited. WallNS is the rest.
	QueuedNS time.Duration `json:"queuedNs"`
	WallNS   time.Duration `json:"wallNs"`
	// MemoryBytes is the memory of the instance at the end.
	MemoryBytes int64 `json:"memoryBytes"`
	InputBytes  int   `json:"inputBytes"`
	OutputBytes int   `json:"outputBytes"`
	// EgressBytes are the bodies that the guest has sent and received by HTTP.
	EgressBytes int64 `json:"egressBytes,omitempty"`
}

type callerKey struct{}

// WithCaller returns a context whose calls are events of a caller: the subject of an identity, never
// a secret.
func WithCaller(ctx context.Context, subject string) context.Context {
	return context.WithValue(ctx, callerKey{}, subject)
}

// CallerOf returns the caller of a context; empty when there is none.
func CallerOf(ctx context.Context) string {
	subject, _ := ctx.Value(callerKey{}).(string)
	return subject
}

type noteKey struct{}

// WithNote returns a context that has noted set when an event was made of something that its request has caused, or
// when that was counted as refused; see [Note]. By it a server knows of which requests that were refused nothing is
// told yet.
func WithNote(ctx context.Context) (noting context.Context, noted *atomic.Bool) {
	noted = &atomic.Bool{}
	return context.WithValue(ctx, noteKey{}, noted), noted
}

// Note sets what [WithNote] has put into a context. It reports whether that was not set before; false
// where there is nothing.
func Note(ctx context.Context) (first bool) {
	noted, ok := ctx.Value(noteKey{}).(*atomic.Bool)
	return ok && !noted.Swap(true)
}

// Refuser is a [Sink] that is also told of calls that were refused before they ran.
type Refuser interface {
	// Refuse takes why a call of a tenant did not run. The ID tells the tenant from others of its
	// name. It is called as Record is, and may be called far more often: a refusal costs its
	// caller next to nothing.
	Refuse(tenant, tenantID string, why error)
}

// Sink takes events, one for each call that ran, also when it failed. Record is called
// concurrently and on the way of the call: it should not wait.
type Sink interface{ Record(e Event) }

// Totals are the sums of a tenant's or a module's events since the host began.
type Totals struct {
	Calls       int64         `json:"calls"`
	Failures    int64         `json:"failures"` // of Calls
	Refused     int64         `json:"refused"`  // that never ran: queue full, too many
	Fuel        int64         `json:"fuel"`
	QueuedNS    time.Duration `json:"queuedNs"`
	WallNS      time.Duration `json:"wallNs"`
	ByteSeconds float64       `json:"byteSeconds"` // memory times wall time
	InputBytes  int64         `json:"inputBytes"`
	OutputBytes int64         `json:"outputBytes"`
}

// Add counts one event.
func (s *Totals) Add(e *Event) {
	s.Calls++
	if e.Code != status.OK {
		s.Failures++
	}
	s.Fuel += e.Fuel
	s.QueuedNS += e.QueuedNS
	s.WallNS += e.WallNS
	s.ByteSeconds += float64(e.MemoryBytes) * e.WallNS.Seconds()
	s.InputBytes += int64(e.InputBytes)
	s.OutputBytes += int64(e.OutputBytes)
}
