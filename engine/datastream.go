package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"reflect"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// GenerateDataStream is [GenerateData] as an iterator: it yields the output as far as each
// chunk reveals it, and then, with Done set, the output that was checked against the
// schema. The format decides how much a chunk reveals: for json the whole value as far as
// it is known, for array and jsonl the items that the chunk completed, for text what it
// added, for enum the value. It is not checked; where it does not fit T yet, it is passed
// over. Breaking out of the loop cancels the call and waits for its
// end. An error is the last thing yielded, and beside it, as Response, what [Generate]
// returns beside its error.
func GenerateDataStream[T any](ctx context.Context, e *Engine, options ...GenerateOption) iter.Seq2[StreamValue[T, T], error] {
	options = append([]GenerateOption{outputOf(reflect.TypeFor[T]())}, options...)
	chunks := func(ctx context.Context) (*format.Stream, error) { return e.outputStream(ctx, options) }
	call := func(ctx context.Context, send model.Send) (*ModelResponse, error) {
		return e.generate(ctx, options, send)
	}
	return dataStreamed(ctx, chunks, call, dataOf[T])
}

// dataStreamed is an iterator over the partial outputs that chunks reads in the chunks of
// a generate call, and the output that read finds in the response.
func dataStreamed[T any](ctx context.Context, chunks func(context.Context) (*format.Stream, error), call func(context.Context, model.Send) (*ModelResponse, error), read func(*ModelResponse) (T, error)) iter.Seq2[StreamValue[T, T], error] {
	return action.IterateKnown(ctx, func(ctx context.Context, send func(StreamValue[T, T]) error) (StreamValue[T, T], error) {
		stream, err := chunks(ctx)
		if err != nil {
			return StreamValue[T, T]{}, err
		}
		resp, err := call(ctx, func(c *model.Chunk) error {
			raw, err := stream.Next(ctx, c)
			if err != nil || raw == nil {
				return err
			}
			var known T
			if decodeData(raw, &known) != nil {
				return nil
			}
			return send(StreamValue[T, T]{Chunk: known})
		})
		if err != nil {
			return StreamValue[T, T]{Response: resp}, err
		}
		value, err := read(resp)
		if err == nil {
			err = send(StreamValue[T, T]{Output: value, Done: true, Response: resp})
		}
		return StreamValue[T, T]{Response: resp}, err
	})
}

// outputStream reads chunks in the format that a call asks for.
func (e *Engine) outputStream(ctx context.Context, options []GenerateOption) (*format.Stream, error) {
	r, err := newRequest(options)
	if err != nil {
		return nil, err
	}
	return e.streamOf(ctx, r.opts.Output, "json")
}

// streamOf reads chunks in the format of out, or in the one that is called name.
func (e *Engine) streamOf(ctx context.Context, out *model.OutputOptions, name string) (*format.Stream, error) {
	var schema json.RawMessage
	if out != nil {
		schema = out.JSONSchema
		if out.Format != "" {
			name = out.Format
		}
	}
	f, err := format.Lookup(e.reg, name)
	if err != nil {
		return nil, err
	}
	h, err := f.New(ctx, schema)
	if err != nil {
		return nil, err
	}
	return format.NewStream(h), nil
}

// dataOf decodes the output of a response.
func dataOf[T any](resp *ModelResponse) (value T, err error) {
	err = resp.Output(&value)
	return value, err
}

func decodeData(raw json.RawMessage, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(v)
}
