// Package metrics tells Prometheus what a server and its tenants do.
//
// It owns the names of the metrics, which begin with genkit_wasm_, and adds those of the Go runtime and of
// the process. Those of models and tools go to a collector; see engine/telemetry/otlp. Times are in seconds and sizes in bytes. Use:
//
//	m, err := metrics.New(metrics.Config{})
//	err = m.Watch(host)
//	err = m.WatchUsage(book)
//	srv, err := server.New(server.Config{Host: host, Metrics: m, …}) // GET /metrics
//
// No label has a value that a caller or a guest can choose: routes are templates. Tenants are summed up, unless
// [Config.ByTenant] asks for a label.
package metrics

import (
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// Config configures [New]. Its zero value is usable.
type Config struct {
	// ByTenant gives the metrics of tenants a label "tenant". Each tenant is some thirty-five
	// time series more; what its calls have used stays until the server ends, also when it is removed.
	ByTenant bool
	// Version is the program's, for genkit_wasm_build_info.
	Version string
}

// Metrics are the metrics of one server. It is safe for concurrent use.
type Metrics struct {
	byTenant bool
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	signIns  *prometheus.CounterVec
	handler  http.Handler
}

// Bounds of the histogram of requests, in seconds: from a small tool's to a model's.
var requestBounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}

// New makes the metrics of a server.
func New(c Config) (*Metrics, error) {
	m := &Metrics{byTenant: c.ByTenant, registry: prometheus.NewRegistry()}
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "genkit_wasm_http_requests_total", Help: "Requests that were answered, by the route's template.",
	}, []string{"method", "route", "code"})
	m.took = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "genkit_wasm_http_request_duration_seconds", Help: "Time from a request to the end of its answer.", Buckets: requestBounds,
	}, []string{"method", "route"})
	m.signIns = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "genkit_wasm_sign_ins_refused_total", Help: "Requests whose API key or token let nobody in, by reason: invalid, throttled, unavailable.",
	}, []string{"reason"})
	for _, reason := range []string{invalid, throttled, unavailable} {
		m.signIns.WithLabelValues(reason) // 0 until it happens, so that its growth shows
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "genkit_wasm_build_info", Help: "1, with the program's version.",
		ConstLabels: prometheus.Labels{"version": c.Version, "go": runtime.Version()},
	})
	info.Set(1)
	for _, collector := range []prometheus.Collector{
		m.requests, m.took, m.signIns, info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := m.registry.Register(collector); err != nil {
			return nil, status.Errorf(status.Internal, "metrics: %w", err)
		}
	}
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true,
	})
	return m, nil
}

// Watch adds the metrics of a host and its tenants. It is called once.
func (m *Metrics) Watch(host *wasmhost.Host) error {
	if err := m.registry.Register(newTenants(host, m.byTenant)); err != nil {
		return status.Errorf(status.Internal, "metrics: %w", err)
	}
	return nil
}

// WatchUsage adds the metrics of what calls have used since the book was opened, and of the
// sinks of its events. It is called once.
func (m *Metrics) WatchUsage(book *usage.Book) error {
	for _, collector := range []prometheus.Collector{newAccounts(book, m.byTenant), &sinks{book}} {
		if err := m.registry.Register(collector); err != nil {
			return status.Errorf(status.Internal, "metrics: %w", err)
		}
	}
	return nil
}

// Request counts a request that was answered. Route is a template, such as
// "/v1/tenants/:tenant/usage", never a path of a caller's; method is one of HTTP's.
func (m *Metrics) Request(method, route string, code int, took time.Duration) {
	method = known(method)
	m.requests.WithLabelValues(method, route, strconv.Itoa(code)).Inc()
	m.took.WithLabelValues(method, route).Observe(took.Seconds())
}

// Reasons why a key or a token let nobody in.
const (
	invalid     = "invalid"     // unknown, expired, revoked, malformed
	throttled   = "throttled"   // its source has failed too often
	unavailable = "unavailable" // it can't be told: the issuer's keys can't be had
)

// SignInRefused counts a request that came with an API key or a token which let nobody in, by the error's code.
func (m *Metrics) SignInRefused(err error) {
	reason := unavailable
	switch status.Of(err) {
	case status.Unauthenticated, status.InvalidArgument:
		reason = invalid
	case status.ResourceExhausted:
		reason = throttled
	}
	m.signIns.WithLabelValues(reason).Inc()
}

// known is the method, or "other" for one that a caller has made up.
func known(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// ServeHTTP answers a scrape, in Prometheus' text format or OpenMetrics'.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }
