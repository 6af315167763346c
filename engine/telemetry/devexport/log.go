package devexport

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
)

// logRecord is a line in OTLP's JSON form.
type logRecord struct {
	TimeUnixNano   string      `json:"timeUnixNano"`
	SeverityNumber int         `json:"severityNumber"`
	SeverityText   string      `json:"severityText"`
	Body           logValue    `json:"body"`
	Attributes     []logKeyVal `json:"attributes"`
	TraceID        string      `json:"traceId,omitempty"`
	SpanID         string      `json:"spanId,omitempty"`
}

type logKeyVal struct {
	Key   string   `json:"key"`
	Value logValue `json:"value"`
}

type logValue struct {
	String *string  `json:"stringValue,omitempty"`
	Int    *int64   `json:"intValue,omitempty"`
	Double *float64 `json:"doubleValue,omitempty"`
	Bool   *bool    `json:"boolValue,omitempty"`
}

func text(s string) logValue { return logValue{String: &s} }

func logBody(logs []*logRecord) any {
	type scope struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	type scopeLogs struct {
		Scope      scope        `json:"scope"`
		LogRecords []*logRecord `json:"logRecords"`
	}
	type resource struct {
		Attributes []logKeyVal `json:"attributes"`
		Dropped    int         `json:"droppedAttributesCount"`
	}
	type resourceLogs struct {
		Resource  resource    `json:"resource"`
		ScopeLogs []scopeLogs `json:"scopeLogs"`
	}
	return struct {
		ResourceLogs []resourceLogs `json:"resourceLogs"`
	}{[]resourceLogs{{
		Resource: resource{Attributes: []logKeyVal{}}, ScopeLogs: []scopeLogs{{Scope: scope{Name: "genkit-wasm"}, LogRecords: logs}},
	}}}
}

// LogHandler returns a handler that passes lines to next and sends them, each with the
// span in whose context it was written. next may be nil.
func (x *Exporter) LogHandler(next slog.Handler) slog.Handler {
	if next == nil {
		next = slog.DiscardHandler
	}
	return &logHandler{x: x, next: next}
}

type logHandler struct {
	x      *Exporter
	next   slog.Handler
	prefix string // of groups
	attrs  []logKeyVal
}

func (h *logHandler) sends(level slog.Level) bool { return level >= h.x.config.LogLevel.Level() }

// Enabled reports whether anybody wants the line.
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.sends(level) || h.next.Enabled(ctx, level)
}

// Handle sends the line and passes it on.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.sends(r.Level) {
		h.send(ctx, r)
	}
	if h.next.Enabled(ctx, r.Level) {
		return h.next.Handle(ctx, r)
	}
	return nil
}

// Bounds of one line.
const (
	maxLogText  = 64 << 10
	maxLogAttrs = 64
)

func (h *logHandler) send(ctx context.Context, r slog.Record) {
	at := r.Time
	if at.IsZero() {
		at = time.Now()
	}
	// slog and OpenTelemetry count in steps of four, nine apart.
	out := &logRecord{
		TimeUnixNano: strconv.FormatInt(at.UnixNano(), 10), SeverityNumber: min(max(int(r.Level)+9, 1), 24), SeverityText: r.Level.String(),
		Body: text(clip(r.Message)), Attributes: slices.Clone(h.attrs),
	}
	r.Attrs(func(a slog.Attr) bool {
		out.Attributes = appendAttr(out.Attributes, h.prefix, a)
		return len(out.Attributes) < maxLogAttrs
	})
	if out.Attributes == nil {
		out.Attributes = []logKeyVal{}
	}
	out.TraceID, out.SpanID = telemetry.TraceIDs(ctx)
	size := spanOverhead + len(*out.Body.String)
	for _, a := range out.Attributes {
		size += len(a.Key)
		if a.Value.String != nil {
			size += len(*a.Value.String)
		}
	}
	h.x.push(item{log: out, size: size})
}

func clip(s string) string {
	if len(s) > maxLogText {
		return s[:maxLogText] + "…"
	}
	return s
}

func appendAttr(list []logKeyVal, prefix string, a slog.Attr) []logKeyVal {
	if len(list) >= maxLogAttrs || a.Equal(slog.Attr{}) {
		return list
	}
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range v.Group() {
			list = appendAttr(list, prefix, inner)
		}
		return list
	}
	return append(list, logKeyVal{Key: prefix + a.Key, Value: valueOf(v)})
}

func valueOf(v slog.Value) logValue {
	switch v.Kind() {
	case slog.KindBool:
		b := v.Bool()
		return logValue{Bool: &b}
	case slog.KindInt64:
		n := v.Int64()
		return logValue{Int: &n}
	case slog.KindFloat64:
		if f := v.Float64(); f-f == 0 { // JSON has no NaN and no infinity
			return logValue{Double: &f}
		}
	}
	return text(clip(v.String()))
}

// WithAttrs returns a handler whose lines carry attrs.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.next = h.next.WithAttrs(attrs)
	c.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		c.attrs = appendAttr(c.attrs, h.prefix, a)
	}
	return &c
}

// WithGroup returns a handler that puts name before the attributes that follow.
func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.next = h.next.WithGroup(name)
	c.prefix = h.prefix + name + "."
	return &c
}
