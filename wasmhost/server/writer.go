package server

import (
	"net/http"
	"sync/atomic"
	"time"
)

const writerKey = "genkit-wasm.writer"

// timedWriter gives each write of a response a deadline of its own.
type timedWriter struct {
	http.ResponseWriter
	timeout time.Duration
	by      time.Time // when the deadline is at the latest; zero: nothing is said
	// guest is the same in Unix nanoseconds, set while a guest emits on another goroutine than the one that writes.
	guest atomic.Int64
}

func (w *timedWriter) extend() {
	due := time.Now().Add(w.timeout)
	if !w.by.IsZero() && w.by.Before(due) {
		due = w.by
	}
	if by := w.guest.Swap(0); by != 0 && time.Unix(0, by).Before(due) {
		due = time.Unix(0, by)
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
