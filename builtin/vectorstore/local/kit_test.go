package local_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
)

func open(t testing.TB, c local.Config) *local.Store {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	s, err := local.Open(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// entry is a document of a text with metadata and one vector.
func entry(id, text, metadata string, vector ...float64) local.Entry {
	doc := content.DocumentFromText(text, nil)
	if metadata != "" {
		if err := json.Unmarshal([]byte(metadata), &doc.Metadata); err != nil {
			panic(err)
		}
	}
	return local.Entry{ID: id, Document: doc, Embeddings: []embed.Embedding{{Vector: vector}}}
}

func ids(results []local.Result) []string {
	found := []string{}
	for _, r := range results {
		found = append(found, r.ID)
	}
	return found
}

func search(t testing.TB, s *local.Store, q local.Query, vector ...float64) []local.Result {
	t.Helper()
	results, err := s.Search(t.Context(), vector, q)
	require.NoError(t, err)
	return results
}

func seeded(a, b uint64) *rand.Rand { return rand.New(rand.NewPCG(a, b)) }

func gaussian(r *rand.Rand, dims int) []float64 {
	v := make([]float64, dims)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return v
}

func numbered(n int, vector []float64) local.Entry {
	return local.Entry{
		ID: fmt.Sprintf("d%06d", n), Embeddings: []embed.Embedding{{Vector: vector}},
		Document: content.Document{
			Content:  []content.Part{content.NewTextPart(fmt.Sprintf("document %d", n))},
			Metadata: content.Metadata{"n": json.RawMessage(fmt.Sprint(n)), "third": json.RawMessage(fmt.Sprint(n % 3))},
		},
	}
}
