package openai_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

func TestARequestNamesTheModelsSpan(t *testing.T) {
	s := serve(t, document(http.StatusOK, plain))
	spans := &telemetrytest.Spans{}
	ctx, outer := telemetry.Start(telemetry.WithTracerProvider(t.Context(), spans), telemetry.Span{Name: "menu", Type: telemetry.TypeAction, Subtype: "flow"})
	_, _, err := generate(ctx, newModel(t, s), hello(), false)
	require.NoError(t, err)
	require.NoError(t, outer.End(nil))
	traceID, _ := telemetry.TraceIDs(ctx)
	assert.Regexp(t, `^00-`+traceID+`-[0-9a-f]{16}-01$`, s.header(0).Get("Traceparent"))
	span := spans.Ended()[0]
	assert.Equal(t, "chat", span["gen_ai.operation.name"])
	assert.Equal(t, "openai", span["gen_ai.provider.name"])
	assert.Equal(t, "test", span["gen_ai.request.model"])
	assert.NotEmpty(t, span["gen_ai.usage.input_tokens"])

	_, _, err = generate(t.Context(), newModel(t, s), hello(), false)
	require.NoError(t, err)
	assert.Empty(t, s.header(1).Get("Traceparent"), "without a span there is none")
}
