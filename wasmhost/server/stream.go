package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

const eventStream = "text/event-stream"

// wantsStream reads Genkit's two ways of asking: an Accept header that contains
// text/event-stream, or the query stream=true.
func wantsStream(r *http.Request) (bool, error) {
	if q := r.URL.Query(); q.Has("stream") {
		on, err := strconv.ParseBool(q.Get("stream"))
		if err != nil {
			return false, status.Publicf(status.InvalidArgument, "query: \"stream\" wants true or false")
		}
		if on {
			return true, nil
		}
	}
	for _, accept := range r.Header.Values("Accept") {
		if strings.Contains(strings.ToLower(accept), eventStream) {
			return true, nil
		}
	}
	return false, nil
}

// events writes Genkit's frames: `data: {"message": chunk}`, …, and at the end one
// of `data: {"result": …}`, `data: {"interrupt": …}` and `data: {"error": {status,
// message, details?}}`, each followed by an empty line and sent at once. The
// response begins with the first frame.
type events struct {
	c    echo.Context
	gone context.CancelFunc // ends the run when the reader is gone

	mu  sync.Mutex // guards what follows; chunks may come from several goroutines
	err error      // of the first write that failed
	// over is set once the last frame is written: a tool that goes on emitting
	// after it has returned writes nothing.
	over bool
}

// stream runs the action and sends what it emits. A failure before the first frame
// is answered as if nothing had been asked to stream.
func (s *Server) stream(ctx context.Context, c echo.Context, a action.Action, in json.RawMessage) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := &events{c: c, gone: cancel}
	out, err := a.RunJSON(ctx, in, func(chunk json.RawMessage) error { return e.send("message", chunk, false) })
	if err == nil {
		return e.send("result", out, true)
	}
	if i, ok := tool.AsInterrupt(err); ok {
		return e.send("interrupt", interruptValue(i), true)
	}
	if !e.begun() {
		return err
	}
	c.Set(logErrorKey, err)
	frame, marshalErr := marshal(status.ToWire(err, s.config.Dev))
	if marshalErr != nil {
		return marshalErr
	}
	return e.send("error", frame, true)
}

func (e *events) begun() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = e.over || !e.c.Response().Committed
	return e.c.Response().Committed
}

func (e *events) send(member string, raw json.RawMessage, last bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil && e.over {
		e.err = status.Errorf(status.FailedPrecondition, "a chunk was emitted after the end")
	}
	if e.err != nil {
		return e.err
	}
	e.over = last
	if e.err = e.write(member, raw); e.err != nil {
		e.gone()
	}
	return e.err
}

func (e *events) write(member string, raw json.RawMessage) error {
	response := e.c.Response()
	if !response.Committed {
		response.Header().Set("Content-Type", eventStream)
		response.Header().Set("Cache-Control", "no-cache")
		response.Header().Set("X-Accel-Buffering", "no")
		response.WriteHeader(http.StatusOK)
	}
	if bytes.ContainsAny(raw, "\r\n") { // an event's line must not be broken
		var b bytes.Buffer
		if err := json.Compact(&b, raw); err != nil {
			return status.Errorf(status.Internal, "encode a frame: %w", err)
		}
		raw = b.Bytes()
	}
	frame := append([]byte("data: "), enclose(member, raw)...)
	if _, err := response.Write(append(frame, '\n')); err != nil {
		return status.Errorf(status.Cancelled, "write a frame: %w", err)
	}
	if err := http.NewResponseController(response.Writer).Flush(); err != nil {
		return status.Errorf(status.Cancelled, "send a frame: %w", err)
	}
	return nil
}

func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, status.Errorf(status.Internal, "encode %T: %w", v, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
