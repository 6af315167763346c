package main

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

	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// pretty writes log lines for people: the time of day, a coloured level, the message and
// its attributes. A guest's line follows the name of its tool.
type pretty struct {
	level  slog.Level
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

func newPretty(w io.Writer, level slog.Level) slog.Handler {
	return &pretty{level: level, out: &lines{w: w}}
}

func (p *pretty) Enabled(_ context.Context, level slog.Level) bool { return level >= p.level }

func (p *pretty) Handle(_ context.Context, r slog.Record) error {
	at := r.Time
	if at.IsZero() {
		at = time.Now()
	}
	name, shade := levelOf(r.Level)
	var b strings.Builder
	b.WriteString(colour(p.out.w, dim, at.Format("15:04:05.000")) + " " + colour(p.out.w, shade, name) + " ")
	if r.Message == wasmhost.GuestLog {
		b.WriteString(p.guest(r))
	} else {
		b.WriteString(oneLine(r.Message))
		attrs := p.attrs
		r.Attrs(func(a slog.Attr) bool {
			attrs = attrs + p.attr(p.prefix, a)
			return true
		})
		b.WriteString(colour(p.out.w, dim, attrs))
	}
	b.WriteByte('\n')
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	_, err := io.WriteString(p.out.w, b.String())
	return err
}

func (p *pretty) guest(r slog.Record) string {
	text, tool := "", p.tool
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "line":
			text = a.Value.String()
		case "tool":
			tool = a.Value.String()
		}
		return true
	})
	return colour(p.out.w, cyan, oneLine(tool)) + " │ " + oneLine(text)
}

// attr writes one fact; the names of groups stand before it.
func (p *pretty) attr(prefix string, a slog.Attr) string {
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
			all.WriteString(p.attr(prefix, inner))
		}
		return all.String()
	}
	text := fmt.Sprint(v.Any())
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '"' || !unicode.IsGraphic(r) }) {
		text = strconv.Quote(text)
	}
	return " " + oneLine(prefix+a.Key) + "=" + text
}

func (p *pretty) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *p
	for _, a := range attrs {
		c.attrs += p.attr(p.prefix, a)
		if a.Key == "tool" {
			c.tool = a.Value.String()
		}
	}
	return &c
}

func (p *pretty) WithGroup(name string) slog.Handler {
	if name == "" {
		return p
	}
	c := *p
	c.prefix += name + "."
	return &c
}

const (
	dim  = "2"
	cyan = "36"
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
