package generate

import (
	"context"
	"runtime/debug"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// ctxMutex is a mutex whose lock gives up when the context ends: foreign code runs, and may
// block, while it is held.
type ctxMutex chan struct{}

func newCtxMutex() ctxMutex { return make(ctxMutex, 1) }

func (t ctxMutex) lock(ctx context.Context) error {
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

func (t ctxMutex) unlock() { <-t }

var errEnded = status.Errorf(status.Cancelled, "a chunk was sent after the end of what it belongs to")

// callerStream guards the caller's Send: one chunk at a time, none after the end,
// and none after the caller has refused one, which ends the run.
type callerStream struct {
	mu    ctxMutex
	send  model.Send
	stop  context.CancelFunc
	ended bool  // guarded by mu
	gone  error // guarded by mu; why the caller refused a chunk
}

func newCallerStream(send model.Send, stop context.CancelFunc) *callerStream {
	return &callerStream{mu: newCtxMutex(), send: send, stop: stop}
}

// sender returns the function that takes the loop's chunks; nil when the caller does not stream.
func (g *callerStream) sender(ctx context.Context) model.Send {
	if g.send == nil {
		return nil
	}
	return func(c *model.Chunk) error {
		if err := g.mu.lock(ctx); err != nil {
			return err
		}
		defer g.mu.unlock()
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

func (g *callerStream) guarded(c *model.Chunk) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = status.Errorf(status.Internal, "the receiver of chunks panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return g.send(c)
}

// close waits for the chunk that is being sent, lets no other through and returns
// why the caller refused one.
func (g *callerStream) close() error {
	g.mu <- struct{}{}
	defer g.mu.unlock()
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
		if c.Role != "" && c.HasIndex() {
			return send(c)
		}
		l := *c
		if l.Role == "" {
			l.Role = content.RoleModel
		}
		if !l.HasIndex() {
			l.SetIndex(index)
		}
		return send(&l)
	}
}

// stream numbers the chunks of one turn: the index grows when the role changes
// after something was sent (Genkit JS: makeChunk).
type stream struct {
	mu         ctxMutex
	to         model.Send
	role       content.Role // guarded by mu, as are the fields below
	index      int
	started    bool
	modelEnded bool
	ended      bool
}

func newStream(to model.Send, index int) *stream {
	return &stream{mu: newCtxMutex(), to: to, role: content.RoleModel, index: index}
}

// model returns the function that takes the model's chunks; nil when nobody streams. sent is told of each
// chunk that is about to be passed on, and of none that is refused. Both see it without the
// metadata that a model may not write.
func (s *stream) model(ctx context.Context, sent func(*model.Chunk)) model.Send {
	if s.to == nil {
		return nil
	}
	return func(c *model.Chunk) error {
		c = model.AdmitChunk(c)
		return s.sendIf(ctx, content.RoleModel, c, func() bool {
			if s.modelEnded {
				return false
			}
			sent(c)
			return true
		})
	}
}

// during returns the function that takes a tool's chunks while it runs, and a function that ends it: it
// waits for the chunk that is being sent and lets none through after that.
func (s *stream) during(ctx context.Context, role content.Role) (send model.Send, end func()) {
	ended := false // guarded by mu
	send = func(c *model.Chunk) error {
		return s.sendIf(ctx, role, c, func() bool { return !ended })
	}
	return send, func() {
		s.mu <- struct{}{}
		ended = true
		s.mu.unlock()
	}
}

// end lets no chunk of the model through anymore.
func (s *stream) end() {
	s.mu <- struct{}{}
	s.modelEnded = true
	s.mu.unlock()
}

// close lets nothing through anymore and returns the index that was reached.
func (s *stream) close() int {
	s.mu <- struct{}{}
	defer s.mu.unlock()
	s.ended = true
	return s.index
}

// send passes on a copy of c under that role.
func (s *stream) send(ctx context.Context, role content.Role, c *model.Chunk) error {
	return s.sendIf(ctx, role, c, func() bool { return true })
}

// sendIf is send for chunks that come from foreign code, which may send too late: open
// is asked while no other chunk can get in between.
func (s *stream) sendIf(ctx context.Context, role content.Role, c *model.Chunk, open func() bool) error {
	if s.to == nil {
		return nil
	}
	if err := s.mu.lock(ctx); err != nil {
		return err
	}
	defer s.mu.unlock()
	if s.ended || !open() {
		return errEnded
	}
	if role != s.role && s.started {
		s.index++
	}
	s.role, s.started = role, true
	numbered := *c
	numbered.Role = role
	numbered.SetIndex(s.index)
	return s.to(&numbered)
}
