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
	require.NoError(t, engine.Index(t.Context(), e, engine.WithIndexerName("notes"), engine.WithTextDocs("a", "b")))
	docs, err := engine.Retrieve(t.Context(), e, engine.WithRetrieverName("/retriever/acme/notes"), engine.WithTextDocs("q"), engine.WithConfig(retrieve.Common{K: 9}))
	require.NoError(t, err)
	assert.Len(t, docs.Documents, 2)
	rows, err := engine.Retrieve(t.Context(), e, engine.WithRetrieverName("rows"), engine.WithTextDocs("q"))
	require.NoError(t, err)
	assert.Equal(t, "q", rows.Documents[0].Text())
	ranked, err := engine.Rerank(t.Context(), e, engine.WithRerankerName("acme/reverse"), engine.WithQuery(content.DocumentFromText("q", nil)), engine.WithDocs(docs.Documents...))
	require.NoError(t, err)
	assert.Equal(t, "b", content.TextOf(ranked[0].Content))
	out, err := e.RunJSON(t.Context(), action.Key{Kind: action.Retriever, Name: "acme/notes"}, json.RawMessage(`{"query":{"content":[]},"options":{"k":1}}`), nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"documents":[{"content":[{"text":"a"}]}]}`, string(out))

	_, err = engine.Retrieve(t.Context(), e, engine.WithRetrieverName("acme/reverse"), engine.WithTextDocs("q"))
	require.ErrorIs(t, err, status.ErrNotFound)
	_, err = engine.Retrieve(t.Context(), e, engine.WithRetrieverName("rows"), engine.WithTextDocs("q", "r"))
	require.ErrorIs(t, err, status.ErrInvalidArgument, "one query")
	_, err = engine.Retrieve(t.Context(), e, engine.WithTextDocs("q"))
	require.ErrorIs(t, err, status.ErrInvalidArgument, "no retriever is named")
	_, err = engine.Rerank(t.Context(), e, engine.WithRerankerName("reverse"), engine.WithDocs(docs.Documents...))
	require.ErrorIs(t, err, status.ErrInvalidArgument, "no query")
	notes, err := engine.LookupRetriever(t.Context(), e, "acme/notes")
	require.NoError(t, err)
	assert.Equal(t, "acme/notes", notes.Name())
	found, err := notes.Retrieve(t.Context(), &retrieve.Request{Query: content.DocumentFromText("q", nil), Options: json.RawMessage(`{"k":1}`)})
	require.NoError(t, err)
	assert.Len(t, found.Documents, 1)
	found, err = engine.Retrieve(t.Context(), e, engine.WithRetriever(retrieve.NewRef("acme/notes", retrieve.Common{K: 1})), engine.WithTextDocs("q"))
	require.NoError(t, err)
	assert.Len(t, found.Documents, 1, "a reference brings options")
	found, err = engine.Retrieve(t.Context(), e, engine.WithRetriever(notes), engine.WithTextDocs("q"), engine.WithConfig(retrieve.Common{K: 9}))
	require.NoError(t, err)
	assert.Len(t, found.Documents, 2)
	indexer, err := engine.LookupIndexer(t.Context(), e, "acme/notes")
	require.NoError(t, err)
	require.NoError(t, indexer.Index(t.Context(), &retrieve.IndexRequest{Documents: found.Documents[:1]}))
	require.ErrorIs(t, engine.Index(t.Context(), e, engine.WithIndexer(notes)), status.ErrInvalidArgument, "a retriever is no indexer")
	reverse, err := engine.LookupReranker(t.Context(), e, "reverse")
	require.NoError(t, err)
	order, err := reverse.Rerank(t.Context(), &retrieve.RerankRequest{Query: content.DocumentFromText("q", nil), Documents: found.Documents})
	require.NoError(t, err)
	assert.Len(t, order.Documents, 2)
	require.ErrorIs(t, engine.Index(t.Context(), e, engine.WithIndexerName("/retriever/acme/notes")), status.ErrInvalidArgument)
	_, err = engine.Rerank(t.Context(), e, engine.WithRerankerName("nobody"), engine.WithQuery(content.DocumentFromText("q", nil)))
	require.ErrorIs(t, err, status.ErrNotFound)
	assert.Panics(t, func() {
		engine.DefineReranker(e, "acme/reverse", retrieve.Info{}, func(context.Context, content.Document, []content.Document, any) ([]retrieve.Ranked, error) {
			return nil, nil
		})
	})
	require.NoError(t, e.Close(t.Context()))
	_, err = engine.Retrieve(t.Context(), e, engine.WithRetrieverName("rows"), engine.WithTextDocs("q"))
	require.Error(t, err)
	require.Error(t, engine.Index(t.Context(), e, engine.WithIndexerName("notes")))
	_, err = engine.Rerank(t.Context(), e, engine.WithRerankerName("reverse"), engine.WithQuery(content.DocumentFromText("q", nil)))
	require.Error(t, err)
}
