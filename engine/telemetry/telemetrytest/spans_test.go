package telemetrytest_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

// Attributes that telemetry writes on a span can be read here once it has ended.
func TestSpansRecord(t *testing.T) {
	spans := &telemetrytest.Spans{}
	ctx := telemetry.WithTracerProvider(t.Context(), spans)
	_, running := telemetry.Start(ctx, telemetry.Span{Name: "menu", Type: telemetry.TypeAction, Subtype: "flow"})
	require.Error(t, running.End(errors.New("boom")))
	ended := spans.Ended()
	require.Len(t, ended, 1)
	require.Equal(t, "menu", ended[0]["genkit:name"])
	require.Equal(t, "flow", ended[0]["genkit:metadata:subtype"])
	require.Equal(t, "error", ended[0]["genkit:state"])
}
