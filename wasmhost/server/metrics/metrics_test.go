package metrics_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/metrics"
)

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	return w.Body.String()
}

// A method that a caller has made up is no label of its own.
func TestMadeUpMethodsShareALabel(t *testing.T) {
	m, err := metrics.New(metrics.Config{Version: "v1.2.3"})
	require.NoError(t, err)
	for _, method := range []string{http.MethodGet, "SPY", "get", ""} {
		m.Request(method, "/healthz", http.StatusOK, time.Millisecond)
	}
	text := scrape(t, m)
	assert.Contains(t, text, `genkit_wasm_http_requests_total{code="200",method="GET",route="/healthz"} 1`)
	assert.Contains(t, text, `genkit_wasm_http_requests_total{code="200",method="other",route="/healthz"} 3`)
	assert.Contains(t, text, `version="v1.2.3"`)
	assert.NotContains(t, text, "SPY")
	assert.NotContains(t, text, "genkit_wasm_tenants", "no host is watched")
}

func TestAHostIsWatchedOnce(t *testing.T) {
	m, err := metrics.New(metrics.Config{})
	require.NoError(t, err)
	host, err := wasmhost.New(t.Context(), wasmhost.Config{Tenants: map[string]wasmhost.TenantConfig{"acme": {}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close(context.Background())) })
	require.NoError(t, m.Watch(host))
	require.ErrorIs(t, m.Watch(host), status.ErrInternal)
	wasm, err := os.ReadFile("../../../examples/calc/calc.wasm")
	require.NoError(t, err)
	_, err = host.Load(t.Context(), "acme", wasmhost.Upload{Name: "calc", Wasm: wasm})
	require.NoError(t, err)
	text := scrape(t, m)
	assert.Contains(t, text, "\ngenkit_wasm_tenants 2\n")
	assert.Contains(t, text, "\ngenkit_wasm_revisions 1\n")
	for line := range strings.Lines(text) {
		assert.False(t, strings.HasPrefix(line, "genkit_wasm_") && strings.Contains(line, "NaN"), line)
	}
}
