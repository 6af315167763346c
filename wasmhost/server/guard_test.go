package server_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
)

func TestUnknownPathsAndMethods(t *testing.T) {
	w := newWorld(t, nil)
	for _, path := range []string{"/v1", "/v1/tenant", "/v2/tenants/default/modules", tenant + "/modules/a/b", tenant + "/none", "/healthz/x"} {
		p := w.do(http.MethodGet, path, nil).problem(t)
		assert.Equal(t, 404, p.Status, path)
		assert.Equal(t, "NOT_FOUND", p.StatusName)
	}
	for request, allow := range map[string]string{
		"POST " + tenant + "/modules":              "GET",
		"POST " + tenant + "/modules/calc":         "DELETE, GET, PUT",
		"GET " + tenant + "/modules/calc/rollback": "POST",
		"PATCH " + tenant + "/tools/a/b":           "POST",
		"DELETE " + tenant + "/generate":           "POST",
		"PUT /openapi.json":                        "GET",
	} {
		method, path, _ := strings.Cut(request, " ")
		r := w.do(method, path, nil)
		p := r.problem(t)
		assert.Equal(t, 405, p.Status, request)
		assert.Equal(t, "UNIMPLEMENTED", p.StatusName)
		for m := range strings.SplitSeq(allow, ", ") {
			assert.Contains(t, r.header.Get("Allow"), m, request)
		}
	}
	for _, path := range []string{"/modules", "/modules/x", "/modules/x/versions", "/actions"} {
		assert.Contains(t, w.do(http.MethodGet, "/v1/tenants/nobody"+path, nil).problem(t).Detail, "nobody")
	}
}

func TestRequestID(t *testing.T) {
	w := newWorld(t, nil)
	for given, kept := range map[string]bool{
		"abc-123_x.y:z": true, strings.Repeat("a", 128): true, strings.Repeat("a", 129): false,
		"": false, "a b": false, "a\"b": false, "é": false, "a;b": false,
	} {
		got := w.do(http.MethodGet, "/healthz", nil, "X-Request-Id: "+given).header.Get("X-Request-Id")
		if kept {
			assert.Equal(t, given, got)
			continue
		}
		assert.NotEqual(t, given, got)
		assert.GreaterOrEqual(t, len(got), 16)
	}
}

func TestHeadersOfEveryResponse(t *testing.T) {
	w := newWorld(t, nil)
	for _, path := range []string{"/healthz", "/openapi.json", "/none", tenant + "/modules"} {
		h := w.do(http.MethodGet, path, nil).header
		assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		assert.NotEmpty(t, h.Get("X-Request-Id"), path)
		assert.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'")
	}
}

func TestHealthAndReadiness(t *testing.T) {
	var mu sync.Mutex
	var unready error
	w := newWorld(t, func(c *server.Config) {
		c.Ready = func() error { mu.Lock(); defer mu.Unlock(); return unready }
	})
	set := func(err error) { mu.Lock(); unready = err; mu.Unlock() }
	assert.Equal(t, http.StatusOK, w.do(http.MethodGet, "/readyz", nil).status)
	set(status.Publicf(status.Unavailable, "the server is draining"))
	r := w.do(http.MethodGet, "/readyz", nil)
	p := r.problem(t)
	assert.Equal(t, 503, p.Status)
	assert.Equal(t, "not ready: the server is draining", p.Detail)
	assert.Equal(t, "1", r.header.Get("Retry-After"))
	set(errors.New("the secret is 42"))
	assert.NotContains(t, w.do(http.MethodGet, "/readyz", nil).body, "secret")
	assert.JSONEq(t, `{"status":"ok"}`, w.do(http.MethodGet, "/healthz", nil).body)
	types := w.do(http.MethodGet, "/genkit-wasm.d.ts", nil)
	assert.Equal(t, "text/plain; charset=utf-8", types.header.Get("Content-Type"))
	assert.Contains(t, types.body, "\ndeclare module \"genkit\" {\n")
}

func TestHostsThatAreNotOursAreRefused(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.AllowedHosts = []string{"127.0.0.1", "::1", "localhost", "Tools.example"} })
	for host, want := range map[string]int{
		"127.0.0.1:3400": 200, "localhost": 200, "LOCALHOST:1": 200, "[::1]:3400": 200, "[::1]": 200, "localhost.": 200, "tools.example:80": 200,
		"evil.example": 403, "evil.example:3400": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403, "192.168.0.1": 403, "127.0.0.2": 403,
	} {
		assert.Equal(t, want, w.do(http.MethodGet, tenant+"/modules", nil, "Host: "+host).status, host)
	}
	assert.Equal(t, "PERMISSION_DENIED", w.do(http.MethodGet, "/healthz", nil, "Host: evil.example").problem(t).StatusName)
}

func TestPagesOfOtherSitesMayNotChangeAnything(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.TrustedOrigins = []string{"https://console.example"} })
	own := "Origin: " + w.URL
	for name, test := range map[string]struct {
		headers []string
		want    int
	}{
		"no browser":                    {nil, 200},
		"our own page":                  {[]string{own, "Sec-Fetch-Site: same-origin"}, 200},
		"the address bar":               {[]string{"Sec-Fetch-Site: none"}, 200},
		"our own page, an old browser":  {[]string{own}, 200},
		"another site":                  {[]string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, 403},
		"another site, an old browser":  {[]string{"Origin: https://evil.example"}, 403},
		"another port of this machine":  {[]string{"Sec-Fetch-Site: same-site"}, 403},
		"a page without an origin":      {[]string{"Origin: null"}, 403},
		"a page that the server trusts": {[]string{"Origin: https://console.example", "Sec-Fetch-Site: cross-site"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, w.post("/generate", `{}`, test.headers...).status)
			r := w.put("calc", calc(t), test.headers...)
			assert.Equal(t, test.want == 403, r.status == 403, r.body)
			assert.Equal(t, 200, w.do(http.MethodGet, tenant+"/modules", nil, test.headers...).status, "reading is safe: the browser keeps the answer from the page")
		})
	}
}

func TestPanicsOfTheServerAreAnswered(t *testing.T) {
	w := newWorld(t, func(c *server.Config) {
		c.Registry = func(string) (*registry.Registry, error) { panic("the secret is 42") }
	})
	r := w.do(http.MethodGet, tenant+"/actions", nil)
	assert.Equal(t, "internal error", r.problem(t).Detail)
	assert.NotContains(t, r.body, "secret")
}

func TestLogTellsTheRequestAndNotItsBody(t *testing.T) {
	var log lockedBuffer
	w := newWorld(t, func(c *server.Config) { c.Logger = slog.New(slog.NewJSONHandler(&log, nil)) })
	w.post("/tools/native/private", `{"input":"very private"}`, "X-Request-Id: find-me", "Authorization: Bearer hush")
	w.do(http.MethodGet, "/v1/tenants/default/modules/secret-name?token=hush", nil)
	w.Close() // a line is written once the response is
	text := log.String()
	for _, want := range []string{
		`"method":"POST"`, `"route":"/v1/tenants/:tenant/tools/*"`, `"status":500`, `"request_id":"find-me"`, `"code":"INTERNAL"`, "the secret is 42", `"took":`,
		`"route":"/v1/tenants/:tenant/modules/:name"`, `"status":404`,
	} {
		assert.Contains(t, text, want)
	}
	for _, not := range []string{"very private", "hush", "secret-name"} {
		assert.NotContains(t, text, not)
	}
}

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestNewRefusesWhatCanNotWork(t *testing.T) {
	_, err := server.New(server.Config{})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	w := newWorld(t, nil)
	_, err = server.New(server.Config{Host: w.host, Registry: func(string) (*registry.Registry, error) { return nil, nil }, TrustedOrigins: []string{"not an origin"}})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}
