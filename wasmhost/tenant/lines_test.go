package tenant_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

type told struct {
	Dropped tenant.LinesReport
	Ended   bool
}

func TestLinesBeyondTheRateAreDroppedCountedAndToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // the end is told by a timer
		var list []told
		l := tenant.NewLines(1000, func(r tenant.LinesReport, ended bool) {
			mu.Lock()
			defer mu.Unlock()
			list = append(list, told{r, ended})
		})
		all := func() []told {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(list)
		}
		written := 0
		for range 40 { // 40 kB at once
			if l.Take(1000) {
				written++
			}
		}
		assert.Equal(t, 16, written, "the burst")
		assert.Equal(t, []told{{tenant.LinesReport{}, false}}, all())
		time.Sleep(7 * time.Second) // of the bubble's clock
		assert.False(t, l.Take(10), "not before the bucket is half full")
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		require.Len(t, all(), 2, "its end is told without a further line")
		assert.Equal(t, told{tenant.LinesReport{Lines: 25, Bytes: 24_010}, true}, all()[1])
		assert.True(t, l.Take(1000))
		assert.Equal(t, tenant.LinesReport{Lines: 25, Bytes: 24_010}, l.Dropped())

		written = 0
		for range 60_000 { // a minute of a line each millisecond
			if l.Take(1000) {
				written++
			}
			time.Sleep(time.Millisecond)
		}
		assert.InDelta(t, 64, written, 8)
		assert.Less(t, len(all()), 20)
		l.Close()
		n := len(all())
		assert.True(t, all()[n-1].Ended)
		l.Close()
		assert.Len(t, all(), n, "and once")
	})
}

func TestALinesBytesAreCountedAsItIsWritten(t *testing.T) {
	for name, line := range map[string]string{
		"quotes":        strings.Repeat(`"`, 5000),
		"backslashes":   strings.Repeat(`\`, 5000),
		"tabs":          strings.Repeat("\t\n", 2500),
		"what is wide":  strings.Repeat("é\u00a0", 2500),
		"cut in a rune": strings.Repeat("a", 4091) + "\U0010fffd" + strings.Repeat("b", 500),
	} {
		t.Run(name, func(t *testing.T) {
			cut := tenant.CutLine(line, 4096)
			assert.NotEmpty(t, cut)
			for _, handler := range []func(*bytes.Buffer) slog.Handler{
				func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
				func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			} {
				var b bytes.Buffer
				slog.New(handler(&b)).Info("guest", slog.String("line", cut))
				assert.LessOrEqual(t, b.Len(), 4096+200)
				assert.LessOrEqual(t, b.Len(), tenant.LineBytes(cut))
			}
			assert.Greater(t, len(strconv.Quote(cut)), 4080, "no more is cut than has to be")
		})
	}
	assert.Equal(t, "short", tenant.CutLine("short", 4096))
}
