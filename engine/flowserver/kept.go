package flowserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/uuid"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// maxStreamID bounds the ids that are looked up.
const maxStreamID = 128

// streamKey is the key under which a stream is kept. It holds the flow and the
// principal besides the id, so that for anybody else the stream does not exist,
// whatever manager keeps it.
func (s *Server) streamKey(q *request, id string) string {
	principal := s.config.Principal
	if principal == nil {
		principal = defaultPrincipal
	}
	h := sha256.New()
	for _, part := range []string{q.flow.Scope, q.flow.Action.Desc().Key().String(), principal(q.ctx, action.Context(q.ctx)), id} {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part))) // a hash takes all
		_, _ = io.WriteString(h, part)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// defaultPrincipal is auth.uid, with the issuer of its token, so that a token that was
// renewed is the same caller; else the whole of auth, which may be absent.
func defaultPrincipal(_ context.Context, actionContext json.RawMessage) string {
	var all map[string]json.RawMessage
	var auth map[string]any
	if json.Unmarshal(actionContext, &all) != nil || len(all["auth"]) == 0 {
		return ""
	}
	if json.Unmarshal(all["auth"], &auth) != nil {
		return "auth " + string(all["auth"])
	}
	if uid, ok := auth["uid"].(string); ok && uid != "" {
		token, _ := auth["token"].(map[string]any)
		issuer, _ := token["iss"].(string)
		return fmt.Sprintf("uid %q of %q", uid, issuer)
	}
	raw, err := rawjson.Encode(auth) // names in order
	if err != nil {
		return "auth " + string(all["auth"])
	}
	return "auth " + string(raw)
}

// runKept runs a flow whose stream is kept, and reads along for its caller. The flow
// runs on when the caller leaves.
func (s *Server) runKept(w http.ResponseWriter, rc *http.ResponseController, q *request, begun *bool) error {
	if !s.begin() {
		return closing()
	}
	id := uuid.New()
	key := s.streamKey(q, id)
	writer, err := s.config.Streams.Open(q.ctx, key)
	if err != nil {
		s.running.Done()
		return err
	}
	// The reader comes before the flow: a stream that has ended may have to make
	// room for others at once.
	reader, err := s.config.Streams.Subscribe(q.ctx, key)
	if err != nil {
		s.running.Done()
		return errors.Join(err, writer.End(q.ctx, durable.Event{Kind: durable.Failed, Value: s.failure(err)}))
	}
	go func() {
		defer s.running.Done()
		s.keep(q, writer)
	}()
	defer reader.Close()
	*begun = true
	w.Header().Set(streamIDHeader, id)
	return s.follow(w, rc, q, reader)
}

// keep runs the flow and writes its stream.
func (s *Server) keep(q *request, writer durable.Writer) {
	// The flow outlives its request: it ends by its own time or with the server.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(q.ctx))
	defer cancel(nil)
	defer context.AfterFunc(s.base, func() { cancel(errClosing) })()
	if q.flow.OnEnd != nil {
		defer q.flow.OnEnd(cancel)()
	}
	ctx, stop := context.WithTimeout(ctx, s.config.StreamTimeout)
	defer stop()
	k := &keeper{ctx: context.WithoutCancel(ctx), writer: writer, cancel: cancel}
	out, err := s.run(ctx, q, k.chunk)
	if kept := k.failed(); kept != nil {
		err = kept // a stream with a gap is not one
	}
	if err == nil {
		if err = writer.End(k.ctx, durable.Event{Kind: durable.Done, Value: out}); err == nil {
			return
		}
	}
	err = s.cause(ctx, err)
	s.note(ctx, nil, err)
	if err := writer.End(k.ctx, durable.Event{Kind: durable.Failed, Value: s.failure(err)}); err != nil {
		s.note(ctx, nil, err)
	}
}

// failure is the part of err that a caller may see, small enough to be kept always.
func (s *Server) failure(err error) []byte {
	raw := s.wire(err)
	if len(raw) <= durable.MaxFailureBytes {
		return raw
	}
	e := status.Convert(err)
	return s.wire(status.Publicf(e.Code, "%s (what it says is too long to be kept)", e.Code.Label()))
}

// keeper is the emit of a flow whose stream is kept.
type keeper struct {
	ctx    context.Context
	writer durable.Writer
	cancel context.CancelCauseFunc

	mu  sync.Mutex // guards err
	err error      // the first that a chunk failed with
}

func (k *keeper) chunk(chunk json.RawMessage) error {
	err := checkChunk(chunk)
	if err == nil {
		err = k.writer.Write(k.ctx, chunk)
	}
	if err == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		k.err = err
		k.cancel(err)
	}
	return err
}

func (k *keeper) failed() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// resume reads a stream that is kept. One that is unknown, whose time is over or that
// is another caller's is answered with 204, as Genkit's servers do; a request that
// names a stream never starts a flow.
func (s *Server) resume(w http.ResponseWriter, rc *http.ResponseController, q *request, begun *bool) error {
	var reader durable.Reader
	err := status.ErrNotFound
	if s.config.Streams != nil && len(q.id) <= maxStreamID {
		reader, err = s.config.Streams.Subscribe(q.ctx, s.streamKey(q, q.id))
	}
	if errors.Is(err, status.ErrNotFound) {
		*begun = true
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err != nil {
		return err
	}
	defer reader.Close()
	*begun = true
	w.Header().Set(streamIDHeader, q.id)
	return s.follow(w, rc, q, reader)
}

// members are those of the frames that carry events.
var members = map[durable.Kind]string{durable.Chunk: memberMessage, durable.Done: memberResult, durable.Failed: memberError}

// follow writes a stream for one reader, at the reader's speed.
func (s *Server) follow(w http.ResponseWriter, rc *http.ResponseController, q *request, reader durable.Reader) error {
	f := s.frames(w, rc, nil)
	if err := f.open(); err != nil {
		return f.abandon(err)
	}
	if q.every > 0 {
		defer f.watch(q.every)()
	}
	for {
		events, err := reader.Next(q.ctx)
		switch {
		case errors.Is(err, io.EOF):
			return f.abandon(nil)
		case err != nil:
			err = s.cause(q.ctx, err)
			if q.ctx.Err() == nil || errors.Is(err, errClosing) || errors.Is(err, status.ErrUnauthenticated) { // somebody listens
				s.note(q.ctx, nil, err)
				return errors.Join(err, f.end(memberError, s.wire(err)))
			}
			return f.abandon(err)
		}
		if err := f.batch(events); err != nil {
			return f.abandon(err)
		}
	}
}

// batch writes events, many in one go.
func (f *frames) batch(events []durable.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buf.b = f.buf.b[:0]
	for i, e := range events {
		var err error
		if f.buf.b, err = appendFrame(f.buf.b, members[e.Kind], e.Value); err != nil {
			return err
		}
		if len(f.buf.b) < maxPooled/2 && i < len(events)-1 {
			continue
		}
		if err := f.write(); err != nil {
			return err
		}
		f.buf.b = f.buf.b[:0]
	}
	return nil
}

// abandon ends the stream without a last frame of its own and returns err.
func (f *frames) abandon(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.close()
	return err
}
