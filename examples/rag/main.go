// Command rag answers a question from documents: it indexes them, retrieves those near
// to the question, reranks them and gives the best to a model. Nothing in it needs a
// key: the embedder counts words, and the model reads aloud.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
)

func main() {
	dir, err := os.MkdirTemp("", "rag")
	if err == nil {
		err = errors.Join(run(context.Background(), dir), os.RemoveAll(dir))
	}
	if err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("rag", slog.Any("error", err))
		os.Exit(1)
	}
}

const question = "what does the shark eat"

func run(ctx context.Context, dir string) (err error) {
	store := local.Plugin(local.Options{Dir: dir, Indexes: []local.Index{{Name: "animals", Embedder: "acme/words"}}})
	eng, err := engine.New(ctx, engine.Config{DefaultModel: "acme/reader", Plugins: []registry.Plugin{store}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(ctx), store.Close()) }()
	engine.DefineEmbedder(eng, "acme/words", embed.Info{Dimensions: 64, BatchSize: 100}, embedWords)
	engine.DefineReranker(eng, "acme/long-words", retrieve.Info{}, byLongWords)
	engine.DefineModel(eng, "acme/reader", model.Info{Supports: model.Supports{Context: true}}, readAloud)

	var docs []content.Document
	for _, text := range []string{"the shark does eat fish", "the cow does eat grass", "sharks are old", "rain is wet"} {
		docs = append(docs, content.DocumentFromText(text, nil))
	}
	if err := engine.Index(ctx, eng, engine.WithIndexerName("devLocalVectorstore/animals"), engine.WithDocs(docs...)); err != nil {
		return err
	}
	near, err := engine.Retrieve(ctx, eng, engine.WithRetrieverName("devLocalVectorstore/animals"), engine.WithTextDocs(question), engine.WithConfig(map[string]int{"k": 2}))
	if err != nil {
		return err
	}
	best, err := engine.Rerank(ctx, eng, engine.WithRerankerName("acme/long-words"), engine.WithQuery(content.DocumentFromText(question, nil)), engine.WithDocs(near.Documents...))
	if err != nil {
		return err
	}
	for _, b := range best {
		fmt.Println(b.Score, content.TextOf(b.Content))
	}
	answer, err := engine.GenerateText(ctx, eng, engine.WithPrompt(question), engine.WithDocs(best[0].Document))
	if err != nil {
		return err
	}
	fmt.Println(answer)
	return nil
}

// embedWords counts words, by their hash.
func embedWords(_ context.Context, req *embed.Request) (*embed.Response, error) {
	resp := &embed.Response{}
	for _, doc := range req.Input {
		v := make([]float64, 64)
		for word := range strings.FieldsSeq(content.TextOf(doc.Content)) {
			h := fnv.New32a()
			_, _ = h.Write([]byte(word))
			v[h.Sum32()%64]++
		}
		resp.Embeddings = append(resp.Embeddings, embed.Embedding{Vector: v})
	}
	return resp, nil
}

// byLongWords scores by the share of the query's words of five letters or more.
func byLongWords(_ context.Context, query content.Document, docs []content.Document, _ any) ([]retrieve.Ranked, error) {
	asked := slices.DeleteFunc(strings.Fields(content.TextOf(query.Content)), func(w string) bool { return len(w) < 5 })
	ranked := make([]retrieve.Ranked, len(docs))
	for i, d := range docs {
		words := strings.Fields(content.TextOf(d.Content))
		shared := 0.0
		for _, w := range asked {
			if slices.Contains(words, w) {
				shared++
			}
		}
		ranked[i] = retrieve.Ranked{Document: d, Score: shared / float64(len(asked))}
	}
	slices.SortStableFunc(ranked, func(a, b retrieve.Ranked) int { return cmp.Compare(b.Score, a.Score) })
	return ranked, nil
}

// readAloud answers with the documents of the request.
func readAloud(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
	read := make([]string, len(req.Docs))
	for i, d := range req.Docs {
		read[i] = content.TextOf(d.Content)
	}
	message := content.NewModelTextMessage("I have read that " + strings.Join(read, ", and that ") + ".")
	return &model.Response{Message: &message, FinishReason: model.FinishStop}, nil
}
