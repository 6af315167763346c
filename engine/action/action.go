// Package action holds the one registrable unit: an action takes JSON, may
// stream JSON chunks and returns JSON.
//
// It owns keys, descriptors, and the steps around each run: the input is
// validated against the compiled schema, a span is opened, a panic becomes an
// error, the output is validated. Bodies stay raw; types appear only at the edge
// ([Def]). Use:
//
//	a, err := action.New(action.Desc{Kind: action.Tool, Name: "add", InputSchema: raw}, fn)
//	out, err := a.RunJSON(ctx, in, nil)
//
// Actions are immutable and safe for concurrent use.
package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/internal/handed"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
)

// Emit passes one chunk to the caller of a stream. A nil Emit means that the caller
// does not stream. It may block on a slow reader; an error means that the reader is
// gone and the run should end.
type Emit func(chunk json.RawMessage) error

// Action is anything that can be registered, listed and run.
type Action interface {
	Desc() Desc
	// RunJSON runs the action. It fails with INVALID_ARGUMENT when in breaks
	// the input schema; everything else is the action's own.
	RunJSON(ctx context.Context, in json.RawMessage, emit Emit) (json.RawMessage, error)
}

// Desc describes an action. Schemas are JSON Schema documents or nil.
type Desc struct {
	Kind         Kind
	Name         string
	Description  string
	InputSchema  json.RawMessage
	OutputSchema json.RawMessage
	// StreamSchema and InitSchema are those of a bidirectional action's chunks and of the
	// value at its start; see [NewBidi]. Other actions do not check them.
	StreamSchema json.RawMessage
	InitSchema   json.RawMessage
	Metadata     map[string]json.RawMessage
	// Stored says that the schemas were compiled before: they are compiled again when
	// they are first used. It is not on the wire.
	Stored bool
}

// SchemaOptions are those with which the schemas are to be compiled.
func (d Desc) SchemaOptions() []schema.Option {
	if d.Stored {
		return []schema.Option{schema.AssertFormats(), schema.Deferred()}
	}
	return []schema.Option{schema.AssertFormats()}
}

// Key returns the action's key in a registry.
func (d Desc) Key() Key { return Key{Kind: d.Kind, Name: d.Name} }

type wireDesc struct {
	Key          string                     `json:"key"`
	Kind         Kind                       `json:"type"`
	Name         string                     `json:"name"`
	Description  string                     `json:"description,omitempty"`
	InputSchema  json.RawMessage            `json:"inputSchema,omitempty"`
	OutputSchema json.RawMessage            `json:"outputSchema,omitempty"`
	StreamSchema json.RawMessage            `json:"streamSchema,omitempty"`
	InitSchema   json.RawMessage            `json:"initSchema,omitempty"`
	Metadata     map[string]json.RawMessage `json:"metadata,omitempty"`
}

// MarshalJSON gives Genkit's {key, type, name, description, inputSchema,
// outputSchema, streamSchema, initSchema, metadata}.
func (d Desc) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireDesc{
		Key: d.Key().String(), Kind: d.Kind, Name: d.Name, Description: d.Description,
		InputSchema: d.InputSchema, OutputSchema: d.OutputSchema, StreamSchema: d.StreamSchema, InitSchema: d.InitSchema, Metadata: d.Metadata,
	})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (d *Desc) UnmarshalJSON(b []byte) error {
	var w wireDesc
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*d = Desc{
		Kind: w.Kind, Name: w.Name, Description: w.Description,
		InputSchema: w.InputSchema, OutputSchema: w.OutputSchema, StreamSchema: w.StreamSchema, InitSchema: w.InitSchema, Metadata: w.Metadata,
	}
	return nil
}

// Func is the work of an action on raw JSON. in has passed the input schema; a
// nil in means that the caller gave no input and that there is no schema. Where there is
// one, no input is null if the schema takes null on purpose, and {} if it takes that.
type Func func(ctx context.Context, in json.RawMessage, emit Emit) (json.RawMessage, error)

type rawAction struct {
	desc Desc
	in   *schema.Schema
	out  *schema.Schema
	fn   Func
	// absent is what stands for no input, and for null; found once.
	absent func() absence
}

var _ Action = (*rawAction)(nil)

// New makes an action of fn. It compiles both schemas and fails with
// INVALID_ARGUMENT when one is broken or the name is not usable.
func New(desc Desc, fn Func) (Action, error) {
	a, err := newRaw(desc)
	if err != nil {
		return nil, err
	}
	a.fn = fn
	return a, nil
}

func newRaw(desc Desc) (*rawAction, error) {
	if err := checkName(desc.Kind, desc.Name); err != nil {
		return nil, err
	}
	a := &rawAction{desc: desc}
	var err error
	if a.in, err = schema.Compile(desc.InputSchema, desc.SchemaOptions()...); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "input schema of %q: %w", desc.Name, err)
	}
	if a.out, err = schema.Compile(desc.OutputSchema, desc.SchemaOptions()...); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "output schema of %q: %w", desc.Name, err)
	}
	a.absent = sync.OnceValue(func() absence { return absenceOf(a.in) })
	return a, nil
}

// absence is what an action gets for an input that is left out and for null, nil for what
// was given.
type absence struct{ input, null json.RawMessage }

// absenceOf asks the compiled schema, since its text has many ways to ask for an object:
// $ref, allOf, a list of types, properties alone. One that takes a number, too, says
// nothing of null: it describes objects.
func absenceOf(s *schema.Schema) absence {
	takes := func(in string) bool { return s.Validate(json.RawMessage(in)) == nil }
	null, nothing := json.RawMessage("null"), json.RawMessage("{}")
	switch {
	case !s.Demanding():
		return absence{}
	case takes("{}") && takes("null") && takes("0"):
		return absence{input: nothing}
	case takes("null"):
		return absence{input: null}
	case takes("{}"):
		return absence{nothing, nothing}
	}
	return absence{}
}

// Desc returns the descriptor. The caller must not change anything that it refers to.
func (a *rawAction) Desc() Desc { return a.desc }

// RunJSON validates, traces and runs.
func (a *rawAction) RunJSON(ctx context.Context, in json.RawMessage, emit Emit) (out json.RawMessage, err error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	ctx = handed.Take(ctx)
	if in, err = a.accept(ctx, in); err != nil {
		return nil, err
	}
	ctx, span := telemetry.Start(ctx, telemetry.Span{
		Name: a.desc.Name, Type: telemetry.TypeAction, Subtype: string(a.desc.Kind), Key: a.desc.Key().String(), Input: in,
	})
	defer func() { err = span.End(err) }()
	if out, err = a.guarded(func() (json.RawMessage, error) { return a.fn(ctx, in, emit) }); err != nil {
		return nil, err
	}
	return a.checked(ctx, span, out)
}

// accept returns an input as the action gets it, once it has passed the schema.
func (a *rawAction) accept(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
	in = instead(in, a.absent)
	if in != nil || a.wantsInput() {
		if err := a.in.In(ctx).Check(ctx, in); err != nil {
			return nil, refused(err, func(err error) error { return InvalidInput(a.desc, err) })
		}
	}
	return in, nil
}

// checked records an output and returns it, once it has passed the schema.
func (a *rawAction) checked(ctx context.Context, span *telemetry.Running, out json.RawMessage) (json.RawMessage, error) {
	if out == nil {
		out = json.RawMessage("null")
	}
	span.Output(out)
	if err := a.out.In(ctx).Check(ctx, out); err != nil {
		return nil, refused(err, func(err error) error { return invalidOutput(a.desc, err) })
	}
	return out, nil
}

// refused words what a check has found; a check that was ended says by what.
func refused(err error, word func(error) error) error {
	if _, found := errors.AsType[*schema.ValidationError](err); !found {
		return status.Convert(err)
	}
	return word(err)
}

// wantsInput reports whether the schema asks for something, so that an absent
// input has to be refused.
func (a *rawAction) wantsInput() bool { return a.in.Demanding() }

// guarded turns a panic of work into an error.
func (a *rawAction) guarded(work func() (json.RawMessage, error)) (out json.RawMessage, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, status.Errorf(status.Internal, "%s panicked: %v\n%s", a.desc.Key(), r, debug.Stack())
		}
	}()
	return work()
}

// ErrInvalidInput and ErrInvalidOutput tell a schema failure from other errors of
// the same code, so that a middleware can hand it back to the model.
var (
	ErrInvalidInput  = errors.New("input breaks the schema")
	ErrInvalidOutput = errors.New("output breaks the schema")
)

// InvalidInput reports that an action's input broke its schema.
func InvalidInput(desc Desc, err error) error {
	return schemaError(status.InvalidArgument, "input to", desc, err, ErrInvalidInput)
}

func invalidOutput(desc Desc, err error) error {
	return schemaError(status.Internal, "output from", desc, err, ErrInvalidOutput)
}

func schemaError(code status.Code, what string, desc Desc, err, sentinel error) error {
	e := status.Publicf(code, "invalid %s action %q: %v", what, desc.Key(), err)
	if v, ok := errors.AsType[*schema.ValidationError](err); ok {
		e = e.WithDetails(v.Details())
	}
	return e.WithCause(fmt.Errorf("%w: %w", sentinel, err))
}
