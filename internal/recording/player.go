package recording

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/intercept"
)

// Player gives a call what a recording holds, and compares. Nothing of it reaches a host. It is safe for concurrent use.
type Player struct {
	end func() // ends the call

	mu    sync.Mutex // guards the fields below
	rec   *Recording
	begun bool
	at    int // the next event
	diff  *Difference
	ended bool
}

// Difference is where a call goes another way than the recorded one.
type Difference struct {
	// Event counts from 1; 0 is the end of the call.
	Event    int    `json:"event"`
	Recorded string `json:"recorded"` // JSON, or "nothing" after the last event
	Replayed string `json:"replayed"`
}

// NewPlayer plays rec for one call, and calls end when the call goes another way.
func NewPlayer(rec *Recording, end func()) *Player { return &Player{rec: rec, end: end} }

// Begin takes the first call.
func (p *Player) Begin(intercept.Call) intercept.Interceptor {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.begun {
		return nil
	}
	p.begun = true
	return p
}

// errAnotherWay is what the guest is told after the first difference; its call is over then.
var errAnotherWay = status.Publicf(status.Aborted, "the call has gone another way than the recorded one")

// next returns the recorded event that got is, or false when it is another.
func (p *Player) next(got Event) (*Event, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.diff != nil {
		return nil, false
	}
	recorded := "nothing"
	if p.at < len(p.rec.Events) {
		e := &p.rec.Events[p.at]
		if encode(e.asked()) == encode(got) {
			p.at++
			return e, true
		}
		recorded = e.asked().String()
	}
	p.diff = &Difference{p.at + 1, recorded, got.String()}
	p.end()
	return nil, false
}

// Ask implements [intercept.Interceptor].
func (p *Player) Ask(_ context.Context, c abi.Capability, request []byte, _ func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
	e, ok := p.next(Event{Ask: string(c), Request: request})
	switch {
	case !ok:
		return nil, errAnotherWay
	case e.Error != nil:
		return nil, e.Error.again()
	}
	return json.RawMessage(e.Answer), nil
}

// Fetch implements [intercept.Interceptor].
func (p *Player) Fetch(_ context.Context, request, body []byte, _ func(context.Context) (*intercept.Fetched, error)) (*intercept.Fetched, error) {
	e, ok := p.next(Event{Ask: fetch, Request: request, Body: body})
	switch {
	case !ok:
		return nil, errAnotherWay
	case e.Error != nil:
		return nil, e.Error.again()
	case e.Fetched == nil:
		return &intercept.Fetched{}, nil
	}
	return &intercept.Fetched{Status: e.Fetched.Status, Headers: json.RawMessage(e.Fetched.Headers), Body: e.Fetched.Body}, nil
}

// Random implements [intercept.Sources].
func (p *Player) Random(b []byte) error {
	e, ok := p.next(Event{Random: make([]byte, len(b))})
	if !ok {
		return errors.New("no random bytes were recorded here")
	}
	copy(b, e.Random)
	return nil
}

// Clock implements [intercept.Sources].
func (p *Player) Clock(clock uint32, now int64) int64 {
	e, ok := p.next(Event{Clock: &Reading{ID: clock}})
	if !ok {
		return now
	}
	return e.Clock.Now
}

// Chunk implements [intercept.Interceptor].
func (p *Player) Chunk(chunk json.RawMessage) { p.next(Event{Chunk: Bytes(chunk)}) }

// Line implements [intercept.Interceptor].
func (p *Player) Line(level slog.Level, line string) { p.next(Event{Log: &Line{level.String(), line}}) }

// End implements [intercept.Interceptor].
func (p *Player) End(o intercept.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.diff != nil {
		return
	}
	got := ended(o)
	recorded, replayed := encode(p.rec.Ended), encode(got)
	switch {
	case p.at < len(p.rec.Events):
		p.diff = &Difference{p.at + 1, p.rec.Events[p.at].asked().String(), "the end: " + replayed}
	case recorded != replayed:
		p.diff = &Difference{0, recorded, replayed}
	}
}

// Difference returns the first difference, nil when there is none. It fails with [ErrNoGuest] when no call has ended.
func (p *Player) Difference() (*Difference, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		return nil, ErrNoGuest
	}
	return p.diff, nil
}
