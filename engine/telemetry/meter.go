package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// MeterProvider is OpenTelemetry's, named here so that nobody else needs its API.
type MeterProvider = metric.MeterProvider

// Meter records the metrics of the conventions for generative AI: how long models, embedders
// and tools take, and how many tokens models use.
type Meter struct {
	model  metric.Float64Histogram
	tool   metric.Float64Histogram
	tokens metric.Int64Histogram
}

// Bounds of the histograms, as the conventions advise them.
var (
	secondBounds = []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	tokenBounds  = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
)

// NewMeter makes the instruments of p. It fails with INTERNAL when p refuses one.
func NewMeter(p MeterProvider) (*Meter, error) {
	m := p.Meter("genkit-wasm")
	out := &Meter{}
	var err error
	if out.model, err = m.Float64Histogram("gen_ai.client.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of a call to a model or an embedder."), metric.WithExplicitBucketBoundaries(secondBounds...)); err != nil {
		return nil, status.Errorf(status.Internal, "make an instrument: %w", err)
	}
	if out.tool, err = m.Float64Histogram("gen_ai.execute_tool.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of a tool's run."), metric.WithExplicitBucketBoundaries(secondBounds...)); err != nil {
		return nil, status.Errorf(status.Internal, "make an instrument: %w", err)
	}
	if out.tokens, err = m.Int64Histogram("gen_ai.client.token.usage", metric.WithUnit("{token}"),
		metric.WithDescription("Tokens that a model's call used."), metric.WithExplicitBucketBoundaries(tokenBounds...)); err != nil {
		return nil, status.Errorf(status.Internal, "make an instrument: %w", err)
	}
	return out, nil
}

// WithMeter returns a context whose runs record their metrics in m; nil records none.
func WithMeter(ctx context.Context, m *Meter) context.Context {
	if m == nil {
		return ctx
	}
	return context.WithValue(ctx, meterKey, m)
}

// timing is a run that is measured; nil where nobody counts.
type timing struct {
	meter *Meter
	use   genAI
	began time.Time
}

func begin(ctx context.Context, s Span) *timing {
	m, ok := ctx.Value(meterKey).(*Meter)
	if !ok {
		return nil
	}
	use := genAIOf(s)
	if !use.measured() {
		return nil
	}
	return &timing{meter: m, use: use, began: time.Now()}
}

// end counts the run that ends with err.
func (t *timing) end(err error) {
	if t == nil {
		return
	}
	attrs := t.use.attributes()
	if _, asks := errors.AsType[pause](err); err != nil && !asks {
		attrs = append(attrs, attribute.String(attrErrorType, status.Of(err).String()))
	}
	h := t.meter.model
	if t.use.operation == opTool {
		h = t.meter.tool
	}
	h.Record(context.Background(), time.Since(t.began).Seconds(), metric.WithAttributes(attrs...)) //nolint:forbidigo // recording neither waits nor fails
}

func (m *Meter) count(use genAI, kind string, n int64) {
	if m == nil {
		return
	}
	attrs := append(use.attributes(), attribute.String(attrGenAITokenType, kind))
	m.tokens.Record(context.Background(), n, metric.WithAttributes(attrs...)) //nolint:forbidigo // recording neither waits nor fails
}
