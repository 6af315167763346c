package engine

import (
	"context"
	"iter"
	"reflect"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// Generate asks a model and runs the tools it asks for; see [generate.Run] for the
// codes it fails with.
func Generate(ctx context.Context, e *Engine, options ...GenerateOption) (*ModelResponse, error) {
	return e.generate(ctx, options, nil)
}

// GenerateText is [Generate] for the text of the answer. Beside an error it is the text
// of what [Generate] returns beside it, such as that which was streamed before ctx ended.
func GenerateText(ctx context.Context, e *Engine, options ...GenerateOption) (string, error) {
	resp, err := Generate(ctx, e, options...)
	if resp == nil {
		return "", err
	}
	return resp.Text(), err
}

// GenerateData is [Generate] for a value of a Go type: the model is asked for JSON
// of T's schema, and the answer is checked against it. A response without output,
// such as an interrupted one, fails with FAILED_PRECONDITION and is returned all
// the same, and so is what [Generate] returns beside its error.
func GenerateData[T any](ctx context.Context, e *Engine, options ...GenerateOption) (T, *ModelResponse, error) {
	var value T
	resp, err := Generate(ctx, e, append([]GenerateOption{outputOf(reflect.TypeFor[T]())}, options...)...)
	if err != nil {
		return value, resp, err
	}
	value, err = dataOf[T](resp)
	return value, resp, err
}

// GenerateStream is [Generate] as an iterator: it yields the chunks and then, with
// Done set, the response. Breaking out of the loop cancels the call and waits for
// its end. An error is the last thing yielded; the value beside it has, as Response, the
// response that [Generate] returns beside its error, nil where there is none.
func GenerateStream(ctx context.Context, e *Engine, options ...GenerateOption) iter.Seq2[ModelStreamValue, error] {
	return streamed(ctx, func(ctx context.Context, send model.Send) (*ModelResponse, error) {
		return e.generate(ctx, options, send)
	})
}

// streamed is an iterator over the chunks and the response of a generate call.
func streamed(ctx context.Context, call func(context.Context, model.Send) (*ModelResponse, error)) iter.Seq2[ModelStreamValue, error] {
	return action.IterateKnown(ctx, func(ctx context.Context, send func(ModelStreamValue) error) (ModelStreamValue, error) {
		resp, err := call(ctx, func(c *model.Chunk) error { return send(ModelStreamValue{Chunk: c}) })
		if err == nil {
			err = send(ModelStreamValue{Done: true, Response: resp})
		}
		return ModelStreamValue{Response: resp}, err
	})
}

func (e *Engine) generate(ctx context.Context, options []GenerateOption, send model.Send) (*ModelResponse, error) {
	r, err := newRequest(options)
	if err != nil {
		return nil, err
	}
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	return generate.Run(ctx, e.reg, &r.opts, r.sender(ctx, send), append(r.more, generate.WithLogger(e.logger))...)
}
