package retrieve

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
)

// IndexerInfo describes an indexer.
type IndexerInfo struct {
	// Embedder describes the embedder that it uses; nil when that is not known.
	Embedder *embed.Info
	// OptionsSchema is as in [Info].
	OptionsSchema json.RawMessage
}

// IndexFunc stores documents. When it returns nil they are stored.
type IndexFunc[O any] func(ctx context.Context, docs []content.Document, options O) error

// NewIndexer makes an indexer of fn, under the terms of [New]. Its output is null.
func NewIndexer[O any](name string, info IndexerInfo, fn IndexFunc[O]) (Indexer, error) {
	d, err := describe[O](action.Indexer, name, info.OptionsSchema, nil)
	if err != nil {
		return nil, err
	}
	if info.Embedder != nil {
		if err := d.note("embedderInfo", info.Embedder); err != nil {
			return nil, err
		}
	}
	return d.action(indexerIn, nil, func(ctx context.Context, in json.RawMessage) (any, error) {
		req := &IndexRequest{}
		options, err := request[O](d, in, req, &req.Options)
		if err != nil {
			return nil, err
		}
		return nil, fn(ctx, req.Documents, options)
	})
}

// Index runs an indexer.
func Index(ctx context.Context, a action.Action, docs []content.Document, options ...Option) error {
	raw, err := choose(options)
	if err != nil {
		return err
	}
	return run(ctx, a, action.Indexer, IndexRequest{Documents: docs, Options: raw}, nil)
}
