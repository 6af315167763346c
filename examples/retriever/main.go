// Command retriever defines an indexer that stores notes, a retriever that finds them
// by a word, and a simple retriever over rows of its own. The types of their options
// are the schemas that callers see.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
)

func main() {
	if err := run(context.Background()); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("retriever", slog.Any("error", err))
		os.Exit(1)
	}
}

type film struct {
	Title string `json:"title"`
	Year  int    `json:"year"`
}

type since struct {
	Year int `json:"year,omitempty" jsonschema:"minimum=1888"`
}

func run(ctx context.Context) error {
	eng, err := engine.New(ctx, engine.Config{})
	if err != nil {
		return err
	}
	defer func() { _ = eng.Close(ctx) }()

	var notes []content.Document
	engine.DefineIndexer(eng, "notes", retrieve.IndexerInfo{}, func(_ context.Context, docs []content.Document, _ any) error {
		notes = append(notes, docs...)
		return nil
	})
	engine.DefineRetriever(eng, "notes", retrieve.Info{Label: "Notes"}, func(_ context.Context, query content.Document, o retrieve.Common) (found []content.Document, err error) {
		for _, n := range notes {
			if strings.Contains(content.TextOf(n.Content), content.TextOf(query.Content)) && (o.K == 0 || len(found) < o.K) {
				found = append(found, n)
			}
		}
		return found, nil
	})
	engine.DefineSimpleRetriever(eng, "films", retrieve.Simple[film]{ContentKey: "title"}, func(_ context.Context, _ content.Document, o since) (found []film, err error) {
		for _, f := range []film{{"Jaws", 1975}, {"Finding Nemo", 2003}} {
			if f.Year >= o.Year {
				found = append(found, f)
			}
		}
		return found, nil
	})

	if err := engine.Index(ctx, eng, engine.WithIndexerName("notes"), engine.WithTextDocs("buy fish", "feed the fish", "sleep")); err != nil {
		return err
	}
	found, err := engine.Retrieve(ctx, eng, engine.WithRetrieverName("notes"), engine.WithTextDocs("fish"), engine.WithConfig(retrieve.Common{K: 1}))
	if err != nil {
		return err
	}
	fmt.Println(found.Documents[0].Text())
	found, err = engine.Retrieve(ctx, eng, engine.WithRetrieverName("films"), engine.WithTextDocs(""), engine.WithConfig(since{Year: 2000}))
	if err != nil {
		return err
	}
	fmt.Println(found.Documents[0].Text(), string(found.Documents[0].Metadata["year"]))
	_, err = engine.Retrieve(ctx, eng, engine.WithRetrieverName("films"), engine.WithTextDocs(""), engine.WithConfig(since{Year: 1}))
	fmt.Println(err)
	return nil
}
