package prettylog_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/genkit-wasm/genkit-wasm/internal/prettylog"
)

var noon = time.Date(2026, 1, 2, 12, 30, 0, 5e6, time.Local)

// line is what a handler writes of one record.
func line(o prettylog.Options, level slog.Level, message string, with func(slog.Handler) slog.Handler, args ...any) string {
	var out bytes.Buffer
	h := prettylog.New(&out, o)
	if with != nil {
		h = with(h)
	}
	r := slog.NewRecord(noon, level, message, 0)
	r.Add(args...)
	if h.Enabled(context.Background(), level) {
		_ = h.Handle(context.Background(), r)
	}
	return out.String()
}

func TestARecordIsOneLine(t *testing.T) {
	o := prettylog.Options{Guest: "guest"}
	tool := func(h slog.Handler) slog.Handler { return h.WithAttrs([]slog.Attr{slog.String("tool", "calc/add")}) }
	group := func(h slog.Handler) slog.Handler {
		return h.WithAttrs([]slog.Attr{slog.Int("a", 1)}).WithGroup("").WithGroup("g").WithAttrs([]slog.Attr{slog.Int("b", 2)})
	}
	for want, got := range map[string]string{
		"INFO  loaded file=a.wasm took=1s":           line(o, slog.LevelInfo, "loaded", nil, "file", "a.wasm", "took", time.Second),
		`WARN  odd text="two words" empty="" g.n=1`:  line(o, slog.LevelWarn, "odd", nil, "text", "two words", "empty", "", slog.Group("g", "n", 1)),
		`ERROR bad  line steer="\x1b[2J" quote="\""`: line(o, slog.LevelError, "bad\n\x1bline", nil, "steer", "\x1b[2J", "quote", `"`),
		"INFO  calc/add │ hello  there":              line(o, slog.LevelInfo, "guest", tool, "line", "hello\n\x07there"),
		"INFO  own │ x":                              line(o, slog.LevelInfo, "guest", tool, "tool", "own", "line", "x"),
		"INFO  x a=1 g.b=2 g.c=3 g.in.d=4":           line(o, slog.LevelInfo, "x", group, "c", 3, slog.Group("in", "d", 4)),
		"INFO  x e=5":                                line(o, slog.LevelInfo, "x", nil, slog.Attr{}, slog.Group("", "e", 5)),
		"INFO  odd name here=1":                      line(o, slog.LevelInfo, "odd", nil, "name\nhere", 1),
	} {
		assert.Equal(t, "12:30:00.005 "+want+"\n", got)
	}
	assert.Empty(t, line(o, slog.LevelDebug, "too low", nil))
	assert.NotContains(t, line(prettylog.Options{}, slog.LevelInfo, "guest", tool, "line", "x"), "│", "no message is a guest's")
	var out bytes.Buffer
	_ = prettylog.New(&out, o).Handle(t.Context(), slog.NewRecord(time.Time{}, slog.LevelInfo, "x", 0))
	assert.Regexp(t, `^\d\d:\d\d:\d\d\.\d{3} INFO  x\n$`, out.String(), "a record without a time has that of now")
}

func TestLevelsHaveColours(t *testing.T) {
	for level, want := range map[slog.Level]string{
		slog.LevelDebug - 4: "\x1b[2mTRACE\x1b[0m", slog.LevelDebug: "\x1b[2mDEBUG\x1b[0m", slog.LevelInfo: "\x1b[36mINFO \x1b[0m",
		slog.LevelWarn: "\x1b[33mWARN \x1b[0m", slog.LevelError: "\x1b[31mERROR\x1b[0m", slog.LevelError + 4: "\x1b[31mERROR\x1b[0m",
	} {
		got := line(prettylog.Options{Level: slog.LevelDebug - 4, Colour: true}, level, "x", nil, "a", 1)
		assert.Equal(t, "\x1b[2m12:30:00.005\x1b[0m "+want+" x\x1b[2m a=1\x1b[0m\n", got)
		assert.NotContains(t, line(prettylog.Options{Level: slog.LevelDebug - 4}, level, "x", nil), "\x1b")
	}
}

// chunks counts the calls of Write, whose callers must not overlap.
type chunks struct{ got []string }

func (c *chunks) Write(p []byte) (int, error) {
	c.got = append(c.got, string(p))
	return len(p), nil
}

func TestLinesOfManyWritersStayWhole(t *testing.T) {
	var c chunks
	log := slog.New(prettylog.New(&c, prettylog.Options{}))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				log.With("a", 1).Info("x")
			}
		})
	}
	all.Wait()
	assert.Len(t, c.got, 400)
	for _, text := range c.got {
		assert.Equal(t, 1, strings.Count(text, "\n"))
	}
	assert.ErrorIs(t, prettylog.New(failing{}, prettylog.Options{}).Handle(t.Context(), slog.Record{}), io.ErrClosedPipe)
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
