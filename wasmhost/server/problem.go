package server

import (
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/caller"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/openai"
)

// Problem is a failure as RFC 9457 writes it, sent as application/problem+json.
// Status is the HTTP status and StatusName the Genkit code; clients should go by
// StatusName, and by Status for these, which have no code of their own:
//
//	405 UNIMPLEMENTED     the path does not take this method; Allow names those it takes
//	413 INVALID_ARGUMENT  the body is over the server's limit
//	415 INVALID_ARGUMENT  the body is of a type that the route does not read
//	409 FAILED_PRECONDITION  there is no revision before the current one to roll back to;
//	                         the tenant "default", which can't be deleted
//	412 FAILED_PRECONDITION  the object has another ETag than If-Match names
//	422 FAILED_PRECONDITION  the Idempotency-Key came with another request before
//	428 FAILED_PRECONDITION  the change wants an If-Match
//
// Detail is for people. It says no more than the code does when the cause may not
// leave the process; RequestID then finds it in the server's log.
type Problem struct {
	Type       string          `json:"type"`
	Title      string          `json:"title"`
	Status     int             `json:"status"`
	Detail     string          `json:"detail"`
	StatusName string          `json:"status_name"`
	RequestID  string          `json:"request_id"`
	Details    json.RawMessage `json:"details,omitempty"`
	// Error is the same as OpenAI writes it, for clients of OpenAI's API.
	Error *openai.Error `json:"error,omitempty"`
}

// httpError gives an error an HTTP status other than its code's.
type httpError struct {
	error
	http int
}

func (e *httpError) Unwrap() error { return e.error }

func withHTTP(httpStatus int, err error) error { return &httpError{error: err, http: httpStatus} }

func httpStatusOf(err error) int {
	if e, ok := errors.AsType[*httpError](err); ok {
		return e.http
	}
	return status.Of(err).HTTP()
}

// NoPath begins the detail of a 404 that is about the URL's path, not about an object that it names.
const NoPath = "there is nothing at this path"

// fromEcho gives the router's own errors their words.
func fromEcho(c echo.Context, err error) error {
	var e *echo.HTTPError
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case http.StatusNotFound:
		return status.Publicf(status.NotFound, NoPath+"; /openapi.json lists what is there")
	case http.StatusMethodNotAllowed:
		allow, _ := c.Get(echo.ContextKeyHeaderAllow).(string)
		c.Response().Header().Set("Allow", allow)
		return withHTTP(e.Code, status.Publicf(status.Unimplemented, "this path takes %s only", allow))
	}
	return withHTTP(e.Code, status.Publicf(status.FromHTTP(e.Code), "%s", strings.ToLower(http.StatusText(e.Code))))
}

// fail answers a request that failed, in the shape of its route.
func (s *Server) fail(err error, c echo.Context) {
	err = ended(c.Request().Context(), fromEcho(c, err))
	if why := identityEnded(c); why != nil {
		err = why
		c.Response().Header().Set(caller.Challenge, caller.ChallengeWrong)
		c.Response().Header().Set("Connection", "close") // what is left of the body is not read
	}
	c.Set(logErrorKey, err)
	if c.Response().Committed {
		return
	}
	e := status.Convert(err)
	code := httpStatusOf(err)
	wire := status.ToWire(err, s.config.Dev)
	wire.Message = access.Redact(wire.Message)
	if details := access.Redact(string(wire.Details)); len(wire.Details) > 0 {
		wire.Details = json.RawMessage(details)
	}
	setRetryAfter(c.Response().Header(), e)
	var writeErr error
	if isFlow(c) {
		writeErr = writeJSON(c, code, wire)
	} else {
		title := http.StatusText(code)
		if title == "" {
			title = status.Of(err).Label()
		}
		problem := Problem{
			Type: "about:blank", Title: title, Status: code, Detail: wire.Message,
			StatusName: wire.Status, RequestID: requestID(c), Details: wire.Details,
		}
		if isOpenAI(c) {
			problem.Error = new(openai.ErrorOf(status.Of(err), wire.Message))
		}
		writeErr = writeAs(c, code, "application/problem+json", problem)
	}
	if writeErr != nil {
		s.log.DebugContext(c.Request().Context(), "response was not written", slog.String("request_id", requestID(c)), slog.Any("error", writeErr))
	}
}

func setRetryAfter(h http.Header, e *status.Error) {
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(e.RetryAfter.Seconds())), 10))
	}
}

func writeJSON(c echo.Context, code int, v any) error {
	return writeAs(c, code, "application/json", v)
}

func writeAs(c echo.Context, code int, contentType string, v any) error {
	c.Response().Header().Set("Content-Type", contentType)
	c.Response().WriteHeader(code)
	enc := json.NewEncoder(c.Response())
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
