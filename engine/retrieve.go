package engine

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
)

// DefineRetriever makes and registers a retriever. It panics when the name is taken or
// the options can't be JSON.
func DefineRetriever[O any](e *Engine, name string, info retrieve.Info, fn retrieve.Func[O]) action.Action {
	a, err := retrieve.New(name, info, fn)
	return define(e, a, err)
}

// DefineSimpleRetriever is [DefineRetriever] for a function that returns rows of its own.
func DefineSimpleRetriever[O, R any](e *Engine, name string, s retrieve.Simple[R], fn func(ctx context.Context, query content.Document, options O) ([]R, error)) action.Action {
	a, err := retrieve.NewSimple(name, s, fn)
	return define(e, a, err)
}

// DefineIndexer makes and registers an indexer. It panics like [DefineRetriever].
func DefineIndexer[O any](e *Engine, name string, info retrieve.IndexerInfo, fn retrieve.IndexFunc[O]) action.Action {
	a, err := retrieve.NewIndexer(name, info, fn)
	return define(e, a, err)
}

// DefineReranker makes and registers a reranker. It panics like [DefineRetriever].
func DefineReranker[O any](e *Engine, name string, info retrieve.Info, fn retrieve.RerankFunc[O]) action.Action {
	a, err := retrieve.NewReranker(name, info, fn)
	return define(e, a, err)
}

// LookupRetriever finds a retriever by key, name, or a bare name that only one has.
func LookupRetriever(ctx context.Context, e *Engine, ref string) (action.Action, error) {
	return e.reg.Resolve(ctx, ref, action.Retriever)
}

// LookupIndexer finds an indexer like [LookupRetriever].
func LookupIndexer(ctx context.Context, e *Engine, ref string) (action.Action, error) {
	return e.reg.Resolve(ctx, ref, action.Indexer)
}

// LookupReranker finds a reranker like [LookupRetriever].
func LookupReranker(ctx context.Context, e *Engine, ref string) (action.Action, error) {
	return e.reg.Resolve(ctx, ref, action.Reranker)
}

// Retrieve returns the documents that a retriever finds for a query, the best first.
func Retrieve(ctx context.Context, e *Engine, retriever string, query content.Document, options ...retrieve.Option) ([]content.Document, error) {
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	a, err := LookupRetriever(ctx, e, retriever)
	if err != nil {
		return nil, err
	}
	return retrieve.Retrieve(ctx, a, query, options...)
}

// Index stores documents with an indexer.
func Index(ctx context.Context, e *Engine, indexer string, docs []content.Document, options ...retrieve.Option) error {
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return err
	}
	defer end()
	a, err := LookupIndexer(ctx, e, indexer)
	if err != nil {
		return err
	}
	return retrieve.Index(ctx, a, docs, options...)
}

// Rerank returns documents in the order in which a reranker puts them for a query.
func Rerank(ctx context.Context, e *Engine, reranker string, query content.Document, docs []content.Document, options ...retrieve.Option) ([]retrieve.Ranked, error) {
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	a, err := LookupReranker(ctx, e, reranker)
	if err != nil {
		return nil, err
	}
	return retrieve.Rerank(ctx, a, query, docs, options...)
}
