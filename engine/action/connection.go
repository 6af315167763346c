package action

import (
	"context"
	"encoding/json"
	"iter"
	"runtime/debug"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// What [Connection.Send] fails with when nobody will read the input; both are
// FAILED_PRECONDITION. Where both hold it is ErrActionCompleted.
var (
	ErrConnectionClosed error = status.Publicf(status.FailedPrecondition, "the connection is closed for inputs")
	ErrActionCompleted  error = status.Publicf(status.FailedPrecondition, "the action has completed")
)

// BidiDef is a [Bidi] with the Go types of its edge; see [DefineBidi].
type BidiDef[Init, In, Out, Chunk any] struct{ Bidi }

// BidiTyped is the work of a [BidiDef]. inputs yields each input, or an error, which is the
// last; send is never nil. See [BidiFunc] for the rest.
type BidiTyped[Init, In, Out, Chunk any] func(ctx context.Context, init Init, inputs iter.Seq2[In, error], send func(Chunk) error) (Out, error)

// DefineBidi makes a bidirectional action of a typed function. Schemas that desc leaves
// out are inferred from the types.
func DefineBidi[Init, In, Out, Chunk any](desc Desc, fn BidiTyped[Init, In, Out, Chunk]) (*BidiDef[Init, In, Out, Chunk], error) {
	for _, s := range []struct {
		what  string
		of    *json.RawMessage
		infer func() (json.RawMessage, error)
	}{
		{"init", &desc.InitSchema, schema.Infer[Init]},
		{"input", &desc.InputSchema, schema.Infer[In]},
		{"output", &desc.OutputSchema, schema.InferOutput[Out]},
		{"chunks", &desc.StreamSchema, schema.InferOutput[Chunk]},
	} {
		if *s.of != nil {
			continue
		}
		var err error
		if *s.of, err = s.infer(); err != nil {
			return nil, status.Errorf(status.InvalidArgument, "%s of %q: %w", s.what, desc.Name, err)
		}
	}
	b, err := NewBidi(desc, func(ctx context.Context, raw json.RawMessage, next NextInput, emit Emit) (json.RawMessage, error) {
		init, err := decode[Init](raw)
		if err != nil {
			return nil, schemaError(status.InvalidArgument, "init of", desc, err, ErrInvalidInput)
		}
		out, err := fn(ctx, init, inputs[In](ctx, desc, next), sender[Chunk](emit))
		if err != nil {
			return nil, err
		}
		return encode(out)
	})
	if err != nil {
		return nil, err
	}
	return &BidiDef[Init, In, Out, Chunk]{Bidi: b}, nil
}

// inputs decodes a stream of inputs.
func inputs[In any](ctx context.Context, desc Desc, next NextInput) iter.Seq2[In, error] {
	return func(yield func(In, error) bool) {
		for {
			raw, more, err := next(ctx)
			if err == nil && !more {
				return
			}
			var in In
			if err == nil {
				if in, err = decode[In](raw); err != nil {
					err = InvalidInput(desc, err)
				}
			}
			if !yield(in, err) || err != nil {
				return
			}
		}
	}
}

// Name returns the name in the descriptor.
func (d *BidiDef[Init, In, Out, Chunk]) Name() string { return d.Desc().Name }

// Run runs the action on a stream of one input and drops its chunks.
func (d *BidiDef[Init, In, Out, Chunk]) Run(ctx context.Context, init Init, in In) (out Out, err error) {
	rawInit, err := encode(init)
	if err != nil {
		return out, err
	}
	raw, err := encode(in)
	if err != nil {
		return out, err
	}
	if raw, err = d.RunBidiJSON(ctx, rawInit, OneInput(raw), nil); err != nil {
		return out, err
	}
	return decode[Out](raw)
}

// Connect starts the action; see [Connection].
func (d *BidiDef[Init, In, Out, Chunk]) Connect(ctx context.Context, init Init) (*Connection[In, Out, Chunk], error) {
	raw, err := encode(init)
	if err != nil {
		return nil, err
	}
	return Connect[In, Out, Chunk](ctx, d.Bidi, raw), nil
}

// Connection is a run of a bidirectional action, seen by its caller. One input and one
// chunk wait between the two: [Connection.Send] blocks until the action has read the input
// before, and the action is held up until its chunks are read. Whoever connects has to read
// the run to its end with [Connection.Output], or end the context that it was started with. A
// connection is safe for concurrent use; chunks that several readers receive are divided
// among them.
type Connection[In, Out, Chunk any] struct {
	ctx    context.Context //nolint:containedctx // the run's own
	slot   slot
	chunks chan json.RawMessage
	done   chan struct{}

	out json.RawMessage // set before done is closed
	err error
}

// Connect starts a run of b in a goroutine that ends with it. ctx ends the run; a nil init
// is none. [json.RawMessage] as a type hands on what there is undecoded.
func Connect[In, Out, Chunk any](ctx context.Context, b Bidi, init json.RawMessage) *Connection[In, Out, Chunk] {
	ctx, cancel := context.WithCancel(ctx)
	c := &Connection[In, Out, Chunk]{
		ctx: ctx, slot: slot{news: make(chan struct{})}, chunks: make(chan json.RawMessage, 1), done: make(chan struct{}),
		err: status.Errorf(status.Internal, "%s ended its goroutine", b.Desc().Key()),
	}
	go func() {
		defer close(c.done)
		defer cancel() // whoever still emits is let go
		defer func() {
			if r := recover(); r != nil { // of an action that is not this package's
				c.err = status.Errorf(status.Internal, "%s panicked: %v\n%s", b.Desc().Key(), r, debug.Stack())
			}
		}()
		c.out, c.err = b.RunBidiJSON(ctx, init, c.slot.next, c.emit)
	}()
	return c
}

func (c *Connection[In, Out, Chunk]) emit(chunk json.RawMessage) error {
	select {
	case c.chunks <- chunk:
		return nil
	case <-c.ctx.Done():
		return status.Convert(c.ctx.Err())
	}
}

// Send gives the action an input. It fails with [ErrConnectionClosed] after
// [Connection.Close] and with [ErrActionCompleted] once the run is over; a nil error says that the
// input is kept for the action, not that it was read. An input that breaks the schema ends
// the run, and [Connection.Output] tells why.
func (c *Connection[In, Out, Chunk]) Send(ctx context.Context, in In) error {
	raw, err := encode(in)
	if err != nil {
		return err
	}
	return c.slot.put(ctx, raw, c.done)
}

// Close ends the stream of inputs. The action reads those that were sent before, and then
// the end. Closing twice does nothing.
func (c *Connection[In, Out, Chunk]) Close() { c.slot.close() }

// Done is closed when the run is over.
func (c *Connection[In, Out, Chunk]) Done() <-chan struct{} { return c.done }

// Receive yields the chunks until the run is over; the error of a run that failed comes
// last. Leaving the loop early ends nothing, and another loop goes on where it stopped.
func (c *Connection[In, Out, Chunk]) Receive() iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		for {
			raw, more := c.chunk()
			if !more {
				if c.err != nil {
					var none Chunk
					yield(none, c.err)
				}
				return
			}
			chunk, err := decode[Chunk](raw)
			if !yield(chunk, err) || err != nil {
				return
			}
		}
	}
}

// chunk waits for the next chunk; false when the run is over and all are read.
func (c *Connection[In, Out, Chunk]) chunk() (json.RawMessage, bool) {
	select {
	case raw := <-c.chunks:
		return raw, true
	case <-c.done:
	}
	select {
	case raw := <-c.chunks:
		return raw, true
	default:
		return nil, false
	}
}

// Output drops the chunks that are left, waits for the end of the run and returns its output.
// An action that reads all its inputs ends after [Connection.Close] only.
func (c *Connection[In, Out, Chunk]) Output() (out Out, err error) {
	for more := true; more; {
		_, more = c.chunk()
	}
	if c.err != nil {
		return out, c.err
	}
	return decode[Out](c.out)
}

// slot is a stream of inputs of which one waits to be read.
type slot struct {
	mu     sync.Mutex // guards the fields below
	in     json.RawMessage
	full   bool
	closed bool
	news   chan struct{} // closed, and replaced, when something has changed
}

// tell wakes who waits; mu is held.
func (s *slot) tell() {
	close(s.news)
	s.news = make(chan struct{})
}

func (s *slot) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.tell()
	}
}

func (s *slot) put(ctx context.Context, in json.RawMessage, done <-chan struct{}) error {
	for {
		select {
		case <-done:
			return ErrActionCompleted
		default:
		}
		s.mu.Lock()
		switch {
		case s.closed:
			s.mu.Unlock()
			return ErrConnectionClosed
		case !s.full:
			s.in, s.full = in, true
			s.tell()
			s.mu.Unlock()
			return nil
		}
		news := s.news
		s.mu.Unlock()
		select {
		case <-news:
		case <-done:
		case <-ctx.Done():
			select {
			case <-done:
				return ErrActionCompleted
			default:
			}
			return status.Convert(ctx.Err())
		}
	}
}

// next implements [NextInput].
func (s *slot) next(ctx context.Context) (json.RawMessage, bool, error) {
	for {
		s.mu.Lock()
		if s.full {
			in := s.in
			s.in, s.full = nil, false
			s.tell()
			s.mu.Unlock()
			return in, true, nil
		}
		closed, news := s.closed, s.news
		s.mu.Unlock()
		if closed {
			return nil, false, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, false, status.Convert(ctx.Err())
		}
	}
}
