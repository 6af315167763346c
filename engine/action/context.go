package action

import (
	"context"
	"encoding/json"
)

type contextKey struct{}

// WithContext attaches Genkit's action context to ctx: a JSON object such as
// {"auth": {…}} that the caller of an action vouches for. Actions below read it
// with [Context]. raw must be a JSON object and must not be changed afterwards.
func WithContext(ctx context.Context, raw json.RawMessage) context.Context {
	return context.WithValue(ctx, contextKey{}, raw)
}

// Context returns the action context of ctx, "{}" when there is none.
func Context(ctx context.Context) json.RawMessage {
	if raw, ok := ctx.Value(contextKey{}).(json.RawMessage); ok && len(raw) > 0 {
		return raw
	}
	return json.RawMessage("{}")
}

// HasContext reports whether ctx holds an action context.
func HasContext(ctx context.Context) bool { return ctx.Value(contextKey{}) != nil }
