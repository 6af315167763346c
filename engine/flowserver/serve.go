package flowserver

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/internal/negotiation"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Serve answers one request for a flow, for servers with routes of their own; it does
// not look at where the request comes from. A returned error has been answered already,
// and logged where it is the server's own failure.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, f Flow) (err error) {
	begun := false // whether a failure can still be answered
	defer func() {
		if v := recover(); v != nil {
			if cause, ok := v.(error); ok && errors.Is(cause, http.ErrAbortHandler) {
				panic(v)
			}
			err = status.Errorf(status.Internal, "panic: %v\n%s", v, debug.Stack())
			if begun {
				s.note(r.Context(), nil, err)
				panic(http.ErrAbortHandler) // so that a reader sees it is not whole
			}
		}
		if err != nil && !begun {
			s.fail(w, r, err)
		}
	}()
	rc := http.NewResponseController(w)
	q, err := s.request(w, rc, r, f)
	if err != nil {
		return err
	}
	switch {
	case !q.stream:
		var traceID, spanID string
		ctx := telemetry.OnStart(q.ctx, func(ctx context.Context) { traceID, spanID = telemetry.TraceIDs(ctx) })
		out, err := s.run(ctx, q, nil)
		if traceID != "" {
			w.Header().Set(traceIDHeader, traceID)
			w.Header().Set(spanIDHeader, spanID)
		}
		if err != nil {
			return s.cause(q.ctx, err)
		}
		begun = true
		return s.answerJSON(w, rc, out)
	case q.id != "":
		return s.resume(w, rc, q, &begun)
	case s.config.Streams != nil && !f.Plain:
		return s.runKept(w, rc, q, &begun)
	}
	begun = true
	return s.runPlain(w, rc, q)
}

// request is a request whose body has been read and whose caller is known.
type request struct {
	flow   Flow
	ctx    context.Context // with the action context
	in     json.RawMessage
	init   json.RawMessage // for a bidirectional action
	stream bool
	every  time.Duration // between heartbeats; 0 for none
	id     string        // of the stream to resume
}

func (s *Server) request(w http.ResponseWriter, rc *http.ResponseController, r *http.Request, f Flow) (*request, error) {
	if s.isClosed() {
		return nil, closing()
	}
	if f.Action == nil {
		return nil, status.Errorf(status.Internal, "flowserver: a flow without an action")
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, withHTTP(http.StatusMethodNotAllowed, status.Publicf(status.Unimplemented, "a flow takes POST only"))
	}
	q := &request{flow: f}
	var err error
	if q.stream, err = negotiation.Stream(r); err != nil {
		return nil, err
	}
	if q.stream {
		if q.every, err = negotiation.Heartbeat(r); err != nil {
			return nil, err
		}
	}
	if q.in, q.init, err = s.input(rc, r); err != nil {
		if errors.Is(err, errBroken) {
			w.Header().Set("Connection", "close")
		}
		return nil, err
	}
	if _, ok := f.Action.(action.Bidi); !ok && q.init != nil { // Genkit Go refuses it, too
		return nil, status.Publicf(status.InvalidArgument, "body: \"init\" is for bidirectional actions, and this is none")
	}
	if q.stream {
		q.id = r.Header.Get(streamIDHeader)
	}
	q.ctx, err = s.context(r, f, q.in)
	return q, err
}

// cause tells why a run has ended that its context had ended.
func (s *Server) cause(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, errClosing) {
		return closing()
	}
	// Of an HTTP server that closes, or of a caller who may not call any more.
	if said, ok := errors.AsType[*status.Error](cause); ok && (said.Code == status.Unavailable || said.Code == status.Unauthenticated) {
		return said
	}
	return err
}

// context asks the providers.
func (s *Server) context(r *http.Request, f Flow, in json.RawMessage) (context.Context, error) {
	ctx := r.Context()
	if s.config.Prepare != nil {
		ctx = s.config.Prepare(ctx)
	}
	if len(s.config.Context) == 0 && len(f.Context) == 0 {
		return ctx, nil
	}
	all := map[string]any{}
	if action.HasContext(ctx) {
		var given map[string]json.RawMessage
		if err := json.Unmarshal(action.Context(ctx), &given); err != nil {
			return nil, status.Errorf(status.Internal, "the action context is no object: %w", err)
		}
		for name, raw := range given {
			all[name] = raw
		}
	}
	asked := &contextprovider.Request{Method: r.Method, Headers: headers(r.Header), Input: in}
	for _, list := range [][]contextprovider.Provider{s.config.Context, f.Context} {
		for _, provider := range list {
			values, err := provider(ctx, asked)
			if err != nil {
				return nil, err
			}
			maps.Copy(all, values)
		}
	}
	raw, err := rawjson.Encode(all)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the action context: %w", err)
	}
	return action.WithContext(ctx, raw), nil
}

// headers are those of a request as providers see them: names in lower case, repeated
// fields joined (RFC 9110, 5.3).
func headers(h http.Header) map[string]string {
	m := make(map[string]string, len(h))
	for name, values := range h {
		m[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return m
}

// runPlain runs a flow that ends with its reader.
func (s *Server) runPlain(w http.ResponseWriter, rc *http.ResponseController, q *request) error {
	ctx, cancel := context.WithCancel(q.ctx)
	defer cancel()
	f := s.frames(w, rc, cancel)
	defer f.watch(q.every)()
	out, err := s.run(ctx, q, f.message)
	if err == nil {
		return f.end(memberResult, out)
	}
	err = s.cause(ctx, err)
	s.note(ctx, nil, err)
	return errors.Join(err, f.end(memberError, s.wire(err)))
}

// run runs an action; its panic is an error.
func (s *Server) run(ctx context.Context, q *request, emit action.Emit) (out json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, status.Errorf(status.Internal, "panic: %v\n%s", v, debug.Stack())
		}
	}()
	if b, ok := q.flow.Action.(action.Bidi); ok {
		out, err = b.RunBidiJSON(ctx, q.init, action.OneInput(q.in), emit)
	} else {
		out, err = q.flow.Action.RunJSON(ctx, q.in, emit)
	}
	if err == nil && len(out) == 0 {
		out = json.RawMessage("null")
	}
	return out, err
}
