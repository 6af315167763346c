package embed_test

import (
	"context"
	"encoding/json"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newLengths makes an embedder of the length of a text; "none" gets no embedding,
// "fail" fails. requests counts.
func newLengths(t *testing.T, requests *atomic.Int64) action.Action {
	t.Helper()
	a, err := embed.New("acme/len", embed.Info{
		Dimensions: 1, Supports: &embed.Supports{Input: []string{"text"}}, ConfigSchema: json.RawMessage(`{"type":"object","properties":{"by":{"type":"number"}}}`),
	}, func(_ context.Context, req *embed.Request) (*embed.Response, error) {
		requests.Add(1)
		resp := &embed.Response{}
		for _, d := range req.Input {
			text := content.TextOf(d.Content)
			switch text {
			case "fail":
				return nil, status.Errorf(status.Unavailable, "down")
			case "nothing":
				return nil, nil
			case "none":
				continue
			}
			resp.Embeddings = append(resp.Embeddings, embed.Embedding{Vector: []float64{float64(len(text)), 0.1}, Metadata: d.Metadata})
		}
		return resp, nil
	})
	require.NoError(t, err)
	return a
}

func TestEmbeddersAreDescribedAsGenkitDoes(t *testing.T) {
	raw, err := json.Marshal(newLengths(t, new(atomic.Int64)).Desc().Metadata)
	require.NoError(t, err)
	assert.JSONEq(t, `{"type":"embedder","info":{"label":"acme/len","dimensions":1,"supports":{"input":["text"]}},
		"embedder":{"customOptions":{"type":"object","properties":{"by":{"type":"number"}}}}}`, string(raw))
	_, err = embed.New("x", embed.Info{ConfigSchema: json.RawMessage(`{"type":1}`)}, nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestManyDocumentsAreCutIntoBatches(t *testing.T) {
	var docs []content.Document
	for i := range 10 {
		docs = append(docs, content.DocumentFromText(strconv.Itoa(i)+string(make([]byte, i)), nil))
	}
	for _, c := range []struct {
		batch, parallel int
		requests        int64
	}{{0, 0, 1}, {3, 1, 4}, {3, 4, 4}, {100, 2, 1}, {1, 3, 10}, {-1, -1, 1}} {
		var n atomic.Int64
		got, err := embed.Many(t.Context(), newLengths(t, &n), docs, embed.WithBatchSize(c.batch), embed.WithParallel(c.parallel), embed.WithConfig(map[string]int{"by": 1}))
		require.NoError(t, err)
		require.Len(t, got, 10)
		for i, e := range got {
			assert.Equal(t, []float64{float64(i + 1), 0.1}, e.Vector)
		}
		assert.Equal(t, c.requests, n.Load())
	}
	got, err := embed.Many(t.Context(), newLengths(t, new(atomic.Int64)), nil)
	require.NoError(t, err)
	assert.Empty(t, got)
}

func TestFailuresOfEmbedders(t *testing.T) {
	a := newLengths(t, new(atomic.Int64))
	for text, want := range map[string]error{"fail": status.ErrUnavailable, "none": status.ErrInternal, "nothing": status.ErrInternal} {
		_, err := embed.Many(t.Context(), a, []content.Document{content.DocumentFromText("a", nil), content.DocumentFromText(text, nil), content.DocumentFromText("b", nil)}, embed.WithBatchSize(1), embed.WithParallel(2))
		require.ErrorIs(t, err, want, text)
	}
	_, err := embed.One(t.Context(), a, content.DocumentFromText("a", nil), embed.WithConfig(map[string]string{"by": "x"}))
	require.ErrorIs(t, err, action.ErrInvalidInput)
	_, err = embed.One(t.Context(), a, content.DocumentFromText("a", nil), embed.WithConfig(make(chan int)))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = embed.Many(t.Context(), a, nil, embed.WithConfig(make(chan int)))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = embed.Many(ctx, a, []content.Document{content.DocumentFromText("a", nil)})
	require.ErrorIs(t, err, status.ErrCancelled)
	one, err := embed.One(t.Context(), a, content.DocumentFromText("abc", nil))
	require.NoError(t, err)
	assert.InDelta(t, 3, one[0].Vector[0], 0)
}

func TestNumbersKeepTheirPrecision(t *testing.T) {
	const wire = `{"embeddings":[{"embedding":[0.1,-1.2345678901234566e-9,3],"metadata":{"n":1.10},"x":1}],"y":[2.50]}`
	var resp embed.Response
	require.NoError(t, json.Unmarshal([]byte(wire), &resp))
	assert.Equal(t, []float64{0.1, -1.2345678901234566e-9, 3}, resp.Embeddings[0].Vector)
	out, err := json.Marshal(resp)
	require.NoError(t, err)
	assert.JSONEq(t, wire, string(out))
	assert.Contains(t, string(out), "0.1,-1.2345678901234566e-9,3")
	for _, empty := range []any{embed.Request{}, embed.Response{}, embed.Embedding{}} {
		out, err := json.Marshal(empty)
		require.NoError(t, err)
		assert.Contains(t, string(out), "[]")
	}
}
