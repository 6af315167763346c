package flowserver_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

func TestAnAnswerNamesItsTrace(t *testing.T) {
	spans := &telemetrytest.Spans{}
	f, err := flow.New("echo", func(_ context.Context, in string) (string, error) {
		if in == "fail" {
			return "", status.Publicf(status.NotFound, "nothing")
		}
		return in, nil
	})
	require.NoError(t, err)
	for _, traced := range []bool{true, false} {
		config := flowserver.Config{}
		if traced {
			config.Prepare = func(ctx context.Context) context.Context { return telemetry.WithTracerProvider(ctx, spans) }
		}
		s, err := flowserver.New(config)
		require.NoError(t, err)
		for body, code := range map[string]int{`{"data":"hi"}`: http.StatusOK, `{"data":"fail"}`: http.StatusNotFound} {
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/echo", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			s.Handler(flowserver.Flow{Action: f}).ServeHTTP(w, r)
			assert.Equal(t, code, w.Code, w.Body.String())
			if !traced {
				assert.Empty(t, w.Header().Get("X-Genkit-Trace-Id"))
				continue
			}
			assert.Len(t, w.Header().Get("X-Genkit-Trace-Id"), 32)
			assert.Len(t, w.Header().Get("X-Genkit-Span-Id"), 16)
		}
	}
}
