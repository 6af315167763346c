package session

import (
	"context"
	"encoding/json"
)

type contextKey struct{}

// inContext is the session of a context, with the threads whose turns run in it.
type inContext struct {
	s      *Session
	thread string // "" outside a turn
	outer  *inContext
}

// NewContext returns ctx with a session, which code that runs in it finds with [From].
func NewContext(ctx context.Context, s *Session) context.Context {
	return enter(ctx, s, "")
}

func enter(ctx context.Context, s *Session, thread string) context.Context {
	outer, _ := ctx.Value(contextKey{}).(*inContext)
	return context.WithValue(ctx, contextKey{}, &inContext{s, thread, outer})
}

// From returns the session of ctx, for a tool or a flow that a chat runs; false when there
// is none.
func From(ctx context.Context) (*Session, bool) {
	c, ok := ctx.Value(contextKey{}).(*inContext)
	if !ok {
		return nil, false
	}
	return c.s, true
}

// within reports whether a turn of the thread runs in ctx.
func within(ctx context.Context, s *Session, thread string) bool {
	c, _ := ctx.Value(contextKey{}).(*inContext)
	for ; c != nil; c = c.outer {
		if c.s == s && c.thread == thread {
			return true
		}
	}
	return false
}

// StateFrom returns the state of the session in ctx, nil when there is none: what
// prompts show as @state.
func StateFrom(ctx context.Context) json.RawMessage {
	s, ok := From(ctx)
	if !ok {
		return nil
	}
	state, err := s.State()
	if err != nil {
		return nil
	}
	return state
}
