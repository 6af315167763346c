package telemetry_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
)

// interrupt is an error that asks, as a tool's is.
type interrupt struct{ error }

func (interrupt) Pause() json.RawMessage { return json.RawMessage(`{"ask":1}`) }

func action(subtype, name string) telemetry.Span {
	return telemetry.Span{Name: name, Type: telemetry.TypeAction, Subtype: subtype}
}

func genAI(span map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range span {
		if len(k) > 7 && k[:7] == "gen_ai." || k == "error.type" {
			out[k] = v
		}
	}
	return out
}

func TestSpansCarryTheConventionsOfGenerativeAI(t *testing.T) {
	for _, c := range []struct {
		span telemetry.Span
		want map[string]string
	}{
		{action("model", "openai/gpt-5"), map[string]string{
			"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5",
			"gen_ai.usage.input_tokens": "12", "gen_ai.response.finish_reasons": `["stop"]`,
		}},
		{action("embedder", "local"), map[string]string{"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "local"}},
		{action("tool", "calc/add"), map[string]string{"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "calc/add", "gen_ai.tool.type": "function"}},
		{action("agent", "helper"), map[string]string{"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper"}},
		{action("flow", "menu"), map[string]string{}},
	} {
		ctx, ended := recorded(t)
		ctx, span := telemetry.Start(ctx, c.span)
		if c.span.Subtype == "model" {
			telemetry.Answered(ctx, c.span.Name, telemetry.Answer{FinishReason: "stop", InputTokens: "12", OutputTokens: "-1"})
		}
		require.NoError(t, span.End(nil))
		assert.Equal(t, c.want, genAI(ended()[0]), c.span.Subtype)
	}
	ctx, ended := recorded(t)
	_, span := telemetry.Start(ctx, action("tool", "calc/add"))
	require.Error(t, span.End(status.Errorf(status.ResourceExhausted, "fuel")))
	assert.Equal(t, "RESOURCE_EXHAUSTED", ended()[0]["error.type"])
}

func TestAMeterCountsModelsAndTools(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	meter, err := telemetry.NewMeter(provider)
	require.NoError(t, err)
	ctx := telemetry.WithMeter(t.Context(), meter) // and no tracer
	mctx, span := telemetry.Start(ctx, action("model", "openai/gpt-5"))
	telemetry.Answered(mctx, "openai/gpt-5", telemetry.Answer{InputTokens: "12", OutputTokens: "3.0"})
	require.NoError(t, span.End(nil))
	_, span = telemetry.Start(ctx, action("tool", "calc/add"))
	require.Error(t, span.End(status.Errorf(status.Internal, "x")))
	_, span = telemetry.Start(ctx, action("tool", "calc/add"))
	require.Error(t, span.End(interrupt{errors.New("asks")}))
	_, span = telemetry.Start(ctx, action("flow", "menu"))
	require.NoError(t, span.End(nil))

	var got metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &got))
	points := map[string]int{}
	for _, m := range got.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				kind, _ := p.Attributes.Value("error.type")
				points[m.Name+" "+m.Unit+" "+kind.AsString()] += int(p.Count)
			}
		case metricdata.Histogram[int64]:
			for _, p := range data.DataPoints {
				kind, _ := p.Attributes.Value("gen_ai.token.type")
				points[m.Name+" "+m.Unit+" "+kind.AsString()] += int(p.Sum)
			}
		}
	}
	assert.Equal(t, map[string]int{
		"gen_ai.client.operation.duration s ": 1, "gen_ai.execute_tool.duration s INTERNAL": 1, "gen_ai.execute_tool.duration s ": 1,
		"gen_ai.client.token.usage {token} input": 12, "gen_ai.client.token.usage {token} output": 3,
	}, points)
	assert.Equal(t, t.Context(), telemetry.WithMeter(t.Context(), nil))
}

func TestLabelsAreOnTheRunsOwnSpan(t *testing.T) {
	ctx, ended := recorded(t)
	ctx = telemetry.WithLabels(ctx, map[string]string{"batch": "7", "who": "me"})
	ctx, outer := telemetry.Start(ctx, action("flow", "menu"))
	_, inner := telemetry.Start(ctx, action("tool", "calc/add"))
	require.NoError(t, inner.End(nil))
	require.NoError(t, outer.End(nil))
	assert.NotContains(t, ended()[0], "batch")
	assert.Equal(t, "7", ended()[1]["batch"])
	assert.Equal(t, "me", ended()[1]["who"])
	assert.Equal(t, t.Context(), telemetry.WithLabels(t.Context(), nil))
}

func TestTheFirstSpanBelowIsToldOf(t *testing.T) {
	ctx, ended := recorded(t)
	var told []string
	ctx = telemetry.OnStart(ctx, func(ctx context.Context) {
		id, _ := telemetry.TraceIDs(ctx)
		told = append(told, id)
		telemetry.AnnotateContext(ctx, json.RawMessage(`{"auth":{"token":"t"},"secrets":1,"a":[1.50]}`))
	})
	ctx, outer := telemetry.Start(ctx, action("flow", "menu"))
	_, inner := telemetry.Start(ctx, action("tool", "calc/add"))
	require.NoError(t, inner.End(nil))
	require.NoError(t, outer.End(nil))
	id, _ := telemetry.TraceIDs(ctx)
	assert.Equal(t, []string{id}, told)
	assert.Equal(t, `{"a":[1.50],"auth":"<redacted>","secrets":"<redacted>"}`, ended()[1]["genkit:metadata:context"])
	assert.Empty(t, ended()[0]["genkit:metadata:context"])
}

func TestEventsAreNotedOnTheSpan(t *testing.T) {
	ctx, ended := recorded(t)
	ctx, span := telemetry.Start(ctx, action("tool", "calc/add"))
	telemetry.Event(ctx, "guest.log", slog.String("line", "hi"), slog.Int("n", 1), slog.Bool("b", true), slog.Float64("f", 0.5))
	telemetry.Event(t.Context(), "nowhere")
	require.NoError(t, span.End(nil))
	assert.Equal(t, "line=hi n=1 b=true f=0.5\n", ended()[0]["event:guest.log"])
}

func TestTracesGoOnOverHTTP(t *testing.T) {
	in := http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	ctx, ended := recorded(t)
	ctx = telemetry.Extract(ctx, in)
	ctx, span := telemetry.Start(ctx, action("flow", "menu"))
	id, spanID := telemetry.TraceIDs(ctx)
	assert.Equal(t, "0af7651916cd43dd8448eb211c80319c", id)
	out := http.Header{}
	telemetry.Inject(ctx, out)
	assert.Equal(t, "00-"+id+"-"+spanID+"-01", out.Get("traceparent"))
	require.NoError(t, span.End(nil))
	assert.Equal(t, "b7ad6b7169203331", ended()[0]["parent"])
	assert.Equal(t, "true", ended()[0]["genkit:isRoot"], "of Genkit's spans it is the first")
	out = http.Header{}
	telemetry.Inject(t.Context(), out)
	assert.Empty(t, out)
	for _, hostile := range []string{"", "x", "00-0-0-00", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} {
		id, _ := telemetry.TraceIDs(telemetry.Extract(t.Context(), http.Header{"Traceparent": {hostile}}))
		assert.Empty(t, id, hostile)
	}
}

func BenchmarkStartWithoutAnybodyLooking(b *testing.B) {
	ctx := b.Context()
	s := telemetry.Span{Name: "openai/gpt-5", Type: telemetry.TypeAction, Subtype: "model", Key: "/model/openai/gpt-5", Input: json.RawMessage(`{}`)}
	b.ReportAllocs()
	for b.Loop() {
		_, span := telemetry.Start(ctx, s)
		_ = span.End(nil)
	}
}
