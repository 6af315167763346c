package engine

import (
	"context"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// The options of the calls that are not of models.
type (
	// EmbedderOption is a choice for [Embed] and [EmbedMany].
	EmbedderOption interface{ applyEmbedder(c *nounCall) }
	// RetrieverOption is a choice for [Retrieve].
	RetrieverOption interface{ applyRetriever(c *nounCall) }
	// IndexerOption is a choice for [Index].
	IndexerOption interface{ applyIndexer(c *nounCall) }
	// RerankerOption is a choice for [Rerank].
	RerankerOption interface{ applyReranker(c *nounCall) }
	// EvaluatorOption is a choice for [Evaluate].
	EvaluatorOption interface{ applyEvaluator(c *nounCall) }
)

// Arguments of the calls: a noun, registered or not, or a reference with options.
type (
	// EmbedderArg is an [Embedder] or an [EmbedderRef].
	EmbedderArg interface{ Name() string }
	// EmbedderRef is an embedder by name, with options; see [embed.NewRef].
	EmbedderRef = embed.Ref
	// RetrieverArg is a [Retriever] or a [RetrieverRef].
	RetrieverArg interface{ Name() string }
	// RetrieverRef is a retriever, an indexer or a reranker by name, with options; see
	// [retrieve.NewRef].
	RetrieverRef = retrieve.Ref
	// EvaluatorArg is an [Evaluator] or an [EvaluatorRef].
	EvaluatorArg interface{ Name() string }
	// EvaluatorRef is an evaluator by name, with options; see [evaluate.NewRef].
	EvaluatorRef = evaluate.Ref
)

// nounCall collects the options of one such call. The fields are those of all kinds.
type nounCall struct {
	arg      interface{ Name() string }
	config   any
	docs     []content.Document
	query    *content.Document
	batch    int
	parallel int
	dataset  []evaluate.Case
	id       string
	progress func(done, total int, r evaluate.Result)
}

type (
	embedderOption  func(c *nounCall)
	retrieverOption func(c *nounCall)
	indexerOption   func(c *nounCall)
	rerankerOption  func(c *nounCall)
	evaluatorOption func(c *nounCall)
	parallelOption  int
)

func (o embedderOption) applyEmbedder(c *nounCall)   { o(c) }
func (o retrieverOption) applyRetriever(c *nounCall) { o(c) }
func (o indexerOption) applyIndexer(c *nounCall)     { o(c) }
func (o rerankerOption) applyReranker(c *nounCall)   { o(c) }
func (o evaluatorOption) applyEvaluator(c *nounCall) { o(c) }
func (o parallelOption) applyEmbedder(c *nounCall)   { c.parallel = int(o) }
func (o parallelOption) applyEvaluator(c *nounCall)  { c.parallel = int(o) }

// named is the name or key of a registered action.
type named string

func (n named) Name() string { return string(n) }

// WithEmbedder sets the embedder: one that is registered or not, or an [EmbedderRef] with
// options, over which [WithConfig] is laid key by key.
func WithEmbedder(e EmbedderArg) EmbedderOption {
	return embedderOption(func(c *nounCall) { c.arg = e })
}

// WithEmbedderName is [WithEmbedder] for the name or key of a registered one.
func WithEmbedderName(name string) EmbedderOption { return WithEmbedder(named(name)) }

// WithBatchSize bounds how many documents one request of [EmbedMany] holds.
func WithBatchSize(n int) EmbedderOption { return embedderOption(func(c *nounCall) { c.batch = n }) }

// ParallelOption applies to [EmbedMany] and [Evaluate].
type ParallelOption interface {
	EmbedderOption
	EvaluatorOption
}

// WithParallel bounds how many requests of [EmbedMany], or test cases of [Evaluate], are
// under way at once; the default is 1.
func WithParallel(n int) ParallelOption { return parallelOption(n) }

// WithRetriever sets the retriever, under the terms of [WithEmbedder].
func WithRetriever(r RetrieverArg) RetrieverOption {
	return retrieverOption(func(c *nounCall) { c.arg = r })
}

// WithRetrieverName is [WithRetriever] for the name or key of a registered one.
func WithRetrieverName(name string) RetrieverOption { return WithRetriever(named(name)) }

// WithIndexer sets the indexer, under the terms of [WithEmbedder].
func WithIndexer(i RetrieverArg) IndexerOption { return indexerOption(func(c *nounCall) { c.arg = i }) }

// WithIndexerName is [WithIndexer] for the name or key of a registered one.
func WithIndexerName(name string) IndexerOption { return WithIndexer(named(name)) }

// WithReranker sets the reranker, under the terms of [WithEmbedder].
func WithReranker(r RetrieverArg) RerankerOption {
	return rerankerOption(func(c *nounCall) { c.arg = r })
}

// WithRerankerName is [WithReranker] for the name or key of a registered one.
func WithRerankerName(name string) RerankerOption { return WithReranker(named(name)) }

// WithQuery sets the query with which a reranker compares documents.
func WithQuery(query content.Document) RerankerOption {
	return rerankerOption(func(c *nounCall) { c.query = &query })
}

// WithEvaluator sets the evaluator, under the terms of [WithEmbedder]. [WithConfig] takes
// the place of a reference's options.
func WithEvaluator(e EvaluatorArg) EvaluatorOption {
	return evaluatorOption(func(c *nounCall) { c.arg = e })
}

// WithEvaluatorName is [WithEvaluator] for the name or key of a registered one.
func WithEvaluatorName(name string) EvaluatorOption { return WithEvaluator(named(name)) }

// WithDataset adds test cases.
func WithDataset(cases ...evaluate.Case) EvaluatorOption {
	return evaluatorOption(func(c *nounCall) { c.dataset = append(c.dataset, cases...) })
}

// WithID names the evaluation; without it a run gets a random id.
func WithID(id string) EvaluatorOption { return evaluatorOption(func(c *nounCall) { c.id = id }) }

// WithProgress is told of each result when it is there; see [evaluate.WithProgress].
func WithProgress(fn func(done, total int, r evaluate.Result)) EvaluatorOption {
	return evaluatorOption(func(c *nounCall) { c.progress = fn })
}

// target finds the action that a call is for.
func (e *Engine) target(ctx context.Context, c *nounCall, kind action.Kind) (action.Action, error) {
	if c.arg == nil || c.arg.Name() == "" {
		one := strings.ToUpper(string(kind[:1])) + string(kind[1:])
		return nil, status.Publicf(status.InvalidArgument, "the call names no %s: use With%s or With%sName", kind, one, one)
	}
	a, given := c.arg.(action.Action)
	if !given {
		return e.reg.Resolve(ctx, c.arg.Name(), kind)
	}
	if key := a.Desc().Key(); key.Kind != kind {
		return nil, status.Publicf(status.InvalidArgument, "action %q is not of kind %s", key, kind)
	}
	return a, nil
}
