package embed_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestTheDeclaredBoundOfABatchHolds(t *testing.T) {
	var requests, most atomic.Int64
	a, err := embed.New("acme/small", embed.Info{BatchSize: 4}, func(_ context.Context, req *embed.Request) (*embed.Response, error) {
		requests.Add(1)
		most.Store(max(most.Load(), int64(len(req.Input))))
		resp := &embed.Response{}
		for _, d := range req.Input {
			if content.TextOf(d.Content) == "fail" {
				return nil, status.Publicf(status.ResourceExhausted, "slow down")
			}
			resp.Embeddings = append(resp.Embeddings, embed.Embedding{Vector: []float64{1}})
		}
		return resp, nil
	})
	require.NoError(t, err)
	assert.JSONEq(t, `{"batchSize":4}`, string(a.Desc().Metadata["embedder"]))
	docs := make([]content.Document, 10)
	for _, c := range []struct {
		asked          int
		requests, most int64
	}{{0, 3, 4}, {100, 3, 4}, {3, 4, 3}} {
		requests.Store(0)
		most.Store(0)
		got, err := embed.Many(t.Context(), a, docs, embed.WithBatchSize(c.asked))
		require.NoError(t, err)
		assert.Len(t, got, 10)
		assert.Equal(t, c.requests, requests.Load())
		assert.Equal(t, c.most, most.Load())
	}
	docs[9] = content.DocumentFromText("fail", nil)
	_, err = embed.Many(t.Context(), a, docs)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	var batch *embed.BatchError
	require.ErrorAs(t, err, &batch)
	assert.Equal(t, [3]int{8, 10, 10}, [3]int{batch.From, batch.To, batch.Of})
	assert.EqualError(t, err, "embed documents 9 to 10 of 10: RESOURCE_EXHAUSTED: slow down")
}

func TestReferencesBringOptions(t *testing.T) {
	var got json.RawMessage
	a, err := embed.New("acme/e", embed.Info{}, func(_ context.Context, req *embed.Request) (*embed.Response, error) {
		got = req.Options
		return &embed.Response{Embeddings: []embed.Embedding{{}}}, nil
	})
	require.NoError(t, err)
	options := func(v any) embed.Option { return embed.WithConfig(v) }
	for want, list := range map[string][]embed.Option{
		``:                                 {embed.Ref{}.Defaults()},
		`{"version":"1"}`:                  {embed.NewRef("", nil).WithVersion("1").Defaults()},
		`{"a":1,"version":"2"}`:            {embed.NewRef("", map[string]any{"version": "2", "a": 1}).WithVersion("1").Defaults()},
		`{"a":3,"b":2.50}`:                 {embed.NewRef("", json.RawMessage(`{"a":1,"b":2.50}`)).Defaults(), options(map[string]int{"a": 3})},
		`{"a":4,"b":1,"version":"latest"}`: {options(json.RawMessage(`{"a":4}`)), embed.NewRef("", map[string]int{"b": 1}).WithVersion("latest").Defaults()},
	} {
		_, err := embed.One(t.Context(), a, content.DocumentFromText("x", nil), list...)
		require.NoError(t, err)
		assert.Equal(t, want, string(got))
	}
	_, err = embed.One(t.Context(), a, content.DocumentFromText("x", nil), embed.NewRef("", 7).WithVersion("1").Defaults())
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestDocumentsOfEmbeddings(t *testing.T) {
	doc := content.DocumentFromText("film", nil)
	doc.Metadata = content.Metadata{"id": json.RawMessage("7")}
	docs, err := embed.Documents(doc, []embed.Embedding{{Metadata: content.Metadata{"start": json.RawMessage("0")}}, {}})
	require.NoError(t, err)
	raw, err := json.Marshal(docs)
	require.NoError(t, err)
	assert.JSONEq(t, `[{"content":[{"text":"film"}],"metadata":{"id":7,"embedMetadata":{"start":0}}},{"content":[{"text":"film"}],"metadata":{"id":7}}]`, string(raw))
	assert.Len(t, doc.Metadata, 1, "the document is not changed")
	_, err = embed.Documents(doc, []embed.Embedding{{Metadata: content.Metadata{"x": json.RawMessage("{")}}})
	require.Error(t, err)
	for _, d := range []content.Document{content.DocumentFromText("t", nil), embed.Media("https://example.com/a.png", "image/png"), {}} {
		data, dataType := embed.DataOf(d)
		again := embed.Data(data, dataType)
		if data == "" {
			continue
		}
		assert.Equal(t, d, again)
	}
}

func TestAllEmbeddingsOfDocuments(t *testing.T) {
	var requests atomic.Int64
	a, err := embed.New("acme/cuts", embed.Info{}, func(_ context.Context, req *embed.Request) (*embed.Response, error) {
		requests.Add(1)
		resp := &embed.Response{}
		for _, d := range req.Input { // one for each byte
			for i := range content.TextOf(d.Content) {
				resp.Embeddings = append(resp.Embeddings, embed.Embedding{Vector: []float64{float64(i)}})
			}
		}
		return resp, nil
	})
	require.NoError(t, err)
	docs := []content.Document{content.DocumentFromText("ab", nil), content.DocumentFromText("c", nil), content.DocumentFromText("d", nil), content.DocumentFromText("efg", nil)}
	for _, c := range []struct {
		batch    int
		requests int64
	}{{0, 4}, {2, 6}, {4, 5}} {
		requests.Store(0)
		all, err := embed.All(t.Context(), a, docs, embed.WithBatchSize(c.batch))
		require.NoError(t, err)
		for i, want := range []int{2, 1, 1, 3} {
			assert.Len(t, all[i], want)
		}
		assert.Equal(t, c.requests, requests.Load())
	}
	_, err = embed.All(t.Context(), a, append(docs, content.DocumentFromText("", nil)))
	require.ErrorIs(t, err, status.ErrInternal)
	all, err := embed.All(t.Context(), a, nil)
	require.NoError(t, err)
	assert.Empty(t, all)
}
