package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// letters embeds by how often a text has each letter; "fail" fails, "none" gets nothing.
func letters(requests *atomic.Int64, batch int) embed.Func {
	return func(_ context.Context, req *embed.Request) (*embed.Response, error) {
		requests.Add(1)
		resp := &embed.Response{}
		if batch > 0 && len(req.Input) > batch {
			return nil, status.Publicf(status.InvalidArgument, "more than %d", batch)
		}
		for _, d := range req.Input {
			text := content.TextOf(d.Content)
			switch text {
			case "fail":
				return nil, status.Publicf(status.Unavailable, "down")
			case "none":
				continue
			}
			v := make([]float64, 26)
			for _, r := range strings.ToLower(text) {
				if r >= 'a' && r <= 'z' {
					v[r-'a']++
				}
			}
			resp.Embeddings = append(resp.Embeddings, embed.Embedding{Vector: v})
		}
		return resp, nil
	}
}

// served registers a plugin with an index "notes" and returns what runs an action.
func served(t *testing.T, dir string, batch int, requests *atomic.Int64) (run func(key, in string) (string, error), p *local.P) {
	t.Helper()
	reg := registry.New(nil)
	e, err := embed.New("acme/letters", embed.Info{Dimensions: 26, BatchSize: batch}, letters(requests, batch))
	require.NoError(t, err)
	require.NoError(t, reg.Register(e))
	p = local.Plugin(local.Options{Dir: dir, Indexes: []local.Index{{Name: "notes", Embedder: "acme/letters"}}})
	require.NoError(t, p.Register(t.Context(), reg))
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return func(key, in string) (string, error) {
		k, err := action.ParseKey(key)
		require.NoError(t, err)
		a, err := reg.Lookup(t.Context(), k)
		require.NoError(t, err)
		out, err := a.RunJSON(t.Context(), json.RawMessage(in), nil)
		return string(out), err
	}, p
}

const (
	indexer   = "/indexer/devLocalVectorstore/notes"
	retriever = "/retriever/devLocalVectorstore/notes"
)

// TestTheActionsAreGenkits speaks to the plugin as the Dev UI or a client would.
func TestTheActionsAreGenkits(t *testing.T) {
	var requests atomic.Int64
	dir := t.TempDir()
	run, p := served(t, dir, 0, &requests)
	out, err := run(indexer, `{"documents":[{"content":[{"text":"aaa"}],"metadata":{"lang":"x","n":1.10}},{"content":[{"text":"bbb"}],"metadata":{"lang":"y"}},{"content":[{"text":"ab"}]},{"content":[{"text":"<c>"}]}]}`)
	require.NoError(t, err)
	assert.Equal(t, "null", out)
	assert.EqualValues(t, 4, requests.Load(), "one for each document, as Genkit does")
	for _, c := range []struct{ options, want string }{
		{``, `{"documents":[{"content":[{"text":"aaa"}],"metadata":{"lang":"x","n":1.10}},{"content":[{"text":"ab"}]},{"content":[{"text":"bbb"}],"metadata":{"lang":"y"}}]}`},
		{`,"options":{"k":1}`, `{"documents":[{"content":[{"text":"aaa"}],"metadata":{"lang":"x","n":1.10}}]}`},
		{`,"options":{"k":0}`, `{"documents":[]}`},
		{`,"options":{"k":9,"filter":{"lang":{"$in":["y","z"]}},"include":["score"]}`, `{"documents":[{"content":[{"text":"bbb"}],"metadata":{"_score":0,"lang":"y"}}]}`},
		{`,"options":{"k":9,"minScore":0.5}`, `{"documents":[{"content":[{"text":"aaa"}],"metadata":{"lang":"x","n":1.10}},{"content":[{"text":"ab"}]}]}`},
	} {
		out, err := run(retriever, `{"query":{"content":[{"text":"a"}]}`+c.options+`}`)
		require.NoError(t, err, c.options)
		assert.Equal(t, c.want, out, c.options)
	}
	for _, bad := range []string{`{"k":1001}`, `{"k":-1}`, `{"k":1.5}`, `{"filter":[]}`, `{"filter":{"$where":1}}`, `{"include":["all"]}`, `{"top":1}`} {
		_, err := run(retriever, `{"query":{"content":[{"text":"a"}]},"options":`+bad+`}`)
		require.ErrorIs(t, err, status.ErrInvalidArgument, bad)
		assert.True(t, status.Convert(err).Public(), bad)
	}
	require.NoError(t, p.Close())
	run, _ = served(t, dir, 0, &requests)
	out, err = run(retriever, `{"query":{"content":[{"text":"c"}]},"options":{"k":1}}`)
	require.NoError(t, err)
	assert.Equal(t, `{"documents":[{"content":[{"text":"<c>"}]}]}`, out)
}

// TestTheKit embeds words, so that the kit's documents are told apart.
func TestTheKit(t *testing.T) {
	reg := registry.New(nil)
	e, err := embed.New("acme/words", embed.Info{BatchSize: 4}, func(_ context.Context, req *embed.Request) (*embed.Response, error) {
		resp := &embed.Response{}
		for _, d := range req.Input {
			v := make([]float64, 512)
			for word := range strings.FieldsSeq(content.TextOf(d.Content)) {
				h := fnv.New32a()
				_, _ = h.Write([]byte(word))
				v[h.Sum32()%512]++
			}
			resp.Embeddings = append(resp.Embeddings, embed.Embedding{Vector: v})
		}
		return resp, nil
	})
	require.NoError(t, err)
	require.NoError(t, reg.Register(e))
	p := local.Plugin(local.Options{Dir: t.TempDir(), Indexes: []local.Index{{Name: "kit", Embedder: "acme/words"}}})
	require.NoError(t, p.Register(t.Context(), reg))
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	i, err := reg.Resolve(t.Context(), "kit", action.Indexer)
	require.NoError(t, err)
	r, err := reg.Resolve(t.Context(), "kit", action.Retriever)
	require.NoError(t, err)
	enginetest.TestIndexedRetriever(t, i, r)
}

func TestWhatIsStoredIsNotEmbeddedAgain(t *testing.T) {
	var requests atomic.Int64
	run, p := served(t, t.TempDir(), 3, &requests)
	index := func(options string, texts ...string) int64 {
		t.Helper()
		requests.Store(0)
		var docs []string
		for i, text := range texts {
			docs = append(docs, fmt.Sprintf(`{"content":[{"text":%q}],"metadata":{"sku":"s%d"}}`, text, i))
		}
		_, err := run(indexer, `{"documents":[`+strings.Join(docs, ",")+`]`+options+`}`)
		require.NoError(t, err)
		return requests.Load()
	}
	assert.EqualValues(t, 2, index("", "a", "b", "c", "d"), "two batches of at most three")
	assert.EqualValues(t, 0, index("", "a", "b", "c", "d"))
	assert.EqualValues(t, 1, index("", "a", "x"))
	assert.Equal(t, 5, p.Store("notes").Stats().Documents)
	const byField = `,"options":{"idField":"sku"}`
	assert.EqualValues(t, 1, index(byField, "a", "b"))
	assert.EqualValues(t, 0, index(byField, "a", "b"))
	assert.EqualValues(t, 1, index(byField, "a", "new"))
	assert.Equal(t, 7, p.Store("notes").Stats().Documents)
	assert.EqualValues(t, 0, index(`,"options":{"delete":["s0","s1","nobody"]}`))
	assert.Equal(t, 5, p.Store("notes").Stats().Documents)
	_, err := run(indexer, `{"documents":[{"content":[{"text":"a"}],"metadata":{"sku":7}}],"options":{"idField":"sku"}}`)
	require.ErrorIs(t, err, status.ErrInvalidArgument)

	// The last of several documents of one id counts.
	_, err = run(indexer, `{"documents":[{"content":[{"text":"q"}],"metadata":{"sku":"z"}},{"content":[{"text":"zz"}],"metadata":{"sku":"z"}}],"options":{"idField":"sku"}}`)
	require.NoError(t, err)
	out, err := run(retriever, `{"query":{"content":[{"text":"z"}]},"options":{"k":1,"include":["id"]}}`)
	require.NoError(t, err)
	assert.Equal(t, `{"documents":[{"content":[{"text":"zz"}],"metadata":{"_id":"z","sku":"z"}}]}`, out)
}

func TestFailuresOfTheEmbedderStoreNothing(t *testing.T) {
	var requests atomic.Int64
	run, p := served(t, t.TempDir(), 0, &requests)
	for text, want := range map[string]error{"fail": status.ErrUnavailable, "none": status.ErrInternal} {
		_, err := run(indexer, `{"documents":[{"content":[{"text":"good"}]},{"content":[{"text":"`+text+`"}]}]}`)
		require.ErrorIs(t, err, want)
		_, err = run(retriever, `{"query":{"content":[{"text":"`+text+`"}]}}`)
		require.ErrorIs(t, err, want)
	}
	assert.Zero(t, p.Store("notes").Stats().Documents)
}

func TestPluginsThatCanNotBe(t *testing.T) {
	dir := t.TempDir()
	for name, indexes := range map[string][]local.Index{
		"no embedder": {{Name: "a"}}, "a way out": {{Name: "../a", Embedder: "e"}}, "no name": {{Embedder: "e"}},
		"hidden": {{Name: ".a", Embedder: "e"}}, "a metric": {{Name: "a", Embedder: "e", Metric: "x"}},
	} {
		require.ErrorIs(t, local.Plugin(local.Options{Dir: dir, Indexes: indexes}).Register(t.Context(), registry.New(nil)), status.ErrInvalidArgument, name)
	}
	twice := []local.Index{{Name: "a", Embedder: "e"}, {Name: "a", Embedder: "e"}}
	require.Error(t, local.Plugin(local.Options{Dir: dir, Indexes: twice}).Register(t.Context(), registry.New(nil)))
	p := local.Plugin(local.Options{Dir: dir, Prefix: "acme", Indexes: twice[:1]})
	reg := registry.New(nil)
	require.NoError(t, p.Register(t.Context(), reg), "the failed ones have given their locks free")
	assert.Equal(t, "acme", p.Name())
	a, err := reg.Resolve(t.Context(), "acme/a", action.Retriever)
	require.NoError(t, err)
	_, err = a.RunJSON(t.Context(), json.RawMessage(`{"query":{"content":[]}}`), nil)
	require.ErrorIs(t, err, status.ErrNotFound, "there is no embedder e")
	require.NoError(t, p.Close())
	assert.Nil(t, p.Store("a"))
}
