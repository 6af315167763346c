package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// A tenant does not get cached answers of another tenant's calls.
func TestTenantsDoNotShareACache(t *testing.T) {
	b, err := openBackend(t.Context(), backendConfig{data: t.TempDir(), host: wasmhost.Config{Tenants: map[string]wasmhost.TenantConfig{"acme": {}}}, log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.close(context.Background())) })
	ask := func(tenant string) string {
		reg, err := b.registry(tenant)
		require.NoError(t, err)
		a, err := reg.Lookup(t.Context(), action.Key{Kind: action.Util, Name: "generate"})
		require.NoError(t, err)
		out, err := a.RunJSON(t.Context(), json.RawMessage(`{"model":"test/scripted","messages":[{"role":"user","content":[{"text":"hi"}]}],"use":[{"name":"cache"}]}`), nil)
		require.NoError(t, err)
		return string(out)
	}
	assert.NotContains(t, ask("default"), "cacheHits")
	assert.Contains(t, ask("default"), "cacheHits", "the tenant's own second call is answered from before")
	assert.NotContains(t, ask("acme"), "cacheHits")
}
