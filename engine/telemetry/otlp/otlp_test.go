package otlp_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/devexport"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/otlp"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector keeps posted bodies, by path.
func collector(t *testing.T) (url string, got func(path string) string) {
	t.Helper()
	var mu sync.Mutex
	bodies := map[string]string{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			in = z
		}
		raw, _ := io.ReadAll(in)
		mu.Lock()
		defer mu.Unlock()
		bodies[r.URL.Path] += string(raw)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func(path string) string {
		mu.Lock()
		defer mu.Unlock()
		return bodies[path]
	}
}

// environment sets what OpenTelemetry reads.
func environment(t *testing.T, env map[string]string) func(string) string {
	t.Helper()
	for k, v := range env {
		t.Setenv(k, v)
	}
	return func(name string) string { return env[name] }
}

func TestAllThreeSignalsReachACollector(t *testing.T) {
	url, got := collector(t)
	p, err := otlp.FromEnv(t.Context(), otlp.Config{Service: "fallback", Getenv: environment(t, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_SERVICE_NAME": "the-service",
	})})
	require.NoError(t, err)
	ctx, span := telemetry.Start(p.Context(t.Context()), telemetry.Span{Name: "calc/add", Type: telemetry.TypeAction, Subtype: "tool", Input: []byte(`"secret"`)})
	slog.New(p.LogHandler()).InfoContext(ctx, "a line")
	require.NoError(t, span.End(nil))
	require.NoError(t, p.Flush(t.Context()))
	assert.Contains(t, got("/v1/traces"), "calc/add")
	assert.Contains(t, got("/v1/traces"), "the-service")
	assert.NotContains(t, got("/v1/traces"), "secret", "bodies are for development")
	assert.Contains(t, got("/v1/metrics"), "gen_ai.execute_tool.duration")
	assert.Contains(t, got("/v1/logs"), "a line")
	require.NoError(t, p.Close(t.Context()))
}

func TestWithoutAnEnvironmentThereIsNothing(t *testing.T) {
	for _, env := range []map[string]string{
		nil,
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"},
	} {
		p, err := otlp.FromEnv(t.Context(), otlp.Config{Getenv: func(name string) string { return env[name] }})
		require.NoError(t, err)
		assert.Nil(t, p)
		assert.Equal(t, t.Context(), p.Context(t.Context()))
		assert.Nil(t, p.TracerProvider())
		assert.Nil(t, p.Meter())
		assert.Nil(t, p.LogHandler())
		assert.NoError(t, errors.Join(p.Flush(t.Context()), p.Close(t.Context())))
	}
}

func TestWhatIsNotSpokenIsRefused(t *testing.T) {
	for _, env := range []map[string]string{
		{"OTEL_TRACES_EXPORTER": "zipkin"},
		{"OTEL_METRICS_EXPORTER": "prometheus"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
		{"OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/json"},
	} {
		_, err := otlp.FromEnv(t.Context(), otlp.Config{Getenv: func(name string) string { return env[name] }})
		assert.ErrorIs(t, err, status.ErrInvalidArgument, "%v", env)
	}
}

func TestACollectorThatIsGoneHoldsUpNobody(t *testing.T) {
	p, err := otlp.FromEnv(t.Context(), otlp.Config{Getenv: environment(t, map[string]string{
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
	})})
	require.NoError(t, err)
	for range 5000 { // more than the queue holds
		_, span := telemetry.Start(p.Context(t.Context()), telemetry.Span{Name: strings.Repeat("x", 100), Type: telemetry.TypeUtil})
		require.NoError(t, span.End(nil))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_ = p.Close(ctx) // says that it failed, in time
}

func TestTheDevUIGetsTheSameSpans(t *testing.T) {
	srv := telemetrytest.NewServer(t)
	x := devexport.New(devexport.Config{URL: srv.URL})
	defer x.Close(t.Context())
	p, err := otlp.FromEnv(t.Context(), otlp.Config{Getenv: func(string) string { return "" }, Processors: []sdktrace.SpanProcessor{x.Processor()}})
	require.NoError(t, err)
	ctx, span := telemetry.Start(p.Context(t.Context()), telemetry.Span{Name: "menu", Type: telemetry.TypeAction})
	require.NoError(t, span.End(nil))
	require.NoError(t, p.Flush(t.Context()))
	id, _ := telemetry.TraceIDs(ctx)
	assert.Len(t, srv.Spans(id), 1)
	assert.Nil(t, p.Meter())
	require.NoError(t, p.Close(t.Context()))
}
