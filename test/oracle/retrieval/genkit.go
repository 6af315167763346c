//go:build peers

package retrieval

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"

	"github.com/firebase/genkit/go/ai"
	"github.com/firebase/genkit/go/core"
	"github.com/firebase/genkit/go/core/api"
	"github.com/firebase/genkit/go/genkit"
	"github.com/firebase/genkit/go/plugins/localvec"
)

// GenkitGo sends the requests that Genkit's Go SDK has a door for to it; the others
// are nil. The SDK's local store has no indexer, and spells its name otherwise: its
// documents are put in by a function, and its answers stand under our names.
func GenkitGo(ctx context.Context, cases []Case) (observed []*Observation, err error) {
	dir, err := os.MkdirTemp("", "retrieval")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	g, rec := genkit.Init(ctx), &recorder{}
	store, err := defineGenkit(g, rec, dir)
	if err != nil {
		return nil, err
	}
	for _, c := range cases {
		rec.saw = []any{}
		o, err := runGenkit(ctx, g, rec, store, c)
		if err != nil {
			return nil, err
		}
		observed = append(observed, o)
	}
	return observed, nil
}

func runGenkit(ctx context.Context, g *genkit.Genkit, rec *recorder, store *localvec.DocStore, c Case) (*Observation, error) {
	if c.Action == "/indexer/devLocalVectorstore/store" {
		var req struct {
			Documents []*ai.Document `json:"documents"`
		}
		if err := json.Unmarshal(c.In, &req); err != nil {
			return nil, err
		}
		return nil, localvec.Index(ctx, req.Documents, store)
	}
	var a any
	if name, ok := strings.CutPrefix(c.Action, "/embedder/"); ok {
		a = genkit.LookupEmbedder(g, name)
	} else if name, ok := strings.CutPrefix(c.Action, "/retriever/"); ok {
		a = genkit.LookupRetriever(g, strings.Replace(name, "devLocalVectorstore", "devLocalVectorStore", 1))
	}
	runner, ok := a.(api.Action)
	if !ok || runner == nil {
		return nil, nil //nolint:nilnil // no door
	}
	out, err := runner.RunJSON(ctx, c.In, nil)
	metadata := plain(runner.Desc().Metadata)
	o := &Observation{Status: genkitStatus(err), Saw: rec.saw, Metadata: metadata}
	if err != nil {
		o.Message = err.Error()
		return o, nil
	}
	return o, json.Unmarshal(out, &o.Output)
}

// genkitStatus is the status of the outermost error that has one.
func genkitStatus(err error) string {
	if err == nil {
		return "OK"
	}
	if e, ok := errors.AsType[*core.GenkitError](err); ok && e.Status != core.INTERNAL {
		return string(e.Status)
	}
	return "INTERNAL"
}

func textOf(d *ai.Document) string {
	if d == nil { // the SDK lets a request without a query through
		return ""
	}
	var b strings.Builder
	for _, p := range d.Content {
		if p.IsText() {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

func object(raw json.RawMessage) (m map[string]any) {
	_ = json.Unmarshal(raw, &m) // it is our own
	return m
}

func defineGenkit(g *genkit.Genkit, rec *recorder, dir string) (*localvec.DocStore, error) {
	e := genkit.DefineEmbedder(g, "test/letters", &ai.EmbedderOptions{
		Label: "Letters", Dimensions: 8, Supports: &ai.EmbedderSupports{Input: []string{"text"}, Multilingual: true},
		ConfigSchema: object(json.RawMessage(`{"type":"object","properties":{"by":{"type":"number"}},"additionalProperties":true,"$schema":"http://json-schema.org/draft-07/schema#"}`)),
	}, func(_ context.Context, req *ai.EmbedRequest) (*ai.EmbedResponse, error) {
		texts, resp := []string{}, &ai.EmbedResponse{}
		for _, d := range req.Input {
			text := textOf(d)
			texts = append(texts, text)
			e := &ai.Embedding{}
			for _, f := range letters(text) {
				e.Embedding = append(e.Embedding, float32(f))
			}
			if text == "aa" {
				e.Metadata = map[string]any{"start": 0}
			}
			resp.Embeddings = append(resp.Embeddings, e)
		}
		rec.note(map[string]any{"texts": texts, "options": req.Options})
		for _, text := range texts {
			if text == "fail" {
				return nil, core.NewError(core.UNAVAILABLE, "down")
			}
		}
		return resp, nil
	})
	genkit.DefineRetriever(g, "test/echo", nil, func(_ context.Context, req *ai.RetrieverRequest) (*ai.RetrieverResponse, error) {
		rec.note(req.Options)
		if textOf(req.Query) == "none" {
			return &ai.RetrieverResponse{}, nil
		}
		return &ai.RetrieverResponse{Documents: []*ai.Document{req.Query}}, nil
	})
	genkit.DefineRetriever(g, "test/times", &ai.RetrieverOptions{Label: "Times", Supports: &ai.RetrieverSupports{Media: true}, ConfigSchema: object(loose("retrieve"))}, func(_ context.Context, req *ai.RetrieverRequest) (*ai.RetrieverResponse, error) {
		k := 1
		if m, ok := req.Options.(map[string]any); ok {
			if n, ok := m["k"].(float64); ok {
				k = int(n)
			}
		}
		resp := &ai.RetrieverResponse{}
		for range k {
			resp.Documents = append(resp.Documents, req.Query)
		}
		return resp, nil
	})
	genkit.DefineRetriever(g, "test/fails", nil, func(context.Context, *ai.RetrieverRequest) (*ai.RetrieverResponse, error) {
		return nil, core.NewError(core.PERMISSION_DENIED, "not you")
	})
	store, _, err := localvec.DefineRetriever(g, "store", localvec.Config{Dir: dir, Embedder: e}, nil)
	return store, err
}
