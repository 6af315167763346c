// Package otlp sends traces, metrics and logs to a collector by OTLP over HTTP, as
// OpenTelemetry's standard environment variables ask for it.
//
// It owns the exporters, which weigh several megabytes in a binary; who does not import
// it does not carry them. Use:
//
//	p, err := otlp.FromEnv(ctx, otlp.Config{Service: "my-app"})
//	defer p.Close(ctx)
//	ctx = p.Context(ctx)
//
// A [Pipeline] is safe for concurrent use; a nil one is what an environment that asks for
// nothing gives, and does nothing.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
)

// Config configures a pipeline beside the environment.
type Config struct {
	// Service is the service.name where OTEL_SERVICE_NAME and
	// OTEL_RESOURCE_ATTRIBUTES say none.
	Service string
	// Processors get the spans, too, such as devexport's. With one of them the
	// pipeline is never nil.
	Processors []sdktrace.SpanProcessor
	// Getenv says which exporters are asked for; nil is os.Getenv. How they send
	// is read by OpenTelemetry from the process's environment.
	Getenv func(name string) string
}

// Pipeline holds the exporters that the environment asks for.
type Pipeline struct {
	traces  *sdktrace.TracerProvider
	metrics *sdkmetric.MeterProvider
	logs    *sdklog.LoggerProvider
	meter   *telemetry.Meter
}

// signal is one of OpenTelemetry's three kinds of data.
type signal struct{ name string }

// asked reports whether the environment asks for OTLP: by OTEL_<SIGNAL>_EXPORTER, or by
// an endpoint where that is not set.
func (s signal) asked(getenv func(string) string) (bool, error) {
	switch exporter := getenv("OTEL_" + s.name + "_EXPORTER"); exporter {
	case "none":
		return false, nil
	case "otlp":
	case "":
		if getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && getenv("OTEL_EXPORTER_OTLP_"+s.name+"_ENDPOINT") == "" {
			return false, nil
		}
	default:
		return false, status.Publicf(status.InvalidArgument, "OTEL_%s_EXPORTER is %q, want otlp or none", s.name, exporter)
	}
	protocol := getenv("OTEL_EXPORTER_OTLP_" + s.name + "_PROTOCOL")
	if protocol == "" {
		protocol = getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	if protocol != "" && protocol != "http/protobuf" {
		return false, status.Publicf(status.InvalidArgument, "OTEL_EXPORTER_OTLP_PROTOCOL is %q; what is spoken is http/protobuf", protocol)
	}
	return true, nil
}

// FromEnv opens the exporters that the environment asks for; nil when it asks for none. It fails
// with INVALID_ARGUMENT for an exporter or protocol that is not spoken. Nothing is
// connected to yet.
func FromEnv(ctx context.Context, c Config) (p *Pipeline, err error) {
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	off := strings.EqualFold(c.Getenv("OTEL_SDK_DISABLED"), "true")
	asked := [3]bool{}
	for i, s := range []signal{{"TRACES"}, {"METRICS"}, {"LOGS"}} {
		if off {
			break
		}
		if asked[i], err = s.asked(c.Getenv); err != nil {
			return nil, err
		}
	}
	if len(c.Processors) == 0 && asked == [3]bool{} {
		return nil, nil //nolint:nilnil // a nil pipeline does nothing
	}
	p = &Pipeline{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close(context.WithoutCancel(ctx)))
			p = nil
		}
	}()
	res, err := describe(ctx, c)
	if err != nil {
		return p, err
	}
	if err := p.openTraces(ctx, c, asked[0], res); err != nil {
		return p, err
	}
	if asked[1] {
		if err := p.openMetrics(ctx, res); err != nil {
			return p, err
		}
	}
	if asked[2] {
		return p, p.openLogs(ctx, res)
	}
	return p, nil
}

// describe names this service. The environment takes precedence.
func describe(ctx context.Context, c Config) (*resource.Resource, error) {
	options := []resource.Option{}
	if c.Service != "" {
		options = append(options, resource.WithAttributes(attribute.String("service.name", c.Service)))
	}
	res, err := resource.New(ctx, append(options, resource.WithTelemetrySDK(), resource.WithFromEnv())...)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return res, nil
}

func (p *Pipeline) openTraces(ctx context.Context, c Config, asked bool, res *resource.Resource) error {
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	for _, processor := range c.Processors {
		options = append(options, sdktrace.WithSpanProcessor(processor))
	}
	if asked {
		x, err := otlptracehttp.New(ctx)
		if err != nil {
			return failed("traces", err)
		}
		options = append(options, sdktrace.WithBatcher(x)) // drops when its queue is full
	}
	if asked || len(c.Processors) > 0 {
		p.traces = sdktrace.NewTracerProvider(options...)
	}
	return nil
}

func (p *Pipeline) openMetrics(ctx context.Context, res *resource.Resource) error {
	x, err := otlpmetrichttp.New(ctx)
	if err != nil {
		return failed("metrics", err)
	}
	p.metrics = sdkmetric.NewMeterProvider(sdkmetric.WithResource(res), sdkmetric.WithReader(sdkmetric.NewPeriodicReader(x)))
	p.meter, err = telemetry.NewMeter(p.metrics)
	return err
}

func (p *Pipeline) openLogs(ctx context.Context, res *resource.Resource) error {
	x, err := otlploghttp.New(ctx)
	if err != nil {
		return failed("logs", err)
	}
	p.logs = sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(x)))
	return nil
}

func failed(what string, err error) error {
	return status.Publicf(status.InvalidArgument, "open the exporter of %s: %w", what, err)
}

// TracerProvider returns where spans go; nil when nobody asked for them.
func (p *Pipeline) TracerProvider() telemetry.TracerProvider {
	if p == nil || p.traces == nil {
		return nil
	}
	return p.traces
}

// Meter returns the meter; nil when metrics are not exported.
func (p *Pipeline) Meter() *telemetry.Meter {
	if p == nil {
		return nil
	}
	return p.meter
}

// Context returns ctx with the pipeline's spans and metrics.
func (p *Pipeline) Context(ctx context.Context) context.Context {
	if t := p.TracerProvider(); t != nil {
		ctx = telemetry.WithTracerProvider(ctx, t)
	}
	return telemetry.WithMeter(ctx, p.Meter())
}

// LogHandler returns a handler that sends lines with the span they were written in; nil
// when nobody asked.
func (p *Pipeline) LogHandler() slog.Handler {
	if p == nil || p.logs == nil {
		return nil
	}
	return otelslog.NewHandler("genkit-wasm", otelslog.WithLoggerProvider(p.logs))
}

// all calls every one, whatever the others return.
func all(ctx context.Context, what string, calls []func(context.Context) error) error {
	var errs []error
	for _, call := range calls {
		if err := call(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s telemetry: %w", what, err))
		}
	}
	return errors.Join(errs...)
}

// Flush sends all queues, at most until ctx ends.
func (p *Pipeline) Flush(ctx context.Context) error {
	if p == nil {
		return nil
	}
	var calls []func(context.Context) error
	if p.traces != nil {
		calls = append(calls, p.traces.ForceFlush)
	}
	if p.metrics != nil {
		calls = append(calls, p.metrics.ForceFlush)
	}
	if p.logs != nil {
		calls = append(calls, p.logs.ForceFlush)
	}
	return all(ctx, "flush", calls)
}

// Close sends all queues, at most until ctx ends, and ends the exporters.
func (p *Pipeline) Close(ctx context.Context) error {
	if p == nil {
		return nil
	}
	var calls []func(context.Context) error
	if p.traces != nil {
		calls = append(calls, p.traces.Shutdown)
	}
	if p.metrics != nil {
		calls = append(calls, p.metrics.Shutdown)
	}
	if p.logs != nil {
		calls = append(calls, p.logs.Shutdown)
	}
	return all(ctx, "close", calls)
}
