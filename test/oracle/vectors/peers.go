//go:build peers

package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/coder/hnsw"
	"github.com/firebase/genkit/go/ai"
	"github.com/firebase/genkit/go/genkit"
	"github.com/firebase/genkit/go/plugins/localvec"
	"github.com/philippgille/chromem-go"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
)

// peers are the measured programs; each function indexes the vectors.
var peers = map[string]func(ctx context.Context, all [][]float32) (*peer, error){
	"ours":          func(ctx context.Context, all [][]float32) (*peer, error) { return ours(ctx, all, "") },
	"ours-filtered": func(ctx context.Context, all [][]float32) (*peer, error) { return ours(ctx, all, `{"third":0}`) },
	"loop":          loop,
	"localvec":      localVec,
	"chromem":       chrome,
	"hnsw":          graph,
}

// batch is how many documents are indexed by one call, where a peer takes several.
const batch = 1000

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, f := range v {
		w[i] = float64(f)
	}
	return w
}

// ours indexes in calls of a thousand, each synced to the disk.
func ours(ctx context.Context, all [][]float32, filter string) (*peer, error) {
	dir, err := os.MkdirTemp("", "vectors")
	if err != nil {
		return nil, err
	}
	s, err := local.Open(local.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	var entries []local.Entry
	for n, v := range all {
		entries = append(entries, local.Entry{
			ID: strconv.Itoa(n), Embeddings: []embed.Embedding{{Vector: wide(v)}},
			Document: content.Document{
				Content:  []content.Part{content.NewTextPart("document " + strconv.Itoa(n))},
				Metadata: content.Metadata{"third": json.RawMessage(strconv.Itoa(n % 3))},
			},
		})
		if len(entries) == batch || n == len(all)-1 {
			if err := s.Put(ctx, entries); err != nil {
				return nil, err
			}
			entries = entries[:0]
		}
	}
	query := local.Query{K: k}
	if filter != "" {
		query.Filter = json.RawMessage(filter)
	}
	return &peer{
		bytes: s.Stats().FileBytes,
		close: func() error { return errors.Join(s.Close(), os.RemoveAll(dir)) },
		search: func(ctx context.Context, q []float32) ([]int, error) {
			results, err := s.Search(ctx, wide(q), query)
			found := make([]int, len(results))
			for i, r := range results {
				found[i], _ = strconv.Atoi(r.ID)
			}
			return found, err
		},
	}, nil
}

// loop is brute force over float32 vectors in memory, without documents.
func loop(_ context.Context, all [][]float32) (*peer, error) {
	return &peer{search: func(_ context.Context, q []float32) ([]int, error) {
		return nearest(all, q, func(int) bool { return true }), nil
	}}, nil
}

// localVec indexes in one call, since each rewrites the whole file.
func localVec(ctx context.Context, all [][]float32) (*peer, error) {
	dir, err := os.MkdirTemp("", "vectors")
	if err != nil {
		return nil, err
	}
	var query []float32
	g := genkit.Init(ctx)
	store, retriever, err := localvec.DefineRetriever(g, "bench", localvec.Config{Dir: dir, Embedder: given{query: &query, all: all}}, nil)
	if err != nil {
		return nil, err
	}
	docs := make([]*ai.Document, len(all))
	for n := range all {
		docs[n] = ai.DocumentFromText("document "+strconv.Itoa(n), map[string]any{"n": n})
	}
	if err := localvec.Index(ctx, docs, store); err != nil {
		return nil, err
	}
	info, err := os.Stat(filepath.Join(dir, "__db_bench.json"))
	if err != nil {
		return nil, err
	}
	return &peer{
		slow: true, bytes: info.Size(), close: func() error { return os.RemoveAll(dir) },
		search: func(ctx context.Context, q []float32) ([]int, error) {
			query = q
			resp, err := retriever.Retrieve(ctx, &ai.RetrieverRequest{Query: ai.DocumentFromText("q", nil), Options: &localvec.RetrieverOptions{K: k}})
			if err != nil {
				return nil, err
			}
			var found []int
			for _, d := range resp.Documents {
				found = append(found, number(d.Metadata["n"]))
			}
			return found, nil
		},
	}, nil
}

// given answers with the vectors at hand, without the action around it, whose JSON
// would be most of what is measured when indexing. Nothing else of it is called.
type given struct {
	ai.Embedder
	query *[]float32
	all   [][]float32
}

func (g given) Embed(_ context.Context, req *ai.EmbedRequest) (*ai.EmbedResponse, error) {
	resp := &ai.EmbedResponse{}
	for _, d := range req.Input {
		v := *g.query
		if n, ok := d.Metadata["n"]; ok {
			v = g.all[number(n)]
		}
		resp.Embeddings = append(resp.Embeddings, &ai.Embedding{Embedding: v})
	}
	return resp, nil
}

func number(v any) int {
	switch n := v.(type) {
	case int:
		return n
	case float64:
		return int(n)
	}
	return -1
}

// chrome keeps everything in memory, as it does without a path.
func chrome(ctx context.Context, all [][]float32) (*peer, error) {
	c, err := chromem.NewDB().CreateCollection("bench", nil, func(context.Context, string) ([]float32, error) {
		return nil, errors.New("nothing is embedded")
	})
	if err != nil {
		return nil, err
	}
	docs := make([]chromem.Document, len(all))
	for n, v := range all {
		docs[n] = chromem.Document{ID: strconv.Itoa(n), Content: "document " + strconv.Itoa(n), Embedding: v}
	}
	if err := c.AddDocuments(ctx, docs, 1); err != nil {
		return nil, err
	}
	return &peer{search: func(ctx context.Context, q []float32) ([]int, error) {
		results, err := c.QueryEmbedding(ctx, q, k, nil, nil)
		found := make([]int, len(results))
		for i, r := range results {
			found[i], _ = strconv.Atoi(r.ID)
		}
		return found, err
	}}, nil
}

// graph is coder/hnsw with twice its default breadth and in memory.
func graph(_ context.Context, all [][]float32) (*peer, error) {
	g := hnsw.NewGraph[int]()
	g.Distance = hnsw.CosineDistance
	g.M, g.EfSearch = 32, 200
	for n, v := range all {
		g.Add(hnsw.MakeNode(n, v))
	}
	return &peer{search: func(_ context.Context, q []float32) ([]int, error) {
		nodes := g.Search(q, k)
		found := make([]int, len(nodes))
		for i, n := range nodes {
			found[i] = n.Key
		}
		return found, nil
	}}, nil
}
