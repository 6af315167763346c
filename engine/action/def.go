package action

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"reflect"
	"runtime/debug"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Def is an action with the Go types of its edge. Its zero value is not usable;
// see [Define]. Def erases itself to an [Action] when it is registered.
type Def[In, Out, Chunk any] struct{ Action }

// Typed is the work of a [Def]. send is nil when nobody streams.
type Typed[In, Out, Chunk any] func(ctx context.Context, in In, send func(Chunk) error) (Out, error)

// Define makes an action of a typed function. Schemas that desc leaves out are
// inferred from the types.
func Define[In, Out, Chunk any](desc Desc, fn Typed[In, Out, Chunk]) (*Def[In, Out, Chunk], error) {
	var err error
	if desc.InputSchema == nil {
		if desc.InputSchema, err = schema.Infer[In](); err != nil {
			return nil, status.Errorf(status.InvalidArgument, "input of %q: %w", desc.Name, err)
		}
	}
	if desc.OutputSchema == nil {
		if desc.OutputSchema, err = schema.InferOutput[Out](); err != nil {
			return nil, status.Errorf(status.InvalidArgument, "output of %q: %w", desc.Name, err)
		}
	}
	a, err := New(desc, func(ctx context.Context, raw json.RawMessage, emit Emit) (json.RawMessage, error) {
		in, err := decode[In](raw)
		if err != nil {
			return nil, InvalidInput(desc, err)
		}
		out, err := fn(ctx, in, sender[Chunk](emit))
		if err != nil {
			return nil, err
		}
		return encode(out)
	})
	if err != nil {
		return nil, err
	}
	return &Def[In, Out, Chunk]{Action: a}, nil
}

func sender[Chunk any](emit Emit) func(Chunk) error {
	if emit == nil {
		return nil
	}
	return func(c Chunk) error {
		raw, err := encode(c)
		if err != nil {
			return err
		}
		return emit(raw)
	}
}

// Name returns the name in the descriptor.
func (d *Def[In, Out, Chunk]) Name() string { return d.Desc().Name }

// Run runs the action on a typed input.
func (d *Def[In, Out, Chunk]) Run(ctx context.Context, in In) (Out, error) {
	return d.run(ctx, in, nil)
}

func (d *Def[In, Out, Chunk]) run(ctx context.Context, in In, emit Emit) (out Out, err error) {
	raw, err := encode(in)
	if err != nil {
		return out, err
	}
	if raw, err = d.RunJSON(ctx, raw, emit); err != nil {
		return out, err
	}
	return decode[Out](raw)
}

// Event is one step of a stream: a chunk, or the final output with Done set.
type Event[Out, Chunk any] struct {
	Chunk  Chunk
	Done   bool
	Output Out
}

// Stream runs the action and yields its chunks and then its output. Breaking out
// of the loop cancels the run and waits for its end.
func (d *Def[In, Out, Chunk]) Stream(ctx context.Context, in In) iter.Seq2[Event[Out, Chunk], error] {
	return Iterate(ctx, func(ctx context.Context, send func(Event[Out, Chunk]) error) error {
		out, err := d.run(ctx, in, func(raw json.RawMessage) error {
			chunk, err := decode[Chunk](raw)
			if err != nil {
				return err
			}
			return send(Event[Out, Chunk]{Chunk: chunk})
		})
		if err != nil {
			return err
		}
		return send(Event[Out, Chunk]{Done: true, Output: out})
	})
}

// errStopped ends the work of an iterator whose reader has left.
var errStopped = errors.New("the reader stopped")

// Iterate turns work that pushes values into an iterator that is pulled. The work
// runs in a goroutine of its own, so it may send from any goroutine; it is
// cancelled and waited for when the loop ends early. An error of the work is the
// last thing yielded.
func Iterate[T any](ctx context.Context, work func(ctx context.Context, send func(T) error) error) iter.Seq2[T, error] {
	return IterateKnown(ctx, func(ctx context.Context, send func(T) error) (none T, err error) { return none, work(ctx, send) })
}

// IterateKnown is [Iterate] for work that knows something when it fails: known is yielded
// beside its error, also when ctx ended the work.
func IterateKnown[T any](ctx context.Context, work func(ctx context.Context, send func(T) error) (known T, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		values, done := make(chan T), make(chan ending[T], 1)
		defer func() { // the goroutine ends before the loop does
			cancel()
			for range values {
			}
		}()
		go func() {
			defer close(values)
			defer close(done) // also when the work ends its goroutine
			defer func() {
				if r := recover(); r != nil {
					done <- ending[T]{err: status.Errorf(status.Internal, "stream panicked: %v\n%s", r, debug.Stack())}
				}
			}()
			known, err := work(ctx, func(v T) error {
				select {
				case values <- v:
					return nil
				case <-ctx.Done():
					return errors.Join(errStopped, ctx.Err())
				}
			})
			done <- ending[T]{known, err}
		}()
		for v := range values {
			if !yield(v, nil) {
				return
			}
		}
		if end := <-done; end.err != nil {
			yield(end.known, end.err)
		}
	}
}

// ending is the outcome of an iterator's work.
type ending[T any] struct {
	known T
	err   error
}

var rawType = reflect.TypeFor[json.RawMessage]()

// decode reads In from JSON; raw messages pass unread, and a missing input is the
// zero value. Numbers in an interface keep their digits.
func decode[T any](raw json.RawMessage) (v T, err error) {
	if reflect.TypeFor[T]() == rawType {
		out, _ := any(raw).(T)
		return out, nil
	}
	if len(raw) == 0 {
		return v, nil
	}
	if !loose(reflect.TypeFor[T]()) {
		err = json.Unmarshal(raw, &v)
		return v, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

func encode(v any) (json.RawMessage, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return raw, nil
	}
	raw, err := rawjson.Encode(v)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode %T: %w", v, err)
	}
	return raw, nil
}

var looseTypes sync.Map // reflect.Type → bool; filled once per Go type of the program

// loose reports whether a value of t can hold an interface, in which a number would
// lose its digits without UseNumber. Other types are decoded without a Decoder and its
// buffers.
func loose(t reflect.Type) bool {
	if v, ok := looseTypes.Load(t); ok {
		b, _ := v.(bool)
		return b
	}
	b := holdsInterface(t, map[reflect.Type]bool{})
	looseTypes.Store(t, b)
	return b
}

func holdsInterface(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return holdsInterface(t.Elem(), seen)
	case reflect.Map:
		return holdsInterface(t.Key(), seen) || holdsInterface(t.Elem(), seen)
	case reflect.Struct:
		for f := range t.Fields() {
			if holdsInterface(f.Type, seen) {
				return true
			}
		}
	}
	return false
}
