package engine

import (
	"context"
	"iter"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// Generate asks a model and runs the tools it asks for; see [generate.Run] for the
// codes it fails with.
func Generate(ctx context.Context, e *Engine, options ...GenerateOption) (*Response, error) {
	return e.generate(ctx, options, nil)
}

// GenerateText is [Generate] for the text of the answer.
func GenerateText(ctx context.Context, e *Engine, options ...GenerateOption) (string, error) {
	resp, err := Generate(ctx, e, options...)
	if err != nil {
		return "", err
	}
	return resp.Text(), nil
}

// GenerateData is [Generate] for a value of a Go type: the model is asked for JSON
// of T's schema, and the answer is checked against it. A response without output,
// such as an interrupted one, fails with FAILED_PRECONDITION and is returned all
// the same.
func GenerateData[T any](ctx context.Context, e *Engine, options ...GenerateOption) (T, *Response, error) {
	var value T
	resp, err := Generate(ctx, e, append([]GenerateOption{WithOutputType[T]()}, options...)...)
	if err != nil {
		return value, nil, err
	}
	value, err = dataOf[T](resp)
	return value, resp, err
}

// GenerateStream is [Generate] as an iterator: it yields the chunks and then, with
// Done set, the response. Breaking out of the loop cancels the call and waits for
// its end. An error is the last thing yielded.
func GenerateStream(ctx context.Context, e *Engine, options ...GenerateOption) iter.Seq2[StreamEvent, error] {
	return action.Iterate(ctx, func(ctx context.Context, send func(StreamEvent) error) error {
		resp, err := e.generate(ctx, options, func(c *model.Chunk) error { return send(StreamEvent{Chunk: c}) })
		if err != nil {
			return err
		}
		return send(StreamEvent{Done: true, Output: resp})
	})
}

func (e *Engine) generate(ctx context.Context, options []GenerateOption, send model.Send) (*Response, error) {
	r, err := newRequest(options)
	if err != nil {
		return nil, err
	}
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	return generate.Run(ctx, e.reg, &r.opts, send, append(r.more, generate.WithLogger(e.logger))...)
}
