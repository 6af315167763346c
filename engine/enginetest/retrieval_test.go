package enginetest_test

import (
	"cmp"
	"context"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
)

func words(_ context.Context, req *embed.Request) (*embed.Response, error) {
	resp := &embed.Response{}
	for _, doc := range req.Input {
		v := make([]float64, 256)
		for word := range strings.FieldsSeq(content.TextOf(doc.Content)) {
			h := fnv.New32a()
			_, _ = h.Write([]byte(word))
			v[h.Sum32()%256]++
		}
		resp.Embeddings = append(resp.Embeddings, embed.Embedding{Vector: v})
	}
	return resp, nil
}

// shared counts the words that two documents share.
func shared(a, b content.Document) (n float64) {
	of := strings.Fields(content.TextOf(b.Content))
	for w := range strings.FieldsSeq(content.TextOf(a.Content)) {
		if slices.Contains(of, w) {
			n++
		}
	}
	return n
}

// TestTheKitsPassWhatIsRight runs the kits on the plainest things that obey them.
func TestTheKitsPassWhatIsRight(t *testing.T) {
	e, err := embed.New("kit/words", embed.Info{Dimensions: 256, BatchSize: 3}, words)
	if err != nil {
		t.Fatal(err)
	}
	enginetest.TestEmbedder(t, e)

	rank := func(_ context.Context, query content.Document, docs []content.Document, o retrieve.Common) ([]retrieve.Ranked, error) {
		var ranked []retrieve.Ranked
		for _, d := range docs {
			ranked = append(ranked, retrieve.Ranked{Document: d, Score: shared(query, d)})
		}
		slices.SortStableFunc(ranked, func(a, b retrieve.Ranked) int { return cmp.Compare(b.Score, a.Score) })
		if o.K > 0 {
			ranked = ranked[:min(o.K, len(ranked))]
		}
		return ranked, nil
	}
	k, err := retrieve.NewReranker("kit/words", retrieve.Info{}, rank)
	if err != nil {
		t.Fatal(err)
	}
	enginetest.TestReranker(t, k)

	var mu sync.Mutex
	var stored []content.Document
	i, err := retrieve.NewIndexer("kit/list", retrieve.IndexerInfo{}, func(_ context.Context, docs []content.Document, _ any) error {
		mu.Lock()
		defer mu.Unlock()
		for _, d := range docs {
			if !slices.ContainsFunc(stored, func(s content.Document) bool { return content.TextOf(s.Content) == content.TextOf(d.Content) }) {
				stored = append(stored, d)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := retrieve.New("kit/list", retrieve.Info{}, func(ctx context.Context, query content.Document, o retrieve.Common) ([]content.Document, error) {
		mu.Lock()
		defer mu.Unlock()
		ranked, err := rank(ctx, query, stored, o)
		var docs []content.Document
		for _, r := range ranked {
			docs = append(docs, r.Document)
		}
		return docs, err
	})
	if err != nil {
		t.Fatal(err)
	}
	enginetest.TestIndexedRetriever(t, i, r)
}

func TestInstancesAreOfTheSchema(t *testing.T) {
	enginetest.RoundTrip[content.Document](t, "DocumentData", 20)
	if a, b := enginetest.SchemaInstances(t, "Part", 5), enginetest.SchemaInstances(t, "Part", 5); !slices.EqualFunc(a, b, slices.Equal) {
		t.Error("the instances differ from run to run")
	}
}
