// Package telemetry opens the spans that Genkit's tools read: its attribute
// names, its span types and the path of each span.
//
// It owns OpenTelemetry's API here. Spans go to the provider of the context (see
// [WithTracerProvider]), else to the provider of the parent span, else to the
// process's default, which does nothing until somebody sets one. A span that is
// not recorded costs no attributes.
//
// Beside Genkit's attributes stand OpenTelemetry's for generative AI (gen_ai.*; see
// genai.go), and a [Meter] records their metrics. The exporters are in packages below
// this one: devexport speaks to Genkit's Dev UI, otlp to everything else. Use:
//
//	ctx, span := telemetry.Start(ctx, telemetry.Span{Name: "menu", Type: telemetry.TypeAction, Subtype: "flow"})
//	defer func() { span.End(err) }()
//
// Everything here is safe for concurrent use; one span belongs to one goroutine.
package telemetry

import (
	"context"
	"encoding/json"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/genkit-wasm/genkit-wasm/engine/internal/secretjson"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Types of a span (the attribute genkit:type).
const (
	TypeAction   = "action"
	TypeFlowStep = "flowStep"
	TypeUtil     = "util"
)

const (
	scope = "genkit-tracer"

	attrName            = "genkit:name"
	attrType            = "genkit:type"
	attrSubtype         = "genkit:metadata:subtype"
	attrKey             = "genkit:key"
	attrState           = "genkit:state"
	attrIsRoot          = "genkit:isRoot"
	attrPath            = "genkit:path"
	attrIsFailureSource = "genkit:isFailureSource"
	attrInputBytes      = "genkit:metadata:inputBytes"
	attrOutputBytes     = "genkit:metadata:outputBytes"
	attrInput           = "genkit:input"
	attrInit            = "genkit:init"
	attrOutput          = "genkit:output"
	attrInterrupt       = "genkit:metadata:interrupt"
	attrContext         = "genkit:metadata:context"
	attrErrorType       = "error.type"
)

// version is made once: a span that nobody looks at should cost little.
var version = []trace.TracerOption{trace.WithInstrumentationVersion("v1")}

type ctxKey int

const (
	providerKey ctxKey = iota
	pathKey
	bodiesKey
	labelsKey
	startedKey
	meterKey
)

// TracerProvider is OpenTelemetry's, named here so that nobody else needs its API.
type TracerProvider = trace.TracerProvider

// WithTracerProvider makes spans below ctx go to p.
func WithTracerProvider(ctx context.Context, p TracerProvider) context.Context {
	return context.WithValue(ctx, providerKey, p)
}

// WithBodies records the inputs and outputs of actions below ctx on their spans,
// as the Dev UI shows them, without the secrets of model configs (such as apiKey).
// Without it only their sizes are recorded.
func WithBodies(ctx context.Context) context.Context { return context.WithValue(ctx, bodiesKey, true) }

// Bodies reports whether [WithBodies] was asked for, so that code that works on Go
// values knows when to encode them for the span.
func Bodies(ctx context.Context) bool {
	on, _ := ctx.Value(bodiesKey).(bool)
	return on
}

// Span describes a span before it starts.
type Span struct {
	Name    string
	Type    string // one of the Type constants; "" for a span without a type, such as a test case's
	Subtype string // the kind of action, such as "tool"
	Key     string // the registry key, when there is one
	Input   json.RawMessage
	Init    json.RawMessage // the value at the start of a bidirectional action
}

// Running is a started span.
type Running struct {
	span   trace.Span
	bodies bool
	timing *timing // where there is a meter
}

// Start opens a span below the one in ctx.
func Start(ctx context.Context, s Span) (context.Context, *Running) {
	r := &Running{timing: begin(ctx, s)}
	p, asked := provider(ctx, trace.SpanFromContext(ctx))
	var at path
	var options []trace.SpanStartOption
	if asked { // somebody looks: what is known at the start is told at the start
		at = pathOf(ctx, s)
		options = append(options, trace.WithAttributes(startAttributes(ctx, s, at)...))
	}
	ctx, r.span = p.Tracer(scope, version...).Start(ctx, s.Name, options...) //nolint:spancheck // Running.End ends it
	if r.span.IsRecording() {
		if !asked {
			at = pathOf(ctx, s)
			r.span.SetAttributes(startAttributes(ctx, s, at)...)
		}
		r.bodies = Bodies(ctx)
		ctx = context.WithValue(ctx, pathKey, at.below)
		if ctx.Value(labelsKey) != nil {
			ctx = context.WithValue(ctx, labelsKey, nil)
		}
	}
	if h, ok := ctx.Value(startedKey).(*started); ok && r.span.SpanContext().IsValid() {
		h.once.Do(func() { h.fn(ctx) })
	}
	return ctx, r
}

// path is where a span stands. Genkit JS writes the subtype on the last segment only,
// and not on that of a root (js/core/src/tracing/instrumentation.ts).
type path struct {
	parent string
	below  string // the trace that the spans below continue
	own    string
}

func pathOf(ctx context.Context, s Span) path {
	parent, _ := ctx.Value(pathKey).(string)
	segment := s.Name
	switch {
	case s.Subtype == "flow":
		segment += ",t:flow"
	case s.Type != "":
		segment += ",t:" + s.Type
	}
	p := path{parent: parent, below: parent + "/{" + segment + "}"}
	p.own = p.below
	if parent != "" && s.Subtype != "" {
		p.own = parent + "/{" + segment + ",s:" + s.Subtype + "}"
	}
	return p
}

func startAttributes(ctx context.Context, s Span, p path) []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 12)
	attrs = append(attrs, attribute.String(attrName, s.Name), attribute.String(attrPath, p.own))
	if s.Type != "" {
		attrs = append(attrs, attribute.String(attrType, s.Type))
	}
	if s.Input != nil {
		attrs = append(attrs, attribute.Int(attrInputBytes, len(s.Input)))
	}
	if s.Subtype != "" {
		attrs = append(attrs, attribute.String(attrSubtype, s.Subtype))
	}
	if s.Key != "" {
		attrs = append(attrs, attribute.String(attrKey, s.Key))
	}
	if p.parent == "" {
		attrs = append(attrs, attribute.Bool(attrIsRoot, true))
	}
	if s.Input != nil && Bodies(ctx) {
		attrs = append(attrs, attribute.String(attrInput, string(secretjson.Hide(s.Input))))
	}
	if s.Init != nil && Bodies(ctx) {
		attrs = append(attrs, attribute.String(attrInit, string(secretjson.Hide(s.Init))))
	}
	attrs = append(attrs, genAIOf(s).attributes()...)
	if labels, ok := ctx.Value(labelsKey).([]attribute.KeyValue); ok {
		attrs = append(attrs, labels...)
	}
	return attrs
}

// provider returns where spans go, and whether somebody asked for them: the process's
// default is not asked, it may do nothing.
func provider(ctx context.Context, parent trace.Span) (p trace.TracerProvider, asked bool) {
	if p, ok := ctx.Value(providerKey).(trace.TracerProvider); ok {
		return p, true
	}
	if p := parent.TracerProvider(); p != nil {
		if _, off := p.(noop.TracerProvider); !off && parent.SpanContext().IsValid() {
			return p, parent.IsRecording()
		}
	}
	return otel.GetTracerProvider(), false
}

// Input records an input that was not known when the span started.
func (r *Running) Input(in json.RawMessage) {
	if !r.span.IsRecording() {
		return
	}
	r.span.SetAttributes(attribute.Int(attrInputBytes, len(in)))
	if r.bodies {
		r.span.SetAttributes(attribute.String(attrInput, string(secretjson.Hide(in))))
	}
}

// Output records the result of the span's work.
func (r *Running) Output(out json.RawMessage) {
	if !r.span.IsRecording() {
		return
	}
	r.span.SetAttributes(attribute.Int(attrOutputBytes, len(out)))
	if r.bodies {
		r.span.SetAttributes(attribute.String(attrOutput, string(secretjson.Hide(out))))
	}
}

// Set records further facts under genkit:metadata:<name>.
func (r *Running) Set(name, value string) {
	if r.span.IsRecording() {
		r.span.SetAttributes(attribute.String("genkit:metadata:"+name, value))
	}
}

// failure marks an error that a span below has reported already.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// pause is an error that stops a run to ask somebody: no failure.
type pause interface {
	error
	Pause() json.RawMessage
}

// End closes the span and returns err marked as reported, so that only the first
// failing span is its source. An error with a method Pause() json.RawMessage, such as
// a tool's interrupt, is no failure: what it asks is recorded as
// genkit:metadata:interrupt. End must be called once.
func (r *Running) End(err error) error {
	defer r.span.End()
	r.timing.end(err)
	if !r.span.IsRecording() {
		return err
	}
	if err == nil {
		r.span.SetAttributes(attribute.String(attrState, "success"))
		return nil
	}
	if asks, ok := errors.AsType[pause](err); ok {
		r.span.SetAttributes(attribute.String(attrState, "success"), attribute.String(attrInterrupt, string(asks.Pause())))
		return err
	}
	r.span.SetAttributes(attribute.String(attrState, "error"), attribute.String(attrErrorType, status.Of(err).String()))
	r.span.SetStatus(codes.Error, err.Error())
	if _, ok := errors.AsType[failure](err); !ok {
		r.span.SetAttributes(attribute.Bool(attrIsFailureSource, true))
		r.span.RecordError(err)
		return failure{err}
	}
	return err
}

// TraceIDs returns the ids of the span in ctx, empty when there is none.
func TraceIDs(ctx context.Context) (traceID, spanID string) {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return "", ""
	}
	return sc.TraceID().String(), sc.SpanID().String()
}
