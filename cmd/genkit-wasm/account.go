package main

import (
	"context"
	"errors"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// account is a provider of models as a tenant sees it: asked with the tenant's own API key,
// where it has one, and else as the server is set up.
type account struct {
	view registry.Provider
	// unset stands in for a provider that the server is not set up for; nil where it is.
	unset registry.Provider
	key   func(ctx context.Context) (string, error)
}

// accountOf returns the models of a tenant. id is the tenant's: the key of the next tenant of
// that name is none of its.
func (b *backend) accountOf(o *modelOffer, tenant, id string) registry.Provider {
	name := o.Name()
	key := func(ctx context.Context) (string, error) {
		if now, err := b.tenants.ID(tenant); err != nil {
			return "", err
		} else if now != id {
			return "", status.Publicf(status.NotFound, "tenant %q does not exist", tenant)
		}
		v, err := b.secrets.Credential(ctx, tenant, name)
		if errors.Is(err, status.ErrNotFound) {
			return "", nil
		}
		return v.Reveal(), err
	}
	return &account{o.WithKey(key), o.unset, key}
}

func (a *account) Name() string { return a.view.Name() }

// current is what the tenant is served by now.
func (a *account) current(ctx context.Context) (registry.Provider, error) {
	if a.unset == nil {
		return a.view, nil
	}
	key, err := a.key(ctx)
	if err != nil {
		return nil, err
	}
	if key == "" {
		return a.unset, nil
	}
	return a.view, nil
}

func (a *account) List(ctx context.Context) ([]action.Desc, error) {
	p, err := a.current(ctx)
	if err != nil {
		return nil, err
	}
	return p.List(ctx)
}

func (a *account) Resolve(ctx context.Context, key action.Key) (action.Action, error) {
	if !a.mine(key) {
		return a.view.Resolve(ctx, key) // which says that it is not there
	}
	p, err := a.current(ctx)
	if err != nil {
		return nil, err
	}
	return p.Resolve(ctx, key)
}

// mine reports whether a key may be the provider's: only then does it matter whether a key
// of the tenant can be read.
func (a *account) mine(key action.Key) bool {
	return (key.Kind == action.Model || key.Kind == action.Embedder) && strings.HasPrefix(key.Name, a.Name()+"/")
}
