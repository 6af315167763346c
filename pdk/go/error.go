package pdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Code is a Genkit status name.
type Code string

// The codes that a tool may fail with.
const (
	Cancelled          Code = "CANCELLED"
	Unknown            Code = "UNKNOWN"
	InvalidArgument    Code = "INVALID_ARGUMENT"
	DeadlineExceeded   Code = "DEADLINE_EXCEEDED"
	NotFound           Code = "NOT_FOUND"
	AlreadyExists      Code = "ALREADY_EXISTS"
	PermissionDenied   Code = "PERMISSION_DENIED"
	Unauthenticated    Code = "UNAUTHENTICATED"
	ResourceExhausted  Code = "RESOURCE_EXHAUSTED"
	FailedPrecondition Code = "FAILED_PRECONDITION"
	Aborted            Code = "ABORTED"
	OutOfRange         Code = "OUT_OF_RANGE"
	Unimplemented      Code = "UNIMPLEMENTED"
	Internal           Code = "INTERNAL"
	Unavailable        Code = "UNAVAILABLE"
	DataLoss           Code = "DATA_LOSS"
)

// Error is an error with a status: a tool returns it to say why it failed, and
// what a capability's refusal comes back as. An error of any other type reaches
// the host as its text, with the code INTERNAL.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Details any    `json:"details,omitempty"` // anything that encodes as JSON
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Errorf makes an [*Error] without details.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func encodeError(err error) []byte {
	var coded *Error
	if !errors.As(err, &coded) {
		return []byte(strings.ToValidUTF8(err.Error(), "\uFFFD"))
	}
	if b, encErr := encode(coded); encErr == nil {
		return b
	}
	// The details do not encode; the code and the message always do.
	b, _ := json.Marshal(Error{Code: coded.Code, Message: coded.Message})
	return b
}
