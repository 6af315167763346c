package retrieve

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
)

// Retriever is an action of kind retriever.
type Retriever interface {
	action.Action
	Name() string
	// Retrieve answers one request; see [Retrieve] for a query.
	Retrieve(ctx context.Context, req *Request) (*Response, error)
}

// Indexer is an action of kind indexer.
type Indexer interface {
	action.Action
	Name() string
	// Index stores the documents of one request; see [Index].
	Index(ctx context.Context, req *IndexRequest) error
}

// Reranker is an action of kind reranker.
type Reranker interface {
	action.Action
	Name() string
	// Rerank answers one request; see [Rerank] for a query.
	Rerank(ctx context.Context, req *RerankRequest) (*RerankResponse, error)
}

// RetrieverFrom returns an action as a [Retriever]: itself when it is one.
func RetrieverFrom(a action.Action) Retriever { return from[Retriever](a, noun{a}) }

// IndexerFrom returns an action as an [Indexer]: itself when it is one.
func IndexerFrom(a action.Action) Indexer { return from[Indexer](a, noun{a}) }

// RerankerFrom returns an action as a [Reranker]: itself when it is one.
func RerankerFrom(a action.Action) Reranker { return from[Reranker](a, noun{a}) }

func from[T any](a action.Action, other T) T {
	if own, ok := a.(T); ok {
		return own
	}
	return other
}

// noun is an action with the methods of all three nouns. Those of another kind than its
// own fail with INVALID_ARGUMENT.
type noun struct{ action.Action }

func (n noun) Name() string { return n.Desc().Name }

func (n noun) Retrieve(ctx context.Context, req *Request) (*Response, error) {
	resp := &Response{}
	if err := run(ctx, n.Action, action.Retriever, req, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

func (n noun) Index(ctx context.Context, req *IndexRequest) error {
	return run(ctx, n.Action, action.Indexer, req, nil)
}

func (n noun) Rerank(ctx context.Context, req *RerankRequest) (*RerankResponse, error) {
	resp := &RerankResponse{}
	if err := run(ctx, n.Action, action.Reranker, req, resp); err != nil {
		return nil, err
	}
	return resp, nil
}
