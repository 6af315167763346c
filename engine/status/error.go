package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Error is the one error type that crosses package boundaries.
//
// Message is for operators and logs; it leaves the process only when the error
// was made by one of the Public constructors. Error values are immutable once
// returned: the With methods return copies.
type Error struct {
	Code    Code
	Message string
	// Details is a JSON value for the caller, or nil. It leaves the process
	// under the same rule as Message.
	Details json.RawMessage
	// RetryAfter is how long a provider or a limit asked to wait; 0 when it
	// said nothing.
	RetryAfter time.Duration

	public bool
	cause  error
}

// Sentinels for errors.Is: an *Error matches the sentinel of its code.
var (
	ErrCancelled          = sentinel(Cancelled)
	ErrUnknown            = sentinel(Unknown)
	ErrInvalidArgument    = sentinel(InvalidArgument)
	ErrDeadlineExceeded   = sentinel(DeadlineExceeded)
	ErrNotFound           = sentinel(NotFound)
	ErrAlreadyExists      = sentinel(AlreadyExists)
	ErrPermissionDenied   = sentinel(PermissionDenied)
	ErrResourceExhausted  = sentinel(ResourceExhausted)
	ErrFailedPrecondition = sentinel(FailedPrecondition)
	ErrAborted            = sentinel(Aborted)
	ErrOutOfRange         = sentinel(OutOfRange)
	ErrUnimplemented      = sentinel(Unimplemented)
	ErrInternal           = sentinel(Internal)
	ErrUnavailable        = sentinel(Unavailable)
	ErrDataLoss           = sentinel(DataLoss)
	ErrUnauthenticated    = sentinel(Unauthenticated)
)

type sentinelError Code

func sentinel(c Code) error { return sentinelError(c) }

func (s sentinelError) Error() string { return Code(s).Label() }

// Errorf returns an error whose text stays in the process. A %w verb sets the
// cause.
func Errorf(code Code, format string, args ...any) *Error {
	return build(code, false, format, args)
}

// Publicf returns an error whose text may be shown to the caller.
func Publicf(code Code, format string, args ...any) *Error {
	return build(code, true, format, args)
}

func build(code Code, public bool, format string, args []any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), public: public, cause: errors.Unwrap(err)}
}

// Error returns "NAME: message".
func (e *Error) Error() string {
	if e == nil {
		return OK.String()
	}
	return e.Code.String() + ": " + e.Message
}

// Unwrap returns the cause, which never leaves the process.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.cause
}

// Is matches the sentinel of e's code.
func (e *Error) Is(target error) bool {
	s, ok := target.(sentinelError)
	return ok && e != nil && Code(s) == e.Code
}

// Public reports whether Message and Details may leave the process.
func (e *Error) Public() bool { return e != nil && e.public }

// WithDetails returns a copy that carries v as JSON. A value that does not
// marshal is left out.
func (e *Error) WithDetails(v any) *Error {
	c := *e
	if raw, err := json.Marshal(v); err == nil {
		c.Details = raw
	}
	return &c
}

// WithCause returns a copy that unwraps to cause.
func (e *Error) WithCause(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// WithRetryAfter returns a copy that asks the caller to wait for d.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// Of returns the code of the innermost decision about err: OK for nil, the
// code of an *Error anywhere in the chain, CANCELLED and DEADLINE_EXCEEDED for
// the context errors, INTERNAL for anything else.
func Of(err error) Code {
	if err == nil {
		return OK
	}
	return Convert(err).Code
}

// Convert returns err as an *Error: the one in its chain, or a private one that
// wraps it. nil gives nil. An *Error that claims OK is turned into INTERNAL.
func Convert(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) && e != nil {
		if e.Code == OK {
			c := *e
			c.Code = Internal
			return &c
		}
		return e
	}
	var s sentinelError
	switch {
	case errors.As(err, &s):
		return &Error{Code: Code(s), Message: err.Error(), cause: err}
	case errors.Is(err, context.Canceled):
		return &Error{Code: Cancelled, Message: err.Error(), cause: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: DeadlineExceeded, Message: err.Error(), cause: err}
	}
	return &Error{Code: Internal, Message: err.Error(), cause: err}
}

// Wire is an error as it goes to a caller: Genkit's {status, message, details}.
type Wire struct {
	Status  string          `json:"status"`
	Message string          `json:"message"`
	Details json.RawMessage `json:"details,omitempty"`
}

// ToWire returns the part of err that may be shown. The text of a private error is
// replaced by its code's label; with dev set it is shown in full.
func ToWire(err error, dev bool) Wire {
	e := Convert(err)
	if e == nil {
		return Wire{Status: OK.String()}
	}
	if e.public || dev {
		return Wire{Status: e.Code.String(), Message: e.Message, Details: e.Details}
	}
	return Wire{Status: e.Code.String(), Message: e.Code.Label()}
}
