// Package flowserver serves flows over HTTP in production, by Genkit's flow protocol:
// the JS client and Go's speak to it unchanged.
//
// It owns the protocol: bodies, frames of a stream, errors, durable streams, and what
// a browser of another origin may do. Who calls is said by providers
// ([contextprovider]), streams are kept by a manager ([durable]). Use:
//
//	srv, err := flowserver.New(flowserver.Config{Context: []contextprovider.Provider{contextprovider.APIKey(key)}})
//	defer srv.Close(ctx)
//	http.Handle("POST /menu", srv.Handler(flowserver.Flow{Action: menu}))
//	http.Handle("/flows/", srv.Registry("/flows/", eng.Registry()))
//
// A flow takes POST {"data"?: input} and answers {"result": output}; a failure is
// {"status", "message", "details"?} with the status's HTTP code. When the request's
// Accept header contains text/event-stream or its query says stream=true, the answer
// is a stream of events: `data: {"message": chunk}` for each chunk and at the end
// `data: {"result": output}` or `data: {"error": {"status", "message", "details"?}}`.
// docs/flowserver.md tells the rest.
package flowserver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Config says how flows are served. Its zero value serves plain streams to anybody
// who is not a page of another origin.
type Config struct {
	// Context are asked in this order before each run, those of the flow after
	// these; a member that several give is the last one's. The first error
	// refuses the request.
	Context []contextprovider.Provider
	// Streams keeps the streams of flows: they can be resumed, and a flow runs
	// on when its reader has left. nil ends a flow with its reader.
	Streams durable.Manager
	// StreamTimeout bounds a flow whose stream is kept, since no reader's
	// leaving ends it: 1 hour.
	StreamTimeout time.Duration
	// Principal names who a stream belongs to, by the action context; nobody
	// else can resume it. nil takes auth.uid (with auth.token.iss) and, where
	// there is none, the whole of auth.
	Principal func(ctx context.Context, actionContext json.RawMessage) string
	// Prepare returns the context that a flow runs in, such as an engine's
	// Context method, which brings its tracer; nil leaves the request's.
	Prepare func(ctx context.Context) context.Context
	// MaxBodyBytes bounds a request's body: 4 MiB.
	MaxBodyBytes int64
	// ReadTimeout bounds the time in which a body must have arrived: 2 minutes.
	ReadTimeout time.Duration
	// WriteTimeout bounds each write, so that a reader that has stalled holds no
	// flow for ever: 30 s. A stream as a whole is not bounded.
	WriteTimeout time.Duration
	// CORS lets pages of other origins in; nil lets none.
	CORS *CORS
	// Logger gets the text of failures that does not leave the process; nil
	// drops it. Bodies are never logged.
	Logger *slog.Logger
	// Dev shows the text of every failure.
	Dev bool
}

const (
	defaultBodyBytes     = 4 << 20
	defaultReadTimeout   = 2 * time.Minute
	defaultWriteTimeout  = 30 * time.Second
	defaultStreamTimeout = time.Hour
)

// Flow is an action and how it is served.
type Flow struct {
	// Action is the action that runs. It need not be a flow.
	Action action.Action
	// Path is where [Server.Flows] puts it, below the prefix; the action's name
	// when it is empty.
	Path string
	// Context are providers for this flow, asked after the server's.
	Context []contextprovider.Provider
	// Plain keeps no stream of this flow, also where the server keeps them: it
	// ends with its reader.
	Plain bool
	// Scope keeps streams apart that have the same flow and principal, such as
	// those of two tenants.
	Scope string
	// OnEnd has a function called when the caller's right to run the flow ends, until
	// stop is called; nil where it does not. Then a run ends also where its stream is
	// kept, with the error that the function is given.
	OnEnd func(ended func(error)) (stop func())
}

// Server serves flows. It is safe for concurrent use. Close it, since flows whose
// streams are kept run on after their requests.
type Server struct {
	config  Config
	log     *slog.Logger
	origins *origins
	base    context.Context // ends when Close has lost its patience
	cancel  context.CancelCauseFunc

	mu      sync.Mutex // guards the fields below
	closed  bool
	running sync.WaitGroup // flows whose streams are kept; added to while not closed
}

// New makes a server. It fails with INVALID_ARGUMENT when an origin is not one.
func New(c Config) (*Server, error) {
	c.MaxBodyBytes = cmp.Or(c.MaxBodyBytes, defaultBodyBytes)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, defaultReadTimeout)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, defaultWriteTimeout)
	c.StreamTimeout = cmp.Or(c.StreamTimeout, defaultStreamTimeout)
	c.Context = append([]contextprovider.Provider(nil), c.Context...)
	s := &Server{config: c, log: c.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.origins, err = newOrigins(c.CORS); err != nil {
		return nil, err
	}
	s.base, s.cancel = context.WithCancelCause(context.Background()) //nolint:forbidigo // the server's life, which Close ends
	return s, nil
}

// errClosing is the cause with which runs are cancelled when a server closes.
var errClosing = errors.New("the server is shutting down")

func closing() error {
	return status.Publicf(status.Unavailable, "the server is shutting down").WithCause(errClosing).WithRetryAfter(time.Second)
}

// begin counts a flow that may outlive its request; false once the server is closed.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close refuses new requests and waits for the flows whose streams are kept. When ctx
// ends first they are cancelled and waited for all the same, and ctx's error is
// returned. Requests that are under way are the HTTP server's to wait for: shut that
// one down first, or use [Server.Run].
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.cancel(errClosing)
	<-done
	return err
}

// CrossOrigin is for servers with routes of their own, before [Server.Serve]: it lets a
// page of an origin that CORS names read what is answered, and answers a browser that
// asks first; true when it has.
func (s *Server) CrossOrigin(w http.ResponseWriter, r *http.Request) (answered bool) {
	return s.origins.answer(w, r)
}

// Handler serves one flow at whatever path it is given.
func (s *Server) Handler(f Flow) http.Handler {
	return s.fenced(func(*http.Request) (Flow, error) { return f, nil })
}
