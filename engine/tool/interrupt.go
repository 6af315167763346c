package tool

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/handed"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// InterruptError ends a tool's run to ask the caller something. The generate loop
// turns it into an interrupted response; it is not a failure.
type InterruptError struct {
	// Metadata is a JSON object that describes the question, or nil.
	Metadata json.RawMessage
}

// Interrupt returns the error by which a tool stops and asks. metadata is a JSON
// object or nil.
func Interrupt(metadata json.RawMessage) error { return &InterruptError{Metadata: metadata} }

// InterruptWith is [Interrupt] for a Go value that encodes as a JSON object.
func InterruptWith(v any) error {
	raw, err := objectOf(v)
	if err != nil {
		return err
	}
	return Interrupt(raw)
}

// Error says that the tool interrupted.
func (e *InterruptError) Error() string { return "tool interrupted" }

// Pause returns the metadata of the interrupt, true when there is none: spans record it and do not
// count it as a failure.
func (e *InterruptError) Pause() json.RawMessage {
	if len(e.Metadata) == 0 {
		return content.True()
	}
	return e.Metadata
}

// AsInterrupt returns the interrupt in err's chain.
func AsInterrupt(err error) (*InterruptError, bool) {
	var e *InterruptError
	ok := errors.As(err, &e)
	return e, ok
}

// NewInterrupt makes a tool that does nothing but ask: each call interrupts with
// what ask returns, an object as JSON, or with nothing when ask is nil. The caller's
// answer must obey Out's schema. Such a tool can be answered ([Respond]) but not
// restarted, and is registered as /tool alone (Genkit: defineInterrupt, #5414).
func NewInterrupt[In, Out any](name, description string, ask func(ctx context.Context, in In) (any, error), options ...Option) (*Def[In, Out], error) {
	mark := func(d *action.Desc) {
		d.Metadata["interrupt"] = content.True()
		setFlag(d, "restartable", json.RawMessage("false"))
	}
	return New(name, description, func(ctx context.Context, in In) (out Out, err error) {
		if ask == nil {
			return out, Interrupt(nil)
		}
		question, err := ask(ctx, in)
		if err != nil {
			return out, err
		}
		return out, InterruptWith(question)
	}, append(options, mark)...)
}

// InterruptAs decodes the metadata of an interrupt from the part that it interrupted, false when
// the part is not interrupted or asks something of another shape.
func InterruptAs[T any](part content.Part) (v T, ok bool) {
	if !part.IsToolRequest() || !part.Metadata.Truthy("interrupt") {
		return v, false
	}
	ok = json.Unmarshal(part.Metadata["interrupt"], &v) == nil
	return v, ok
}

type resumption struct{ resumed, original json.RawMessage }

// WithResumed tells the tool that runs next with ctx that the caller answered its interrupt
// with raw: an object, or true. nil says that this is a first run. It is for one run: the
// tools that this one runs, and others that run with ctx, were not asked about.
func WithResumed(ctx context.Context, raw json.RawMessage) context.Context {
	return WithReplacedInput(ctx, raw, nil)
}

// WithReplacedInput is [WithResumed] for a restart whose input differs from
// original, which the model had asked for.
func WithReplacedInput(ctx context.Context, raw, original json.RawMessage) context.Context {
	if len(raw) == 0 {
		return handed.With(ctx, nil)
	}
	return handed.With(ctx, resumption{resumed: raw, original: original})
}

// Resumed returns the caller's answer to the interrupt of this tool, and
// whether the tool was restarted at all.
func Resumed(ctx context.Context) (json.RawMessage, bool) {
	r, _ := handed.Of(ctx).(resumption)
	return r.resumed, len(r.resumed) > 0
}

// IsResumed reports whether the tool runs again because its interrupt was answered.
func IsResumed(ctx context.Context) bool {
	_, again := Resumed(ctx)
	return again
}

// ResumedAs is [Resumed] for a Go type; an answer without words, true, is the zero
// value. It fails with INVALID_ARGUMENT when the answer has another shape.
func ResumedAs[T any](ctx context.Context) (v T, again bool, err error) {
	raw, again := Resumed(ctx)
	if !again || string(raw) == "true" {
		return v, again, nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, true, status.Publicf(status.InvalidArgument, "the answer to the interrupt does not fit %T: %w", v, err)
	}
	return v, true, nil
}

// OriginalInput returns the input that the model asked for where the caller
// restarted the tool with another one.
func OriginalInput(ctx context.Context) (json.RawMessage, bool) {
	r, _ := handed.Of(ctx).(resumption)
	return r.original, len(r.original) > 0
}

// objectOf encodes v, which must be nil or become a JSON object.
func objectOf(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil //nolint:nilnil // nothing is a value here
	}
	raw, err := encode(v)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 || raw[0] != '{' {
		return nil, status.Publicf(status.InvalidArgument, "%s is no JSON object", raw)
	}
	return raw, nil
}

func encode(v any) (json.RawMessage, error) {
	raw, err := rawjson.Encode(v)
	if err != nil {
		return nil, status.Errorf(status.InvalidArgument, "encode %T: %w", v, err)
	}
	return raw, nil
}
