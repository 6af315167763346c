package telemetry

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// WithBoth sends the spans below ctx to more as well as to whom they went before, each
// span with the same ids where more takes them from [SharedIDs]. Inputs and outputs are
// recorded for more; the other keeps what [WithBodies] said before.
func WithBoth(ctx context.Context, more TracerProvider) context.Context {
	own, _ := provider(ctx, trace.SpanFromContext(ctx))
	if b, ok := own.(*both); own == more || ok && b.more == more {
		return WithBodies(WithTracerProvider(ctx, own))
	}
	return WithBodies(WithTracerProvider(ctx, &both{own: own, more: more, bodies: Bodies(ctx)}))
}

type sharedKey struct{}

// SharedIDs returns the ids that a span which is started in ctx is to have, since
// another provider has given them to it.
func SharedIDs(ctx context.Context) (trace.SpanContext, bool) {
	sc, ok := ctx.Value(sharedKey{}).(trace.SpanContext)
	return sc, ok
}

// both makes each span twice.
type both struct {
	embedded.TracerProvider
	own, more TracerProvider
	bodies    bool // own gets inputs and outputs, too
}

func (b *both) Tracer(name string, options ...trace.TracerOption) trace.Tracer {
	return &bothTracer{provider: b, own: b.own.Tracer(name, options...), more: b.more.Tracer(name, options...)}
}

type bothTracer struct {
	embedded.Tracer
	provider  *both
	own, more trace.Tracer
}

func (t *bothTracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	s := &bothSpan{provider: t.provider}
	ownCtx, moreCtx := ctx, ctx
	if parent, ok := trace.SpanFromContext(ctx).(*bothSpan); ok {
		ownCtx, moreCtx = trace.ContextWithSpan(ctx, parent.own), trace.ContextWithSpan(ctx, parent.more)
	}
	_, s.own = t.own.Start(ownCtx, name, s.quietOptions(options)...) //nolint:spancheck // End ends both
	if sc := s.own.SpanContext(); sc.IsValid() {
		moreCtx = context.WithValue(moreCtx, sharedKey{}, sc)
	}
	_, s.more = t.more.Start(moreCtx, name, options...) //nolint:spancheck // End ends both
	return trace.ContextWithSpan(ctx, s), s
}

type bothSpan struct {
	embedded.Span
	provider  *both
	own, more trace.Span
}

var _ trace.Span = (*bothSpan)(nil)

// quietOptions are the options of a span without inputs, where own does not want them.
func (s *bothSpan) quietOptions(options []trace.SpanStartOption) []trace.SpanStartOption {
	c := trace.NewSpanStartConfig(options...)
	quiet := s.quiet(c.Attributes())
	if len(quiet) == len(c.Attributes()) {
		return options
	}
	out := []trace.SpanStartOption{trace.WithAttributes(quiet...), trace.WithLinks(c.Links()...), trace.WithSpanKind(c.SpanKind())}
	if !c.Timestamp().IsZero() {
		out = append(out, trace.WithTimestamp(c.Timestamp()))
	}
	if c.NewRoot() {
		out = append(out, trace.WithNewRoot())
	}
	return out
}

func (s *bothSpan) quiet(attrs []attribute.KeyValue) []attribute.KeyValue {
	body := func(kv attribute.KeyValue) bool { return kv.Key == attrInput || kv.Key == attrOutput }
	if s.provider.bodies || !slices.ContainsFunc(attrs, body) {
		return attrs
	}
	return slices.DeleteFunc(slices.Clone(attrs), body)
}

// SpanContext is the own one where there is any: what it propagates is the
// application's decision.
func (s *bothSpan) SpanContext() trace.SpanContext {
	if sc := s.own.SpanContext(); sc.IsValid() {
		return sc
	}
	return s.more.SpanContext()
}

func (s *bothSpan) IsRecording() bool                    { return s.own.IsRecording() || s.more.IsRecording() }
func (s *bothSpan) TracerProvider() trace.TracerProvider { return s.provider }

func (s *bothSpan) End(options ...trace.SpanEndOption) {
	s.own.End(options...)
	s.more.End(options...)
}

func (s *bothSpan) AddEvent(name string, options ...trace.EventOption) {
	s.own.AddEvent(name, options...)
	s.more.AddEvent(name, options...)
}

func (s *bothSpan) AddLink(link trace.Link) {
	s.own.AddLink(link)
	s.more.AddLink(link)
}

func (s *bothSpan) RecordError(err error, options ...trace.EventOption) {
	s.own.RecordError(err, options...)
	s.more.RecordError(err, options...)
}

func (s *bothSpan) SetStatus(code codes.Code, description string) {
	s.own.SetStatus(code, description)
	s.more.SetStatus(code, description)
}

func (s *bothSpan) SetName(name string) {
	s.own.SetName(name)
	s.more.SetName(name)
}

func (s *bothSpan) SetAttributes(attrs ...attribute.KeyValue) {
	if quiet := s.quiet(attrs); len(quiet) > 0 {
		s.own.SetAttributes(quiet...)
	}
	s.more.SetAttributes(attrs...)
}
