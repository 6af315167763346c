package engine

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
)

// DefineEmbedder makes and registers an embedder. It panics when the name is taken or
// the config schema is broken.
func DefineEmbedder(e *Engine, name string, info embed.Info, fn embed.Func) embed.Embedder {
	m, err := embed.New(name, info, fn)
	return define(e, m, err)
}

// LookupEmbedder finds an embedder by key, name, or a bare name that only one has.
func LookupEmbedder(ctx context.Context, e *Engine, ref string) (embed.Embedder, error) {
	a, err := e.reg.Resolve(ctx, ref, action.Embedder)
	if err != nil {
		return nil, err
	}
	return embed.From(a), nil
}

// Embed sends the documents to an embedder in one request and returns its answer: all
// embeddings, of which a document may have several.
func Embed(ctx context.Context, e *Engine, options ...EmbedderOption) (*embed.Response, error) {
	var resp *embed.Response
	err := e.embed(ctx, options, func(ctx context.Context, a action.Action, c *nounCall, own []embed.Option) (err error) {
		raw, err := embed.Merged(own...)
		if err != nil {
			return err
		}
		resp, err = embed.Do(ctx, a, &embed.Request{Input: c.docs, Options: raw})
		return err
	})
	return resp, err
}

// EmbedMany returns one embedding for each document, in as many requests as
// [WithBatchSize] and the embedder ask for; see [embed.Many].
func EmbedMany(ctx context.Context, e *Engine, options ...EmbedderOption) ([]embed.Embedding, error) {
	var all []embed.Embedding
	err := e.embed(ctx, options, func(ctx context.Context, a action.Action, c *nounCall, own []embed.Option) (err error) {
		all, err = embed.Many(ctx, a, c.docs, append(own, embed.WithBatchSize(c.batch), embed.WithParallel(c.parallel))...)
		return err
	})
	return all, err
}

func (e *Engine) embed(ctx context.Context, options []EmbedderOption, do func(ctx context.Context, a action.Action, c *nounCall, own []embed.Option) error) error {
	c := &nounCall{}
	for _, o := range options {
		o.applyEmbedder(c)
	}
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return err
	}
	defer end()
	a, err := e.target(ctx, c, action.Embedder)
	if err != nil {
		return err
	}
	own := []embed.Option{embed.WithConfig(c.config)}
	if ref, ok := c.arg.(embed.Ref); ok {
		own = append(own, ref.Defaults())
	}
	return do(ctx, a, c, own)
}
