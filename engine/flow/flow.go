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

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
)

// Flow is a flow with the Go types of its edge.
type Flow[In, Out, Chunk any] = action.Def[In, Out, Chunk]

// New makes a flow of fn; the schemas follow from the types. It fails with
// INVALID_ARGUMENT when the name or a type is not usable.
func New[In, Out any](name string, fn func(ctx context.Context, in In) (Out, error)) (*Flow[In, Out, struct{}], error) {
	return action.Define(desc(name), func(ctx context.Context, in In, _ func(struct{}) error) (Out, error) { return fn(ctx, in) })
}

// NewStreaming makes a flow that streams chunks. send is never nil: where nobody
// listens it does nothing. An error of send means that the reader is gone, and the
// flow should return it.
func NewStreaming[In, Out, Chunk any](name string, fn func(ctx context.Context, in In, send func(Chunk) error) (Out, error)) (*Flow[In, Out, Chunk], error) {
	return action.Define(desc(name), func(ctx context.Context, in In, send func(Chunk) error) (Out, error) {
		if send == nil {
			send = func(Chunk) error { return ctx.Err() }
		}
		return fn(ctx, in, send)
	})
}

func desc(name string) action.Desc {
	return action.Desc{Kind: action.Flow, Name: name, Metadata: map[string]json.RawMessage{"type": json.RawMessage(`"flow"`)}}
}

// Run does a step of a flow in a span of its own, named name. It may be called
// outside a flow, too.
func Run[Out any](ctx context.Context, name string, fn func(ctx context.Context) (Out, error)) (out Out, err error) {
	ctx, span := telemetry.Start(ctx, telemetry.Span{Name: name, Type: telemetry.TypeFlowStep})
	defer func() { err = span.End(err) }()
	if out, err = fn(ctx); err != nil || !telemetry.Bodies(ctx) {
		return out, err
	}
	if raw, encodeErr := rawjson.Encode(out); encodeErr == nil { // a span is no reason to fail the step
		span.Output(raw)
	}
	return out, nil
}
