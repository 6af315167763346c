package echoflow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/echoflow"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newEcho(t *testing.T, m ...echo.MiddlewareFunc) *echo.Echo {
	t.Helper()
	f, err := flow.NewStreaming("menu/count", func(_ context.Context, n int, send func(int) error) (int, error) {
		for i := range n {
			if err := send(i); err != nil {
				return 0, err
			}
		}
		return n, nil
	})
	require.NoError(t, err)
	reg := registry.New(nil)
	require.NoError(t, reg.Register(f))
	srv, err := flowserver.New(flowserver.Config{CORS: &flowserver.CORS{Origins: []string{"https://app.example"}}})
	require.NoError(t, err)
	e := echo.New()
	e.HTTPErrorHandler = echoflow.Fail
	e.Use(m...)
	echoflow.All(e, "/flows", srv.Registry("/flows/", reg))
	echoflow.Flow(e.Group("/api"), "/count", srv, flowserver.Flow{Action: f})
	e.GET("/breaks", func(echo.Context) error { return errors.New("the secret is 42") })
	return e
}

func do(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "From" {
			req.RemoteAddr = value
			continue
		}
		req.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}

func TestFlowsOnEcho(t *testing.T) {
	ts := httptest.NewServer(newEcho(t, echoflow.Secure()))
	defer ts.Close()
	for _, path := range []string{"/flows/menu/count", "/api/count"} {
		resp, err := ts.Client().Post(ts.URL+path+"?stream=true", "application/json", strings.NewReader(`{"data":2}`))
		require.NoError(t, err)
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, "data: {\"message\":0}\n\ndata: {\"message\":1}\n\ndata: {\"result\":2}\n\n", string(raw))
		assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
		assert.Equal(t, "DENY", resp.Header.Get("X-Frame-Options"))
		assert.Contains(t, resp.Header.Get("Content-Security-Policy"), "default-src 'none'")
	}
	e := newEcho(t)
	assert.Equal(t, "{\"result\":3}\n", do(e, http.MethodPost, "/flows/menu/count", `{"data":3}`).Body.String())
	preflight := do(e, http.MethodOptions, "/flows/menu/count", ``, "Origin: https://app.example", "Access-Control-Request-Method: POST")
	assert.Equal(t, http.StatusNoContent, preflight.Code)
	assert.Equal(t, "https://app.example", preflight.Header().Get("Access-Control-Allow-Origin"))
	for name, test := range map[string]struct {
		rec  *httptest.ResponseRecorder
		code int
		want string
	}{
		"the flow server's own": {do(e, http.MethodPost, "/flows/none", `{}`), 404, `{"status":"NOT_FOUND","message":"flow \"none\" not found"}`},
		"Echo's no route":       {do(e, http.MethodPost, "/x", `{}`), 404, `{"status":"NOT_FOUND","message":"not found"}`},
		"Echo's no method":      {do(e, http.MethodGet, "/api/count", ``), 405, `{"status":"UNIMPLEMENTED","message":"method not allowed"}`},
		"private text":          {do(e, http.MethodGet, "/breaks", ``), 500, `{"status":"INTERNAL","message":"internal error"}`},
	} {
		assert.Equal(t, test.code, test.rec.Code, name)
		assert.JSONEq(t, test.want, test.rec.Body.String(), name)
	}
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEcho(t, echoflow.RateLimit(echoflow.RateLimitConfig{PerSecond: 0.5, Burst: 2, MaxCallers: 3}))
		call := func(from string) *httptest.ResponseRecorder {
			return do(e, http.MethodPost, "/api/count", `{"data":1}`, "From: "+from, "X-Forwarded-For: "+fmt.Sprint(time.Now().UnixNano()), "X-Real-Ip: 1.1.1.1")
		}
		assert.Equal(t, 200, call("10.0.0.1:1").Code)
		assert.Equal(t, 200, call("10.0.0.1:2").Code)
		r := call("10.0.0.1:3")
		assert.Equal(t, 429, r.Code, "whatever port and headers it takes")
		assert.Equal(t, "2", r.Header().Get("Retry-After"))
		assert.JSONEq(t, `{"status":"RESOURCE_EXHAUSTED","message":"too many calls"}`, r.Body.String())
		assert.Equal(t, 200, call("10.0.0.2:1").Code, "others are not held up")
		time.Sleep(2 * time.Second)
		assert.Equal(t, 200, call("10.0.0.1:1").Code)
		assert.Equal(t, 429, call("10.0.0.1:1").Code)
		assert.Equal(t, 200, call("[2001:db8::1]:1").Code)
		assert.Equal(t, 200, call("[2001:db8::2]:1").Code)
		assert.Equal(t, 429, call("[2001:db8::3]:1").Code, "an IPv6 network is one caller")
		assert.Equal(t, 429, call("10.0.0.1:1").Code, "who called lately is remembered")
		call("10.0.0.4:1")
		call("10.0.0.5:1")
		call("10.0.0.6:1")
		assert.Equal(t, 200, call("10.0.0.1:1").Code, "of too many, who called longest ago is forgotten")
	})
	e := echo.New() // with Echo's error handler
	e.Use(echoflow.RateLimit(echoflow.RateLimitConfig{PerSecond: 0.001}))
	e.GET("/", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	assert.Equal(t, 200, do(e, http.MethodGet, "/", ``).Code)
	assert.Equal(t, 429, do(e, http.MethodGet, "/", ``).Code)
	assert.Panics(t, func() { echoflow.RateLimit(echoflow.RateLimitConfig{}) })
}
