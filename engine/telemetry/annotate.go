package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// AnnotateInt records a number under name on the span of ctx. Names outside
// Genkit's own begin with their area, such as "wasm.fuel.consumed".
func AnnotateInt(ctx context.Context, name string, value int64) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.Int64(name, value))
	}
}

// AnnotateString records a text under name on the span of ctx.
func AnnotateString(ctx context.Context, name, value string) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.String(name, value))
	}
}
