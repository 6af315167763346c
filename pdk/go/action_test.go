package pdk_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
	"github.com/genkit-wasm/genkit-wasm/pdk/go/pdktest"
)

type choice struct {
	K int `json:"k"`
}

func TestActionsSpeakGenkitsForms(t *testing.T) {
	number := func(docs []pdk.Document, o choice) (all []pdk.Embedding, err error) {
		for _, d := range docs {
			all = append(all, pdk.Embedding{Embedding: []float64{float64(len(d.Text())), float64(o.K)}})
		}
		return all, nil
	}
	judge := func(c pdk.Case, o choice) ([]pdk.Score, error) {
		if string(c.Output) == "1" {
			return nil, errors.New("one is odd")
		}
		return []pdk.Score{{Score: len(c.Output) > o.K, Status: pdk.StatusPass, Details: &pdk.ScoreDetails{Reasoning: "why"}}}, nil
	}
	find := func(query pdk.Document, o choice) ([]pdk.Document, error) {
		if o.K == 0 {
			return nil, nil
		}
		return []pdk.Document{pdk.TextDocument("<" + query.Text() + ">")}, nil
	}
	store := func(docs []pdk.Document, _ struct{}) error {
		if len(docs) == 0 {
			return pdk.Errorf(pdk.InvalidArgument, "nothing to store")
		}
		return nil
	}
	rank := func(_ pdk.Document, docs []pdk.Document, o choice) ([]pdk.Ranked, error) {
		return []pdk.Ranked{{Document: docs[0], Score: math.Sqrt(float64(o.K))}}, nil
	}
	fetch := func(uri string, variables map[string]string) ([]pdk.Part, error) {
		return []pdk.Part{pdk.TextPart(uri + variables["id"])}, nil
	}
	answer := func(r pdk.ModelRequest) (pdk.ModelResponse, error) {
		if err := pdk.Emit(pdk.ModelChunk{Content: []pdk.Part{pdk.TextPart("a")}}); err != nil {
			return pdk.ModelResponse{}, err
		}
		return pdk.ModelResponse{Message: &pdk.Message{Role: "model", Content: []pdk.Part{pdk.TextPart(r.Messages[0].Text())}}}, nil
	}
	const document = `{"content":[{"text":"dé"}],"metadata":{"n":1.50,"score":7}}`
	for name, c := range map[string]struct {
		run                 func() int32
		input, output, fail string
	}{
		"embedder":         {func() int32 { return pdk.Embedder(number) }, `{"input":[` + document + `],"options":{"k":2}}`, `{"embeddings":[{"embedding":[3,2]}]}`, ""},
		"no documents":     {func() int32 { return pdk.Embedder(number) }, `{"input":[]}`, `{"embeddings":[]}`, ""},
		"evaluator":        {func() int32 { return pdk.Evaluator(judge) }, `{"dataset":[{"testCaseId":"a","output":"xy"}],"evalRunId":"r","options":null}`, `[{"testCaseId":"a","evaluation":[{"score":true,"status":"PASS","details":{"reasoning":"why"}}]}]`, ""},
		"a failing case":   {func() int32 { return pdk.Evaluator(judge) }, `{"dataset":[{"testCaseId":"a","output":1}]}`, "", "one is odd"},
		"retriever":        {func() int32 { return pdk.Retriever(find) }, `{"query":` + document + `,"options":{"k":1}}`, `{"documents":[{"content":[{"text":"<dé>"}]}]}`, ""},
		"nothing found":    {func() int32 { return pdk.Retriever(find) }, `{"query":` + document + `}`, `{"documents":[]}`, ""},
		"indexer":          {func() int32 { return pdk.Indexer(store) }, `{"documents":[` + document + `]}`, `null`, ""},
		"nothing to index": {func() int32 { return pdk.Indexer(store) }, `{"documents":[]}`, "", `{"code":"INVALID_ARGUMENT","message":"nothing to store"}`},
		"reranker":         {func() int32 { return pdk.Reranker(rank) }, `{"query":{"content":[]},"documents":[` + document + `],"options":{"k":4}}`, `{"documents":[{"content":[{"text":"dé"}],"metadata":{"n":1.50,"score":2}}]}`, ""},
		"no number":        {func() int32 { return pdk.Reranker(rank) }, `{"query":{"content":[]},"documents":[` + document + `],"options":{"k":-1}}`, "", "NaN"},
		"resource":         {func() int32 { return pdk.Resource(fetch) }, `{"uri":"wasm://m/n/","variables":{"id":"7"}}`, `{"content":[{"text":"wasm://m/n/7"}]}`, ""},
		"model":            {func() int32 { return pdk.Model(answer) }, `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, `{"message":{"role":"model","content":[{"text":"q"}]},"finishReason":"stop"}`, ""},
	} {
		r := pdktest.Call(c.run, c.input, pdktest.Options{})
		if r.Output != c.output || !strings.Contains(r.Error, c.fail) || (r.Code != 0) != (c.fail != "") {
			t.Errorf("%s: got %+v, want %s %s", name, r, c.output, c.fail)
		}
	}
	r := pdktest.Call(func() int32 { return pdk.Model(answer) }, `{"messages":[{"role":"user","content":[]}]}`, pdktest.Options{})
	if len(r.Chunks) != 1 || r.Chunks[0] != `{"content":[{"text":"a"}]}` {
		t.Errorf("streamed %v", r.Chunks)
	}
}

func TestActionsAreDescribed(t *testing.T) {
	r := pdktest.Call(func() int32 {
		return pdk.Describe(pdk.Module{
			Name:      "m",
			Embedders: []pdk.ActionInfo{{Name: "e", ConfigSchema: pdk.Schema[choice](), Info: map[string]any{"dimensions": 2}}},
			Resources: []pdk.ActionInfo{{Name: "r", Template: "n/{id}"}},
			Prompts:   []pdk.ActionInfo{{Name: "p", Source: "Hello."}},
		})
	}, "", pdktest.Options{})
	var d map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.Output), &d); err != nil {
		t.Fatal(err)
	}
	for list, want := range map[string]string{
		"embedders": `[{"name":"e","configSchema":{"type":"object","properties":{"k":{"type":"integer"}},"required":["k"],"additionalProperties":false},"info":{"dimensions":2}}]`,
		"resources": `[{"name":"r","template":"n/{id}"}]`,
		"prompts":   `[{"name":"p","source":"Hello."}]`,
	} {
		if string(d[list]) != want {
			t.Errorf("%s: got %s, want %s", list, d[list], want)
		}
	}
	if len(d) != 5 {
		t.Errorf("the descriptor has %d members: %s", len(d), r.Output)
	}
}
