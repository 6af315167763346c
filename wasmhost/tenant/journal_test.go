package tenant_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

func TestTheJournalWritesEveryLine(t *testing.T) {
	var out bytes.Buffer
	j := tenant.NewJournal(&out, nil)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				j.Record(tenant.Event{Tenant: "acme", Tool: "calc/add", Fuel: int64(worker*5000 + i), Code: status.OK})
			}
		})
	}
	wg.Wait()
	require.NoError(t, j.Close())
	j.Record(tenant.Event{}) // too late, and harmless
	require.NoError(t, j.Close())
	var fuel []int64
	for dec := json.NewDecoder(&out); dec.More(); {
		var e tenant.Event
		require.NoError(t, dec.Decode(&e))
		require.Equal(t, "acme", e.Tenant)
		fuel = append(fuel, e.Fuel)
	}
	slices.Sort(fuel)
	require.Len(t, fuel, 20_000)
	assert.Equal(t, int64(19_999), fuel[len(fuel)-1])
}

// handed passes on what is written to it.
type handed chan string

func (h handed) Write(p []byte) (int, error) { h <- string(p); return len(p), nil }

// A process that is killed closes nothing: a line has to be on its way before that.
func TestALineIsWrittenBeforeTheJournalIsClosed(t *testing.T) {
	lines := make(handed)
	j := tenant.NewJournal(lines, nil)
	for _, tool := range []string{"calc/add", "calc/echo"} {
		j.Record(tenant.Event{Tool: tool})
		assert.Contains(t, <-lines, tool)
	}
	require.NoError(t, j.Close())
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestAJournalThatCannotWriteSaysSoAndStopsNobody(t *testing.T) {
	j := tenant.NewJournal(full{}, nil)
	for range 20_000 {
		j.Record(tenant.Event{Tenant: "acme"})
	}
	require.ErrorIs(t, j.Close(), status.ErrDataLoss)
}

// disk takes a number of bytes and then has no room until it is given more.
type disk struct {
	mu   sync.Mutex
	room int
	text []byte
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(p), d.room)
	d.room -= n
	d.text = append(d.text, p[:n]...)
	if n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func (d *disk) free(bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = bytes
}

// tools returns the tools of the lines that are JSON, and how many lines are not.
func tools(text []byte) (names []string, broken int) {
	for line := range strings.Lines(string(text)) {
		var e tenant.Event
		if json.Unmarshal([]byte(line), &e) != nil {
			broken++
			continue
		}
		names = append(names, e.Tool)
	}
	return names, broken
}

// TestAJournalGoesOnWhenThereIsRoomAgain fills the disk at every byte of a line.
func TestAJournalGoesOnWhenThereIsRoomAgain(t *testing.T) {
	line, err := json.Marshal(tenant.Event{Tenant: "acme", Tool: "3"})
	require.NoError(t, err)
	for room := range 2*len(line) + 3 {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			d := &disk{room: room}
			j := tenant.NewJournal(d, slog.New(slog.NewTextHandler(&log, nil)))
			var want []string
			record := func(names ...string) {
				for _, name := range names {
					j.Record(tenant.Event{Tenant: "acme", Tool: name})
					synctest.Wait()
				}
				want = append(want, names...)
			}
			record("0", "1", "2")
			assert.Equal(t, 1, strings.Count(log.String(), "level=ERROR"), log.String())
			assert.Positive(t, j.Report("acme").Unwritten)
			assert.Zero(t, j.Report("globex"))
			d.free(1) // not enough
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()
			record("3")
			d.free(1 << 20)
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()
			assert.Zero(t, j.Report("acme"))
			record("4")
			assert.Equal(t, 1, strings.Count(log.String(), "level=ERROR"), log.String())
			assert.Contains(t, log.String(), "written again")
			require.NoError(t, j.Close())
			got, broken := tools(d.text)
			assert.Equal(t, want, got, "room for %d bytes: %s", room, d.text)
			assert.LessOrEqual(t, broken, 2) // the torn lines, twice at most
		})
	}
}

func TestWhatAJournalCanNotKeepIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := &disk{}
		j := tenant.NewJournal(d, slog.New(slog.NewTextHandler(&log, nil)))
		const events = 50_000
		for i := range events {
			j.Record(tenant.Event{Tenant: []string{"acme", "globex"}[i%2], Tool: strconv.Itoa(i)})
		}
		synctest.Wait()
		a, g := j.Report("acme"), j.Report("globex")
		assert.Equal(t, int64(events/2), a.Unwritten+a.Lost)
		assert.Equal(t, int64(events/2), g.Unwritten+g.Lost)
		assert.Positive(t, a.Lost)
		assert.Equal(t, tenant.JournalReport{Unwritten: a.Unwritten + g.Unwritten, Lost: a.Lost + g.Lost}, j.Total())
		assert.Equal(t, 2, strings.Count(log.String(), "level=ERROR"), log.String())
		d.free(64 << 20)
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		assert.LessOrEqual(t, len(d.text), tenant.JournalKeeps)
		got, broken := tools(d.text)
		assert.Zero(t, broken)
		assert.Len(t, got, int(a.Unwritten+g.Unwritten))
		assert.Equal(t, tenant.JournalReport{Lost: a.Lost}, j.Report("acme"))
		lost := tenant.JournalReport{Lost: a.Lost + g.Lost}
		assert.Equal(t, lost, j.Total())
		j.Forget("acme")
		assert.Equal(t, lost, j.Total(), "of all, it does not fall")
		j.Forget("none")
		assert.Equal(t, tenant.JournalReport{}, j.Report("acme"), "the next tenant of the name has lost nothing")
		assert.Equal(t, tenant.JournalReport{Lost: g.Lost}, j.Report("globex"))
		err := j.Close()
		require.ErrorIs(t, err, status.ErrDataLoss)
		assert.Contains(t, err.Error(), strconv.FormatInt(a.Lost+g.Lost, 10)+" events")
	})
}

// TestATornLineOfAnEarlierProcessIsEnded has files as a crash leaves them.
func TestATornLineOfAnEarlierProcessIsEnded(t *testing.T) {
	whole := `{"tool":"before"}` + "\n"
	for name, before := range map[string]string{"no file": "", "whole": whole, "torn": whole + `{"tool":"to`, "torn before its end": whole + `{"tool":"before"}`} {
		path := filepath.Join(t.TempDir(), "usage.jsonl")
		if before != "" {
			require.NoError(t, os.WriteFile(path, []byte(before), 0o600))
		}
		j, err := tenant.OpenJournal(path, nil)
		require.NoError(t, err)
		j.Record(tenant.Event{Tool: "after"})
		require.NoError(t, j.Close())
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		got, broken := tools(text)
		assert.Equal(t, strings.Count(before, `"before"}`), strings.Count(strings.Join(got, ","), "before"), "%s: %s", name, text)
		assert.Equal(t, "after", got[len(got)-1], name)
		assert.Equal(t, name == "torn", broken == 1, "%s: %s", name, text)
	}
}

// stalls is a writer that takes nothing until it is let go.
type stalls struct {
	free  chan struct{}
	mu    sync.Mutex
	lines int
}

func (s *stalls) Write(p []byte) (int, error) {
	<-s.free
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

// When a call's event has been recorded, its line has been written: a process that is killed then has
// it in its file. A writer that stalls holds a call a tenth of a second.
func TestAnEventIsWrittenWhenItIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stalls{free: make(chan struct{})}
		close(w.free)
		j := tenant.NewJournal(w, nil)
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				for range 50 {
					j.Record(tenant.Event{Tenant: "t", Module: strconv.Itoa(i)})
				}
			})
		}
		wg.Wait()
		w.mu.Lock()
		assert.Equal(t, 64*50, w.lines)
		w.mu.Unlock()
		require.NoError(t, j.Close())

		w = &stalls{free: make(chan struct{})}
		j = tenant.NewJournal(w, nil)
		for range 3 {
			start := time.Now() // of the bubble's clock
			j.Record(tenant.Event{Tenant: "t"})
			assert.Equal(t, 100*time.Millisecond, time.Since(start))
		}
		close(w.free)
		start := time.Now()
		j.Record(tenant.Event{Tenant: "t"})
		assert.Zero(t, time.Since(start))
		require.NoError(t, j.Close())
		assert.Equal(t, 4, w.lines)
	})
}

// BenchmarkJournal records events in a file, from one goroutine and from several.
func BenchmarkJournal(b *testing.B) {
	j, err := tenant.OpenJournal(filepath.Join(b.TempDir(), "usage"), nil)
	require.NoError(b, err)
	defer func() { require.NoError(b, j.Close()) }()
	e := tenant.Event{Tenant: "acme", Module: "calc", Fuel: 12345}
	b.Run("callers=1", func(b *testing.B) {
		for b.Loop() {
			j.Record(e)
		}
	})
	b.Run("callers=64", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				j.Record(e)
			}
		})
	})
}
