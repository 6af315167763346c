package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Texts returns n documents of different words.
func Texts(n int) []content.Document {
	words := []string{"fish", "bird", "tree", "stone", "river", "cloud", "house", "wheel", "bread", "music"}
	docs := make([]content.Document, n)
	for i := range docs {
		docs[i] = content.DocumentFromText(fmt.Sprintf("%s %s number %d", words[i%len(words)], words[(i/len(words)+i)%len(words)], i), nil)
	}
	return docs
}

// TestEmbedder holds an embedder against its contract: an embedding for each document
// and in their order, of the dimensions that it declares, however the documents are
// put together; nothing for nothing; and an end with the context. A document that is
// cut up is not for this kit.
func TestEmbedder(t *testing.T, a action.Action) {
	t.Helper()
	kind(t, a, action.Embedder)
	docs := Texts(7)
	vectors, err := embed.Many(t.Context(), a, docs)
	if err != nil {
		t.Fatal(err)
	}
	var metadata struct {
		Dimensions int `json:"dimensions"`
	}
	if err := json.Unmarshal(a.Desc().Metadata["info"], &metadata); err != nil {
		t.Errorf("metadata.info: %v", err)
	}
	for i, v := range vectors {
		if len(v.Vector) != len(vectors[0].Vector) || metadata.Dimensions > 0 && len(v.Vector) != metadata.Dimensions {
			t.Errorf("vector %d has %d dimensions, the first has %d, %d are declared", i, len(v.Vector), len(vectors[0].Vector), metadata.Dimensions)
		}
	}
	again, err := embed.Many(t.Context(), a, docs, embed.WithBatchSize(2), embed.WithParallel(3))
	if err != nil {
		t.Fatal(err)
	}
	for i := range vectors {
		if !slices.Equal(vectors[i].Vector, again[i].Vector) {
			t.Errorf("document %d has another vector in another batch", i)
		}
	}
	resp, err := embed.Do(t.Context(), a, &embed.Request{})
	if err != nil || len(resp.Embeddings) != 0 {
		t.Errorf("no document gives %v, %v", resp, err)
	}
	ends(t, a, `{"input":[{"content":[{"text":"x"}]}]}`)
}

// TestIndexedRetriever checks the contract of an indexer and the retriever that reads
// its store. The store must be empty. An indexed document is found by its own text; at
// most k documents are returned; indexing a document again changes nothing; and both
// are safe for concurrent use. The retriever takes Genkit's option k.
func TestIndexedRetriever(t *testing.T, indexer, retriever action.Action) {
	t.Helper()
	kind(t, indexer, action.Indexer)
	kind(t, retriever, action.Retriever)
	docs := Texts(30)
	var wg sync.WaitGroup
	for part := range slices.Chunk(docs, 10) {
		wg.Go(func() {
			if err := retrieve.Index(t.Context(), indexer, part); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := retrieve.Index(t.Context(), indexer, docs[:20]); err != nil {
		t.Error(err)
	}
	if err := retrieve.Index(t.Context(), indexer, nil); err != nil {
		t.Error(err)
	}
	for _, doc := range docs {
		wg.Go(func() {
			found, err := retrieve.Retrieve(t.Context(), retriever, doc, retrieve.WithConfig(retrieve.Common{K: 5}))
			if err != nil || len(found) != 5 || !sameText(found[0], doc) {
				t.Errorf("%q finds %v, %v", content.TextOf(doc.Content), found, err)
			}
		})
	}
	wg.Wait()
	all, err := retrieve.Retrieve(t.Context(), retriever, docs[0], retrieve.WithConfig(retrieve.Common{K: 100}))
	if err != nil || len(all) != len(docs) {
		t.Errorf("there are %d documents, want %d (%v)", len(all), len(docs), err)
	}
	ends(t, indexer, `{"documents":[{"content":[{"text":"x"}]}]}`)
	ends(t, retriever, `{"query":{"content":[{"text":"x"}]}}`)
}

// TestReranker holds a reranker against its contract: it returns documents that it was
// given, as they were but for the score, each at most once, the best first.
func TestReranker(t *testing.T, a action.Action) {
	t.Helper()
	kind(t, a, action.Reranker)
	docs := Texts(9)
	for i := range docs {
		docs[i].Metadata = content.Metadata{"place": json.RawMessage(fmt.Sprint(i))}
	}
	ranked, err := retrieve.Rerank(t.Context(), a, docs[4], docs)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, r := range ranked {
		place := string(r.Metadata["place"])
		if i > 0 && r.Score > ranked[i-1].Score {
			t.Errorf("document %d has a greater score than the one before", i)
		}
		if seen[place] || !slices.ContainsFunc(docs, func(d content.Document) bool {
			return sameText(d, r.Document) && string(d.Metadata["place"]) == place
		}) {
			t.Errorf("document %d was not given, or comes twice: %+v", i, r)
		}
		seen[place] = true
	}
	if ranked, err := retrieve.Rerank(t.Context(), a, docs[0], nil); err != nil || len(ranked) != 0 {
		t.Errorf("no document gives %v, %v", ranked, err)
	}
	ends(t, a, `{"query":{"content":[{"text":"x"}]},"documents":[{"content":[{"text":"x"}]}]}`)
}

func sameText(a, b content.Document) bool {
	return content.TextOf(a.Content) == content.TextOf(b.Content)
}

func kind(t *testing.T, a action.Action, want action.Kind) {
	t.Helper()
	d := a.Desc()
	if d.Kind != want || string(d.Metadata["type"]) != `"`+string(want)+`"` {
		t.Errorf("%q has the kind %q and metadata.type %s", d.Name, d.Kind, d.Metadata["type"])
	}
}

// ends looks at a call whose context has ended, and at requests that are none.
func ends(t *testing.T, a action.Action, request string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.RunJSON(ctx, json.RawMessage(request), nil); status.Of(err) != status.Cancelled {
		t.Errorf("%q with a context that has ended: %v", a.Desc().Name, err)
	}
	for _, bad := range []string{`null`, `{}`, `[]`, `"x"`} {
		if _, err := a.RunJSON(t.Context(), json.RawMessage(bad), nil); status.Of(err) != status.InvalidArgument {
			t.Errorf("%q given %s: %v", a.Desc().Name, bad, err)
		}
	}
}
