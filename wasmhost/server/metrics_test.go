package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/metrics"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// measured is a world with metrics.
func measured(t *testing.T, byTenant bool) *world {
	t.Helper()
	m, err := metrics.New(metrics.Config{ByTenant: byTenant, Version: "v1.2.3"})
	require.NoError(t, err)
	world := newWorld(t, func(c *server.Config) {
		c.Metrics = m
		require.NoError(t, m.Watch(c.Host))
	})
	return world
}

// scrape returns the samples, by name and labels.
func (w *world) scrape() map[string]string {
	w.t.Helper()
	r := w.do(http.MethodGet, "/metrics", nil)
	require.Equal(w.t, http.StatusOK, r.status, r.body)
	problems, err := promlint.New(strings.NewReader(r.body)).Lint()
	require.NoError(w.t, err)
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "genkit_") {
			w.t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	samples := map[string]string{}
	for line := range strings.Lines(r.body) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok {
			samples[name+"}"] = value
		} else if name, value, ok = strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			samples[name] = value
		}
	}
	return samples
}

func TestMetricsTellOfRequestsAndCalls(t *testing.T) {
	world := measured(t, false)
	for _, tenant := range []string{"default", "acme"} {
		r := world.do(http.MethodPut, "/v1/tenants/"+tenant+"/modules/calc", strings.NewReader(string(calc(t))), wasmType)
		require.Equal(t, http.StatusCreated, r.status, r.body)
	}
	for range 3 {
		require.Equal(t, http.StatusOK, world.post("/tools/calc/add", `{"input":{"a":1,"b":2}}`).status)
	}
	require.Equal(t, http.StatusOK, world.do(http.MethodPost, "/v1/tenants/default/tools/calc/add", strings.NewReader(`{"input":{"a":1,"b":2}}`), jsonType).status)
	for i := range 50 { // nothing that a caller makes up becomes a label
		world.do(http.MethodGet, fmt.Sprintf("/nowhere/%d", i), nil)
		world.do(fmt.Sprintf("MADE%d", i), "/healthz", nil)
	}
	got := world.scrape()
	assert.Equal(t, "4", got["genkit_wasm_calls_total"])
	assert.Equal(t, "0", got["genkit_wasm_calls_running"])
	assert.Equal(t, "2", got["genkit_wasm_tenants"])
	assert.NotEqual(t, "0", got["genkit_wasm_fuel_total"])
	assert.NotEqual(t, "0", got["genkit_wasm_memory_bytes"])
	assert.Equal(t, "4", got[`genkit_wasm_http_requests_total{code="200",method="POST",route="/v1/tenants/:tenant/tools/*"}`])
	assert.Equal(t, "4", got[`genkit_wasm_http_request_duration_seconds_count{method="POST",route="/v1/tenants/:tenant/tools/*"}`])
	requests := 0
	for name := range got {
		if strings.HasPrefix(name, "genkit_wasm_http_requests_total") {
			requests++
		}
		assert.NotContains(t, name, "nowhere/")
		assert.NotContains(t, name, "MADE")
		assert.NotContains(t, name, "acme")
	}
	assert.Less(t, requests, 10)
	info := false
	for name, value := range got {
		info = info || strings.HasPrefix(name, "genkit_wasm_build_info{") && strings.Contains(name, `version="v1.2.3"`) && value == "1"
	}
	assert.True(t, info)

	// A sum does not fall with a tenant that is removed.
	require.NoError(t, world.host.RemoveTenant(t.Context(), "acme"))
	got = world.scrape()
	assert.Equal(t, "4", got["genkit_wasm_calls_total"])
	assert.Equal(t, "1", got["genkit_wasm_tenants"])
	require.NoError(t, world.host.SetTenant(t.Context(), "acme", wasmhost.TenantConfig{}))
	assert.Equal(t, "4", world.scrape()["genkit_wasm_calls_total"])
	require.Equal(t, http.StatusOK, world.post("/tools/calc/add", `{"input":{"a":1,"b":2}}`).status)
	assert.Equal(t, "5", world.scrape()["genkit_wasm_calls_total"])
}

func TestMetricsHaveTheTenantWhereThatIsAsked(t *testing.T) {
	world := measured(t, true)
	require.Equal(t, http.StatusCreated, world.do(http.MethodPut, "/v1/tenants/acme/modules/calc", strings.NewReader(string(calc(t))), wasmType).status)
	require.Equal(t, http.StatusOK, world.do(http.MethodPost, "/v1/tenants/acme/tools/calc/add", strings.NewReader(`{"input":{"a":1,"b":2}}`), jsonType).status)
	got := world.scrape()
	assert.Equal(t, "1", got[`genkit_wasm_calls_total{tenant="acme"}`])
	assert.Equal(t, "0", got[`genkit_wasm_calls_total{tenant="default"}`])
}

func TestAServerWithoutMetricsHasNone(t *testing.T) {
	world := newWorld(t, nil)
	assert.Equal(t, http.StatusNotFound, world.do(http.MethodGet, "/metrics", nil).status)
}

// OpenMetrics is given to those who accept it.
func TestMetricsInOpenMetrics(t *testing.T) {
	world := measured(t, false)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, world.URL+"/metrics", nil)
	require.NoError(t, err)
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Contains(t, resp.Header.Get("Content-Type"), "application/openmetrics-text")
	assert.True(t, strings.HasSuffix(string(text), "# EOF\n"))
}

// Events that are lost or wait are to be seen where operators' alerts look.
func TestMetricsTellHowSinksDeliver(t *testing.T) {
	m, err := metrics.New(metrics.Config{})
	require.NoError(t, err)
	book, err := usage.Open(usage.Config{Sinks: []usage.Target{{Name: "bills", Sink: refusing{}, InMemory: true}}})
	require.NoError(t, err)
	require.NoError(t, m.WatchUsage(book))
	book.Count(usage.Event{Kind: usage.Tool, Name: "calc/add", Tenant: "acme"})
	require.NoError(t, book.Close(), "all is delivered, or refused, by then")
	answer := httptest.NewRecorder()
	m.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{"failing", "delivered_events_total", "dropped_events_total", "queued_events", "queued_bytes"} {
		assert.Contains(t, answer.Body.String(), "\ngenkit_wasm_usage_sink_"+want+`{sink="bills"} 0`)
	}
	assert.Contains(t, answer.Body.String(), `genkit_wasm_usage_sink_refused_events_total{sink="bills"} 1`)
}

// refusing is a sink whose receiver refuses all for good.
type refusing struct{}

func (refusing) Send(context.Context, []json.RawMessage) error {
	return &usage.RefusedError{Err: io.ErrUnexpectedEOF}
}

// Sign-ins that fail, and those that are held off, are counted, and requests without any key are not.
func TestRefusedSignInsAreInTheMetrics(t *testing.T) {
	var issuer error
	g := newGuarded(t, func(c *server.Config) {
		c.Auth = access.NewThrottle(access.ThrottleConfig{Failures: 3, Every: time.Hour, Next: access.Chain{c.Auth, asking(func() error { return issuer })}})
	})
	admin := bearer(g.key("admin"))
	read := bearer(g.key("acme:read"))
	count := func() (all []string) {
		r := g.do(http.MethodGet, "/metrics", nil, admin)
		for line := range strings.Lines(r.body) {
			if after, ok := strings.CutPrefix(line, "genkit_wasm_sign_ins_refused_total"); ok {
				all = append(all, strings.TrimSpace(after))
			}
		}
		return all
	}
	assert.Equal(t, []string{`{reason="invalid"} 0`, `{reason="throttled"} 0`, `{reason="unavailable"} 0`}, count())
	issuer = status.Publicf(status.Unavailable, "the issuer sleeps")
	assert.Equal(t, http.StatusServiceUnavailable, g.do(http.MethodGet, "/v1/identity", nil, bearer("a.b.c")).status)
	issuer = status.Publicf(status.Unauthenticated, "nobody")
	for range 5 {
		g.do(http.MethodGet, "/v1/identity", nil, bearer("a.b.c"))
	}
	assert.Equal(t, http.StatusUnauthorized, g.do(http.MethodGet, "/v1/identity", nil).status)
	assert.Equal(t, http.StatusForbidden, g.do(http.MethodGet, "/v1/keys", nil, read).status, "it is somebody")
	assert.Equal(t, []string{`{reason="invalid"} 3`, `{reason="throttled"} 2`, `{reason="unavailable"} 1`}, count())
}

// asking is an authenticator that knows nobody.
type asking func() error

func (a asking) Authenticate(context.Context, access.Credentials) (*access.Identity, error) {
	return nil, a()
}

// A call that a quota refuses is counted under the quota's name.
func TestRefusedCallsAreInTheMetrics(t *testing.T) {
	world := newWorldOf(t, wasmhost.Config{Quota: tenants.Quota{CallsPerMinute: 1}}, func(c *server.Config) {
		m, err := metrics.New(metrics.Config{})
		require.NoError(t, err)
		require.NoError(t, m.WatchUsage(c.Usage))
		c.Metrics = m
	})
	require.Equal(t, http.StatusCreated, world.put("calc", calc(t)).status)
	for range 3 {
		world.post("/tools/calc/add", `{"input":{"a":1,"b":2}}`)
	}
	world.post("/tools/calc/none", `{"input":{}}`)
	got := world.scrape()
	assert.Equal(t, "2", got[`genkit_wasm_usage_refused_calls_total{reason="quota.callsPerMinute"}`], "%v", got)
	assert.Equal(t, "1", got[`genkit_wasm_usage_refused_calls_total{reason="notFound"}`])
}
