package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
)

// A store may be used without actions, with vectors of one's own.
func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "films")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := local.Open(local.Config{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	film := func(title string, year int, vector ...float64) local.Entry {
		doc := content.DocumentFromText(title, nil)
		doc.Metadata = content.Metadata{"year": json.RawMessage(fmt.Sprint(year))}
		return local.Entry{ID: title, Document: doc, Embeddings: []embed.Embedding{{Vector: vector}}}
	}
	if err := s.Put(ctx, []local.Entry{film("Jaws", 1975, 1, 0), film("Alien", 1979, 0.2, 1), film("Finding Nemo", 2003, 0.9, 0.1)}); err != nil {
		log.Fatal(err)
	}
	found, err := s.Search(ctx, []float64{1, 0}, local.Query{K: 2, Filter: json.RawMessage(`{"year": {"$lt": 2000}}`)})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range found {
		fmt.Printf("%s %.2f\n", f.ID, f.Score)
	}
	// Output:
	// Jaws 1.00
	// Alien 0.20
}
