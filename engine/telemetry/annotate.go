package telemetry

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
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

// Event notes on the span of ctx that something happened, such as a line that a guest
// logged or a capability that it used. A span keeps as many as its provider allows.
func Event(ctx context.Context, name string, facts ...slog.Attr) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	attrs := make([]attribute.KeyValue, 0, len(facts))
	for _, f := range facts {
		attrs = append(attrs, keyValue(f))
	}
	span.AddEvent(name, trace.WithAttributes(attrs...))
}

func keyValue(f slog.Attr) attribute.KeyValue {
	switch v := f.Value.Resolve(); v.Kind() {
	case slog.KindBool:
		return attribute.Bool(f.Key, v.Bool())
	case slog.KindInt64:
		return attribute.Int64(f.Key, v.Int64())
	case slog.KindFloat64:
		return attribute.Float64(f.Key, v.Float64())
	default:
		return attribute.String(f.Key, v.String())
	}
}

// WithLabels puts labels on the spans that start directly below ctx, under the names that
// they have: Genkit's telemetryLabels, which Genkit JS writes on the run's own span.
func WithLabels(ctx context.Context, labels map[string]string) context.Context {
	if len(labels) == 0 {
		return ctx
	}
	attrs := make([]attribute.KeyValue, 0, len(labels))
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		attrs = append(attrs, attribute.String(name, labels[name]))
	}
	return context.WithValue(ctx, labelsKey, attrs)
}

type started struct {
	once sync.Once
	fn   func(ctx context.Context)
}

// OnStart calls fn when the first span below ctx has started, with that span's
// context, before anything runs in it. Spans that are not recorded count when they
// have an id.
func OnStart(ctx context.Context, fn func(ctx context.Context)) context.Context {
	return context.WithValue(ctx, startedKey, &started{fn: fn})
}

// AnnotateContext records the action context of a run on the span of ctx, without the
// values of what may be a secret: auth, and everything named so (Genkit JS redacts the
// same).
func AnnotateContext(ctx context.Context, actionContext json.RawMessage) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.String(attrContext, string(redact(actionContext))))
	}
}

// redacted replaces a value that must not be in a trace.
var redacted = json.RawMessage(`"<redacted>"`)

func redact(actionContext json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(actionContext, &fields) != nil {
		return redacted
	}
	for _, name := range []string{"auth", "secrets"} {
		if _, ok := fields[name]; ok {
			fields[name] = redacted
		}
	}
	raw, err := rawjson.Encode(fields)
	if err != nil {
		return redacted
	}
	return raw
}

// Extract returns ctx with the caller's trace, which the header traceparent of a
// request names (W3C Trace Context): spans below continue it.
func Extract(ctx context.Context, h http.Header) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(h))
}

// Inject names the span of ctx in the headers of a request that goes out. Without a
// span it does nothing.
func Inject(ctx context.Context, h http.Header) {
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(h))
}
