package engine

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// DefineRetriever makes and registers a retriever. It panics when the name is taken or
// the options can't be JSON.
func DefineRetriever[O any](e *Engine, name string, info retrieve.Info, fn retrieve.Func[O]) retrieve.Retriever {
	a, err := retrieve.New(name, info, fn)
	return define(e, a, err)
}

// DefineSimpleRetriever is [DefineRetriever] for a function that returns rows of its own.
func DefineSimpleRetriever[O, R any](e *Engine, name string, s retrieve.Simple[R], fn func(ctx context.Context, query content.Document, options O) ([]R, error)) retrieve.Retriever {
	a, err := retrieve.NewSimple(name, s, fn)
	return define(e, a, err)
}

// DefineIndexer makes and registers an indexer. It panics like [DefineRetriever].
func DefineIndexer[O any](e *Engine, name string, info retrieve.IndexerInfo, fn retrieve.IndexFunc[O]) retrieve.Indexer {
	a, err := retrieve.NewIndexer(name, info, fn)
	return define(e, a, err)
}

// DefineReranker makes and registers a reranker. It panics like [DefineRetriever].
func DefineReranker[O any](e *Engine, name string, info retrieve.Info, fn retrieve.RerankFunc[O]) retrieve.Reranker {
	a, err := retrieve.NewReranker(name, info, fn)
	return define(e, a, err)
}

// LookupRetriever finds a retriever by key, name, or a bare name that only one has.
func LookupRetriever(ctx context.Context, e *Engine, ref string) (retrieve.Retriever, error) {
	a, err := e.reg.Resolve(ctx, ref, action.Retriever)
	if err != nil {
		return nil, err
	}
	return retrieve.RetrieverFrom(a), nil
}

// LookupIndexer finds an indexer like [LookupRetriever].
func LookupIndexer(ctx context.Context, e *Engine, ref string) (retrieve.Indexer, error) {
	a, err := e.reg.Resolve(ctx, ref, action.Indexer)
	if err != nil {
		return nil, err
	}
	return retrieve.IndexerFrom(a), nil
}

// LookupReranker finds a reranker like [LookupRetriever].
func LookupReranker(ctx context.Context, e *Engine, ref string) (retrieve.Reranker, error) {
	a, err := e.reg.Resolve(ctx, ref, action.Reranker)
	if err != nil {
		return nil, err
	}
	return retrieve.RerankerFrom(a), nil
}

// Retrieve returns the documents that a retriever finds for a query, the best first. The query is the
// one document of [WithDocs] or [WithTextDocs].
func Retrieve(ctx context.Context, e *Engine, options ...RetrieverOption) (*retrieve.Response, error) {
	c := &nounCall{}
	for _, o := range options {
		o.applyRetriever(c)
	}
	if len(c.docs) != 1 {
		return nil, status.Publicf(status.InvalidArgument, "a retriever takes one document as its query, got %d: use WithTextDocs or WithDocs", len(c.docs))
	}
	var docs []content.Document
	err := e.retrieve(ctx, c, action.Retriever, func(ctx context.Context, a action.Action, own []retrieve.Option) (err error) {
		docs, err = retrieve.Retrieve(ctx, a, c.docs[0], own...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &retrieve.Response{Documents: docs}, nil
}

// Index stores documents with an indexer.
func Index(ctx context.Context, e *Engine, options ...IndexerOption) error {
	c := &nounCall{}
	for _, o := range options {
		o.applyIndexer(c)
	}
	return e.retrieve(ctx, c, action.Indexer, func(ctx context.Context, a action.Action, own []retrieve.Option) error {
		return retrieve.Index(ctx, a, c.docs, own...)
	})
}

// Rerank returns documents in the order in which a reranker puts them for the query of
// [WithQuery].
func Rerank(ctx context.Context, e *Engine, options ...RerankerOption) ([]retrieve.Ranked, error) {
	c := &nounCall{}
	for _, o := range options {
		o.applyReranker(c)
	}
	if c.query == nil {
		return nil, status.Publicf(status.InvalidArgument, "a reranker needs a query: use WithQuery")
	}
	var ranked []retrieve.Ranked
	err := e.retrieve(ctx, c, action.Reranker, func(ctx context.Context, a action.Action, own []retrieve.Option) (err error) {
		ranked, err = retrieve.Rerank(ctx, a, *c.query, c.docs, own...)
		return err
	})
	return ranked, err
}

func (e *Engine) retrieve(ctx context.Context, c *nounCall, kind action.Kind, do func(ctx context.Context, a action.Action, own []retrieve.Option) error) error {
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return err
	}
	defer end()
	a, err := e.target(ctx, c, kind)
	if err != nil {
		return err
	}
	own := []retrieve.Option{retrieve.WithConfig(c.config)}
	if ref, ok := c.arg.(retrieve.Ref); ok {
		own = append(own, ref.Defaults())
	}
	return do(ctx, a, own)
}
