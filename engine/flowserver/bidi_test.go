package flowserver_test

import (
	"context"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
)

type salute struct {
	Word string `json:"word"`
}

// A request is a stream of one input, with a value for the flow's start beside it.
func TestABidiFlowIsServedAsOneInput(t *testing.T) {
	f, err := flow.NewBidi("talk", func(_ context.Context, init salute, inputs iter.Seq2[string, error], send func(string) error) (int, error) {
		n := 0
		for name, err := range inputs {
			if err != nil {
				return 0, err
			}
			n++
			if err := send(init.Word + " " + name); err != nil {
				return 0, err
			}
		}
		return n, nil
	})
	require.NoError(t, err)
	for name, config := range map[string]flowserver.Config{"plain": {}, "kept": {Streams: durable.NewMemory(durable.MemoryConfig{})}} {
		srv, err := flowserver.New(config)
		require.NoError(t, err)
		post := func(body, accept string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Accept", accept)
			rec := httptest.NewRecorder()
			srv.Handler(flowserver.Flow{Action: f}).ServeHTTP(rec, r)
			return rec
		}
		const body = `{"data":"Ada","init":{"word":"Hello"}}`
		got := post(body, "*/*")
		assert.Equal(t, http.StatusOK, got.Code, name)
		assert.JSONEq(t, `{"result":1}`, got.Body.String(), name)
		assert.Equal(t, "data: {\"message\":\"Hello Ada\"}\n\ndata: {\"result\":1}\n\n", post(body, "text/event-stream").Body.String(), name)
		for _, bad := range []string{`{"data":"Ada"}`, `{"data":"Ada","init":{"word":1}}`, `{"data":"Ada","init":null}`, `{"data":1,"init":{"word":"x"}}`} {
			got := post(bad, "*/*")
			assert.Equal(t, http.StatusBadRequest, got.Code, bad)
			assert.Contains(t, got.Body.String(), "INVALID_ARGUMENT", bad)
		}
		require.NoError(t, srv.Close(t.Context()))
	}
}
