package devexport_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/devexport"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, c devexport.Config) (*devexport.Exporter, context.Context) {
	t.Helper()
	x := devexport.New(c)
	t.Cleanup(func() { assert.NoError(t, x.Close(context.Background())) })
	return x, telemetry.WithBodies(telemetry.WithTracerProvider(t.Context(), x.TracerProvider()))
}

// trace runs a flow with a failing tool in it and returns the trace's id.
func trace(ctx context.Context) string {
	ctx, outer := telemetry.Start(ctx, telemetry.Span{Name: "menu", Type: telemetry.TypeAction, Subtype: "flow", Key: "/flow/menu", Input: json.RawMessage(`"x"`)})
	inner, tool := telemetry.Start(ctx, telemetry.Span{Name: "kit/a", Type: telemetry.TypeAction, Subtype: "tool", Key: "/tool/kit/a"})
	telemetry.Event(inner, "guest.log", slog.String("line", "hello"), slog.Int("n", 1))
	_ = tool.End(errors.New("boom"))
	outer.Output(json.RawMessage(`"y"`))
	_ = outer.End(nil)
	id, _ := telemetry.TraceIDs(ctx)
	return id
}

func TestATraceHasGenkitsForm(t *testing.T) {
	srv := telemetrytest.NewServer(t)
	x, ctx := open(t, devexport.Config{URL: srv.URL})
	id := trace(ctx)
	require.NoError(t, x.Flush(t.Context()))
	got := srv.Trace(id)
	assert.Equal(t, "menu", got["displayName"])
	assert.Greater(t, got["startTime"], 1.7e12)
	assert.GreaterOrEqual(t, got["endTime"], got["startTime"])
	spans := srv.Spans(id)
	require.Len(t, spans, 2)
	root, tool := spans["menu"], spans["kit/a"]
	assert.NotContains(t, root, "parentSpanId")
	assert.Equal(t, root["spanId"], tool["parentSpanId"])
	assert.Equal(t, map[string]any{"name": "genkit-tracer", "version": "v1"}, root["instrumentationLibrary"])
	assert.Equal(t, "INTERNAL", root["spanKind"])
	assert.Equal(t, map[string]any{"value": true}, root["sameProcessAsParentSpan"])
	assert.Equal(t, map[string]any{"code": 0.0}, root["status"])
	assert.Equal(t, map[string]any{"code": 2.0, "message": "boom"}, tool["status"])
	assert.Equal(t, `"y"`, root["attributes"].(map[string]any)["genkit:output"])
	events, _ := tool["timeEvents"].(map[string]any)["timeEvent"].([]any)
	require.Len(t, events, 2, "the guest's line and the exception")
	first, _ := events[0].(map[string]any)["annotation"].(map[string]any)
	assert.Equal(t, map[string]any{"description": "guest.log", "attributes": map[string]any{"line": "hello", "n": 1.0}}, first)
	second, _ := events[1].(map[string]any)["annotation"].(map[string]any)
	assert.Equal(t, "exception", second["description"])
	assert.Equal(t, devexport.Stats{Sent: 2}, x.Stats())
}

func TestInRealTimeASpanIsSentWhenItStarts(t *testing.T) {
	srv := telemetrytest.NewServer(t)
	x, ctx := open(t, devexport.Config{URL: srv.URL, Realtime: true})
	ctx, span := telemetry.Start(ctx, telemetry.Span{Name: "menu", Type: telemetry.TypeAction, Subtype: "flow", Key: "/flow/menu", Input: json.RawMessage(`"x"`)})
	require.NoError(t, x.Flush(t.Context()))
	id, _ := telemetry.TraceIDs(ctx)
	root := srv.Spans(id)["menu"]
	assert.Zero(t, root["endTime"])
	assert.Equal(t, map[string]any{
		"genkit:name": "menu", "genkit:type": "action", "genkit:metadata:subtype": "flow", "genkit:key": "/flow/menu",
		"genkit:path": "/{menu,t:flow}", "genkit:isRoot": true, "genkit:input": `"x"`, "genkit:metadata:inputBytes": 3.0,
	}, root["attributes"])
	assert.Zero(t, srv.Trace(id)["endTime"])
	require.NoError(t, span.End(nil))
	require.NoError(t, x.Flush(t.Context()))
	assert.Greater(t, srv.Spans(id)["menu"]["endTime"], 0.0)
	assert.Greater(t, srv.Trace(id)["endTime"], 0.0)
}

func TestSpansWaitUntilTheServerIsKnown(t *testing.T) {
	srv := telemetrytest.NewServer(t)
	x, ctx := open(t, devexport.Config{})
	id := trace(ctx)
	require.NoError(t, x.Flush(t.Context()), "there is nothing to wait for")
	require.NoError(t, x.SetURL(srv.URL))
	require.NoError(t, x.Flush(t.Context()))
	assert.Len(t, srv.Spans(id), 2)
	for _, raw := range []string{"", "localhost:4033", "file:///etc/passwd", "ftp://localhost/", "http://user@localhost/", "http://"} {
		assert.ErrorIs(t, x.SetURL(raw), status.ErrInvalidArgument, raw)
	}
	assert.Equal(t, srv.URL, x.URL())
}

func TestAFullQueueDropsAndCounts(t *testing.T) {
	x, ctx := open(t, devexport.Config{Queue: 4})
	for range 5 {
		trace(ctx)
	}
	assert.Equal(t, devexport.Stats{Dropped: 6}, x.Stats())

	x, ctx = open(t, devexport.Config{QueueBytes: 10_000})
	_, span := telemetry.Start(ctx, telemetry.Span{Name: "big", Type: telemetry.TypeUtil, Input: json.RawMessage(`"` + strings.Repeat("x", 10_000) + `"`)})
	require.NoError(t, span.End(nil))
	assert.Equal(t, devexport.Stats{Dropped: 1}, x.Stats())
}

func TestAServerThatFailsHoldsUpNobody(t *testing.T) {
	release := make(chan struct{})
	var once sync.Once
	entered := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		once.Do(func() { close(entered) })
		select {
		case <-release:
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer srv.Close()
	var logged bytes.Buffer
	x, ctx := open(t, devexport.Config{URL: srv.URL, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	trace(ctx)
	<-entered
	for range 100 {
		trace(ctx) // does not wait for the server
	}
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, x.Flush(short), status.ErrDeadlineExceeded)
	close(release)
	require.NoError(t, x.Flush(t.Context())) // at once, when the first failure is known already
	require.Eventually(t, func() bool { return x.Stats().Dropped == 202 }, 10*time.Second, time.Millisecond)
	assert.Zero(t, x.Stats().Sent)
	assert.Equal(t, 1, strings.Count(logged.String(), "does not take traces"), "said once: %s", logged.String())
}

func TestCloseDoesNotWaitForAServerThatHangs(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the end of the client is noticed
		<-r.Context().Done()
	}))
	defer srv.Close()
	x := devexport.New(devexport.Config{URL: srv.URL})
	trace(telemetry.WithTracerProvider(t.Context(), x.TracerProvider()))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, x.Close(ctx), status.ErrDeadlineExceeded)
	require.NoError(t, x.Close(t.Context()), "once more is fine")
	trace(telemetry.WithTracerProvider(t.Context(), x.TracerProvider()))
	require.NoError(t, x.Flush(t.Context()))
	assert.Equal(t, int64(4), x.Stats().Sent+x.Stats().Dropped)
}

func TestARedirectIsNotFollowed(t *testing.T) {
	other := telemetrytest.NewServer(t)
	srv := httptest.NewServer(http.RedirectHandler(other.URL+"/api/traces", http.StatusTemporaryRedirect))
	defer srv.Close()
	x, ctx := open(t, devexport.Config{URL: srv.URL})
	trace(ctx)
	require.NoError(t, x.Flush(t.Context()))
	// When the first span was sent alone, Flush does not wait for the second.
	require.Eventually(t, func() bool { return x.Stats().Dropped == 2 }, 10*time.Second, time.Millisecond)
	assert.Empty(t, other.TraceIDs())
}

func TestAHugeBodyIsReplacedByANote(t *testing.T) {
	srv := telemetrytest.NewServer(t)
	x, ctx := open(t, devexport.Config{URL: srv.URL})
	ctx, span := telemetry.Start(ctx, telemetry.Span{Name: "big", Type: telemetry.TypeUtil, Input: json.RawMessage(`"` + strings.Repeat("x", 5<<20) + `"`)})
	require.NoError(t, span.End(nil))
	require.NoError(t, x.Flush(t.Context()))
	id, _ := telemetry.TraceIDs(ctx)
	got := srv.Spans(id)["big"]
	assert.Equal(t, true, got["truncated"])
	assert.Equal(t, `"5242882 bytes, which is more than a trace keeps"`, got["attributes"].(map[string]any)["genkit:input"])
}

func TestLinesCarryTheirSpan(t *testing.T) {
	srv := telemetrytest.NewServer(t)
	x, ctx := open(t, devexport.Config{URL: srv.URL, LogLevel: slog.LevelInfo})
	var console bytes.Buffer
	log := slog.New(x.LogHandler(slog.NewTextHandler(&console, &slog.HandlerOptions{Level: slog.LevelWarn})))
	ctx, span := telemetry.Start(ctx, telemetry.Span{Name: "x", Type: telemetry.TypeUtil})
	log.With("tenant", "acme").WithGroup("g").With("a", 1).WarnContext(ctx, "careful", "b", true, slog.Group("h", "f", 1.5), "inf", math.Inf(1))
	log.DebugContext(ctx, "nobody hears this")
	log.Info("outside")
	require.NoError(t, span.End(nil))
	require.NoError(t, x.Flush(t.Context()))
	got := srv.Logs()
	require.Len(t, got, 2)
	traceID, spanID := telemetry.TraceIDs(ctx)
	delete(got[0], "timeUnixNano")
	assert.Equal(t, map[string]any{
		"traceId": traceID, "spanId": spanID, "severityNumber": 13.0, "severityText": "WARN", "body": map[string]any{"stringValue": "careful"},
		"attributes": []any{
			map[string]any{"key": "tenant", "value": map[string]any{"stringValue": "acme"}},
			map[string]any{"key": "g.a", "value": map[string]any{"intValue": 1.0}},
			map[string]any{"key": "g.b", "value": map[string]any{"boolValue": true}},
			map[string]any{"key": "g.h.f", "value": map[string]any{"doubleValue": 1.5}},
			map[string]any{"key": "g.inf", "value": map[string]any{"stringValue": "+Inf"}},
		},
	}, got[0])
	assert.NotContains(t, got[1], "traceId")
	assert.Equal(t, "INFO", got[1]["severityText"])
	assert.Contains(t, console.String(), "careful")
	assert.NotContains(t, console.String(), "outside", "the next handler keeps its level")
}

func TestManyTracesAtOnce(t *testing.T) {
	srv := telemetrytest.NewServer(t)
	x, ctx := open(t, devexport.Config{URL: srv.URL, Realtime: true})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				trace(ctx)
				_ = x.Flush(ctx)
			}
		})
	}
	wg.Wait()
	require.NoError(t, x.Flush(t.Context()))
	ids := srv.TraceIDs()
	assert.Len(t, ids, 400)
	for _, id := range ids {
		assert.Len(t, srv.Spans(id), 2)
		for _, span := range srv.Spans(id) {
			assert.Greater(t, span["endTime"], 0.0)
		}
	}
	assert.Equal(t, devexport.Stats{Sent: 1600}, x.Stats())
}

func Example() {
	x := devexport.New(devexport.FromEnv(func(string) string { return "" }))
	defer x.Close(context.Background())
	ctx := telemetry.WithTracerProvider(context.Background(), x.TracerProvider())
	_, span := telemetry.Start(ctx, telemetry.Span{Name: "menu", Type: telemetry.TypeAction})
	_ = span.End(nil)
	// Output:
}

// A server that hangs costs the first who waits for it, and nobody after that.
func TestAHungServerIsWaitedForOnce(t *testing.T) {
	release, reached := make(chan struct{}), make(chan struct{}, 8)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		reached <- struct{}{}
		<-release
	}))
	defer srv.Close()
	defer close(release)
	x := devexport.New(devexport.Config{URL: srv.URL, Timeout: time.Hour})
	span := func() {
		_, s := telemetry.Start(telemetry.WithTracerProvider(t.Context(), x.TracerProvider()), telemetry.Span{Name: "x"})
		require.NoError(t, s.End(nil))
	}
	span()
	<-reached
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	require.Error(t, x.Flush(ctx), "the first one gives up")
	for range 3 {
		span()
		require.NoError(t, x.Flush(t.Context()), "the next ones do not wait")
	}
	require.Error(t, x.Close(ctx))
}
