package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// The errors a caller gets when a model's server can't be reached, or none is
// configured.
func TestAModelThatCanNotBeAskedSaysWhatToDo(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for baseURL, want := range map[string]string{
		"":               "start the server with OPENAI_API_KEY",
		gone.URL + "/v1": "the model server at " + gone.URL + "/v1 can't be reached: it refuses connections",
	} {
		t.Setenv("OPENAI_API_KEY", "")
		t.Setenv("OPENAI_BASE_URL", baseURL)
		b, err := openBackend(t.Context(), backendConfig{data: t.TempDir(), log: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		reg, err := b.registry(wasmhost.DefaultTenant)
		require.NoError(t, err)
		a, err := reg.Lookup(t.Context(), action.Key{Kind: action.Util, Name: "generate"})
		require.NoError(t, err)
		_, err = a.RunJSON(t.Context(), json.RawMessage(`{"model":"openai/gpt-5","messages":[{"role":"user","content":[{"text":"hi"}]}]}`), nil)
		require.Error(t, err)
		assert.Contains(t, status.ToWire(err, false).Message, want)
		require.NoError(t, b.close(context.Background()))
	}
}
