package engine_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/reflection"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

func TestReflectShowsEveryRunOfAnEngineAndItsChildren(t *testing.T) {
	tools := telemetrytest.NewServer(t)
	env := map[string]string{"GENKIT_ENV": "dev", "GENKIT_TELEMETRY_SERVER": tools.URL}
	eng, err := engine.New(t.Context(), engine.Config{Name: "kit"})
	require.NoError(t, err)
	child := eng.Child()
	greet := engine.DefineFlow(eng, "greet", func(_ context.Context, name string) (string, error) { return "Hello, " + name, nil })
	srv, err := engine.Reflect(t.Context(), eng, reflection.Config{Port: -1, Root: t.TempDir(), Getenv: func(name string) string { return env[name] }})
	require.NoError(t, err)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL()+"/api/runAction", strings.NewReader(`{"key":"/flow/greet","input":"Ada"}`))
	require.NoError(t, err)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Contains(t, string(raw), `"result":"Hello, Ada"`)

	_, err = child.RunJSON(t.Context(), greet.Desc().Key(), []byte(`"Grace"`), nil)
	require.NoError(t, err)
	require.NoError(t, srv.Exporter().Flush(t.Context()))
	assert.Len(t, tools.TraceIDs(), 2, "what the app runs by itself is seen, too")
	require.NoError(t, srv.Close(t.Context()))
	require.NoError(t, eng.Close(t.Context()))
}

func TestReflectDoesNothingOutsideOfDevelopment(t *testing.T) {
	eng, err := engine.New(t.Context(), engine.Config{})
	require.NoError(t, err)
	srv, err := engine.Reflect(t.Context(), eng, reflection.Config{Getenv: func(string) string { return "" }})
	require.NoError(t, err)
	assert.Nil(t, srv)
	assert.Equal(t, t.Context(), eng.Context(t.Context()))
	assert.NoError(t, srv.Close(t.Context()))
}

func TestAnEngineCountsInItsMeter(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	meter, err := telemetry.NewMeter(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	require.NoError(t, err)
	eng, err := engine.New(t.Context(), engine.Config{Meter: meter})
	require.NoError(t, err)
	add := engine.DefineTool(eng, "kit/add", "Adds.", func(_ context.Context, in int) (int, error) { return in + 1, nil })
	_, err = eng.Child().RunJSON(t.Context(), add.Desc().Key(), []byte("1"), nil)
	require.NoError(t, err)
	var got metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &got))
	require.Len(t, got.ScopeMetrics, 1)
	assert.Equal(t, "gen_ai.execute_tool.duration", got.ScopeMetrics[0].Metrics[0].Name)
	require.NoError(t, eng.Close(t.Context()))
}

// The application's own tracer keeps its spans, under the ids that the Dev UI shows, and
// gets no inputs and outputs that it did not ask for.
func TestReflectLeavesTheApplicationItsSpans(t *testing.T) {
	tools, own := telemetrytest.NewServer(t), &telemetrytest.Spans{}
	env := map[string]string{"GENKIT_ENV": "dev", "GENKIT_TELEMETRY_SERVER": tools.URL}
	eng, err := engine.New(t.Context(), engine.Config{TracerProvider: own})
	require.NoError(t, err)
	add := engine.DefineTool(eng, "add", "", func(_ context.Context, in int) (int, error) { return in + 1, nil })
	outer := engine.DefineFlow(eng, "outer", func(ctx context.Context, in int) (int, error) { return add.Run(ctx, in) })
	srv, err := engine.Reflect(t.Context(), eng, reflection.Config{Port: -1, Root: t.TempDir(), Getenv: func(name string) string { return env[name] }})
	require.NoError(t, err)
	_, err = eng.RunJSON(t.Context(), outer.Desc().Key(), []byte("41"), nil)
	require.NoError(t, err)
	require.NoError(t, srv.Exporter().Flush(t.Context()))
	spans := own.Ended()
	require.Len(t, spans, 2)
	for _, s := range spans {
		assert.NotContains(t, s, "genkit:input", s["name"])
		assert.NotContains(t, s, "genkit:output", s["name"])
		assert.Equal(t, "success", s["genkit:state"])
	}
	ids := tools.TraceIDs()
	require.Len(t, ids, 1)
	assert.Equal(t, "00000000000000010000000000000000", ids[0], "the trace's id is the application's")
	require.NoError(t, srv.Close(t.Context()))
	require.NoError(t, eng.Close(t.Context()))
}
