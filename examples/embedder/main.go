// Command embedder defines an embedder, which says how much it takes at once, and
// compares three texts by their vectors.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
)

func main() {
	if err := run(context.Background()); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("embedder", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	eng, err := engine.New(ctx, engine.Config{})
	if err != nil {
		return err
	}
	defer func() { _ = eng.Close(ctx) }()

	info := embed.Info{Label: "Vowels", Dimensions: 5, BatchSize: 2}
	engine.DefineEmbedder(eng, "acme/vowels", info, func(_ context.Context, req *embed.Request) (*embed.Response, error) {
		fmt.Println("a request of", len(req.Input))
		resp := &embed.Response{}
		for _, doc := range req.Input {
			resp.Embeddings = append(resp.Embeddings, embed.Embedding{Vector: vowels(content.TextOf(doc.Content))})
		}
		return resp, nil
	})

	docs := []content.Document{content.DocumentFromText("banana", nil), content.DocumentFromText("papaya", nil), content.DocumentFromText("kiwi", nil)}
	vectors, err := engine.EmbedMany(ctx, eng, engine.WithEmbedderName("acme/vowels"), engine.WithDocs(docs...))
	if err != nil {
		return err
	}
	for i, v := range vectors {
		fmt.Println(content.TextOf(docs[i].Content), v.Vector)
	}
	return nil
}

// vowels counts a, e, i, o and u.
func vowels(text string) []float64 {
	counts := make([]float64, 5)
	for _, r := range text {
		for i, v := range "aeiou" {
			if r == v {
				counts[i]++
			}
		}
	}
	return counts
}
