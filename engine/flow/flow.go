// Package flow is the noun "flow": a function of the application that is traced,
// validated and served, and its steps.
//
// It owns how a flow is made and the span of a step. A flow itself is an action of
// kind flow. Use:
//
//	greet, err := flow.New("greet", func(ctx context.Context, name string) (string, error) {
//		return flow.Run(ctx, "compose", func(ctx context.Context) (string, error) { return "Hello, " + name, nil })
//	})
//	out, err := greet.Run(ctx, "Ada")
//
// Flows are safe for concurrent use when their function is.
package flow

import (
	"context"
	"encoding/json"
	"runtime/debug"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Flow is a flow with the Go types of its edge.
type Flow[In, Out, Chunk any] = action.Def[In, Out, Chunk]

// BidiFlow is a flow that reads a stream of inputs, with the Go types of its edge.
type BidiFlow[Init, In, Out, Chunk any] = action.BidiDef[Init, In, Out, Chunk]

// Option describes a flow further.
type Option func(*action.Desc)

// WithDescription sets the flow's description, for people and tools.
func WithDescription(text string) Option { return func(d *action.Desc) { d.Description = text } }

// WithInputSchema is checked in the place of the one that follows from the type.
func WithInputSchema(raw json.RawMessage) Option { return func(d *action.Desc) { d.InputSchema = raw } }

// WithOutputSchema is checked in the place of the one that follows from the type.
func WithOutputSchema(raw json.RawMessage) Option {
	return func(d *action.Desc) { d.OutputSchema = raw }
}

// WithMetadata is published beside Genkit's own.
func WithMetadata(key string, value json.RawMessage) Option {
	return func(d *action.Desc) {
		if key != "type" {
			d.Metadata[key] = value
		}
	}
}

// New makes a flow of fn; the schemas follow from the types. It fails with
// INVALID_ARGUMENT when the name or a type is not usable.
func New[In, Out any](name string, fn func(ctx context.Context, in In) (Out, error), options ...Option) (*Flow[In, Out, struct{}], error) {
	return action.Define(desc(name, options), func(ctx context.Context, in In, _ func(struct{}) error) (Out, error) { return fn(ctx, in) })
}

// NewStreaming makes a flow that streams chunks. send is never nil: where nobody
// listens it does nothing. An error of send means that the reader is gone, and the
// flow should return it.
func NewStreaming[In, Out, Chunk any](name string, fn func(ctx context.Context, in In, send func(Chunk) error) (Out, error), options ...Option) (*Flow[In, Out, Chunk], error) {
	return action.Define(desc(name, options), func(ctx context.Context, in In, send func(Chunk) error) (Out, error) {
		if send == nil {
			send = func(Chunk) error { return ctx.Err() }
		}
		return fn(ctx, in, send)
	})
}

// NewBidi makes a flow that takes a value at its start and reads a stream of inputs while
// it streams chunks; see [action.DefineBidi]. It fails like [New].
func NewBidi[Init, In, Out, Chunk any](name string, fn action.BidiTyped[Init, In, Out, Chunk], options ...Option) (*BidiFlow[Init, In, Out, Chunk], error) {
	return action.DefineBidi(desc(name, options), fn)
}

func desc(name string, options []Option) action.Desc {
	d := action.Desc{Kind: action.Flow, Name: name, Metadata: map[string]json.RawMessage{"type": json.RawMessage(`"flow"`)}}
	for _, o := range options {
		o(&d)
	}
	return d
}

// Run does a step of a flow in a span of its own, named name. It may be called
// outside a flow, too. A panic of fn becomes an error, the step's.
func Run[Out any](ctx context.Context, name string, fn func(ctx context.Context) (Out, error)) (Out, error) {
	return step(ctx, telemetry.Span{Name: name, Type: telemetry.TypeFlowStep}, fn)
}

// RunWith is [Run] for a step with an input, which its span shows.
func RunWith[In, Out any](ctx context.Context, name string, in In, fn func(ctx context.Context, in In) (Out, error)) (Out, error) {
	s := telemetry.Span{Name: name, Type: telemetry.TypeFlowStep}
	if telemetry.Bodies(ctx) {
		if raw, err := rawjson.Encode(in); err == nil { // a span is no reason to fail the step
			s.Input = raw
		}
	}
	return step(ctx, s, func(ctx context.Context) (Out, error) { return fn(ctx, in) })
}

func step[Out any](ctx context.Context, s telemetry.Span, fn func(ctx context.Context) (Out, error)) (out Out, err error) {
	ctx, span := telemetry.Start(ctx, s)
	defer func() { err = span.End(err) }()
	defer func() {
		if r := recover(); r != nil {
			err = status.Errorf(status.Internal, "step %q panicked: %v\n%s", s.Name, r, debug.Stack())
		}
	}()
	if out, err = fn(ctx); err != nil || !telemetry.Bodies(ctx) {
		return out, err
	}
	if raw, encodeErr := rawjson.Encode(out); encodeErr == nil {
		span.Output(raw)
	}
	return out, nil
}
