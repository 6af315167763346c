package metrics_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/metrics"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
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

// What a book counts is in the metrics: of all tenants together, or of each where that was asked for.
func TestUsageIsInTheMetrics(t *testing.T) {
	book, err := usage.Open(usage.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, book.Close()) })
	together, err := metrics.New(metrics.Config{})
	require.NoError(t, err)
	apart, err := metrics.New(metrics.Config{ByTenant: true})
	require.NoError(t, err)
	for _, m := range []*metrics.Metrics{together, apart} {
		require.NoError(t, m.WatchUsage(book))
		require.ErrorIs(t, m.WatchUsage(book), status.ErrInternal)
		assert.NotContains(t, scrape(t, m), "genkit_wasm_usage_", "nothing was called yet")
	}
	cost, yes, no := usage.Money(1_500_000), true, false
	for _, tenant := range []string{"acme", "other"} {
		book.Count(usage.Event{Tenant: tenant, Kind: usage.Tool, Name: "a/b", EgressBytes: 7})
		book.Count(usage.Event{Tenant: tenant, Kind: usage.Tool, Name: "c/d", Code: status.Internal})
		book.Count(usage.Event{Tenant: tenant, Kind: "made up", Name: "x"})
		book.Count(usage.Event{Tenant: tenant, Kind: usage.Model, Name: "m", InputTokens: 10, CachedTokens: 4, OutputTokens: 3, Priced: &yes, Cost: &cost, Currency: "USD"})
		book.Count(usage.Event{Tenant: tenant, Kind: usage.Model, Name: "n", Priced: &no})
	}
	all, acme := scrape(t, together), scrape(t, apart)
	for series, want := range map[string][2]string{
		`calls_total{kind="tool",outcome="ok"`:     {"2", "1"},
		`calls_total{kind="tool",outcome="failed"`: {"2", "1"},
		`calls_total{kind="other",outcome="ok"`:    {"2", "1"},
		`calls_total{kind="model",outcome="ok"`:    {"4", "2"},
		`model_tokens_total{direction="input"`:     {"20", "10"},
		`model_tokens_total{direction="cached"`:    {"8", "4"},
		`model_tokens_total{direction="output"`:    {"6", "3"},
		`model_cost_total{currency="USD"`:          {"3", "1.5"},
	} {
		assert.Contains(t, all, "\ngenkit_wasm_usage_"+series+"} "+want[0]+"\n")
		assert.Contains(t, acme, "\ngenkit_wasm_usage_"+series+`,tenant="acme"} `+want[1]+"\n")
	}
	for name, want := range map[string][2]string{"egress_bytes_total": {"14", "7"}, "model_unpriced_calls_total": {"2", "1"}} {
		assert.Contains(t, all, "\ngenkit_wasm_usage_"+name+" "+want[0]+"\n")
		assert.Contains(t, acme, "\ngenkit_wasm_usage_"+name+`{tenant="acme"} `+want[1]+"\n")
	}
	book.Forget("acme")
	without := scrape(t, apart)
	assert.NotContains(t, without, "acme", "a tenant that is gone has no series")
	assert.Contains(t, without, "\ngenkit_wasm_usage_calls_total{kind=\"tool\",outcome=\"ok\",tenant=\"\"} 1\n", "its sums are no tenant's")
	assert.Contains(t, without, `tenant="other"`)
	assert.Equal(t, lines(all, "genkit_wasm_usage_"), lines(scrape(t, together), "genkit_wasm_usage_"), "and a sum does not fall")
	book.Count(usage.Event{Tenant: "acme", Kind: usage.Tool, Name: "a/b"})
	assert.Contains(t, scrape(t, apart), "\ngenkit_wasm_usage_calls_total{kind=\"tool\",outcome=\"ok\",tenant=\"acme\"} 1\n", "a new one of the name begins anew")
	assert.NotContains(t, all, "acme")
	assert.NotContains(t, all+acme, "made up")
	assert.NotContains(t, all+acme, "a/b")
}

// What a server's program counts is in the metrics, where there is any of it.
func TestSourcesAreInTheMetrics(t *testing.T) {
	none, err := metrics.New(metrics.Config{})
	require.NoError(t, err)
	require.NoError(t, none.WatchSources(metrics.Sources{}))
	require.ErrorIs(t, none.WatchSources(metrics.Sources{}), status.ErrInternal)
	text := scrape(t, none)
	for _, name := range []string{"audit", "tls", "connections", "oidc", "usage"} {
		assert.NotContains(t, text, "\ngenkit_wasm_"+name)
	}
	m, err := metrics.New(metrics.Config{})
	require.NoError(t, err)
	end := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	failing := true
	require.NoError(t, m.WatchSources(metrics.Sources{
		Audit:             func() (int64, bool) { return 3, failing },
		CertificateEnd:    func() time.Time { return end },
		ClosedConnections: func() map[string]int64 { return map[string]int64{"limit": 7, "source": 0} },
		Issuers: func() []metrics.Issuer {
			return []metrics.Issuer{
				{Issuer: "https://one", Fetched: time.Now().Add(-time.Hour)},
				{Issuer: "https://two", Failing: true},
				{Issuer: "https://one", Fetched: time.Now(), Failing: true},
				{Issuer: "https://one"}, // for other audiences
			}
		},
		Journal: func() (int64, int64) { return 5, 6 },
	}))
	text = scrape(t, m)
	for _, line := range []string{
		"audit_failed_entries_total 3", "audit_failing 1", "tls_certificate_not_after_timestamp_seconds 1.8960912e+09",
		`connections_closed_total{reason="limit"} 7`, `connections_closed_total{reason="source"} 0`,
		`oidc_keys_failing{issuer="https://one"} 1`, `oidc_keys_failing{issuer="https://two"} 1`,
		"usage_journal_lost_events_total 6", "usage_journal_unwritten_events 5",
	} {
		assert.Contains(t, text, "\ngenkit_wasm_"+line+"\n")
	}
	assert.Regexp(t, `\ngenkit_wasm_oidc_keys_age_seconds\{issuer="https://one"\} 36\d\d`, text)
	assert.NotContains(t, text, `oidc_keys_age_seconds{issuer="https://two"}`, "they were never had")
	failing = false
	assert.Contains(t, scrape(t, m), "\ngenkit_wasm_audit_failing 0\n")
}

// Refusals have the reasons that are known, whatever an error says of itself.
func TestRefusalsHaveFewReasons(t *testing.T) {
	book, err := usage.Open(usage.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, book.Close()) })
	m, err := metrics.New(metrics.Config{ByTenant: true})
	require.NoError(t, err)
	require.NoError(t, m.WatchUsage(book))
	exhausted := func(details map[string]string) error {
		return status.Publicf(status.ResourceExhausted, "no").WithDetails(details)
	}
	for range 2 {
		book.Refuse("acme", "1", exhausted(map[string]string{"budget": "tokensPerDay"}))
	}
	book.Refuse("acme", "1", exhausted(map[string]string{"quota": "callsPerMinute"}))
	for _, field := range []string{"a", "b", "madeUpByAGuest"} {
		book.Refuse("acme", "1", exhausted(map[string]string{"quota": field}))
	}
	book.Refuse("acme", "1", status.Publicf(status.NotFound, "no"))
	text := scrape(t, m)
	assert.Equal(t, []string{
		"genkit_wasm_usage_refused_calls_total{reason=\"budget.tokensPerDay\"} 2\n", "genkit_wasm_usage_refused_calls_total{reason=\"notFound\"} 1\n",
		"genkit_wasm_usage_refused_calls_total{reason=\"other\"} 3\n", "genkit_wasm_usage_refused_calls_total{reason=\"quota.callsPerMinute\"} 1\n",
	}, lines(text, "genkit_wasm_usage_refused_calls_total"))
	assert.NotContains(t, text, "madeUp")
}

// lines are those that begin with a prefix, sorted.
func lines(text, prefix string) []string {
	var some []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			some = append(some, line)
		}
	}
	slices.Sort(some)
	return some
}
