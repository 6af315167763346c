package wasmhost_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	extism "github.com/extism/go-sdk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// fetcher speaks Extism's convention: its input is a request, and after a newline the
// body; its output the status, a newline, and the answer's body.
const fetcher = `
#define IMPORT(name) __attribute__((import_module("extism:host/env"), import_name(#name)))
typedef unsigned long long u64;
IMPORT(alloc) u64 x_alloc(u64);
IMPORT(length) u64 x_length(u64);
IMPORT(input_length) u64 x_input_length(void);
IMPORT(input_load_u8) int x_input_load_u8(u64);
IMPORT(load_u8) int x_load_u8(u64);
IMPORT(store_u8) void x_store_u8(u64, int);
IMPORT(output_set) void x_output_set(u64, u64);
IMPORT(config_get) u64 x_config_get(u64);
IMPORT(http_request) u64 x_http_request(u64, u64);
IMPORT(http_status_code) int x_http_status_code(void);

static u64 copy(u64 from, u64 to) {
  if (to <= from) return 0;
  u64 block = x_alloc(to - from);
  for (u64 i = from; i < to; i++) x_store_u8(block + i - from, x_input_load_u8(i));
  return block;
}

int fetch(void) {
  u64 end = x_input_length(), split = 0;
  while (split < end && x_input_load_u8(split) != '\n') split++;
  u64 reply = x_http_request(copy(0, split), copy(split + 1, end));
  u64 length = reply ? x_length(reply) : 0, out = x_alloc(length + 4);
  int status = x_http_status_code();
  x_store_u8(out, '0' + status / 100);
  x_store_u8(out + 1, '0' + status / 10 % 10);
  x_store_u8(out + 2, '0' + status % 10);
  x_store_u8(out + 3, '\n');
  for (u64 i = 0; i < length; i++) x_store_u8(out + 4 + i, x_load_u8(reply + i));
  x_output_set(out, length + 4);
  return 0;
}

int config(void) {
  u64 value = x_config_get(copy(0, x_input_length()));
  if (!value) return 0;
  x_output_set(value, x_length(value));
  return 0;
}
`

// Extism's http_request does here what it does under the SDK, where a request is
// allowed, and fails where it is not.
func TestExtismHTTPDoesWhatTheSDKDoes(t *testing.T) {
	wasm := w.BuildC(t, fetcher)
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/empty":
		case "/missing":
			http.Error(rw, "no such thing", http.StatusNotFound)
		case "/redirect":
			http.Redirect(rw, r, "/echo?moved", http.StatusFound)
		case "/zip":
			rw.Header().Set("Content-Encoding", "gzip")
			zw := gzip.NewWriter(rw)
			fmt.Fprint(zw, "zipped")
			_ = zw.Close()
		default:
			fmt.Fprintf(rw, "%s %s %s %q %s", r.Method, r.URL, r.Header.Get("X-Key"), r.Header.Get("Content-Type"), body)
		}
	}))
	defer srv.Close()
	defer http.DefaultClient.CloseIdleConnections() // the SDK's
	port := srv.Listener.Addr().(*net.TCPAddr).Port
	grants := fmt.Sprintf(`{"http":[{"host":"127.0.0.1","schemes":["http"],"ports":[%d],"methods":["*"]}]}`, port)
	h := newHost(t, wasmhost.Config{Grants: grantsOf(t, grants), Egress: egress.Config{Reachable: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{
		Wasm: wasm, Descriptor: describing(`{"name":"fetch","io":"text"},{"name":"config","io":"text"}`),
		Policy: []byte(`{"grants":` + grants + `,"config":{"greeting":"hello","empty":""},"limits":{"httpResponseBytes":1000000}}`),
	})
	require.NoError(t, err)
	sdk, err := extism.NewPlugin(t.Context(), extism.Manifest{
		Wasm: []extism.Wasm{extism.WasmData{Data: wasm}}, AllowedHosts: []string{"127.0.0.1"}, Config: map[string]string{"greeting": "hello", "empty": ""},
	}, extism.PluginConfig{EnableWasi: true}, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, sdk.Close(context.Background())) }()
	ours := func(tool, in string) (string, error) {
		raw, err := json.Marshal(in)
		require.NoError(t, err)
		out, err := call(t, h, "m/"+tool, string(raw))
		var text string
		if err == nil {
			require.NoError(t, json.Unmarshal([]byte(out), &text))
		}
		return text, err
	}
	for _, in := range []string{
		`{"url":"` + srv.URL + `/echo?a=b"}`,
		`{"url":"` + srv.URL + `/echo","method":"post","headers":{"x-key":"v","Content-Type":"text/plain"}}` + "\nthe body",
		`{"url":"` + srv.URL + `/echo","method":"PUT","unknown":1}` + "\n\x00\x01",
		`{"URL":"` + srv.URL + `/echo"}`,
		`{"url":"` + srv.URL + `/empty"}`,
		`{"url":"` + srv.URL + `/missing"}`,
		`{"url":"` + srv.URL + `/redirect"}`,
		`{"url":"` + srv.URL + `/zip"}`,
		`{"url":"http://localhost:1/"}`,
		`{"url":"http://127.0.0.1.evil.test/"}`,
		`{"url":"file:///etc/passwd"}`,
		`{"url":7}`,
		`{`,
	} {
		rc, want, wantErr := sdk.Call("fetch", []byte(in))
		got, gotErr := ours("fetch", in)
		if wantErr != nil || rc != 0 {
			require.Error(t, gotErr, "%s: the SDK said %v", in, wantErr)
			continue
		}
		require.NoError(t, gotErr, in)
		assert.Equal(t, string(want), got, in)
	}
	for _, key := range []string{"greeting", "empty", "none", ""} {
		_, want, err := sdk.Call("config", []byte(key))
		require.NoError(t, err)
		got, err := ours("config", key)
		require.NoError(t, err)
		assert.Equal(t, string(want), got, key)
	}
	// Where the SDK lets a guest through, and this host does not.
	_, err = ours("fetch", fmt.Sprintf(`{"url":"http://127.0.0.1:%d/"}`, port+1))
	require.ErrorIs(t, err, status.ErrPermissionDenied, "another port")
	_, err = ours("fetch", fmt.Sprintf(`{"url":"http://127.0.0.1:%d/","headers":{"Host":"elsewhere"}}`, port))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

// A plug-in made with Extism's Rust PDK reads the headers of an answer.
func TestExtismPluginsReadHeaders(t *testing.T) {
	wasm := w.Corpus(t)["http_headers.wasm"]
	require.NotNil(t, wasm)
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("X-Answer", "42")
		fmt.Fprint(rw, "body")
	}))
	defer srv.Close()
	port := srv.Listener.Addr().(*net.TCPAddr).Port
	g := policy.Grants{HTTP: []policy.HTTPGrant{{Host: "127.0.0.1", Schemes: []string{"http"}, Ports: []int{port}}}}
	raw, err := json.Marshal(map[string]any{"grants": g})
	require.NoError(t, err)
	h := newHost(t, wasmhost.Config{Grants: &g, Egress: egress.Config{Reachable: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	_, err = h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: wasm, Descriptor: describing(`{"name":"http_get"}`), Policy: raw})
	require.NoError(t, err)
	a, err := h.Provider(tenant).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "m/http_get"})
	require.NoError(t, err)
	out, err := a.RunJSON(t.Context(), json.RawMessage(`{"url":"`+srv.URL+`/","headers":{}}`), nil)
	require.NoError(t, err)
	assert.Contains(t, string(out), `"x-answer":"42"`)
}

// An output of length zero is none, in both conventions: null, or the empty string.
func TestAnEmptyOutputIsNull(t *testing.T) {
	native := buildC(t, `int f(void) { genkit_output(GENKIT_STRING("")); return 0; }`)
	extism := w.BuildC(t, fetcher+`int f(void) { x_output_set(x_alloc(1), 0); return 0; }`)
	h := newHost(t, wasmhost.Config{})
	for name, wasm := range map[string][]byte{"native": native, "extism": extism} {
		for io, want := range map[string]string{"json": `null`, "text": `""`} {
			up := wasmhost.Upload{Name: name + "-" + io, Wasm: wasm, Descriptor: describing(`{"name":"f","io":"` + io + `"}`)}
			if name == "extism" {
				up.Policy = []byte(`{"grants":{"http":[{"host":"api.example.com"}]}}`)
			}
			_, err := h.Load(t.Context(), tenant, up)
			require.NoError(t, err)
			out, err := call(t, h, up.Name+"/f", `"x"`)
			require.NoError(t, err, up.Name)
			assert.Equal(t, want, out, up.Name)
		}
	}
}
