package engine_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestRetrievalThroughTheEngine(t *testing.T) {
	e := start(t, engine.Config{})
	var stored []content.Document
	engine.DefineIndexer(e, "acme/notes", retrieve.IndexerInfo{}, func(_ context.Context, docs []content.Document, _ any) error {
		stored = append(stored, docs...)
		return nil
	})
	engine.DefineRetriever(e, "acme/notes", retrieve.Info{}, func(_ context.Context, _ content.Document, o retrieve.Common) ([]content.Document, error) {
		return stored[:min(o.K, len(stored))], nil
	})
	engine.DefineSimpleRetriever(e, "acme/rows", retrieve.Simple[string]{}, func(_ context.Context, q content.Document, _ any) ([]string, error) {
		return []string{content.TextOf(q.Content), "row"}, nil
	})
	engine.DefineReranker(e, "acme/reverse", retrieve.Info{}, func(_ context.Context, _ content.Document, docs []content.Document, _ any) (ranked []retrieve.Ranked, _ error) {
		for i, doc := range slices.Backward(docs) {
			ranked = append(ranked, retrieve.Ranked{Document: doc, Score: float64(i)})
		}
		return ranked, nil
	})
	require.NoError(t, engine.Index(t.Context(), e, "notes", []content.Document{embed.Text("a"), embed.Text("b")}))
	docs, err := engine.Retrieve(t.Context(), e, "/retriever/acme/notes", embed.Text("q"), retrieve.Options(retrieve.Common{K: 9}))
	require.NoError(t, err)
	assert.Len(t, docs, 2)
	rows, err := engine.Retrieve(t.Context(), e, "rows", embed.Text("q"))
	require.NoError(t, err)
	assert.Equal(t, "q", content.TextOf(rows[0].Content))
	ranked, err := engine.Rerank(t.Context(), e, "acme/reverse", embed.Text("q"), docs)
	require.NoError(t, err)
	assert.Equal(t, "b", content.TextOf(ranked[0].Content))
	out, err := e.RunJSON(t.Context(), action.Key{Kind: action.Retriever, Name: "acme/notes"}, json.RawMessage(`{"query":{"content":[]},"options":{"k":1}}`), nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"documents":[{"content":[{"text":"a"}]}]}`, string(out))

	_, err = engine.Retrieve(t.Context(), e, "acme/reverse", embed.Text("q"))
	require.ErrorIs(t, err, status.ErrNotFound)
	require.ErrorIs(t, engine.Index(t.Context(), e, "/retriever/acme/notes", nil), status.ErrInvalidArgument)
	_, err = engine.Rerank(t.Context(), e, "nobody", embed.Text("q"), nil)
	require.ErrorIs(t, err, status.ErrNotFound)
	assert.Panics(t, func() {
		engine.DefineReranker(e, "acme/reverse", retrieve.Info{}, func(context.Context, content.Document, []content.Document, any) ([]retrieve.Ranked, error) {
			return nil, nil
		})
	})
	require.NoError(t, e.Close(t.Context()))
	_, err = engine.Retrieve(t.Context(), e, "rows", embed.Text("q"))
	require.Error(t, err)
	require.Error(t, engine.Index(t.Context(), e, "notes", nil))
	_, err = engine.Rerank(t.Context(), e, "reverse", embed.Text("q"), nil)
	require.Error(t, err)
}
