// Command reranker defines a reranker, which scores documents by the words that they
// share with the query, and puts three documents in order.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
)

func main() {
	if err := run(context.Background()); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("reranker", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	eng, err := engine.New(ctx, engine.Config{})
	if err != nil {
		return err
	}
	defer func() { _ = eng.Close(ctx) }()

	engine.DefineReranker(eng, "acme/words", retrieve.Info{Label: "Words in common"}, func(_ context.Context, query content.Document, docs []content.Document, o retrieve.Common) ([]retrieve.Ranked, error) {
		asked := strings.Fields(content.TextOf(query.Content))
		var ranked []retrieve.Ranked
		for _, d := range docs {
			words := strings.Fields(content.TextOf(d.Content))
			shared := 0
			for _, w := range asked {
				if slices.Contains(words, w) {
					shared++
				}
			}
			ranked = append(ranked, retrieve.Ranked{Document: d, Score: float64(shared) / float64(len(asked))})
		}
		slices.SortStableFunc(ranked, func(a, b retrieve.Ranked) int { return int(4*b.Score) - int(4*a.Score) })
		if o.K > 0 {
			ranked = ranked[:min(o.K, len(ranked))]
		}
		return ranked, nil
	})

	docs := []content.Document{content.DocumentFromText("the sea is wide", nil), content.DocumentFromText("a fish in the sea", nil), content.DocumentFromText("a bird", nil)}
	ranked, err := engine.Rerank(ctx, eng, engine.WithRerankerName("acme/words"), engine.WithQuery(content.DocumentFromText("fish in sea water", nil)), engine.WithDocs(docs...), engine.WithConfig(retrieve.Common{K: 2}))
	if err != nil {
		return err
	}
	for _, r := range ranked {
		fmt.Println(r.Score, content.TextOf(r.Content))
	}
	return nil
}
