// Package telemetry opens the spans that Genkit's tools read: its attribute
// names, its span types and the path of each span.
//
// It owns OpenTelemetry's API here. Spans go to the provider of the context (see
// [WithTracerProvider]), else to the provider of the parent span, else to the
// process's default, which does nothing until somebody sets one. A span that is
// not recorded costs no attributes. Use:
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
	attrOutput          = "genkit:output"
	attrInterrupt       = "genkit:metadata:interrupt"
)

type ctxKey int

const (
	providerKey ctxKey = iota
	pathKey
	bodiesKey
)

// TracerProvider is OpenTelemetry's, named here so that nobody else needs its API.
type TracerProvider = trace.TracerProvider

// WithTracerProvider makes spans below ctx go to p.
func WithTracerProvider(ctx context.Context, p TracerProvider) context.Context {
	return context.WithValue(ctx, providerKey, p)
}

// WithBodies records the inputs and outputs of actions below ctx on their spans,
// as the Dev UI shows them. Without it only their sizes are recorded.
func WithBodies(ctx context.Context) context.Context { return context.WithValue(ctx, bodiesKey, true) }

// Bodies reports whether [WithBodies] was asked for, so that whoever works on Go
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
}

// Running is a started span.
type Running struct {
	span   trace.Span
	bodies bool
}

// Start opens a span below the one in ctx.
func Start(ctx context.Context, s Span) (context.Context, *Running) {
	parent := trace.SpanFromContext(ctx)
	ctx, span := provider(ctx, parent).Tracer(scope).Start(ctx, s.Name)
	if !span.IsRecording() {
		return ctx, &Running{span: span}
	}
	parentPath, _ := ctx.Value(pathKey).(string)
	segment := s.Name
	if s.Type != "" {
		segment += ",t:" + s.Type
	}
	ctx = context.WithValue(ctx, pathKey, parentPath+"/{"+segment+"}")
	if s.Subtype != "" {
		segment += ",s:" + s.Subtype
	}
	bodies := Bodies(ctx)
	attrs := []attribute.KeyValue{
		attribute.String(attrName, s.Name),
		attribute.String(attrPath, parentPath+"/{"+segment+"}"),
	}
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
	if parentPath == "" {
		attrs = append(attrs, attribute.Bool(attrIsRoot, true))
	}
	if bodies && s.Input != nil {
		attrs = append(attrs, attribute.String(attrInput, string(s.Input)))
	}
	span.SetAttributes(attrs...)
	return ctx, &Running{span: span, bodies: bodies}
}

func provider(ctx context.Context, parent trace.Span) trace.TracerProvider {
	if p, ok := ctx.Value(providerKey).(trace.TracerProvider); ok {
		return p
	}
	if p := parent.TracerProvider(); p != nil {
		if _, off := p.(noop.TracerProvider); !off && parent.SpanContext().IsValid() {
			return p
		}
	}
	return otel.GetTracerProvider()
}

// Output records what the span's work returned.
func (r *Running) Output(out json.RawMessage) {
	if !r.span.IsRecording() {
		return
	}
	r.span.SetAttributes(attribute.Int(attrOutputBytes, len(out)))
	if r.bodies {
		r.span.SetAttributes(attribute.String(attrOutput, string(out)))
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
	r.span.SetAttributes(attribute.String(attrState, "error"))
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
