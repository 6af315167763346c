package devexport

import (
	"context"
	"crypto/rand"

	"go.opentelemetry.io/otel/trace"

	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
)

// ids gives a span the ids that the application's own tracer has given it, so that a
// trace has one name everywhere; others get random ones.
type ids struct{}

func (ids) NewIDs(ctx context.Context) (t trace.TraceID, s trace.SpanID) {
	if sc, ok := telemetry.SharedIDs(ctx); ok {
		return sc.TraceID(), sc.SpanID()
	}
	for !t.IsValid() {
		_, _ = rand.Read(t[:]) // it never fails
	}
	return t, randomSpanID()
}

func (ids) NewSpanID(ctx context.Context, t trace.TraceID) trace.SpanID {
	if sc, ok := telemetry.SharedIDs(ctx); ok && sc.TraceID() == t {
		return sc.SpanID()
	}
	return randomSpanID()
}

func randomSpanID() (s trace.SpanID) {
	for !s.IsValid() {
		_, _ = rand.Read(s[:])
	}
	return s
}
