package retrieve_test

import (
	"context"
	"fmt"
	"log"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
)

func ExampleNewReranker() {
	ctx := context.Background()
	shortest, err := retrieve.NewReranker("acme/shortest", retrieve.Info{}, func(_ context.Context, _ content.Document, docs []content.Document, _ any) ([]retrieve.Ranked, error) {
		if len(docs) == 0 {
			return nil, nil
		}
		best := docs[0]
		for _, d := range docs[1:] {
			if len(content.TextOf(d.Content)) < len(content.TextOf(best.Content)) {
				best = d
			}
		}
		return []retrieve.Ranked{{Document: best, Score: 1}}, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	ranked, err := retrieve.Rerank(ctx, shortest, content.DocumentFromText("?", nil), []content.Document{content.DocumentFromText("long", nil), content.DocumentFromText("a", nil)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(content.TextOf(ranked[0].Content), ranked[0].Score)
	// Output: a 1
}
