package pdk

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/host"
)

// Level is the severity of a log line.
type Level int32

// The levels of the host's log.
const (
	LevelTrace Level = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
)

// Log writes one line to the host's log. The host may cut long lines and drop
// lines past its limit.
func Log(level Level, message string) { host.Log(int32(level), []byte(message)) }

// NewLogHandler returns a [slog.Handler] that writes to the host's log, with
// attributes as key=value behind the message. Levels below slog.LevelDebug
// become trace.
func NewLogHandler() slog.Handler { return logHandler{} }

type logHandler struct {
	attrs  string // " key=value" of each, ready to append
	prefix string // the open groups, "a.b."
}

var _ slog.Handler = logHandler{}

func (logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, h.prefix, a)
		return true
	})
	Log(fromSlog(r.Level), b.String())
	return nil
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	for _, a := range attrs {
		writeAttr(&b, h.prefix, a)
	}
	h.attrs += b.String()
	return h
}

func (h logHandler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.prefix += name + "."
	}
	return h
}

func writeAttr(b *strings.Builder, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, m := range v.Group() {
			writeAttr(b, prefix, m)
		}
		return
	}
	if a.Equal(slog.Attr{}) {
		return
	}
	s := v.String()
	if s == "" || strings.ContainsAny(s, " \t\n\"=") {
		s = fmt.Sprintf("%q", s)
	}
	fmt.Fprintf(b, " %s%s=%s", prefix, a.Key, s)
}

func fromSlog(l slog.Level) Level {
	switch {
	case l < slog.LevelDebug:
		return LevelTrace
	case l < slog.LevelInfo:
		return LevelDebug
	case l < slog.LevelWarn:
		return LevelInfo
	case l < slog.LevelError:
		return LevelWarn
	default:
		return LevelError
	}
}
