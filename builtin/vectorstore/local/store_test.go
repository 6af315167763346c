package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestDocumentsAreFoundByNearnessAndMetadata(t *testing.T) {
	s := open(t, local.Config{})
	assert.Empty(t, search(t, s, local.Query{K: 3}, 1, 2))
	require.NoError(t, s.Put(t.Context(), []local.Entry{
		entry("east", "E", `{"kind":"main","n":1.10}`, 5, 0), entry("north", "N", `{"kind":"main"}`, 0, 1),
		entry("north-east", "NE", `{"kind":"mid"}`, 1, 1), entry("west", "W", ``, -2, 0), entry("zero", "0", ``, 0, 0),
	}))
	assert.Equal(t, []string{"east", "north-east", "north", "zero", "west"}, ids(search(t, s, local.Query{K: 10}, 3, 0)))
	assert.Equal(t, []string{"east"}, ids(search(t, s, local.Query{K: 1}, 1, 0.1)))
	assert.Empty(t, search(t, s, local.Query{}, 1, 0))
	got := search(t, s, local.Query{K: 2}, 2, 0)
	assert.InDelta(t, 1, got[0].Score, 1e-6)
	assert.InDelta(t, math.Sqrt(0.5), got[1].Score, 1e-6)
	raw, err := json.Marshal(got[0].Document)
	require.NoError(t, err)
	assert.Equal(t, `{"content":[{"text":"E"}],"metadata":{"kind":"main","n":1.10}}`, string(raw))
	half := 0.5
	assert.Equal(t, []string{"east", "north-east"}, ids(search(t, s, local.Query{K: 10, MinScore: &half}, 1, 0)))
	assert.Equal(t, []string{"north-east", "zero", "west"}, ids(search(t, s, local.Query{K: 10, Filter: json.RawMessage(`{"kind":{"$ne":"main"}}`)}, 1, 0)))
	assert.Empty(t, search(t, s, local.Query{K: 10, Filter: json.RawMessage(`{"kind":"none"}`)}, 1, 0))
}

func TestTheInnerProductCountsLengths(t *testing.T) {
	s := open(t, local.Config{Metric: local.Dot})
	require.NoError(t, s.Put(t.Context(), []local.Entry{entry("short", "", "", 1, 0), entry("long", "", "", 3, 3)}))
	got := search(t, s, local.Query{K: 2}, 2, 0)
	assert.Equal(t, []string{"long", "short"}, ids(got))
	assert.InDelta(t, 6, got[0].Score, 1e-9)
}

func TestPutReplacesAndDeleteRemoves(t *testing.T) {
	dir := t.TempDir()
	s := open(t, local.Config{Dir: dir})
	require.NoError(t, s.Put(t.Context(), []local.Entry{entry("a", "old", `{"v":1}`, 1, 0), entry("b", "b", "", 0, 1), entry("", "named by content", "", 1, 1)}))
	require.NoError(t, s.Put(t.Context(), []local.Entry{entry("a", "new", `{"v":2}`, 0, 1), entry("", "named by content", "", 1, 1)}))
	check := func(s *local.Store) {
		t.Helper()
		content, err := local.ContentID(content.DocumentFromText("named by content", nil))
		require.NoError(t, err)
		assert.Equal(t, []string{content, "b", "a"}, ids(search(t, s, local.Query{K: 5}, 1, 0.5)))
		assert.Empty(t, search(t, s, local.Query{K: 5, Filter: json.RawMessage(`{"v":1}`)}, 1, 0))
		assert.Equal(t, []string{"a"}, ids(search(t, s, local.Query{K: 5, Filter: json.RawMessage(`{"v":2}`)}, 1, 0)))
		assert.Equal(t, 3, s.Stats().Documents)
		assert.Equal(t, 3, s.Stats().Vectors)
	}
	check(s)
	require.NoError(t, s.Close())
	s = open(t, local.Config{Dir: dir})
	check(s)
	n, err := s.Delete(t.Context(), "a", "a", "nobody")
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	assert.Len(t, search(t, s, local.Query{K: 5}, 1, 0), 2)
	before := s.Stats()
	require.NoError(t, s.Compact(t.Context()))
	after := s.Stats()
	assert.Less(t, after.FileBytes, before.FileBytes)
	assert.Less(t, after.DeadBytes, before.DeadBytes)
	assert.Len(t, search(t, s, local.Query{K: 5}, 1, 0), 2)
	require.NoError(t, s.Put(t.Context(), []local.Entry{entry("c", "after", "", 1, 0)}))
	require.NoError(t, s.Close())
	s = open(t, local.Config{Dir: dir})
	assert.Equal(t, "c", ids(search(t, s, local.Query{K: 5}, 1, 0))[0])
	_, err = s.Delete(t.Context(), ids(search(t, s, local.Query{K: 5}, 1, 0))...)
	require.NoError(t, err)
	require.NoError(t, s.Compact(t.Context()))
	require.NoError(t, s.Put(t.Context(), []local.Entry{entry("3d", "other dimensions fit an empty store", "", 1, 0, 0)}))
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	assert.Len(t, names, 2, "the lock and one file")
}

func TestADocumentOfSeveralEmbeddings(t *testing.T) {
	dir := t.TempDir()
	s := open(t, local.Config{Dir: dir})
	film := local.Entry{ID: "film", Document: embed.Media("https://example.com/film.mp4", "video/mp4"), Embeddings: []embed.Embedding{
		{Vector: []float64{1, 0}, Metadata: content.Metadata{"start": json.RawMessage("0")}},
		{Vector: []float64{0, 1}, Metadata: content.Metadata{"start": json.RawMessage("10")}},
		{Vector: []float64{-1, 0}, Metadata: content.Metadata{"start": json.RawMessage("10")}}, // passed over, as in Genkit
	}}
	require.NoError(t, s.Put(t.Context(), []local.Entry{film}))
	for range 3 {
		got := search(t, s, local.Query{K: 5}, 0, 1)
		require.Len(t, got, 2)
		assert.JSONEq(t, `{"start":10}`, string(got[0].Document.Metadata["embedMetadata"]))
		assert.JSONEq(t, `{"start":0}`, string(got[1].Document.Metadata["embedMetadata"]))
		got = search(t, s, local.Query{K: 5, Filter: json.RawMessage(`{"embedMetadata.start":{"$lt":5}}`)}, 0, 1)
		assert.Len(t, got, 1)
		require.NoError(t, s.Compact(t.Context()))
		require.NoError(t, s.Close())
		s = open(t, local.Config{Dir: dir})
	}
	n, err := s.Delete(t.Context(), "film")
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	assert.Empty(t, search(t, s, local.Query{K: 5}, 0, 1))
}

func TestWhatCanNotBeStoredIsRefusedAsAWhole(t *testing.T) {
	s := open(t, local.Config{MaxVectors: 3})
	good := entry("good", "x", "", 1, 2)
	require.NoError(t, s.Put(t.Context(), []local.Entry{good}))
	many := make([]embed.Embedding, 5000)
	for name, bad := range map[string]local.Entry{
		"no embedding":        {ID: "x"},
		"too many embeddings": {ID: "x", Embeddings: many},
		"no coordinates":      entry("x", "", ""),
		"NaN":                 entry("x", "", "", 1, math.NaN()),
		"an infinity":         entry("x", "", "", 1, math.Inf(-1)),
		"other dimensions":    entry("x", "", "", 1, 2, 3),
		"too many dimensions": entry("x", "", "", make([]float64, local.MaxDimensions+1)...),
		"a long id":           entry(strings.Repeat("x", local.MaxID+1), "", "", 1, 2),
		"an id of no text":    entry("\xff", "", "", 1, 2),
		"a long document":     entry("x", strings.Repeat("x", local.MaxDocument), "", 1, 2),
		"much metadata":       entry("x", "", `{"a":[`+strings.Repeat("1,", 1024)+`1]}`, 1, 2),
		"broken metadata":     {ID: "x", Document: content.Document{Metadata: content.Metadata{"a": json.RawMessage("{")}}, Embeddings: good.Embeddings},
	} {
		require.ErrorIs(t, s.Put(t.Context(), []local.Entry{entry("other", "", "", 3, 4), bad}), status.ErrInvalidArgument, name)
	}
	assert.Equal(t, []string{"good"}, ids(search(t, s, local.Query{K: 5}, 1, 0)))
	two := []local.Entry{entry("b", "", "", 1, 2), entry("c", "", "", 1, 2), entry("good", "again", "", 1, 2)}
	require.NoError(t, s.Put(t.Context(), two), "what is replaced does not count")
	require.ErrorIs(t, s.Put(t.Context(), []local.Entry{entry("d", "", "", 1, 2)}), status.ErrResourceExhausted)
	require.ErrorIs(t, open(t, local.Config{Metric: local.Dot}).Put(t.Context(), []local.Entry{entry("d", "", "", 1, 1e20)}), status.ErrInvalidArgument)

	for name, q := range map[string]local.Query{"k": {K: local.MaxK + 1}, "negative k": {K: -1}, "a filter": {K: 1, Filter: json.RawMessage(`{"$where":1}`)}} {
		_, err := s.Search(t.Context(), []float64{1, 2}, q)
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
	for name, v := range map[string][]float64{"none": nil, "dimensions": {1}, "NaN": {math.NaN(), 1}} {
		_, err := s.Search(t.Context(), v, local.Query{K: 1})
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
	huge := open(t, local.Config{})
	require.NoError(t, huge.Put(t.Context(), []local.Entry{entry("huge", "", "", 1e308, 1e308), entry("tiny", "", "", 1e-300, 0)}))
	assert.Equal(t, []string{"tiny", "huge"}, ids(search(t, huge, local.Query{K: 2}, 1e-310, 0)))
	assert.InDelta(t, math.Sqrt(0.5), search(t, huge, local.Query{K: 2}, 1, 0)[1].Score, 1e-6)
}

func TestAStoreIsOpenedOnceAndAsItWasMade(t *testing.T) {
	dir := t.TempDir()
	s := open(t, local.Config{Dir: dir, Embedder: "acme/e1"})
	_, err := local.Open(local.Config{Dir: dir})
	require.ErrorIs(t, err, status.ErrFailedPrecondition, "it is in use")
	require.NoError(t, s.Put(t.Context(), []local.Entry{entry("a", "", "", 1), entry("b", "", "", 2)}))
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	for name, c := range map[string]local.Config{"embedder": {Embedder: "acme/e2"}, "metric": {Metric: local.Dot, Embedder: "acme/e1"}} {
		c.Dir = dir
		_, err := local.Open(c)
		require.ErrorIs(t, err, status.ErrFailedPrecondition, name)
	}
	_, err = local.Open(local.Config{Dir: dir, MaxVectors: 1})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	_, err = local.Open(local.Config{Dir: dir, Metric: "manhattan"})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = local.Open(local.Config{})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	require.ErrorIs(t, s.Put(t.Context(), nil), status.ErrFailedPrecondition)
	_, err = s.Search(t.Context(), []float64{1}, local.Query{K: 1})
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	_, err = s.Delete(t.Context(), "a")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	require.ErrorIs(t, s.Compact(t.Context()), status.ErrFailedPrecondition)
	open(t, local.Config{Dir: dir})
}

func TestCancelledCallsStoreNothing(t *testing.T) {
	s := open(t, local.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Put(ctx, []local.Entry{entry("a", "", "", 1)}), status.ErrCancelled)
	_, err := s.Delete(ctx, "a")
	require.ErrorIs(t, err, status.ErrCancelled)
	_, err = s.Search(ctx, []float64{1}, local.Query{K: 1})
	require.ErrorIs(t, err, status.ErrCancelled)
	assert.Zero(t, s.Stats().Documents)
}

// TestTheFileShrinksByItself rewrites one document until compaction must have come.
func TestTheFileShrinksByItself(t *testing.T) {
	dir := t.TempDir()
	s := open(t, local.Config{Dir: dir})
	text := strings.Repeat("x", 1<<20)
	for i := range 12 {
		require.NoError(t, s.Put(t.Context(), []local.Entry{entry("a", fmt.Sprint(i, text), "", float64(i), 1)}))
	}
	assert.Less(t, s.Stats().FileBytes, int64(10<<20))
	got := search(t, s, local.Query{K: 5}, 1, 0)
	require.Len(t, got, 1)
	assert.True(t, strings.HasPrefix(content.TextOf(got[0].Document.Content), "11x"))
}

// TestLeftOversOfACompactionAreRemoved makes the files that a crash between its steps
// leaves.
func TestLeftOversOfACompactionAreRemoved(t *testing.T) {
	dir := t.TempDir()
	s := open(t, local.Config{Dir: dir})
	require.NoError(t, s.Put(t.Context(), []local.Entry{entry("a", "", "", 1)}))
	require.NoError(t, s.Close())
	old, err := os.ReadFile(filepath.Join(dir, "vectors-0000000000000001"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "vectors-0000000000000002"), old, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "vectors.new"), []byte("half"), 0o600))
	s = open(t, local.Config{Dir: dir})
	assert.Len(t, search(t, s, local.Query{K: 5}, 1), 1)
	assert.NoFileExists(t, filepath.Join(dir, "vectors-0000000000000001"))
	require.NoError(t, s.Compact(t.Context()))
	assert.NoFileExists(t, filepath.Join(dir, "vectors.new"))
}

func TestDamagedFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, local.Config{Dir: dir})
	for i := range 5 {
		require.NoError(t, s.Put(t.Context(), []local.Entry{numbered(i, []float64{float64(i), 1})}))
	}
	require.NoError(t, s.Close())
	file := filepath.Join(dir, "vectors-0000000000000001")
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	refused := 0
	for at := 0; at < len(whole); at += 7 {
		damaged := append([]byte{}, whole...)
		damaged[at] ^= 0x10
		require.NoError(t, os.WriteFile(file, damaged, 0o600))
		s, err := local.Open(local.Config{Dir: dir})
		if err == nil { // of the two notes of what was acknowledged one is enough
			assert.Equal(t, 5, s.Stats().Documents)
			require.NoError(t, s.Close())
			continue
		}
		require.ErrorIs(t, err, status.ErrDataLoss, "byte %d", at)
		refused++
	}
	assert.Greater(t, refused, len(whole)/7-6)
	require.NoError(t, os.WriteFile(file, whole[:len(whole)-1], 0o600))
	_, err = local.Open(local.Config{Dir: dir})
	require.ErrorIs(t, err, status.ErrDataLoss, "what was acknowledged is cut off")
}

// TestSearchesGoOnBesideWrites hammers a store from all sides.
func TestSearchesGoOnBesideWrites(t *testing.T) {
	s := open(t, local.Config{})
	const dims, documents = 16, 60
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for w := range 3 {
		wg.Go(func() {
			r := seeded(1, uint64(w))
			for i := range documents {
				var batch []local.Entry
				for j := range 20 {
					batch = append(batch, numbered(w*documents+(i*20+j)%documents, gaussian(r, dims)))
				}
				if err := s.Put(t.Context(), batch); err != nil {
					t.Error(err)
				}
				if i%20 == 19 {
					if err := s.Compact(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	var searches sync.WaitGroup
	for w := range 2 {
		searches.Go(func() {
			r := seeded(2, uint64(w))
			for {
				select {
				case <-stop:
					return
				default:
				}
				got, err := s.Search(t.Context(), gaussian(r, dims), local.Query{K: 10, Filter: json.RawMessage(`{"third":1}`)})
				if err != nil {
					t.Error(err)
					return
				}
				for i, g := range got {
					if string(g.Document.Metadata["third"]) != "1" || i > 0 && g.Score > got[i-1].Score {
						t.Errorf("result %d is wrong: %+v", i, g)
					}
				}
				_ = s.Stats()
			}
		})
	}
	wg.Wait()
	close(stop)
	searches.Wait()
	assert.Equal(t, 3*documents, s.Stats().Vectors)
	assert.Len(t, search(t, s, local.Query{K: local.MaxK}, make([]float64, dims)...), 3*documents)
}

func TestGenkitsFilesAreImported(t *testing.T) {
	const js = `{"5f": {"doc": {"content": [{"text": "a"}], "metadata": {"n": 1}}, "embedding": {"embedding": [1, 0], "metadata": {"x": 1}}},
		"60": {"doc": {"content": [{"text": "b"}]}, "embedding": {"embedding": [0, 1]}}}`
	const goSDK = `{"ab":{"doc":{"content":[{"text":"c"}]},"embedding":[-1,0]}}`
	s := open(t, local.Config{})
	for file, want := range map[string]int{js: 2, goSDK: 1, `{}`: 0} {
		for range 2 {
			n, err := s.ImportGenkit(t.Context(), strings.NewReader(file))
			require.NoError(t, err)
			assert.Equal(t, want, n)
		}
	}
	got := search(t, s, local.Query{K: 5}, 1, 0)
	require.Len(t, got, 3)
	assert.Equal(t, "a", content.TextOf(got[0].Document.Content))
	assert.Equal(t, content.Metadata{"n": json.RawMessage("1")}, got[0].Document.Metadata)
	for _, bad := range []string{``, `[]`, `{"a"`, `{"a":{}}`, `{"a":{"doc":{"content":[]},"embedding":"x"}}`, `{"a":{"doc":{"content":[]},"embedding":[]}}`, js[:len(js)-2]} {
		_, err := s.ImportGenkit(t.Context(), strings.NewReader(bad))
		require.ErrorIs(t, err, status.ErrInvalidArgument, "%s", bad)
	}
	_, err := s.ImportGenkit(t.Context(), &endless{})
	require.Error(t, err)
}

// endless is a file of one entry without an end.
type endless struct{ begun bool }

func (e *endless) Read(p []byte) (int, error) {
	if !e.begun {
		e.begun = true
		return copy(p, `{"a":{"doc":{"content":[{"text":"`), nil
	}
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
