package recording

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/intercept"
)

// Why a recording can't be had.
var (
	ErrTooLong = errors.New("the call has more that crosses its border than a recording holds")
	ErrNoGuest = errors.New("nothing of the module ran, so there is nothing to record")
)

// Tape records the first call that begins on it. It is safe for concurrent use.
type Tape struct {
	mu    sync.Mutex // guards the fields below
	rec   *Recording
	begun bool
	ended bool
	bytes int
	full  bool
}

// NewTape records into rec.
func NewTape(rec *Recording) *Tape {
	rec.Events = []Event{}
	return &Tape{rec: rec}
}

// Begin takes the first call; what that call has run in its turn is an answer to it and nothing more.
func (t *Tape) Begin(intercept.Call) intercept.Interceptor {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.begun {
		return nil
	}
	t.begun = true
	return t
}

func (t *Tape) add(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes += e.size()
	if t.full = t.full || t.bytes > MaxBytes || len(t.rec.Events) == MaxEvents; t.full {
		t.rec.Events = nil
		return
	}
	t.rec.Events = append(t.rec.Events, e)
}

// Ask implements [intercept.Interceptor].
func (t *Tape) Ask(ctx context.Context, c abi.Capability, request []byte, host func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
	e := Event{Ask: string(c), Request: bytes.Clone(request)}
	value, err := host(ctx)
	if e.Error = errorOf(err); err == nil {
		if e.Answer = Bytes(bytes.Clone(value)); len(value) == 0 {
			e.Answer = Bytes("null")
		}
	}
	t.add(e)
	return value, err
}

// fetch is the name of Extism's function among the capabilities.
const fetch = "http_request"

// Fetch implements [intercept.Interceptor].
func (t *Tape) Fetch(ctx context.Context, request, body []byte, host func(context.Context) (*intercept.Fetched, error)) (*intercept.Fetched, error) {
	e := Event{Ask: fetch, Request: bytes.Clone(request), Body: bytes.Clone(body)}
	f, err := host(ctx)
	if e.Error = errorOf(err); err == nil {
		e.Fetched = &Answer{f.Status, bytes.Clone(f.Headers), bytes.Clone(f.Body)}
	}
	t.add(e)
	return f, err
}

// Random implements [intercept.Sources].
func (t *Tape) Random(p []byte) error {
	_, err := rand.Read(p)
	t.add(Event{Random: append([]byte{}, p...)})
	return err
}

// Clock implements [intercept.Sources].
func (t *Tape) Clock(clock uint32, now int64) int64 {
	t.add(Event{Clock: &Reading{clock, now}})
	return now
}

// Chunk implements [intercept.Interceptor].
func (t *Tape) Chunk(chunk json.RawMessage) { t.add(Event{Chunk: Bytes(bytes.Clone(chunk))}) }

// Line implements [intercept.Interceptor].
func (t *Tape) Line(level slog.Level, line string) { t.add(Event{Log: &Line{level.String(), line}}) }

// End implements [intercept.Interceptor].
func (t *Tape) End(o intercept.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rec.Ended, t.ended = ended(o), true
}

// Encode returns the recording as indented JSON, after the call, whose caller got result. It fails with [ErrTooLong] or [ErrNoGuest].
func (t *Tape) Encode(result json.RawMessage) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rec.Result = Bytes(result)
	switch {
	case t.full:
		return nil, ErrTooLong
	case !t.ended:
		return nil, ErrNoGuest
	}
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false)
	w.SetIndent("", "  ")
	err := w.Encode(t.rec)
	return b.Bytes(), err
}
