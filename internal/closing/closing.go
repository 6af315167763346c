// Package closing answers requests whose bodies are still arriving when their server closes. Without it they wait for
// the rest of the body until the connection is closed over them, with no answer.
//
// The server's requests get a base context ([http.Server].BaseContext), which is cancelled with an UNAVAILABLE error as its
// cause when the requests are to end:
//
//	running, cancel := context.WithCancelCause(ctx)
//	srv := &http.Server{Handler: closing.Bodies(handler), BaseContext: func(net.Listener) context.Context { return running }}
//	…
//	cancel(status.Publicf(status.Unavailable, "the server is shutting down").WithRetryAfter(time.Second))
package closing

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const (
	// lingering is how long a body goes on to be read after the answer: a connection that is closed while its client
	// writes is reset, and the answer may be lost with it.
	lingering = 250 * time.Millisecond
	// most is how much of a body is read that the handler has left: as much as net/http reads.
	most = 256 << 10
)

// Bodies returns a handler for next, which may be called as next may. Once the context of a request has ended with an UNAVAILABLE
// error as its cause, reading its body fails with that error, also a read that waits; next answers with it. An answer
// that next gives without having read the body waits for no body then.
func Bodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
			next.ServeHTTP(w, r)
			return
		}
		ctx, control := r.Context(), http.NewResponseController(w)
		b := &body{ReadCloser: r.Body, ctx: ctx}
		// A read that waits ends by the deadline. Handlers set others, before they read: where they do so after this one, the
		// read that follows looks at the context first.
		defer context.AfterFunc(ctx, func() {
			if b.closing() != nil {
				_ = control.SetReadDeadline(time.Now()) // a writer that is no connection needs no deadlines
			}
		})()
		asks := r.Header.Get("Expect") != ""
		own := *r
		own.Body = b
		next.ServeHTTP(w, &own)
		b.leave(w, control, asks)
	})
}

// body is a body that ends with its server.
type body struct {
	io.ReadCloser
	ctx         context.Context
	read, ended bool
}

// closing returns why the server has ended the request; nil where it has not.
func (b *body) closing() error {
	if b.ctx.Err() == nil {
		return nil
	}
	if cause, ok := errors.AsType[*status.Error](context.Cause(b.ctx)); ok && cause.Code == status.Unavailable {
		return cause
	}
	return nil
}

func (b *body) Read(p []byte) (int, error) {
	if why := b.closing(); why != nil {
		return 0, why
	}
	n, err := b.ReadCloser.Read(p)
	b.read = true
	if errors.Is(err, io.EOF) {
		b.ended = true
		return n, err
	}
	if why := b.closing(); err != nil && why != nil {
		return n, why
	}
	return n, err
}

// leave ends a request of which the handler has left some of the body. net/http would read it before it sends the answer, and
// does here, as long as the server does not close.
func (b *body) leave(w http.ResponseWriter, control *http.ResponseController, asks bool) {
	if b.ended {
		return
	}
	if b.closing() == nil {
		if asks && !b.read || w.Header().Get("Connection") == "close" {
			return // net/http reads nothing then
		}
		if _, err := io.CopyN(io.Discard, b, most); err == nil || b.closing() == nil {
			return
		}
	}
	w.Header().Set("Connection", "close")   // where the answer has not begun
	_ = control.SetReadDeadline(time.Now()) // the handler may have set another one, and the answer waits for no body
	if control.Flush() != nil || control.SetReadDeadline(time.Now().Add(lingering)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, b.ReadCloser) // the answer has been given
	_ = control.SetReadDeadline(time.Now())  // and net/http waits for nothing more
}
