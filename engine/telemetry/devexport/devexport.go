// Package devexport sends spans and log lines to the telemetry server of Genkit's
// command line and Dev UI, while they happen.
//
// It owns the wire form of that server (POST /api/traces and /api/otlp) and a bounded
// queue: a traced run never waits for the server. Items that do not fit into the queue,
// and those that the server refuses, are dropped and counted. Use:
//
//	x := devexport.New(devexport.FromEnv(os.Getenv))
//	defer x.Close(ctx)
//	eng, err := engine.New(ctx, engine.Config{TracerProvider: x.TracerProvider(), RecordBodies: true,
//		Logger: slog.New(x.LogHandler(slog.NewTextHandler(os.Stderr, nil)))})
//
// Spans and lines wait in the queue until the server's URL is known. An Exporter is
// safe for concurrent use.
package devexport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Defaults of a [Config].
const (
	DefaultQueue      = 4096
	DefaultQueueBytes = 64 << 20
	DefaultTimeout    = 5 * time.Second
)

// Config configures an exporter. Its zero value is useful.
type Config struct {
	// URL is the telemetry server's; [Exporter.SetURL] may bring it later.
	URL string
	// Realtime sends each span when it starts, too, so that the Dev UI shows what
	// is under way.
	Realtime bool
	// Queue bounds how many spans and lines wait, QueueBytes how many bytes of
	// them; 0 takes the default.
	Queue, QueueBytes int
	// Timeout bounds one request; 0 takes the default.
	Timeout time.Duration
	// LogLevel is the lowest level of the lines that are sent; nil sends from
	// debug on.
	LogLevel slog.Leveler
	// Logger is told when the server stops accepting items, once for each time.
	// It must not be one whose lines come here.
	Logger *slog.Logger
}

// Environment that Genkit's tools give to the programs that they start.
const (
	EnvURL      = "GENKIT_TELEMETRY_SERVER"
	EnvRealtime = "GENKIT_ENABLE_REALTIME_TELEMETRY"
)

// FromEnv reads the environment that Genkit's tools set.
func FromEnv(getenv func(name string) string) Config {
	return Config{URL: getenv(EnvURL), Realtime: getenv(EnvRealtime) == "true"}
}

// Stats counts the spans and lines that were sent and dropped since the exporter was made. A span that
// is sent when it starts and when it ends counts twice.
type Stats struct {
	Sent    int64
	Dropped int64
}

// Exporter sends. Make one with [New], and end it with Close.
type Exporter struct {
	config   Config
	client   *http.Client
	provider *sdktrace.TracerProvider
	wake     chan struct{} // holds one token when there is work
	done     chan struct{} // closed when the sender has ended

	sending context.Context //nolint:containedctx // its end is the exporter's end
	stop    context.CancelFunc

	mu      sync.Mutex // guards the fields below
	url     string
	queue   []item
	bytes   int
	closed  bool
	failing bool
	lagging bool // a Flush gave up, and no request was prompt since
	stats   Stats
}

// maxEvents bounds a span's events: a guest logs up to 200 lines.
const maxEvents = 256

// item is a span, a log line, or the mark up to which a Flush waits.
type item struct {
	span    *spanData
	log     *logRecord
	size    int
	flushed chan struct{}
}

// New returns an exporter. Its one goroutine ends with Close.
func New(c Config) *Exporter {
	if c.Queue <= 0 {
		c.Queue = DefaultQueue
	}
	if c.QueueBytes <= 0 {
		c.QueueBytes = DefaultQueueBytes
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.LogLevel == nil {
		c.LogLevel = slog.LevelDebug
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	x := &Exporter{
		config: c,
		client: &http.Client{
			// The server is on this machine: no proxy, and it has nowhere to send us.
			Transport:     &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute},
			Timeout:       c.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	x.sending, x.stop = context.WithCancel(context.Background()) //nolint:forbidigo // the exporter's own life, which Close ends
	limits := sdktrace.NewSpanLimits()
	limits.EventCountLimit = maxEvents
	x.provider = sdktrace.NewTracerProvider(
		sdktrace.WithIDGenerator(ids{}), sdktrace.WithRawSpanLimits(limits), sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithResource(resource.Empty()), sdktrace.WithSpanProcessor(x.Processor()),
	)
	if c.URL != "" && x.SetURL(c.URL) != nil {
		c.Logger.Warn("the telemetry server's URL is none, and nothing is sent", slog.String("url", c.URL))
	}
	go x.send()
	return x
}

// TracerProvider returns the provider whose spans are sent.
func (x *Exporter) TracerProvider() telemetry.TracerProvider { return x.provider }

// Processor returns the span processor, for a tracer provider of OpenTelemetry's SDK that
// has other exporters, too.
func (x *Exporter) Processor() sdktrace.SpanProcessor { return processor{x} }

// URL returns the telemetry server's address, "" while it is not known.
func (x *Exporter) URL() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.url
}

// SetURL sets the address of the telemetry server; queued items are sent there. It fails
// with INVALID_ARGUMENT when the address is no http URL.
func (x *Exporter) SetURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
		return status.Publicf(status.InvalidArgument, "telemetry server: want a URL such as http://localhost:4033")
	}
	x.mu.Lock()
	x.url = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	x.failing = false
	x.mu.Unlock()
	x.signal()
	return nil
}

// Stats returns the counts of spans and lines.
func (x *Exporter) Stats() Stats {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stats
}

// push puts an item into the queue, or drops it. It never waits.
func (x *Exporter) push(i item) {
	x.mu.Lock()
	if x.closed || len(x.queue) >= x.config.Queue || x.bytes+i.size > x.config.QueueBytes {
		x.stats.Dropped++
		x.mu.Unlock()
		return
	}
	x.queue = append(x.queue, i)
	x.bytes += i.size
	x.mu.Unlock()
	x.signal()
}

func (x *Exporter) signal() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// Flush waits until all items queued before have been sent or dropped, or ctx ends. It
// does not wait for a server that is unknown or does not answer.
func (x *Exporter) Flush(ctx context.Context) error {
	return x.flush(ctx, false)
}

// flush is Flush; insist waits also for a server that let an earlier one down.
func (x *Exporter) flush(ctx context.Context, insist bool) error {
	x.mu.Lock()
	if x.closed || x.url == "" || x.failing || x.lagging && !insist {
		x.mu.Unlock()
		return nil
	}
	flushed := make(chan struct{})
	x.queue = append(x.queue, item{flushed: flushed})
	x.mu.Unlock()
	x.signal()
	select {
	case <-flushed:
		return nil
	case <-x.done:
		return nil
	case <-ctx.Done():
		x.mu.Lock()
		x.lagging = x.lagging || errors.Is(ctx.Err(), context.DeadlineExceeded)
		x.mu.Unlock()
		return status.Convert(ctx.Err())
	}
}

// prompt is how long a request may take of a server that is worth waiting for.
const prompt = time.Second

// Close sends the queue, at most until ctx ends, and ends the exporter. Later spans are
// dropped.
func (x *Exporter) Close(ctx context.Context) error {
	err := x.flush(ctx, true)
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	x.stop()
	<-x.done
	return err
}

// send is the exporter's goroutine.
func (x *Exporter) send() {
	defer close(x.done)
	defer x.client.CloseIdleConnections()
	for {
		select {
		case <-x.sending.Done():
			x.drop()
			return
		case <-x.wake:
			x.sendQueued(x.sending)
		}
	}
}

func (x *Exporter) take() (base string, items []item) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.url == "" {
		return "", nil
	}
	items, x.queue, x.bytes = x.queue, nil, 0
	return x.url, items
}

// drop counts items that will not be sent.
func (x *Exporter) drop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, i := range x.queue {
		if i.flushed == nil {
			x.stats.Dropped++
		}
	}
	x.queue, x.bytes = nil, 0
}

func (x *Exporter) sendQueued(ctx context.Context) {
	base, items := x.take()
	for len(items) > 0 {
		n := batch(items)
		x.sendBatch(ctx, base, items[:n])
		items = items[n:]
	}
}

// maxBatch bounds one request's spans and lines, by their number and their bytes.
const (
	maxBatch      = 256
	maxBatchBytes = 8 << 20
)

// batch returns how many items go together: up to the next Flush and the bounds.
func batch(items []item) int {
	size := 0
	for n, i := range items {
		size += i.size
		switch {
		case i.flushed != nil:
			return n + 1
		case n > 0 && (n >= maxBatch || size > maxBatchBytes):
			return n
		}
	}
	return len(items)
}

func (x *Exporter) sendBatch(ctx context.Context, base string, items []item) {
	traces, logs, flushed := group(items)
	for _, t := range traces {
		x.post(ctx, base+"/api/traces", t, t.items)
	}
	if len(logs) > 0 {
		x.post(ctx, base+"/api/otlp", logBody(logs), len(logs))
	}
	if flushed != nil {
		close(flushed)
	}
}

// post sends one body and counts its n items.
func (x *Exporter) post(ctx context.Context, target string, body any, n int) {
	began := time.Now()
	err := x.request(ctx, target, body)
	x.mu.Lock()
	if err == nil && time.Since(began) < prompt {
		x.lagging = false
	}
	first := err != nil && !x.failing
	x.failing = err != nil
	if err == nil {
		x.stats.Sent += int64(n)
	} else {
		x.stats.Dropped += int64(n)
	}
	x.mu.Unlock()
	if first && ctx.Err() == nil {
		x.config.Logger.Warn("the telemetry server does not take traces", slog.String("url", target), slog.Any("error", err))
	}
}

func (x *Exporter) request(ctx context.Context, target string, body any) error {
	raw, err := rawjson.Encode(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := x.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	return nil
}
