package retrieve

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Ranked is a document and how well it fits a query. On the wire the score stands in
// the metadata, as "score".
type Ranked struct {
	content.Document
	Score float64
}

// RerankFunc scores documents and puts the best first; it may leave some out. It must
// not change the documents.
type RerankFunc[O any] func(ctx context.Context, query content.Document, docs []content.Document, options O) ([]Ranked, error)

// NewReranker makes a reranker of fn, under the terms of [New].
func NewReranker[O any](name string, info Info, fn RerankFunc[O]) (Reranker, error) {
	d, err := describe[O](action.Reranker, name, info.OptionsSchema, &info)
	if err != nil {
		return nil, err
	}
	return d.action(rerankerIn, rerankerOut, func(ctx context.Context, in json.RawMessage) (any, error) {
		req := &RerankRequest{}
		options, err := request[O](d, in, req, &req.Options)
		if err != nil {
			return nil, err
		}
		ranked, err := fn(ctx, req.Query, req.Documents, options)
		if err != nil {
			return nil, err
		}
		resp := RerankResponse{Documents: make([]content.Document, len(ranked))}
		for i, r := range ranked {
			score, err := json.Marshal(r.Score)
			if err != nil { // NaN or an infinity
				return nil, status.Publicf(status.Internal, "reranker %q gave a document the score %v", name, r.Score)
			}
			resp.Documents[i] = r.Document
			resp.Documents[i].Metadata = r.Metadata.With(scoreKey, score)
		}
		return resp, nil
	})
}

const scoreKey = "score"

// Rerank runs a reranker.
func Rerank(ctx context.Context, a action.Action, query content.Document, docs []content.Document, options ...Option) ([]Ranked, error) {
	raw, err := choose(options)
	if err != nil {
		return nil, err
	}
	resp := &RerankResponse{}
	if err := run(ctx, a, action.Reranker, RerankRequest{Query: query, Documents: docs, Options: raw}, resp); err != nil {
		return nil, err
	}
	ranked := make([]Ranked, len(resp.Documents))
	for i, d := range resp.Documents {
		ranked[i].Document = d
		if ranked[i].Score, err = strconv.ParseFloat(string(d.Metadata[scoreKey]), 64); err != nil {
			return nil, status.Publicf(status.Internal, "reranker %q gave a document no score", a.Desc().Name)
		}
	}
	return ranked, nil
}
