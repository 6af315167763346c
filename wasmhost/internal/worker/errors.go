package worker

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// Bounds of an error that comes from a worker.
const (
	maxErrorText    = 8 << 10
	maxErrorDetails = 64 << 10
	maxRetryAfter   = 24 * time.Hour
)

// Marks of an error whose identity counts on the other side.
const (
	markPublic byte = 1 << iota
	markSilent      // its cause is abi.ErrSilent
	markClosed      // it is sandbox.ErrClosed
	markHost        // it is the server's last answer, returned
	markMask   = 1<<iota - 1
)

// fromHostError marks an error in a worker that the server has answered: when it ends the
// call, the server returns what it had.
type fromHostError struct{ err error }

func (e *fromHostError) Error() string { return e.err.Error() }
func (e *fromHostError) Unwrap() error { return e.err }

func writeError(w *writer, err error) {
	e := status.Convert(err)
	var marks byte
	if e.Public() {
		marks |= markPublic
	}
	if errors.Is(err, abi.ErrSilent) {
		marks |= markSilent
	}
	if errors.Is(err, sandbox.ErrClosed) {
		marks |= markClosed
	}
	if _, ok := errors.AsType[*fromHostError](err); ok {
		marks |= markHost
	}
	w.byte(byte(e.Code))
	w.byte(marks)
	w.int64(int64(e.RetryAfter))
	w.string(e.Message)
	w.bytes(e.Details)
}

// readError reads an error. Its text is cleaned: the peer may be a worker that a guest has
// taken over.
func readError(r *reader) (err *status.Error, marks byte) {
	code, marks := status.Code(r.byte()), r.byte()
	after := time.Duration(r.amount())
	text, details := r.string(), r.bytes()
	if code <= status.OK || code > status.Unauthenticated || marks&^byte(markMask) != 0 {
		r.bad = true
		return status.Errorf(status.Internal, "a broken error of a worker"), 0
	}
	if text = abi.Clean(text, maxErrorText); text == "" {
		text = code.Label()
	}
	if marks&markPublic != 0 {
		err = status.Publicf(code, "%s", text)
	} else {
		err = status.Errorf(code, "%s", text)
	}
	if len(details) > 0 && len(details) <= maxErrorDetails && schema.Check(details) == nil {
		err = err.WithDetails(json.RawMessage(abi.Escape(details)))
	}
	if marks&markSilent != 0 {
		err = err.WithCause(abi.ErrSilent)
	}
	if after > 0 {
		err = err.WithRetryAfter(min(after, maxRetryAfter))
	}
	return err, marks
}
