package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
)

// What one tenant's calls have left in a cache is not another's.
func TestTenantsDoNotShareACache(t *testing.T) {
	b, err := openBackend(t.Context(), backendConfig{data: t.TempDir(), tenants: []string{"acme"}, log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.close(context.Background())) })
	ask := func(tenant string) string {
		a, err := b.registries[tenant].Lookup(t.Context(), action.Key{Kind: action.Util, Name: "generate"})
		require.NoError(t, err)
		out, err := a.RunJSON(t.Context(), json.RawMessage(`{"model":"test/scripted","messages":[{"role":"user","content":[{"text":"hi"}]}],"use":[{"name":"cache"}]}`), nil)
		require.NoError(t, err)
		return string(out)
	}
	assert.NotContains(t, ask("default"), "cacheHits")
	assert.Contains(t, ask("default"), "cacheHits", "the tenant's own second call is answered from before")
	assert.NotContains(t, ask("acme"), "cacheHits")
}
