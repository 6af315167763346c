package telemetry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

func recorded(t *testing.T) (context.Context, func() []map[string]string) {
	t.Helper()
	spans := &telemetrytest.Spans{}
	return telemetry.WithTracerProvider(t.Context(), spans), spans.Ended
}

func TestSpansCarryGenkitsAttributes(t *testing.T) {
	ctx, ended := recorded(t)
	ctx, outer := telemetry.Start(ctx, telemetry.Span{Name: "menu", Type: telemetry.TypeAction, Subtype: "flow", Key: "/flow/menu", Input: json.RawMessage(`"x"`)})
	_, inner := telemetry.Start(telemetry.WithBodies(ctx), telemetry.Span{Name: "step", Type: telemetry.TypeFlowStep, Input: json.RawMessage(`"in"`)})
	inner.Output(json.RawMessage(`"out"`))
	inner.Set("k", "v")
	require.NoError(t, inner.End(nil))
	require.NoError(t, outer.End(nil))
	spans := ended()
	require.Len(t, spans, 2)
	assert.NotEmpty(t, spans[0]["parent"])
	delete(spans[0], "parent")
	assert.Equal(t, map[string]string{
		"name": "step", "status": "Unset", "genkit:name": "step", "genkit:type": "flowStep", "genkit:state": "success",
		"genkit:path": "/{menu,t:flow}/{step,t:flowStep}", "genkit:input": `"in"`, "genkit:output": `"out"`,
		"genkit:metadata:inputBytes": "4", "genkit:metadata:outputBytes": "5", "genkit:metadata:k": "v",
	}, spans[0])
	assert.Equal(t, map[string]string{
		"name": "menu", "status": "Unset", "genkit:name": "menu", "genkit:type": "action", "genkit:metadata:subtype": "flow",
		"genkit:key": "/flow/menu", "genkit:state": "success", "genkit:isRoot": "true",
		"genkit:path": "/{menu,t:flow}", "genkit:metadata:inputBytes": "3",
	}, spans[1], "no body without WithBodies")
}

func TestOnlyTheFirstFailingSpanIsTheSource(t *testing.T) {
	ctx, ended := recorded(t)
	cause := errors.New("boom")
	ctx, outer := telemetry.Start(ctx, telemetry.Span{Name: "outer", Type: telemetry.TypeUtil})
	ctx, middle := telemetry.Start(ctx, telemetry.Span{Name: "middle", Type: telemetry.TypeUtil})
	_, inner := telemetry.Start(ctx, telemetry.Span{Name: "inner", Type: telemetry.TypeUtil})
	err := inner.End(cause)
	require.ErrorIs(t, err, cause)
	assert.EqualError(t, err, "boom")
	err = middle.End(fmt.Errorf("wrapped: %w", err))
	err = outer.End(status.Errorf(status.Internal, "tool: %w", err))
	require.ErrorIs(t, err, cause)
	require.ErrorIs(t, err, status.ErrInternal)
	sources := 0
	for _, s := range ended() {
		assert.Equal(t, "error", s["genkit:state"])
		assert.Equal(t, codes.Error.String(), s["status"])
		if s["genkit:isFailureSource"] == "true" {
			sources++
			assert.Equal(t, "inner", s["name"])
		}
	}
	assert.Equal(t, 1, sources)
}

func TestWithoutAProviderNothingIsRecorded(t *testing.T) {
	cause := errors.New("boom")
	ctx, span := telemetry.Start(t.Context(), telemetry.Span{Name: "x", Type: telemetry.TypeUtil})
	span.Output(json.RawMessage("1"))
	span.Set("k", "v")
	assert.Same(t, cause, span.End(cause))
	traceID, spanID := telemetry.TraceIDs(ctx)
	assert.Empty(t, traceID+spanID)
	assert.False(t, telemetry.Bodies(ctx))
	assert.True(t, telemetry.Bodies(telemetry.WithBodies(ctx)))
}

func TestTraceIDsNameTheSpan(t *testing.T) {
	ctx, ended := recorded(t)
	ctx, span := telemetry.Start(ctx, telemetry.Span{Name: "x", Type: telemetry.TypeUtil})
	traceID, spanID := telemetry.TraceIDs(ctx)
	assert.Len(t, traceID, 32)
	assert.Len(t, spanID, 16)
	require.NoError(t, span.End(nil))
	assert.Len(t, ended(), 1)
}
