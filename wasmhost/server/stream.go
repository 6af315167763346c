package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/negotiation"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// events writes Genkit's frames: `data: {"message": chunk}`, …, and at the end one
// of `data: {"result": …}`, `data: {"interrupt": …}` and `data: {"error": {status,
// message, details?}}`, each followed by an empty line and sent at once. The
// response begins with the first frame, or when there was none for a while (see
// [negotiation.Quiet]).
type events struct {
	c    echo.Context
	gone context.CancelFunc // ends the run when the reader is gone

	mu  sync.Mutex // guards the fields below; chunks may come from several goroutines
	err error      // of the first write that failed
	// over is set once the last frame is written: a tool that goes on emitting
	// after it has returned writes nothing.
	over bool
	by   time.Time // of the next frame; zero: the connection's own time counts
	// idle fires when there was no frame for a while.
	idle *time.Timer
}

// watch has wait called when there was nothing to say for a while, until end is called.
func (e *events) watch(every time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.idle = time.AfterFunc(negotiation.Quiet, func() { e.wait(every) })
}

// end returns when nothing writes to the response any more, and nothing will.
func (e *events) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	e.idle.Stop()
}

// wait begins a response that has nothing to say yet and, where every is not 0, sends a
// comment each time that long has passed.
func (e *events) wait(every time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil || e.over {
		return
	}
	e.begin()
	var err error
	if every > 0 {
		_, err = e.c.Response().Write([]byte(negotiation.HeartbeatLine))
		e.idle.Reset(every)
	}
	if err = errors.Join(err, http.NewResponseController(e.c.Response().Writer).Flush()); err != nil {
		e.err = status.Errorf(status.Cancelled, "keep a stream open: %w", err)
		e.gone()
	}
}

// begin writes the headers of a stream, once.
func (e *events) begin() {
	response := e.c.Response()
	if response.Committed {
		return
	}
	response.Header().Set("Content-Type", eventStream)
	response.Header().Set("Cache-Control", "no-cache")
	response.Header().Set("X-Accel-Buffering", "no")
	response.WriteHeader(http.StatusOK)
}

// stream runs the action and sends its chunks. A failure before the first frame
// is answered as if nothing had been asked to stream.
func (s *Server) stream(ctx context.Context, c echo.Context, a answering, in json.RawMessage) error {
	every, err := negotiation.Heartbeat(c.Request())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := &events{c: c, gone: cancel}
	e.watch(every)
	defer e.end()
	ctx = wasmhost.WithWriteBy(ctx, e.writeBy)
	out, err := a.action.RunJSON(ctx, in, func(chunk json.RawMessage) error { return e.send("message", chunk, false) })
	a.ran()
	if err == nil {
		return e.send("result", out, true)
	}
	if i, ok := tool.AsInterrupt(err); ok {
		return e.send("interrupt", interruptValue(i), true)
	}
	if !e.begun() {
		return err
	}
	err = ended(c.Request().Context(), err)
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
	if w, ok := e.c.Get(writerKey).(*timedWriter); ok {
		w.by, e.by = e.by, time.Time{}
		defer func() { w.by = time.Time{} }()
	}
	if e.err = e.write(member, raw); e.err != nil {
		e.gone()
	}
	return e.err
}

// writeBy is told until when the next frame may be written: a guest that emits to a
// reader who does not read waits no longer than its own time.
func (e *events) writeBy(deadline time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.by = deadline
}

func (e *events) write(member string, raw json.RawMessage) error {
	response := e.c.Response()
	e.begin()
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
