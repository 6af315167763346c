package hosttest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// CapabilityVector is a conversation of several steps with the module "capabilities".
type CapabilityVector struct {
	Name    string          `json:"name"`
	Says    string          `json:"says"`
	Clauses []string        `json:"clauses"`
	Limits  json.RawMessage `json:"limits"`
	Steps   []struct {
		Tool   string          `json:"tool"`
		Input  json.RawMessage `json:"input"`
		Expect struct {
			Output      json.RawMessage `json:"output"`
			OutputMatch string          `json:"outputMatch"`
		} `json:"expect"`
	} `json:"steps"`
}

// vectorHost is where the vectors send their requests; here it is an alias of the
// test's own server.
const (
	vectorHost   = "capabilities.example.com"
	vectorSecret = "vector-token-0123456789"
)

// RunCapabilityVectors runs the vectors of dir against wasm, a build of the module
// "capabilities", each on a module of its own. configure is that of [RunVectors].
func RunCapabilityVectors(t *testing.T, wasm []byte, dir string, configure ...func(*wasmhost.Config)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "no vectors in %s", dir)
	srv := httptest.NewTLSServer(http.HandlerFunc(answer))
	t.Cleanup(srv.Close)
	port := srv.Listener.Addr().(*net.TCPAddr).Port
	host := capabilityHost(t, srv.Certificate(), port, configure)
	for i, file := range files {
		v := readCapabilityVector(t, file)
		t.Run(v.Name, func(t *testing.T) { v.run(t, host, wasm, fmt.Sprintf("capabilities-%d", i), port) })
	}
}

func readCapabilityVector(t *testing.T, file string) *CapabilityVector {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	v := &CapabilityVector{}
	require.NoError(t, dec.Decode(v), file)
	require.Equal(t, strings.TrimSuffix(filepath.Base(file), ".json"), v.Name)
	require.NotEmpty(t, v.Steps, file)
	return v
}

func capabilityGrants(port int) string {
	return fmt.Sprintf(`{"http":[{"host":%q,"ports":[%d],"methods":["GET","POST"]}],"kv":true,"clock":true,
		"secrets":{"TOKEN":["%s:%d"]},"generate":["test/*"],"actions":["tool/*"]}`, vectorHost, port, vectorHost, port)
}

// toServer answers every name with this machine.
type toServer struct{}

func (toServer) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
}

func capabilityHost(t *testing.T, cert *x509.Certificate, port int, configure []func(*wasmhost.Config)) *wasmhost.Host {
	t.Helper()
	p, err := policy.Parse([]byte(`{"grants":` + capabilityGrants(port) + `}`))
	require.NoError(t, err)
	reg := registry.New(nil)
	define := func(kind action.Kind, name string, fn action.Func) {
		a, err := action.New(action.Desc{Kind: kind, Name: name}, fn)
		require.NoError(t, err)
		require.NoError(t, reg.Register(a))
	}
	echo := func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) { return in, nil }
	define(action.Tool, "capabilities-echo", echo)
	define(action.Flow, "capabilities-echo", echo)
	define(action.Tool, "capabilities-fail", func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return nil, status.Publicf(status.NotFound, "no such thing")
	})
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	config := wasmhost.Config{
		Grants: &p.Grants, Secrets: secret.Static{wasmhost.DefaultTenant: {"TOKEN": secret.New(vectorSecret)}},
		Egress:   egress.Config{Resolver: toServer{}, Reachable: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, RootCAs: pool},
		Registry: func(string) (*registry.Registry, error) { return reg, nil },
	}
	for _, f := range configure {
		f(&config)
	}
	host, err := wasmhost.New(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close(context.Background())) })
	return host
}

func (v *CapabilityVector) run(t *testing.T, host *wasmhost.Host, wasm []byte, name string, port int) {
	t.Helper()
	limits := v.Limits
	if limits == nil {
		limits = json.RawMessage("{}")
	}
	_, err := host.Load(t.Context(), wasmhost.DefaultTenant, wasmhost.Upload{
		Name: name, Wasm: wasm, Policy: []byte(`{"grants":` + capabilityGrants(port) + `,"limits":` + string(limits) + `}`),
	})
	require.NoError(t, err)
	for i, s := range v.Steps {
		a, err := host.Provider(wasmhost.DefaultTenant).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: name + "/" + s.Tool})
		require.NoError(t, err)
		input := bytes.ReplaceAll(s.Input, []byte("https://"+vectorHost+"/"), fmt.Appendf(nil, "https://%s:%d/", vectorHost, port))
		out, err := a.RunJSON(t.Context(), input, nil)
		require.NoError(t, err, "%s: step %d", v.Says, i)
		equal := EqualJSON(s.Expect.Output, out)
		if s.Expect.OutputMatch == "subset" {
			equal = subset(s.Expect.Output, out)
		}
		assert.True(t, equal, "%s: step %d: got %.300s, want %.300s", v.Says, i, out, s.Expect.Output)
		assert.NotContains(t, string(out), vectorSecret)
	}
}

// answer is the server that the vectors talk to; pdk/vectors/README.md describes it.
func answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	switch r.URL.Path {
	case "/echo":
		var body bytes.Buffer
		_, _ = body.ReadFrom(http.MaxBytesReader(w, r.Body, 1<<20))
		w.Header().Set("X-Method", r.Method)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RequestURI(), body.String())
	case "/binary":
		_, _ = w.Write([]byte{0xff, 0xfe, 0x00})
	case "/redirect":
		http.Redirect(w, r, "/echo", http.StatusFound)
	case "/redirect-away":
		http.Redirect(w, r, "https://elsewhere.example.org/", http.StatusFound)
	case "/redirect-plain":
		http.Redirect(w, r, "http://"+r.Host+"/echo", http.StatusFound)
	case "/redirect-loop":
		http.Redirect(w, r, "/redirect-loop", http.StatusFound)
	case "/authorized":
		if r.Header.Get("Authorization") != "Bearer "+vectorSecret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		fmt.Fprint(w, "got ", r.Header.Get("Authorization"))
	case "/big":
		_, _ = w.Write(make([]byte, 100_000))
	case "/bomb", "/zipped":
		w.Header().Set("Content-Encoding", "gzip")
		zw := gzip.NewWriter(w)
		if r.URL.Path == "/bomb" {
			_, _ = zw.Write(make([]byte, 10<<20))
		} else {
			_, _ = zw.Write([]byte("small"))
		}
		_ = zw.Close()
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}
