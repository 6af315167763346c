package wire

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// WithKey returns a view of p for one of several accounts: its models and embedders are p's,
// and are asked with the key that key returns, where a request brings none of its own. An
// empty key stands for p's. key is asked at each call, concurrently; its error ends the call,
// so that no other account pays for it. The actions of p are those of [KeyedModel] and
// [KeyedEmbedder].
func WithKey(p registry.Provider, key func(ctx context.Context) (string, error)) registry.Provider {
	return &account{p, key}
}

type account struct {
	registry.Provider
	key accountKey
}

// Resolve returns an action as the provider does, which asks with the account's key.
func (a *account) Resolve(ctx context.Context, key action.Key) (action.Action, error) {
	found, err := a.Provider.Resolve(ctx, key)
	if err != nil {
		return nil, err
	}
	switch found := found.(type) {
	case *keyedModel:
		return &keyedModel{Model: found.Model, account: a.key}, nil
	case *keyedEmbedder:
		return &keyedEmbedder{Action: found.Action, account: a.key}, nil
	}
	return nil, status.Errorf(status.Internal, "%s %q can't be asked with an account's key", key.Kind, key.Name)
}

// accountKey finds the key of an account; nil has none.
type accountKey func(ctx context.Context) (string, error)

// with returns the context of a call that brings the key own, which may be empty.
func (k accountKey) with(ctx context.Context, own string) (context.Context, error) {
	if own != "" || k == nil {
		return withKey(ctx, own), nil
	}
	key, err := k(ctx)
	if err == nil {
		err = CheckKey(key)
	}
	if err != nil {
		return nil, err
	}
	return context.WithValue(ctx, keyContext{}, requestKey{key: &key, account: key != ""}), nil
}

// ofAccount reports whether a call has an account's key.
func ofAccount(ctx context.Context) bool {
	own, _ := ctx.Value(keyContext{}).(requestKey)
	return own.account
}
