package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// BenchmarkIdentity sends calls of a tool in Go to a server that asks who calls, to one that also keeps accounts of
// usage, budgets and an audit log in a directory, and to one that does nothing of it, by turns, and reports the
// differences for a call, and the ratio. What runs is the handler, without a network. The quickest of all batches count: the others have shared
// the processor with something else.
func BenchmarkIdentity(b *testing.B) {
	host, err := wasmhost.New(b.Context(), wasmhost.Config{Tenants: map[string]wasmhost.TenantConfig{"acme": {}}})
	require.NoError(b, err)
	defer host.Close(b.Context())
	keys, err := access.OpenKeys(b.Context(), access.KeysConfig{Store: access.NewMemory()})
	require.NoError(b, err)
	defer keys.Close()
	scopes, err := access.ParseScopes([]string{"default:invoke"})
	require.NoError(b, err)
	_, token, err := keys.Create(b.Context(), access.KeySpec{Name: "bench", Scopes: scopes, ExpiresAt: time.Now().Add(time.Hour)})
	require.NoError(b, err)
	w := &world{t: &testing.T{}, running: make(chan struct{}), left: make(chan struct{}), waiting: make(chan struct{})}
	native := w.native()
	handlers := map[string]http.Handler{}
	for name, auth := range map[string]access.Authenticator{"open": nil, "guarded": access.NewThrottle(access.ThrottleConfig{Next: access.Chain{keys}})} {
		srv, err := server.New(server.Config{Host: host, Registry: func(string) (*registry.Registry, error) { return native, nil }, Auth: auth})
		require.NoError(b, err)
		handlers[name] = srv.Handler()
	}
	accounted := newKept(b, native)
	handlers["accounted"] = accounted.handler
	const batch = 20
	best := map[string]time.Duration{"open": time.Hour, "guarded": time.Hour, "accounted": time.Hour}
	b.ReportAllocs()
	for b.Loop() {
		for _, name := range []string{"open", "guarded", "accounted"} {
			tenant, token := "default", token
			if name == "accounted" {
				tenant, token = "acme", accounted.token
			}
			start := time.Now()
			for range batch {
				r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/tenants/"+tenant+"/tools/native/pretty", strings.NewReader(`{}`))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Authorization", "Bearer "+token)
				rec := httptest.NewRecorder()
				handlers[name].ServeHTTP(rec, r)
				if rec.Code != http.StatusOK {
					b.Fatal(rec.Code, rec.Body)
				}
			}
			best[name] = min(best[name], time.Since(start))
		}
	}
	b.ReportMetric(float64(best["guarded"]-best["open"])/batch, "ns-of-identity/call")
	b.ReportMetric(float64(best["accounted"]-best["open"])/batch, "ns-of-identity-and-accounts/call")
	b.ReportMetric(float64(best["guarded"])/float64(best["open"]), "guarded/open")
	b.ReportMetric(float64(best["open"])/batch, "ns-open/call")
}
