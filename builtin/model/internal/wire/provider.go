package wire

import (
	"context"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// Provider gives the models of one server. It is safe for concurrent use once it is made.
type Provider struct {
	Peer   *Server
	Shelf  Shelf
	Remote Listing
	// AsksForList is set when the server is asked for its models, beside those on the shelf.
	AsksForList bool
}

// Name returns the provider's name.
func (p *Provider) Name() string { return p.Peer.Name }

// BaseURL returns the URL below which every request of the provider goes.
func (p *Provider) BaseURL() string { return p.Peer.BaseURL }

// Resolve returns an action as [Shelf.Resolve] does.
func (p *Provider) Resolve(_ context.Context, key action.Key) (action.Action, error) {
	return p.Shelf.Resolve(key)
}

// List describes what is on the shelf and, where AsksForList is set, what the server lists;
// see [Listing.List].
func (p *Provider) List(ctx context.Context) ([]action.Desc, error) {
	descs := p.Shelf.Descs()
	if !p.AsksForList {
		return descs, nil
	}
	return p.Remote.List(ctx, descs)
}

// WithKey returns a view of p for one of several accounts; see [WithKey].
func (p *Provider) WithKey(key func(ctx context.Context) (string, error)) registry.Provider {
	return WithKey(p, key)
}

// Close lets go of idle connections. Calls under way go on.
func (p *Provider) Close() error { return p.Peer.Close() }

// NewModel makes a model whose requests may bring an API key in their config: answer finds
// it by [Server.Key], and nobody else sees it. The response gets its latency.
func NewModel(name string, info model.Info, answer model.Func) (model.Model, error) {
	m, err := model.New(name, info, func(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
		started := time.Now()
		resp, err := answer(ctx, req, send)
		if err != nil {
			return nil, err
		}
		resp.SetLatency(time.Since(started))
		if OwnKey(ctx) != "" {
			// An engine that adds the request it knows would add the key with it;
			// it finds this one in its place.
			resp.Request = req
		}
		return resp, nil
	})
	if err != nil {
		return nil, err
	}
	return KeyedModel(m), nil
}
