package devexport

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// spanData is a span as Genkit's tools keep it (genkit-tools/common/src/types/trace.ts);
// times are milliseconds since 1970 with fractions, 0 for what has not ended.
type spanData struct {
	SpanID       string         `json:"spanId"`
	TraceID      string         `json:"traceId"`
	ParentSpanID string         `json:"parentSpanId,omitempty"`
	StartTime    float64        `json:"startTime"`
	EndTime      float64        `json:"endTime"`
	Attributes   map[string]any `json:"attributes"`
	DisplayName  string         `json:"displayName"`
	Links        []link         `json:"links"`
	Library      library        `json:"instrumentationLibrary"`
	Kind         string         `json:"spanKind"`
	SameProcess  boolValue      `json:"sameProcessAsParentSpan"`
	Status       statusData     `json:"status"`
	TimeEvents   timeEvents     `json:"timeEvents"`
	Truncated    bool           `json:"truncated,omitempty"`

	root bool
}

type (
	link struct {
		Context struct {
			TraceID    string `json:"traceId"`
			SpanID     string `json:"spanId"`
			IsRemote   bool   `json:"isRemote"`
			TraceFlags int    `json:"traceFlags"`
		} `json:"context"`
		Attributes map[string]any `json:"attributes,omitempty"`
	}
	library struct {
		Name      string `json:"name"`
		Version   string `json:"version,omitempty"`
		SchemaURL string `json:"schemaUrl,omitempty"`
	}
	boolValue struct {
		Value bool `json:"value"`
	}
	statusData struct {
		Code    int    `json:"code"`
		Message string `json:"message,omitempty"`
	}
	timeEvents struct {
		TimeEvent []timeEvent `json:"timeEvent"`
	}
	timeEvent struct {
		Time       float64    `json:"time"`
		Annotation annotation `json:"annotation"`
	}
	annotation struct {
		Attributes  map[string]any `json:"attributes"`
		Description string         `json:"description"`
	}
)

// processor hands spans to the queue.
type processor struct{ x *Exporter }

var _ sdktrace.SpanProcessor = processor{}

// OnStart queues a span that has begun, in real time.
func (p processor) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	if p.x.config.Realtime {
		p.x.pushSpan(s)
	}
}

// OnEnd queues a span that has ended.
func (p processor) OnEnd(s sdktrace.ReadOnlySpan) { p.x.pushSpan(s) }

// ForceFlush is [Exporter.Flush].
func (p processor) ForceFlush(ctx context.Context) error { return p.x.Flush(ctx) }

// Shutdown flushes; the exporter itself is ended by its Close.
func (p processor) Shutdown(ctx context.Context) error { return p.x.Flush(ctx) }

func (x *Exporter) pushSpan(s sdktrace.ReadOnlySpan) {
	d, size := convert(s)
	x.push(item{span: d, size: size})
}

// maxAttribute bounds the text of one attribute. A longer one is replaced by a note,
// which is JSON like the value that it replaces.
const maxAttribute = 4 << 20

// spanOverhead is the size of a span beside its texts, in bytes.
const spanOverhead = 512

func convert(s sdktrace.ReadOnlySpan) (*spanData, int) {
	sc, scope := s.SpanContext(), s.InstrumentationScope()
	d := &spanData{
		SpanID: sc.SpanID().String(), TraceID: sc.TraceID().String(), DisplayName: s.Name(),
		StartTime: millis(s.StartTime()), EndTime: millis(s.EndTime()),
		Links:   []link{},
		Library: library{Name: scope.Name, Version: scope.Version, SchemaURL: scope.SchemaURL},
		Kind:    strings.ToUpper(s.SpanKind().String()), SameProcess: boolValue{!sc.IsRemote()},
		Status:     statusOf(s.Status()),
		TimeEvents: timeEvents{TimeEvent: []timeEvent{}},
	}
	if p := s.Parent(); p.IsValid() {
		d.ParentSpanID = p.SpanID().String()
	}
	d.root = !s.Parent().IsValid() || s.Parent().IsRemote()
	size := spanOverhead
	d.Attributes = d.attributes(s.Attributes(), &size)
	for _, e := range s.Events() {
		d.TimeEvents.TimeEvent = append(d.TimeEvents.TimeEvent, timeEvent{
			Time: millis(e.Time), Annotation: annotation{Attributes: d.attributes(e.Attributes, &size), Description: e.Name},
		})
	}
	for _, l := range s.Links() {
		var out link
		out.Context.TraceID, out.Context.SpanID = l.SpanContext.TraceID().String(), l.SpanContext.SpanID().String()
		out.Context.IsRemote, out.Context.TraceFlags = l.SpanContext.IsRemote(), int(l.SpanContext.TraceFlags())
		out.Attributes = d.attributes(l.Attributes, &size)
		d.Links = append(d.Links, out)
	}
	return d, size
}

func (d *spanData) attributes(attrs []attribute.KeyValue, size *int) map[string]any {
	out := make(map[string]any, len(attrs))
	for _, kv := range attrs {
		v := kv.Value.AsInterface()
		if text, ok := v.(string); ok {
			if len(text) > maxAttribute {
				note, _ := json.Marshal(fmt.Sprintf("%d bytes, which is more than a trace keeps", len(text))) // a string always encodes
				text, d.Truncated = string(note), true
			}
			v = text
			*size += len(text)
		}
		if f, ok := v.(float64); ok && f-f != 0 { // JSON has no NaN and no infinity
			v = fmt.Sprint(f)
		}
		*size += len(kv.Key)
		out[string(kv.Key)] = v
	}
	return out
}

func statusOf(s sdktrace.Status) statusData {
	switch s.Code {
	case codes.Ok:
		return statusData{Code: 1}
	case codes.Error:
		return statusData{Code: 2, Message: s.Description}
	}
	return statusData{}
}

func millis(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()/1000) / 1000
}

// traceData is one POST: spans of one trace, and of the trace what its root tells.
type traceData struct {
	TraceID     string               `json:"traceId"`
	DisplayName string               `json:"displayName,omitempty"`
	StartTime   float64              `json:"startTime,omitempty"`
	EndTime     *float64             `json:"endTime,omitempty"`
	Spans       map[string]*spanData `json:"spans"`

	items int
}

// group sorts items by trace; of a span's beginning and end the later one counts.
func group(items []item) (traces []*traceData, logs []*logRecord, flushed chan struct{}) {
	byID := map[string]*traceData{}
	for _, i := range items {
		switch {
		case i.flushed != nil:
			flushed = i.flushed
		case i.log != nil:
			logs = append(logs, i.log)
		case i.span != nil:
			t := byID[i.span.TraceID]
			if t == nil {
				t = &traceData{TraceID: i.span.TraceID, Spans: map[string]*spanData{}}
				byID[i.span.TraceID] = t
				traces = append(traces, t)
			}
			t.items++
			t.Spans[i.span.SpanID] = i.span
			if i.span.root {
				end := i.span.EndTime
				t.DisplayName, t.StartTime, t.EndTime = i.span.DisplayName, i.span.StartTime, &end
			}
		}
	}
	return traces, logs, flushed
}
