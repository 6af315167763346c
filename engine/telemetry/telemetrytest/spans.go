// Package telemetrytest keeps spans for tests to look at.
//
// It is never imported by code that ships. Use:
//
//	spans := &telemetrytest.Spans{}
//	ctx := telemetry.WithTracerProvider(t.Context(), spans)
package telemetrytest

import (
	"context"
	"encoding/binary"
	"maps"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Spans is a tracer provider that keeps the spans that have ended. It is safe for
// concurrent use.
type Spans struct {
	noop.TracerProvider

	mu     sync.Mutex // guards the fields below
	nextID uint64
	ended  []map[string]string
}

// Ended returns the spans in the order in which they ended, each as its attributes
// and, under "name", "status" and "parent", what is no attribute.
func (s *Spans) Ended() []map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]map[string]string, len(s.ended))
	for i, span := range s.ended {
		all[i] = maps.Clone(span)
	}
	return all
}

// Tracer returns a tracer whose spans are kept.
func (s *Spans) Tracer(string, ...trace.TracerOption) trace.Tracer { return tracer{spans: s} }

type tracer struct {
	noop.Tracer
	spans *Spans
}

func (t tracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	t.spans.mu.Lock()
	defer t.spans.mu.Unlock()
	t.spans.nextID++
	parent := trace.SpanContextFromContext(ctx)
	config := trace.SpanContextConfig{TraceID: parent.TraceID(), TraceFlags: trace.FlagsSampled}
	binary.BigEndian.PutUint64(config.SpanID[:], t.spans.nextID)
	facts := map[string]string{"name": name, "status": codes.Unset.String()}
	if parent.IsValid() {
		facts["parent"] = parent.SpanID().String()
	} else {
		binary.BigEndian.PutUint64(config.TraceID[:], t.spans.nextID)
	}
	started := trace.NewSpanStartConfig(options...)
	for _, kv := range started.Attributes() {
		facts[string(kv.Key)] = kv.Value.String()
	}
	s := &span{spans: t.spans, context: trace.NewSpanContext(config), facts: facts}
	return trace.ContextWithSpan(ctx, s), s
}

type span struct {
	noop.Span
	spans   *Spans
	context trace.SpanContext
	facts   map[string]string // guarded by spans.mu
}

func (s *span) SpanContext() trace.SpanContext       { return s.context }
func (s *span) IsRecording() bool                    { return true }
func (s *span) TracerProvider() trace.TracerProvider { return s.spans }
func (s *span) SetStatus(code codes.Code, _ string)  { s.set("status", code.String()) }

func (s *span) SetAttributes(attrs ...attribute.KeyValue) {
	for _, kv := range attrs {
		s.set(string(kv.Key), kv.Value.String())
	}
}

// AddEvent keeps an event under "event:" and its name, a line for each time.
func (s *span) AddEvent(name string, options ...trace.EventOption) {
	config := trace.NewEventConfig(options...)
	var line strings.Builder
	for _, kv := range config.Attributes() {
		line.WriteString(string(kv.Key) + "=" + kv.Value.String() + " ")
	}
	s.spans.mu.Lock()
	defer s.spans.mu.Unlock()
	s.facts["event:"+name] += strings.TrimSpace(line.String()) + "\n"
}

func (s *span) set(key, value string) {
	s.spans.mu.Lock()
	defer s.spans.mu.Unlock()
	s.facts[key] = value
}

func (s *span) End(...trace.SpanEndOption) {
	s.spans.mu.Lock()
	defer s.spans.mu.Unlock()
	s.spans.ended = append(s.spans.ended, s.facts)
}
