// Package status is the one vocabulary of failure: Genkit's status codes, the
// error type that carries them across package boundaries, and the rule of what
// text may leave the process.
//
// It owns the tables code ↔ wire name ↔ HTTP status ↔ gRPC number. Use:
//
//	return status.Publicf(status.NotFound, "tool %q does not exist", name)
//	…
//	if errors.Is(err, status.ErrNotFound) { … }
//
// Everything here is safe for concurrent use.
package status

import (
	"fmt"
	"net/http"
	"strconv"
)

// Code is a canonical status; its number is gRPC's.
type Code int

// The codes, with gRPC's numbers (Genkit: js/core/src/statusTypes.ts).
const (
	OK                 Code = 0
	Cancelled          Code = 1
	Unknown            Code = 2
	InvalidArgument    Code = 3
	DeadlineExceeded   Code = 4
	NotFound           Code = 5
	AlreadyExists      Code = 6
	PermissionDenied   Code = 7
	ResourceExhausted  Code = 8
	FailedPrecondition Code = 9
	Aborted            Code = 10
	OutOfRange         Code = 11
	Unimplemented      Code = 12
	Internal           Code = 13
	Unavailable        Code = 14
	DataLoss           Code = 15
	Unauthenticated    Code = 16
)

type row struct {
	name  string
	http  int
	label string
}

// statusClientClosedRequest is the code that Genkit answers for CANCELLED.
const statusClientClosedRequest = 499

var rows = [...]row{
	OK:                 {"OK", http.StatusOK, "ok"},
	Cancelled:          {"CANCELLED", statusClientClosedRequest, "the request was cancelled"},
	Unknown:            {"UNKNOWN", http.StatusInternalServerError, "unknown error"},
	InvalidArgument:    {"INVALID_ARGUMENT", http.StatusBadRequest, "invalid argument"},
	DeadlineExceeded:   {"DEADLINE_EXCEEDED", http.StatusGatewayTimeout, "deadline exceeded"},
	NotFound:           {"NOT_FOUND", http.StatusNotFound, "not found"},
	AlreadyExists:      {"ALREADY_EXISTS", http.StatusConflict, "already exists"},
	PermissionDenied:   {"PERMISSION_DENIED", http.StatusForbidden, "permission denied"},
	ResourceExhausted:  {"RESOURCE_EXHAUSTED", http.StatusTooManyRequests, "a limit was reached"},
	FailedPrecondition: {"FAILED_PRECONDITION", http.StatusBadRequest, "failed precondition"},
	Aborted:            {"ABORTED", http.StatusConflict, "aborted"},
	OutOfRange:         {"OUT_OF_RANGE", http.StatusBadRequest, "out of range"},
	Unimplemented:      {"UNIMPLEMENTED", http.StatusNotImplemented, "not implemented"},
	Internal:           {"INTERNAL", http.StatusInternalServerError, "internal error"},
	Unavailable:        {"UNAVAILABLE", http.StatusServiceUnavailable, "unavailable"},
	DataLoss:           {"DATA_LOSS", http.StatusInternalServerError, "data loss"},
	Unauthenticated:    {"UNAUTHENTICATED", http.StatusUnauthorized, "unauthenticated"},
}

func (c Code) row() row {
	if c < 0 || int(c) >= len(rows) {
		return rows[Unknown]
	}
	return rows[c]
}

// String returns the wire name, such as "INVALID_ARGUMENT"; an unknown number
// gives "UNKNOWN".
func (c Code) String() string { return c.row().name }

// HTTP returns the HTTP status that carries c.
func (c Code) HTTP() int { return c.row().http }

// Label returns a lower-case sentence that says no more than the code does. It
// stands in for text that may not leave the process.
func (c Code) Label() string { return c.row().label }

// MarshalText gives the wire name.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText accepts a wire name or a gRPC number in decimal.
func (c *Code) UnmarshalText(text []byte) error {
	if code, ok := Parse(string(text)); ok {
		*c = code
		return nil
	}
	if n, err := strconv.Atoi(string(text)); err == nil && n >= 0 && n < len(rows) {
		*c = Code(n)
		return nil
	}
	return fmt.Errorf("status: %q is not a status name", text)
}

// Parse returns the code of a wire name.
func Parse(name string) (Code, bool) {
	for code, r := range rows {
		if r.name == name {
			return Code(code), true
		}
	}
	return Unknown, false
}

// FromHTTP maps the status of a provider's HTTP answer to a code (Genkit Go:
// core/status, the table for provider errors).
func FromHTTP(httpStatus int) Code {
	switch httpStatus {
	case http.StatusBadRequest:
		return InvalidArgument
	case http.StatusUnauthorized:
		return Unauthenticated
	case http.StatusForbidden:
		return PermissionDenied
	case http.StatusNotFound:
		return NotFound
	case http.StatusRequestTimeout:
		return DeadlineExceeded
	case http.StatusConflict:
		return Aborted
	case http.StatusTooManyRequests:
		return ResourceExhausted
	case statusClientClosedRequest:
		return Cancelled
	case http.StatusNotImplemented:
		return Unimplemented
	case http.StatusServiceUnavailable:
		return Unavailable
	case http.StatusGatewayTimeout:
		return DeadlineExceeded
	}
	switch {
	case httpStatus >= 200 && httpStatus < 300:
		return OK
	case httpStatus >= 500:
		return Internal
	}
	return Unknown
}
