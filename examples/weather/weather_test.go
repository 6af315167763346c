// Package weather_test runs the example against a server of its own: the key gets there,
// the guest never sees it, and an answer is remembered.
package weather_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

const key = "weather-key-0123456789"

// here answers every name with this machine.
type here struct{}

func (here) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func TestWeather(t *testing.T) {
	asked := 0
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch city := r.URL.Query().Get("city"); {
		case r.Header.Get("Authorization") != "Bearer "+key:
			w.WriteHeader(http.StatusUnauthorized)
		case city == "Atlantis":
			w.WriteHeader(http.StatusNotFound)
		case city == "Rude":
			fmt.Fprintf(w, `{"celsius":%q}`, r.Header.Get("Authorization"))
		default:
			fmt.Fprintf(w, `{"celsius":-3.50,"city":%q}`, city)
		}
	}))
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	port := srv.Listener.Addr().(*net.TCPAddr).Port

	wasm, err := os.ReadFile("weather.wasm")
	require.NoError(t, err)
	raw, err := os.ReadFile("policy.json")
	require.NoError(t, err)
	_, err = policy.Parse(raw)
	require.NoError(t, err)
	// The policy of the example, with this server's port.
	text := strings.ReplaceAll(string(raw), `"host": "weather.example.com"`, fmt.Sprintf(`"host": "weather.example.com", "ports": [%d]`, port))
	text = strings.ReplaceAll(text, `["weather.example.com"]`, fmt.Sprintf(`["weather.example.com:%d"]`, port))
	p, err := policy.Parse([]byte(text))
	require.NoError(t, err)

	host, err := wasmhost.New(t.Context(), wasmhost.Config{
		Grants: &p.Grants, Secrets: secret.Static{"default": {"WEATHER_KEY": secret.New(key)}},
		Egress: egress.Config{Resolver: here{}, Reachable: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, RootCAs: pool},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, host.Close(context.Background())) }()
	_, err = host.Load(t.Context(), "default", wasmhost.Upload{Wasm: wasm})
	require.ErrorIs(t, err, status.ErrPermissionDenied, "without a policy it is not let in")
	_, err = host.Load(t.Context(), "default", wasmhost.Upload{Wasm: wasm, Policy: []byte(text)})
	require.NoError(t, err)
	tool, err := host.Provider("default").Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "weather/current"})
	require.NoError(t, err)
	ctx := action.WithContext(t.Context(), json.RawMessage(fmt.Sprintf(`{"weatherServer":"https://weather.example.com:%d"}`, port)))

	for i, want := range []string{`{"city":"São Paulo","celsius":-3.50,"remembered":false}`, `{"city":"São Paulo","celsius":-3.50,"remembered":true}`} {
		out, err := tool.RunJSON(ctx, json.RawMessage(`{"city":"São Paulo"}`), nil)
		require.NoError(t, err)
		assert.Equal(t, want, string(out))
		assert.Equal(t, 1, asked, "call %d", i)
	}
	_, err = tool.RunJSON(ctx, json.RawMessage(`{"city":"Atlantis"}`), nil)
	require.ErrorIs(t, err, status.ErrNotFound)
	_, err = tool.RunJSON(ctx, json.RawMessage(`{"city":"Rude"}`), nil)
	require.ErrorIs(t, err, status.ErrUnavailable)
	elsewhere := action.WithContext(t.Context(), json.RawMessage(`{"weatherServer":"https://evil.example.com"}`))
	_, err = tool.RunJSON(elsewhere, json.RawMessage(`{"city":"Oslo"}`), nil)
	require.ErrorContains(t, err, `the host "evil.example.com" is not granted`)
	assert.NotContains(t, err.Error(), key)
}
