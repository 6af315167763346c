package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// BenchmarkCapability measures a whole tool call that asks the host once, beside one
// that asks nothing, and beside the same request by net/http.
func BenchmarkCapability(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	defer srv.Close()
	port := srv.Listener.Addr().(*net.TCPAddr).Port
	raw := fmt.Sprintf(`{"grants":{"kv":true,"clock":true,"actions":["tool/*"],"generate":["*"],"http":[{"host":"127.0.0.1","schemes":["http"],"ports":[%d]}]}}`, port)
	p, err := policy.Parse([]byte(raw))
	require.NoError(b, err)
	load := func(store kv.Store) *wasmhost.Host {
		host, err := wasmhost.New(b.Context(), wasmhost.Config{
			Grants: &p.Grants, KV: store, Egress: egress.Config{Reachable: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
			Registry: func(string) (*registry.Registry, error) { return registry.New(nil), nil },
		})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, host.Close(context.Background())) })
		return host
	}
	wasm, err := os.ReadFile("../pdk/conformance/c/conformance.wasm")
	require.NoError(b, err)
	asks, err := os.ReadFile("../pdk/conformance/c/capabilities.wasm")
	require.NoError(b, err)
	file, err := kv.Open(filepath.Join(b.TempDir(), "kv.db"), nil)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, file.Close()) })
	for _, c := range []struct {
		name, tool, input string
		store             kv.Store
	}{
		{"nothing", "conformance/echo", `{"key":"a"}`, nil},
		{"now", "asks/now", `null`, nil},
		{"kv_get_memory", "asks/kv_get", `{"key":"a"}`, nil},
		{"kv_set_memory", "asks/kv_set", `{"key":"a","value":{"n":1}}`, nil},
		{"kv_get_file", "asks/kv_get", `{"key":"a"}`, file},
		{"kv_set_file", "asks/kv_set", `{"key":"a","value":{"n":1}}`, file},
		{"http", "asks/http", `{"url":"` + srv.URL + `/"}`, nil},
	} {
		b.Run("ask="+c.name, func(b *testing.B) {
			host := load(c.store)
			for name, module := range map[string][]byte{"conformance": wasm, "asks": asks} {
				_, err := host.Load(b.Context(), wasmhost.DefaultTenant, wasmhost.Upload{Name: name, Wasm: module, Policy: []byte(raw)})
				require.NoError(b, err)
			}
			tool, err := host.Provider(wasmhost.DefaultTenant).Resolve(b.Context(), action.Key{Kind: action.Tool, Name: c.tool})
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tool.RunJSON(b.Context(), json.RawMessage(c.input), nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("ask=net_http_alone", func(b *testing.B) {
		client := srv.Client()
		for b.Loop() {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, srv.URL, nil)
			require.NoError(b, err)
			resp, err := client.Do(req)
			require.NoError(b, err)
			_, _ = resp.Body.Read(make([]byte, 10))
			_ = resp.Body.Close()
		}
	})
}
