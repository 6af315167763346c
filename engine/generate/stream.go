package generate

import (
	"context"
	"encoding/json"
	"runtime/debug"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// turnstile lets one goroutine through at a time and gives up with the context. It
// is no mutex since what it guards is foreign code, which may block.
type turnstile chan struct{}

func newTurnstile() turnstile { return make(turnstile, 1) }

func (t turnstile) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return status.Convert(err)
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return status.Convert(ctx.Err())
	}
}

func (t turnstile) leave() { <-t }

var errEnded = status.Errorf(status.Cancelled, "a chunk was sent after the end of what it belongs to")

// gate stands before the caller's Send: one chunk at a time, none after the end,
// and none after the caller has refused one, which ends the run.
type gate struct {
	turn  turnstile
	send  model.Send
	stop  context.CancelFunc
	ended bool  // guarded by turn
	gone  error // guarded by turn; why the caller refused a chunk
}

func newGate(send model.Send, stop context.CancelFunc) *gate {
	return &gate{turn: newTurnstile(), send: send, stop: stop}
}

// sender returns what the loop sends to; nil when the caller does not stream.
func (g *gate) sender(ctx context.Context) model.Send {
	if g.send == nil {
		return nil
	}
	return func(c *model.Chunk) error {
		if err := g.turn.enter(ctx); err != nil {
			return err
		}
		defer g.turn.leave()
		if g.ended {
			return errEnded
		}
		if g.gone == nil {
			if g.gone = g.guarded(c); g.gone != nil {
				g.stop()
			}
		}
		return g.gone
	}
}

func (g *gate) guarded(c *model.Chunk) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = status.Errorf(status.Internal, "the receiver of chunks panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return g.send(c)
}

// close waits for the chunk that is being sent, lets no other through and returns
// why the caller refused one.
func (g *gate) close() error {
	g.turn <- struct{}{}
	defer g.turn.leave()
	g.ended = true
	return g.gone
}

// labelled gives chunks that a generate hook sends on its own the role and index
// that they lack.
func labelled(send model.Send, index int) model.Send {
	if send == nil {
		return nil
	}
	return func(c *model.Chunk) error {
		if c.Role != "" && c.Index != "" {
			return send(c)
		}
		l := *c
		if l.Role == "" {
			l.Role = content.RoleModel
		}
		if l.Index == "" {
			l.Index = json.Number(strconv.Itoa(index))
		}
		return send(&l)
	}
}

// stream numbers the chunks of one turn: the index grows when the role changes
// after something was sent (Genkit JS: makeChunk).
type stream struct {
	turn       turnstile
	to         model.Send
	role       content.Role // guarded by turn, as what follows
	index      int
	started    bool
	modelEnded bool
	ended      bool
}

func newStream(to model.Send, index int) *stream {
	return &stream{turn: newTurnstile(), to: to, role: content.RoleModel, index: index}
}

// model returns what the model sends to; nil when nobody streams.
func (s *stream) model(ctx context.Context) model.Send {
	if s.to == nil {
		return nil
	}
	return func(c *model.Chunk) error { return s.send(ctx, content.RoleModel, c) }
}

// end lets no chunk of the model through anymore.
func (s *stream) end() {
	s.turn <- struct{}{}
	s.modelEnded = true
	s.turn.leave()
}

// close lets nothing through anymore and returns the index that was reached.
func (s *stream) close() int {
	s.turn <- struct{}{}
	defer s.turn.leave()
	s.ended = true
	return s.index
}

// send passes on a copy of c under that role.
func (s *stream) send(ctx context.Context, role content.Role, c *model.Chunk) error {
	if s.to == nil {
		return nil
	}
	if err := s.turn.enter(ctx); err != nil {
		return err
	}
	defer s.turn.leave()
	if s.ended || role == content.RoleModel && s.modelEnded {
		return errEnded
	}
	if role != s.role && s.started {
		s.index++
	}
	s.role, s.started = role, true
	numbered := *c
	numbered.Role, numbered.Index = role, json.Number(strconv.Itoa(s.index))
	return s.to(&numbered)
}
