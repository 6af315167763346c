package tool

import (
	"context"
	"encoding/json"
	"errors"
)

// InterruptError ends a tool's run to ask the caller something. The generate loop
// turns it into an interrupted response; it is not a failure.
type InterruptError struct {
	// Metadata is a JSON object that says what is asked, or nil.
	Metadata json.RawMessage
}

// Interrupt returns the error by which a tool stops and asks. metadata is a JSON
// object or nil.
func Interrupt(metadata json.RawMessage) error { return &InterruptError{Metadata: metadata} }

// Error says that the tool interrupted.
func (e *InterruptError) Error() string { return "tool interrupted" }

// AsInterrupt returns the interrupt in err's chain.
func AsInterrupt(err error) (*InterruptError, bool) {
	var e *InterruptError
	ok := errors.As(err, &e)
	return e, ok
}

type resumedKey struct{}

// WithResumed tells the tools below ctx that the caller answered their interrupt
// with raw: an object, or true. nil says that this is a first run.
func WithResumed(ctx context.Context, raw json.RawMessage) context.Context {
	return context.WithValue(ctx, resumedKey{}, raw)
}

// Resumed returns what the caller answered to the interrupt of this tool, and
// whether the tool was restarted at all.
func Resumed(ctx context.Context) (json.RawMessage, bool) {
	raw, _ := ctx.Value(resumedKey{}).(json.RawMessage)
	return raw, len(raw) > 0
}
