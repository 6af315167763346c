package flowserver

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

const requestIDHeader = "X-Request-Id"

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

// wire is the part of err that a caller may see.
func (s *Server) wire(err error) []byte {
	raw, encodeErr := rawjson.Encode(status.ToWire(err, s.config.Dev))
	if encodeErr != nil { // details that are not JSON
		w := status.ToWire(err, s.config.Dev)
		w.Details = nil
		raw, _ = rawjson.Encode(w)
	}
	return raw
}

// note logs a failure that is the server's own, under an id that its caller can tell.
func (s *Server) note(ctx context.Context, h http.Header, err error) {
	if httpStatusOf(err) < http.StatusInternalServerError {
		return
	}
	id := ""
	if h != nil {
		if id = h.Get(requestIDHeader); id == "" {
			id = rand.Text()
			h.Set(requestIDHeader, id)
		}
	}
	s.log.ErrorContext(ctx, "flow failed", slog.String("request_id", id), slog.String("code", status.Of(err).String()), slog.String("error", err.Error()))
}

// fail answers a request that failed before its answer had begun.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	h := w.Header()
	s.note(r.Context(), h, err)
	if after := status.Convert(err).RetryAfter; after > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(after.Seconds())), 10))
	}
	raw := append(s.wire(err), '\n')
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(raw)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(httpStatusOf(err))
	_, _ = w.Write(raw) // a caller who is gone is told nothing
}
