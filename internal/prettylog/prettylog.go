// Package prettylog writes log lines for people who watch a program work: the time of day, the level, the message and its
// attributes, each record on one line that can't steer a terminal. Lines of guests follow the name of their tool.
//
//	log := slog.New(prettylog.New(os.Stderr, prettylog.Options{Level: slog.LevelInfo, Guest: wasmhost.GuestLog}))
package prettylog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Options say how lines are written.
type Options struct {
	Level slog.Level
	// Colour has levels, times and attributes written in the colours of a terminal.
	Colour bool
	// Guest is the message of records that carry a line of a guest, in the attribute "line", and its tool's name, in "tool".
	Guest string
}

// New makes a handler that writes each record to w, whole, in one call of Write. It is safe for concurrent use.
func New(w io.Writer, o Options) slog.Handler { return &handler{Options: o, out: &lines{w: w}} }

type handler struct {
	Options
	out    *lines
	prefix string // of groups
	attrs  string // written already
	tool   string
}

// lines is a stream of whole lines.
type lines struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

// colour wraps text in an ANSI colour where that is wanted.
func (o *Options) colour(code, text string) string {
	if !o.Colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.Level }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	at := r.Time
	if at.IsZero() {
		at = time.Now()
	}
	name, shade := levelOf(r.Level)
	var b strings.Builder
	b.WriteString(h.colour(dim, at.Format("15:04:05.000")) + " " + h.colour(shade, name) + " ")
	if h.Guest != "" && r.Message == h.Guest {
		b.WriteString(h.guest(r))
	} else {
		b.WriteString(oneLine(r.Message))
		attrs := h.attrs
		r.Attrs(func(a slog.Attr) bool {
			attrs = attrs + h.attr(h.prefix, a)
			return true
		})
		b.WriteString(h.colour(dim, attrs))
	}
	b.WriteByte('\n')
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := io.WriteString(h.out.w, b.String())
	return err
}

func (h *handler) guest(r slog.Record) string {
	text, tool := "", h.tool
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "line":
			text = a.Value.String()
		case "tool":
			tool = a.Value.String()
		}
		return true
	})
	return h.colour(cyan, oneLine(tool)) + " │ " + oneLine(text)
}

// attr writes one fact; the names of groups stand before it.
func (h *handler) attr(prefix string, a slog.Attr) string {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return ""
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		var all strings.Builder
		for _, inner := range v.Group() {
			all.WriteString(h.attr(prefix, inner))
		}
		return all.String()
	}
	text := fmt.Sprint(v.Any())
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '"' || !unicode.IsGraphic(r) }) {
		text = strconv.Quote(text)
	}
	return " " + oneLine(prefix+a.Key) + "=" + text
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		c.attrs += h.attr(h.prefix, a)
		if a.Key == "tool" {
			c.tool = a.Value.String()
		}
	}
	return &c
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.prefix += name + "."
	return &c
}

const (
	dim    = "2"
	red    = "31"
	yellow = "33"
	cyan   = "36"
)

func levelOf(l slog.Level) (name, shade string) {
	switch {
	case l < slog.LevelDebug:
		return "TRACE", dim
	case l < slog.LevelInfo:
		return "DEBUG", dim
	case l < slog.LevelWarn:
		return "INFO ", cyan
	case l < slog.LevelError:
		return "WARN ", yellow
	}
	return "ERROR", red
}

// oneLine keeps a text from ending the line or steering the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return ' '
	}, s)
}
