package server

import (
	"net/http"
	"time"
)

const writerKey = "genkit-wasm.writer"

// timedWriter gives each write of a response a deadline of its own.
type timedWriter struct {
	http.ResponseWriter
	timeout time.Duration
	by      time.Time // when the deadline is at the latest; zero: nothing is said
}

func (w *timedWriter) extend() {
	due := time.Now().Add(w.timeout)
	if !w.by.IsZero() && w.by.Before(due) {
		due = w.by
	}
	// A writer that has no deadlines, such as a recorder, is not a connection.
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(due)
}

func (w *timedWriter) WriteHeader(code int) {
	w.extend()
	w.ResponseWriter.WriteHeader(code)
}

func (w *timedWriter) Write(p []byte) (int, error) {
	w.extend()
	return w.ResponseWriter.Write(p)
}

func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
