package engine

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
)

// DefineEmbedder makes and registers an embedder. It panics when the name is taken or
// the config schema is broken.
func DefineEmbedder(e *Engine, name string, info embed.Info, fn embed.Func) action.Action {
	a, err := embed.New(name, info, fn)
	return define(e, a, err)
}

// LookupEmbedder finds an embedder by key, name, or a bare name that only one has.
func LookupEmbedder(ctx context.Context, e *Engine, ref string) (action.Action, error) {
	return e.reg.Resolve(ctx, ref, action.Embedder)
}

// Embed returns the embeddings of a document; see [embed.One].
func Embed(ctx context.Context, e *Engine, embedder string, doc content.Document, options ...embed.Option) ([]embed.Embedding, error) {
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	a, err := LookupEmbedder(ctx, e, embedder)
	if err != nil {
		return nil, err
	}
	return embed.One(ctx, a, doc, options...)
}

// EmbedMany returns one embedding for each document; see [embed.Many].
func EmbedMany(ctx context.Context, e *Engine, embedder string, docs []content.Document, options ...embed.Option) ([]embed.Embedding, error) {
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	a, err := LookupEmbedder(ctx, e, embedder)
	if err != nil {
		return nil, err
	}
	return embed.Many(ctx, a, docs, options...)
}
