package action

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/internal/handed"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
)

// NextInput waits for the next input of a stream. more is false at the end of the
// stream, and err says that there will be no proper end: the caller has gone, or an input
// was refused. One goroutine calls it at a time.
type NextInput func(ctx context.Context) (in json.RawMessage, more bool, err error)

// OneInput is a stream of one input, nil where the caller gave none.
func OneInput(in json.RawMessage) NextInput {
	sent := false
	return func(context.Context) (json.RawMessage, bool, error) {
		if sent {
			return nil, false, nil
		}
		sent = true
		return in, true, nil
	}
}

// Bidi is a bidirectional action: one that takes a value at its start (init) and reads a
// stream of inputs while it streams chunks, until it returns its output. Run as a plain
// action its stream has one input, and there is no init.
type Bidi interface {
	Action
	// RunBidiJSON runs the action. A nil init is one that the caller left out; a nil
	// emit drops the chunks. It pulls inputs when it is ready for them and is held up by
	// an emit that blocks, so that neither side outruns the other.
	//
	// It fails with INVALID_ARGUMENT ([ErrInvalidInput]) when init or an input breaks
	// its schema, and with INTERNAL ([ErrInvalidOutput]) when a chunk or the output
	// does. An input or chunk that is refused ends the run, whatever the function makes of it.
	RunBidiJSON(ctx context.Context, init json.RawMessage, next NextInput, emit Emit) (json.RawMessage, error)
}

// BidiFunc is the work of a [Bidi] on raw JSON. init and the inputs have passed their
// schemas, see [Func] for those that the caller left out. next belongs to one goroutine.
// emit is never nil, and may be called from several. Neither may be used after the function
// has returned. ctx ends when the caller leaves; the function has to return then.
type BidiFunc func(ctx context.Context, init json.RawMessage, next NextInput, emit Emit) (json.RawMessage, error)

// bidiAction is a [Bidi] with its four schemas compiled.
type bidiAction struct {
	*rawAction
	init       *schema.Schema
	chunk      *schema.Schema
	fn         BidiFunc
	absentInit func() absence
}

var _ Bidi = (*bidiAction)(nil)

// NewBidi makes a bidirectional action of fn; desc may have all four schemas. Its metadata
// gets bidi: true, as in Genkit. It fails like [New].
func NewBidi(desc Desc, fn BidiFunc) (Bidi, error) {
	desc.Metadata = maps.Clone(desc.Metadata)
	if desc.Metadata == nil {
		desc.Metadata = map[string]json.RawMessage{}
	}
	desc.Metadata["bidi"] = json.RawMessage("true")
	raw, err := newRaw(desc)
	if err != nil {
		return nil, err
	}
	b := &bidiAction{rawAction: raw, fn: fn}
	if b.chunk, err = schema.Compile(desc.StreamSchema, desc.SchemaOptions()...); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "stream schema of %q: %w", desc.Name, err)
	}
	if b.init, err = schema.Compile(desc.InitSchema, desc.SchemaOptions()...); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "init schema of %q: %w", desc.Name, err)
	}
	b.absentInit = sync.OnceValue(func() absence { return absenceOf(b.init) })
	return b, nil
}

// RunJSON runs the action on a stream of one input, without init. An input that breaks its
// schema is refused before the function starts.
func (b *bidiAction) RunJSON(ctx context.Context, in json.RawMessage, emit Emit) (json.RawMessage, error) {
	in, err := b.accept(ctx, in)
	if err != nil {
		return nil, err
	}
	return b.run(ctx, nil, &conversation{b: b, next: OneInput(in), out: emit, accepted: true})
}

// RunBidiJSON validates, traces and runs.
func (b *bidiAction) RunBidiJSON(ctx context.Context, init json.RawMessage, next NextInput, emit Emit) (json.RawMessage, error) {
	return b.run(ctx, init, &conversation{b: b, next: next, out: emit})
}

func (b *bidiAction) run(ctx context.Context, init json.RawMessage, c *conversation) (out json.RawMessage, err error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	ctx = handed.Take(ctx)
	init = instead(init, b.absentInit)
	if init != nil || b.init.Demanding() {
		if err := b.init.In(ctx).Check(ctx, init); err != nil {
			return nil, refused(err, func(err error) error {
				return schemaError(status.InvalidArgument, "init of", b.desc, err, ErrInvalidInput)
			})
		}
	}
	ctx, span := telemetry.Start(ctx, telemetry.Span{
		Name: b.desc.Name, Type: telemetry.TypeAction, Subtype: string(b.desc.Kind), Key: b.desc.Key().String(), Init: init,
	})
	defer func() { err = span.End(err) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.cancel = cancel
	out, err = b.guarded(func() (json.RawMessage, error) { return b.fn(ctx, init, c.input, c.emit) })
	only, broken := c.end()
	if only != nil {
		span.Input(only)
	}
	if broken != nil {
		return nil, broken
	}
	if err != nil {
		return nil, err
	}
	return b.checked(ctx, span, out)
}

// conversation is what goes between a caller and the function of a bidirectional action.
type conversation struct {
	b        *bidiAction
	next     NextInput
	out      Emit // nil drops the chunks
	accepted bool // the inputs have passed their schema
	cancel   context.CancelCauseFunc

	mu     sync.Mutex // guards the fields below
	inputs int
	first  json.RawMessage
	broken error // of the input or chunk that ended the conversation
	over   bool
}

// end lets nothing more through. It returns the input of a stream that had one, for the
// span, and the error that ended the conversation.
func (c *conversation) end() (only json.RawMessage, broken error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.inputs == 1 {
		only = c.first
	}
	return only, c.broken
}

func (c *conversation) state() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return status.Errorf(status.FailedPrecondition, "%s has returned", c.b.desc.Key())
	}
	return c.broken
}

// fail ends the conversation; its first failure counts.
func (c *conversation) fail(err error) error {
	c.mu.Lock()
	if c.broken == nil {
		c.broken = err
	}
	err = c.broken
	c.mu.Unlock()
	c.cancel(err)
	return err
}

// input implements [NextInput] for the function.
func (c *conversation) input(ctx context.Context) (json.RawMessage, bool, error) {
	if err := c.state(); err != nil {
		return nil, false, err
	}
	in, more, err := c.next(ctx)
	if err != nil || !more {
		return nil, false, err
	}
	if !c.accepted {
		in, err = c.b.accept(ctx, in)
		switch {
		case errors.Is(err, ErrInvalidInput):
			return nil, false, c.fail(err)
		case err != nil: // ctx has ended
			return nil, false, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inputs++; c.inputs == 1 {
		c.first = in
	} else {
		c.first = nil
	}
	return in, true, nil
}

// emit implements [Emit] for the function.
func (c *conversation) emit(chunk json.RawMessage) error {
	if err := c.state(); err != nil {
		return err
	}
	if err := c.b.chunk.Validate(chunk); err != nil {
		return c.fail(refused(err, func(err error) error {
			return schemaError(status.Internal, "chunk from", c.b.desc, err, ErrInvalidOutput)
		}))
	}
	if c.out == nil {
		return nil
	}
	return c.out(chunk)
}

// instead returns what an action gets for in: models leave inputs out, or write null,
// where nothing is required.
func instead(in json.RawMessage, absent func() absence) json.RawMessage {
	var other json.RawMessage
	switch {
	case len(in) == 0:
		other = absent().input
	case string(bytes.TrimSpace(in)) == "null":
		other = absent().null
	}
	if other == nil {
		return in
	}
	return other
}
