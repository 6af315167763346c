package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// DataEvent is one step of a streamed value.
type DataEvent[T any] struct {
	// Value is what a chunk gives to know of the output, in the way of its format:
	// for json the whole value as far as it is known, for array and jsonl the items
	// that the chunk completed, for text what it added, for enum the value. With
	// Done set it is the output.
	Value T
	Done  bool
	// Response is the response when Done is set.
	Response *Response
}

// GenerateDataStream is [GenerateData] as an iterator: it yields what is known of the
// value while the model writes it, and then, with Done set, the value that was checked
// against the schema. What is known so far is not checked; where it does not fit T
// yet, it is passed over. Breaking out of the loop cancels the call and waits for its
// end. An error is the last thing yielded.
func GenerateDataStream[T any](ctx context.Context, e *Engine, options ...GenerateOption) iter.Seq2[DataEvent[T], error] {
	options = append([]GenerateOption{WithOutputType[T]()}, options...)
	return action.Iterate(ctx, func(ctx context.Context, send func(DataEvent[T]) error) error {
		stream, err := e.outputStream(options)
		if err != nil {
			return err
		}
		resp, err := e.generate(ctx, options, func(c *model.Chunk) error {
			raw, err := stream.Next(ctx, c)
			if err != nil || raw == nil {
				return err
			}
			var known T
			if decodeData(raw, &known) != nil {
				return nil
			}
			return send(DataEvent[T]{Value: known})
		})
		if err != nil {
			return err
		}
		value, err := dataOf[T](resp)
		if err != nil {
			return err
		}
		return send(DataEvent[T]{Value: value, Done: true, Response: resp})
	})
}

// outputStream reads chunks in the format that a call asks for.
func (e *Engine) outputStream(options []GenerateOption) (*format.Stream, error) {
	r, err := newRequest(options)
	if err != nil {
		return nil, err
	}
	return e.streamOf(r.opts.Output, "json")
}

// streamOf reads chunks in the format of out, or in the one that name stands for.
func (e *Engine) streamOf(out *model.OutputOptions, name string) (*format.Stream, error) {
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
	h, err := f.New(schema)
	if err != nil {
		return nil, err
	}
	return format.NewStream(h), nil
}

// dataOf decodes the output of a response.
func dataOf[T any](resp *Response) (value T, err error) {
	if resp.Output == nil {
		return value, status.Publicf(status.FailedPrecondition, "the model gave no output; finish reason %q", resp.FinishReason)
	}
	if err := decodeData(resp.Output, &value); err != nil {
		return value, status.Publicf(status.InvalidArgument, "the model's output does not fit %T: %w", value, err)
	}
	return value, nil
}

func decodeData(raw json.RawMessage, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(v)
}
