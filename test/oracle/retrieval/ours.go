//go:build peers

package retrieval

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// recorder keeps the inputs of functions.
type recorder struct{ saw []any }

func (r *recorder) note(v any) { r.saw = append(r.saw, plain(v)) }

func plain(v any) any {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		return err.Error()
	}
	return out
}

func letters(text string) []float64 {
	v := make([]float64, 8)
	for i := range v {
		v[i] = float64(strings.Count(text, string(rune('a'+i))))
	}
	return v
}

// Ours sends the requests to this engine.
func Ours(ctx context.Context, cases []Case) (observed []*Observation, err error) {
	dir, err := os.MkdirTemp("", "retrieval")
	if err != nil {
		return nil, err
	}
	store := local.Plugin(local.Options{Dir: dir, Indexes: []local.Index{{Name: "store", Embedder: "test/letters", Parallel: 1}}})
	defer func() { err = errors.Join(err, store.Close(), os.RemoveAll(dir)) }()
	eng, err := engine.New(ctx, engine.Config{Plugins: []registry.Plugin{store}})
	if err != nil {
		return nil, err
	}
	rec := &recorder{}
	defineOurs(eng, rec)
	for _, c := range cases {
		rec.saw = []any{}
		key, err := action.ParseKey(c.Action)
		if err != nil {
			return nil, err
		}
		a, err := eng.Registry().Lookup(ctx, key)
		if err != nil {
			return nil, err
		}
		out, err := a.RunJSON(ctx, c.In, nil)
		o := &Observation{Status: status.Of(err).String(), Saw: rec.saw, Metadata: plain(a.Desc().Metadata)}
		if err != nil {
			o.Message = err.Error()
		} else if err := json.Unmarshal(out, &o.Output); err != nil {
			return nil, err
		}
		observed = append(observed, o)
	}
	return observed, eng.Close(ctx)
}

func options(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	return raw
}

// loose is Genkit's CommonRetrieverOptions, which let other options pass.
func loose(what string) json.RawMessage {
	return json.RawMessage(`{"type":"object","properties":{"k":{"type":"number","description":"Number of documents to ` + what +
		`"}},"additionalProperties":true,"$schema":"http://json-schema.org/draft-07/schema#"}`)
}

type film struct {
	Title string `json:"title"`
	Year  int    `json:"year"`
	Genre string `json:"genre"`
}

func defineOurs(eng *engine.Engine, rec *recorder) {
	info := embed.Info{
		Label: "Letters", Dimensions: 8, Supports: &embed.Supports{Input: []string{"text"}, Multilingual: true},
		ConfigSchema: json.RawMessage(`{"type":"object","properties":{"by":{"type":"number"}},"additionalProperties":true,"$schema":"http://json-schema.org/draft-07/schema#"}`),
	}
	engine.DefineEmbedder(eng, "test/letters", info, func(_ context.Context, req *embed.Request) (*embed.Response, error) {
		texts, resp := []string{}, &embed.Response{}
		for _, d := range req.Input {
			text := content.TextOf(d.Content)
			texts = append(texts, text)
			e := embed.Embedding{Vector: letters(text)}
			if text == "aa" {
				e.Metadata = content.Metadata{"start": json.RawMessage("0")}
			}
			resp.Embeddings = append(resp.Embeddings, e)
		}
		rec.note(map[string]any{"texts": texts, "options": options(req.Options)})
		for _, text := range texts {
			if text == "fail" {
				return nil, status.Publicf(status.Unavailable, "down")
			}
		}
		return resp, nil
	})
	engine.DefineRetriever(eng, "test/echo", retrieve.Info{}, func(_ context.Context, q content.Document, o json.RawMessage) ([]content.Document, error) {
		rec.note(options(o))
		if content.TextOf(q.Content) == "none" {
			return nil, nil
		}
		return []content.Document{q}, nil
	})
	engine.DefineRetriever(eng, "test/times", retrieve.Info{Label: "Times", Supports: &retrieve.Supports{Media: true}, OptionsSchema: loose("retrieve")}, func(_ context.Context, q content.Document, o retrieve.Common) (docs []content.Document, _ error) {
		for range max(o.K, 1) {
			docs = append(docs, q)
		}
		return docs, nil
	})
	engine.DefineRetriever(eng, "test/fails", retrieve.Info{}, func(context.Context, content.Document, any) ([]content.Document, error) {
		return nil, status.Publicf(status.PermissionDenied, "not you")
	})
	jaws := film{"Jaws", 1975, "fish"}
	engine.DefineSimpleRetriever(eng, "test/rows", retrieve.Simple[any]{ContentKey: "title", MetadataKeys: []string{"year"}}, func(context.Context, content.Document, any) ([]any, error) {
		return []any{jaws, "a text"}, nil
	})
	engine.DefineSimpleRetriever(eng, "test/all", retrieve.Simple[film]{ContentKey: "title"}, func(context.Context, content.Document, any) ([]film, error) { return []film{jaws}, nil })
	engine.DefineSimpleRetriever(eng, "test/unclear", retrieve.Simple[film]{}, func(context.Context, content.Document, any) ([]film, error) { return []film{jaws}, nil })
	engine.DefineIndexer(eng, "test/list", retrieve.IndexerInfo{}, func(_ context.Context, docs []content.Document, o json.RawMessage) error {
		rec.note(map[string]any{"docs": docs, "options": options(o)})
		return nil
	})
	strict := json.RawMessage(`{"type":"object","properties":{"x":{"type":"string"}},"required":["x"],"additionalProperties":true,"$schema":"http://json-schema.org/draft-07/schema#"}`)
	engine.DefineIndexer(eng, "test/strict", retrieve.IndexerInfo{Embedder: &embed.Info{Label: "e", Dimensions: 3}, OptionsSchema: strict}, func(_ context.Context, _ []content.Document, o json.RawMessage) error {
		rec.note(options(o))
		return nil
	})
	engine.DefineReranker(eng, "test/last", retrieve.Info{Label: "Last first", OptionsSchema: loose("rerank")}, func(_ context.Context, _ content.Document, docs []content.Document, o retrieve.Common) (ranked []retrieve.Ranked, _ error) {
		for i, doc := range slices.Backward(docs) {
			ranked = append(ranked, retrieve.Ranked{Document: doc, Score: float64(i)})
		}
		if o.K > 0 {
			ranked = ranked[:min(o.K, len(ranked))]
		}
		return ranked, nil
	})
}
