package retrieve_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// echo returns the query k times.
func echo(_ context.Context, query content.Document, o retrieve.Common) ([]content.Document, error) {
	var docs []content.Document
	for range o.K {
		docs = append(docs, query)
	}
	return docs, nil
}

func must(t *testing.T) func(action.Action, error) action.Action {
	return func(a action.Action, err error) action.Action {
		t.Helper()
		require.NoError(t, err)
		return a
	}
}

func metadataOf(t *testing.T, a action.Action) string {
	t.Helper()
	raw, err := json.Marshal(a.Desc().Metadata)
	require.NoError(t, err)
	return string(raw)
}

const commonSchema = `{"type":"object","properties":{"k":{"type":"integer","minimum":0,"description":"Number of documents to retrieve"}},"additionalProperties":false}`

func TestActionsAreDescribedAsGenkitDoes(t *testing.T) {
	own := must(t)
	raw := json.RawMessage(`{"type":"object","required":["x"]}`)
	store := func(context.Context, []content.Document, json.RawMessage) error { return nil }
	find := func(context.Context, content.Document, json.RawMessage) ([]content.Document, error) { return nil, nil }
	order := func(context.Context, content.Document, []content.Document, retrieve.Common) ([]retrieve.Ranked, error) {
		return nil, nil
	}
	for _, c := range []struct {
		a    action.Action
		key  string
		want string
	}{
		{own(retrieve.New("p/a", retrieve.Info{}, find)), "/retriever/p/a", `{"type":"retriever","retriever":{}}`},
		{
			own(retrieve.New("a", retrieve.Info{Label: "A", Supports: &retrieve.Supports{Media: true}}, echo)), "/retriever/a",
			`{"type":"retriever","info":{"label":"A","supports":{"media":true}},"retriever":{"customOptions":` + commonSchema + `}}`,
		},
		{own(retrieve.NewIndexer("a", retrieve.IndexerInfo{}, store)), "/indexer/a", `{"type":"indexer","indexer":{}}`},
		{
			own(retrieve.NewIndexer("a", retrieve.IndexerInfo{Embedder: &embed.Info{Label: "e", Dimensions: 3}, OptionsSchema: raw}, store)), "/indexer/a",
			`{"type":"indexer","embedderInfo":{"label":"e","dimensions":3},"indexer":{"customOptions":{"type":"object","required":["x"]}}}`,
		},
		{own(retrieve.NewReranker("a", retrieve.Info{Label: "A"}, order)), "/reranker/a", `{"type":"reranker","info":{"label":"A"},"reranker":{"customOptions":` + commonSchema + `}}`},
	} {
		assert.Equal(t, c.key, c.a.Desc().Key().String())
		assert.JSONEq(t, c.want, metadataOf(t, c.a))
	}
	_, err := retrieve.New("a", retrieve.Info{OptionsSchema: json.RawMessage(`{"type":1}`)}, find)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = retrieve.New("a", retrieve.Info{}, func(context.Context, content.Document, func()) ([]content.Document, error) { return nil, nil })
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = retrieve.NewIndexer("", retrieve.IndexerInfo{}, store)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

// TestTheWireIsGenkits gives actions raw requests, as the Dev UI or another SDK would.
func TestTheWireIsGenkits(t *testing.T) {
	own := must(t)
	var stored []string
	retriever := own(retrieve.New("r", retrieve.Info{}, echo))
	indexer := own(retrieve.NewIndexer("i", retrieve.IndexerInfo{}, func(_ context.Context, docs []content.Document, o json.RawMessage) error {
		for _, d := range docs {
			stored = append(stored, content.TextOf(d.Content)+string(o))
		}
		return nil
	}))
	reranker := own(retrieve.NewReranker("k", retrieve.Info{}, func(_ context.Context, query content.Document, docs []content.Document, _ any) ([]retrieve.Ranked, error) {
		var ranked []retrieve.Ranked
		for _, d := range docs {
			ranked = append(ranked, retrieve.Ranked{Document: d, Score: float64(len(content.TextOf(d.Content)) - len(content.TextOf(query.Content)))})
		}
		return ranked, nil
	}))
	referring := own(retrieve.New("d", retrieve.Info{OptionsSchema: json.RawMessage(`{"type":"object","properties":{"x":{"$ref":"#/$defs/X"}},"$defs":{"X":{"type":"string"}}}`)},
		func(_ context.Context, _ content.Document, o json.RawMessage) ([]content.Document, error) {
			return []content.Document{content.DocumentFromText(string(o), nil)}, nil
		}))
	for _, c := range []struct {
		a        action.Action
		in, want string
	}{
		{retriever, `{"query":{"content":[{"text":"x","metadata":{"n":1.10}}],"metadata":{"a":[1]}},"options":{"k":1}}`, `{"documents":[{"content":[{"text":"x","metadata":{"n":1.10}}],"metadata":{"a":[1]}}]}`},
		{retriever, `{"query":{"content":[]}}`, `{"documents":[]}`},
		{retriever, `{"query":{"content":[]},"options":{"k":-1}}`, "INVALID_ARGUMENT"},
		{retriever, `{"query":{"content":[]},"options":{"K":1}}`, "INVALID_ARGUMENT"},
		{retriever, `{"query":{"content":[]},"options":null}`, "INVALID_ARGUMENT"}, // as Genkit JS
		{retriever, `{"query":"x"}`, "INVALID_ARGUMENT"},
		{retriever, `{"options":{"k":1}}`, "INVALID_ARGUMENT"},
		{indexer, `{"documents":[{"content":[{"text":"a"}]},{"content":[{"text":"b"}]}],"options":[7]}`, `null`},
		{indexer, `{}`, "INVALID_ARGUMENT"},
		{reranker, `{"query":{"content":[]},"documents":[{"content":[{"text":"abc"}],"metadata":{"a":1,"score":"old"}}]}`, `{"documents":[{"content":[{"text":"abc"}],"metadata":{"a":1,"score":3}}]}`},
		{reranker, `{"query":{"content":[]},"documents":[]}`, `{"documents":[]}`},
		{reranker, `{"query":{"content":[]}}`, "INVALID_ARGUMENT"},
		{referring, `{"query":{"content":[]},"options":{"x":"y"}}`, `{"documents":[{"content":[{"text":"{\"x\":\"y\"}"}]}]}`},
		{referring, `{"query":{"content":[]},"options":{"x":1}}`, "INVALID_ARGUMENT"},
		{referring, `{"query":{"content":[]},"options":null}`, "INVALID_ARGUMENT"},
		{indexer, `{"documents":[],"options":null}`, `null`},
	} {
		out, err := c.a.RunJSON(t.Context(), json.RawMessage(c.in), nil)
		if c.want == "INVALID_ARGUMENT" {
			require.ErrorIs(t, err, action.ErrInvalidInput, "%s", c.in)
			require.ErrorIs(t, err, status.ErrInvalidArgument, "%s", c.in)
			continue
		}
		require.NoError(t, err, "%s", c.in)
		assert.Equal(t, c.want, string(out), "%s", c.in)
	}
	assert.Equal(t, []string{"a[7]", "b[7]"}, stored)
}

func TestCallsFromGo(t *testing.T) {
	own := must(t)
	r := own(retrieve.New("r", retrieve.Info{}, echo))
	ref := retrieve.NewRef("r", map[string]int{"k": 2})
	for want, options := range map[int][]retrieve.Option{
		0: nil, 2: {ref.Defaults()}, 3: {ref.Defaults(), retrieve.WithConfig(retrieve.Common{K: 3})}, 4: {retrieve.WithConfig(json.RawMessage(`{"k":4}`))},
	} {
		docs, err := retrieve.Retrieve(t.Context(), r, content.DocumentFromText("q", nil), options...)
		require.NoError(t, err)
		assert.Len(t, docs, want)
	}
	_, err := retrieve.Retrieve(t.Context(), r, content.DocumentFromText("q", nil), retrieve.WithConfig(make(chan int)))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = retrieve.Retrieve(t.Context(), r, content.DocumentFromText("q", nil), ref.Defaults(), retrieve.WithConfig([]int{1}))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = retrieve.Rerank(t.Context(), r, content.DocumentFromText("q", nil), nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument, "a retriever is no reranker")
	require.ErrorIs(t, retrieve.Index(t.Context(), r, nil), status.ErrInvalidArgument)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = retrieve.Retrieve(ctx, r, content.DocumentFromText("q", nil))
	require.ErrorIs(t, err, status.ErrCancelled)
}

func TestFailuresOfFunctionsPassThrough(t *testing.T) {
	own := must(t)
	down := status.Publicf(status.Unavailable, "down")
	r := own(retrieve.New("r", retrieve.Info{}, func(context.Context, content.Document, any) ([]content.Document, error) { return nil, down }))
	i := own(retrieve.NewIndexer("i", retrieve.IndexerInfo{}, func(context.Context, []content.Document, any) error { return down }))
	_, err := retrieve.Retrieve(t.Context(), r, content.DocumentFromText("q", nil))
	require.ErrorIs(t, err, down)
	require.ErrorIs(t, retrieve.Index(t.Context(), i, nil), down)
	for score, want := range map[float64]error{math.NaN(): status.ErrInternal, math.Inf(1): status.ErrInternal, -1.5: nil} {
		k := own(retrieve.NewReranker("k", retrieve.Info{}, func(_ context.Context, _ content.Document, docs []content.Document, _ any) ([]retrieve.Ranked, error) {
			return []retrieve.Ranked{{Document: docs[0], Score: score}}, nil
		}))
		doc := content.DocumentFromText("x", nil)
		got, err := retrieve.Rerank(t.Context(), k, content.DocumentFromText("q", nil), []content.Document{doc})
		if want != nil {
			require.ErrorIs(t, err, want)
			continue
		}
		require.NoError(t, err)
		assert.InDelta(t, score, got[0].Score, 0)
		assert.Nil(t, doc.Metadata, "the caller's document is not changed")
	}
	scoreless, err := action.New(action.Desc{Kind: action.Reranker, Name: "other"}, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return json.RawMessage(`{"documents":[{"content":[]}]}`), nil
	})
	require.NoError(t, err)
	_, err = retrieve.Rerank(t.Context(), scoreless, content.DocumentFromText("q", nil), nil)
	require.ErrorIs(t, err, status.ErrInternal)
}

func TestRowsOfSimpleRetrieversBecomeDocuments(t *testing.T) {
	type row struct {
		Title string `json:"title"`
		Year  int    `json:"year"`
		Genre string `json:"genre,omitempty"`
	}
	rows := []any{row{"Jaws", 1975, "fish"}, row{Title: "", Year: 1}}
	fails := errors.New("no")
	for name, c := range map[string]struct {
		s    retrieve.Simple[any]
		rows []any
		want string
	}{
		"a key":                {retrieve.Simple[any]{ContentKey: "title"}, rows, `[{"content":[{"text":"Jaws"}],"metadata":{"genre":"fish","year":1975}},{"content":[{"text":""}],"metadata":{"year":1}}]`},
		"keys of metadata":     {retrieve.Simple[any]{ContentKey: "title", MetadataKeys: []string{"genre", "x"}}, rows[:1], `[{"content":[{"text":"Jaws"}],"metadata":{"genre":"fish"}}]`},
		"no metadata":          {retrieve.Simple[any]{ContentKey: "title", MetadataKeys: []string{}}, rows[:1], `[{"content":[{"text":"Jaws"}],"metadata":{}}]`},
		"strings":              {retrieve.Simple[any]{}, []any{"a", "b"}, `[{"content":[{"text":"a"}]},{"content":[{"text":"b"}]}]`},
		"an empty string":      {retrieve.Simple[any]{}, []any{"a", ""}, `row 2`},
		"nil":                  {retrieve.Simple[any]{ContentKey: "title"}, []any{nil}, `row 1`},
		"a nil pointer":        {retrieve.Simple[any]{ContentKey: "title"}, []any{(*row)(nil)}, `row 1`},
		"a key that is absent": {retrieve.Simple[any]{ContentKey: "x"}, rows, `"x" is not text`},
		"a key that is number": {retrieve.Simple[any]{ContentKey: "year"}, rows, `"year" is not text`},
		"nothing is said":      {retrieve.Simple[any]{}, rows, `neither Content nor ContentKey`},
		"a number":             {retrieve.Simple[any]{ContentKey: "x"}, []any{7}, `no JSON object`},
		"functions": {retrieve.Simple[any]{
			Content:  func(any) ([]content.Part, error) { return []content.Part{content.NewTextPart("c")}, nil },
			Metadata: func(any) (content.Metadata, error) { return content.Metadata{"m": content.True()}, nil },
		}, []any{7}, `[{"content":[{"text":"c"}],"metadata":{"m":true}}]`},
		"a function that fails": {retrieve.Simple[any]{Content: func(any) ([]content.Part, error) { return nil, fails }}, rows, `row 1 of retriever "s": no`},
	} {
		a := must(t)(retrieve.NewSimple("s", c.s, func(context.Context, content.Document, any) ([]any, error) { return c.rows, nil }))
		docs, err := retrieve.Retrieve(t.Context(), a, content.DocumentFromText("q", nil))
		if !strings.HasPrefix(c.want, "[") {
			require.ErrorIs(t, err, status.ErrInvalidArgument, name)
			assert.ErrorContains(t, err, c.want, name)
			continue
		}
		require.NoError(t, err, name)
		raw, err := json.Marshal(docs)
		require.NoError(t, err)
		assert.JSONEq(t, c.want, string(raw), name)
	}
}
