package embed

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Option is a choice for one call.
type Option func(*choices)

type choices struct {
	defaults Ref
	options  any
	batch    int
	parallel int
}

// WithConfig sets the embedder's own options, encoded as JSON.
func WithConfig(v any) Option { return func(c *choices) { c.options = v } }

// WithBatchSize bounds how many documents one request of [Many] holds. The bound that the
// embedder declares holds too; without either, all are sent at once.
func WithBatchSize(n int) Option { return func(c *choices) { c.batch = n } }

// WithParallel bounds how many requests of [Many] are under way at once; the default is 1.
func WithParallel(n int) Option { return func(c *choices) { c.parallel = n } }

func choose(options []Option) (*choices, json.RawMessage, error) {
	c := &choices{}
	for _, o := range options {
		o(c)
	}
	raw, err := merged(c.defaults, c.options)
	return c, raw, err
}

// Merged returns the embedder's own options as a request holds them: those of a
// reference's [Ref.Defaults] and those of [WithConfig].
func Merged(options ...Option) (json.RawMessage, error) {
	_, raw, err := choose(options)
	return raw, err
}

// One embeds a document and returns all its embeddings: a provider may cut it up.
func One(ctx context.Context, a action.Action, doc content.Document, options ...Option) ([]Embedding, error) {
	_, raw, err := choose(options)
	if err != nil {
		return nil, err
	}
	resp, err := Do(ctx, a, &Request{Input: []content.Document{doc}, Options: raw})
	if err != nil {
		return nil, err
	}
	return resp.Embeddings, nil
}

// BatchError says which documents an error of [Many] is about.
type BatchError struct {
	// From and To are their places, To excluded, among Of.
	From, To, Of int
	Err          error
}

// Error names the documents by their places, counted from 1.
func (e *BatchError) Error() string {
	return fmt.Sprintf("embed documents %d to %d of %d: %v", e.From+1, e.To, e.Of, e.Err)
}

// Unwrap returns the cause.
func (e *BatchError) Unwrap() error { return e.Err }

// Many embeds documents and returns one embedding for each, in their order. It fails
// with INTERNAL when the embedder answers with another number of embeddings: there
// would be no telling which is whose (Genkit JS zips them and drops what is over). The
// first failure ends the requests that are under way; it is a [BatchError].
func Many(ctx context.Context, a action.Action, docs []content.Document, options ...Option) ([]Embedding, error) {
	c, raw, err := choose(options)
	if err != nil {
		return nil, err
	}
	embeddings := make([]Embedding, len(docs))
	err = c.batches(ctx, a, docs, func(ctx context.Context, from, to int) error {
		resp, err := Do(ctx, a, &Request{Input: docs[from:to], Options: raw})
		if err != nil {
			return err
		}
		if len(resp.Embeddings) != to-from {
			return status.Publicf(status.Internal, "embedder %q returned %d embeddings for %d documents", a.Desc().Name, len(resp.Embeddings), to-from)
		}
		copy(embeddings[from:to], resp.Embeddings)
		return nil
	})
	if err != nil || len(docs) == 0 {
		return nil, err
	}
	return embeddings, nil
}

// All embeds documents and returns all embeddings of each, in their order, for
// embedders that may cut a document up. A request holds one document unless
// [WithBatchSize] or the embedder says more; when it is then not answered by one embedding
// for each, its documents are sent again one by one. It fails like Many, and when a
// document gets no embedding at all.
func All(ctx context.Context, a action.Action, docs []content.Document, options ...Option) ([][]Embedding, error) {
	c, raw, err := choose(options)
	if err != nil {
		return nil, err
	}
	if c.batch <= 0 && declaredBatch(a) <= 0 {
		c.batch = 1
	}
	embeddings := make([][]Embedding, len(docs))
	err = c.batches(ctx, a, docs, func(ctx context.Context, from, to int) error {
		resp, err := Do(ctx, a, &Request{Input: docs[from:to], Options: raw})
		if err != nil {
			return err
		}
		if len(resp.Embeddings) == to-from {
			for i := range resp.Embeddings {
				embeddings[from+i] = resp.Embeddings[i : i+1 : i+1]
			}
			return nil
		}
		for i := from; i < to; i++ {
			if to-from > 1 {
				if resp, err = Do(ctx, a, &Request{Input: docs[i : i+1], Options: raw}); err != nil {
					return err
				}
			}
			if len(resp.Embeddings) == 0 {
				return status.Publicf(status.Internal, "embedder %q returned no embedding for a document", a.Desc().Name)
			}
			embeddings[i] = resp.Embeddings
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return embeddings, nil
}

// batches runs work for the documents from, to (excluded) of each batch.
func (c *choices) batches(ctx context.Context, a action.Action, docs []content.Document, work func(ctx context.Context, from, to int) error) error {
	if len(docs) == 0 {
		return nil
	}
	size := len(docs)
	for _, bound := range []int{c.batch, declaredBatch(a)} {
		if bound > 0 {
			size = min(size, bound)
		}
	}
	return each(ctx, (len(docs)+size-1)/size, max(c.parallel, 1), func(ctx context.Context, n int) error {
		from := n * size
		to := min(from+size, len(docs))
		if err := work(ctx, from, to); err != nil {
			return &BatchError{From: from, To: to, Of: len(docs), Err: err}
		}
		return nil
	})
}

// declaredBatch is the bound of an embedder's metadata, 0 when it declares none.
func declaredBatch(a action.Action) int {
	var own struct {
		BatchSize int `json:"batchSize"`
	}
	if json.Unmarshal(a.Desc().Metadata["embedder"], &own) != nil {
		return 0 // another's metadata may say anything
	}
	return own.BatchSize
}

// each runs work for 0…n-1, at most parallel at once, and waits for all of it.
func each(ctx context.Context, n, parallel int, work func(ctx context.Context, i int) error) error {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		next  atomic.Int64
		first error
		once  sync.Once
		wg    sync.WaitGroup
	)
	for range min(n, parallel) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && running.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := work(running, i); err != nil {
					once.Do(func() { first = err })
					cancel()
				}
			}
		})
	}
	wg.Wait()
	if first == nil && ctx.Err() != nil {
		return status.Convert(ctx.Err())
	}
	return first
}
