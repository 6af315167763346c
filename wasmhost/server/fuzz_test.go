package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
)

// FuzzBodies sends foreign bytes to every route that reads a body; whatever they
// are, the answer is one of the API's own and no module appears.
func FuzzBodies(f *testing.F) {
	host, err := wasmhost.New(context.Background(), wasmhost.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = host.Close(context.Background()) })
	reg := registry.New(nil)
	srv, err := server.New(server.Config{
		Host: host, Registry: func(string) (*registry.Registry, error) { return reg, nil },
		MaxUploadBytes: 1 << 10, MaxBodyBytes: 1 << 10,
	})
	if err != nil {
		f.Fatal(err)
	}
	handler := srv.Handler()
	for _, seed := range [][2]string{
		{"application/json", `{"input":{"a":1},"context":{}}`},
		{"application/json", `{"revision":1}`},
		{"application/wasm", "\x00asm\x01\x00\x00\x00"},
		{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"module\"\r\n\r\nx\r\n--b--\r\n"},
		{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"policy\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\r\n--b\r\n\r\n--b--"},
		{"multipart/form-data; boundary=\"\xff\"", "--"},
	} {
		f.Add(seed[0], seed[1], "stream=true")
	}
	f.Fuzz(func(t *testing.T, kind, body, query string) {
		for _, route := range []string{
			"PUT /v1/tenants/default/modules/m", "POST /v1/tenants/default/modules/m/rollback",
			"POST /v1/tenants/default/tools/none", "POST /v1/tenants/default/actions/embedder/none", "POST /v1/tenants/default/generate", "POST /v1/tenants/default/flows/none",
		} {
			method, path, _ := strings.Cut(route, " ")
			req := httptest.NewRequest(method, path, strings.NewReader(body))
			req.URL.RawQuery = query
			req.Header.Set("Content-Type", kind)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, req)
			if w.Code < 400 || w.Code == http.StatusInternalServerError {
				t.Fatalf("%s with %q %q: %d %s", route, kind, body, w.Code, w.Body)
			}
		}
	})
}
