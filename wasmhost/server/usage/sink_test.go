package usage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// receiver is a billing service that is told how to answer.
type receiver struct {
	*httptest.Server
	code atomic.Int64
	// refuses is the name of a tool whose events are refused.
	refuses atomic.Value

	mu       sync.Mutex
	got      map[string]usage.Event // by ID
	twice    int
	requests int
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{got: map[string]usage.Event{}}
	r.refuses.Store("nothing")
	r.code.Store(http.StatusNoContent)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		assert.Equal(t, "application/cloudevents-batch+json", req.Header.Get("Content-Type"))
		assert.Equal(t, "Bearer x", req.Header.Get("Authorization"))
		body, err := io.ReadAll(req.Body)
		assert.NoError(t, err)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.requests++
		if code := int(r.code.Load()); code >= 300 {
			w.WriteHeader(code)
			return
		}
		if strings.Contains(string(body), `"name":"`+r.refuses.Load().(string)+`"`) {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		var events []json.RawMessage
		assert.NoError(t, json.Unmarshal(body, &events))
		for _, raw := range events {
			e, err := usage.Decode(raw)
			assert.NoError(t, err)
			if _, again := r.got[e.ID]; again {
				r.twice++
			}
			r.got[e.ID] = e
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) sink(t *testing.T) usage.Target {
	t.Helper()
	s, err := usage.NewHTTP(usage.HTTPConfig{URL: r.URL, Header: map[string]string{"Authorization": "Bearer x"}})
	require.NoError(t, err)
	return usage.Target{Name: "bills", Sink: s}
}

func (r *receiver) names() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]bool{}
	for _, e := range r.got {
		all[e.Name] = true
	}
	return all
}

func (r *receiver) asked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, 30*time.Second, 5*time.Millisecond, what)
}

func countTools(b *usage.Book, from, to int) {
	for i := from; i < to; i++ {
		b.Record(tenant.Event{Time: time.Now(), Tenant: "acme", Tool: fmt.Sprintf("m/%d", i)})
	}
}

// What a receiver misses while it is down is delivered when it is there again, also by the next process
// after one that was killed.
func TestADeadReceiverMissesNothing(t *testing.T) {
	r := newReceiver(t)
	r.code.Store(http.StatusServiceUnavailable)
	dir := t.TempDir()
	b := open(t, usage.Config{Dir: dir, Sinks: []usage.Target{r.sink(t)}})
	usage.Impatient(b)
	countTools(b, 0, 700)
	eventually(t, func() bool { return b.Sinks()[0].Queued == 700 && b.Sinks()[0].Failing && r.asked() > 2 }, "all wait on disk")
	dir = killed(t, dir)
	require.NoError(t, b.Close())
	assert.Empty(t, r.names())

	r.code.Store(http.StatusNoContent)
	b = open(t, usage.Config{Dir: dir, Sinks: []usage.Target{r.sink(t)}})
	countTools(b, 700, 800)
	eventually(t, func() bool { return len(r.names()) == 800 && b.Sinks()[0].Queued == 0 }, "all arrive")
	dir = killed(t, dir)
	b = open(t, usage.Config{Dir: dir, Sinks: []usage.Target{r.sink(t)}})
	countTools(b, 800, 801)
	eventually(t, func() bool { return r.names()["m/800"] }, "the next process goes on")
	r.mu.Lock()
	defer r.mu.Unlock()
	assert.LessOrEqual(t, r.twice, 800, "at least once, and each has its id")
	assert.Len(t, r.got, 801)
}

func TestEventsGoOutWhenTheServerEnds(t *testing.T) {
	r := newReceiver(t)
	b := open(t, usage.Config{Sinks: []usage.Target{r.sink(t)}})
	countTools(b, 0, 3)
	require.NoError(t, b.Close())
	assert.Len(t, r.names(), 3)
}

func TestAnEventThatIsRefusedHoldsUpNoOthers(t *testing.T) {
	r := newReceiver(t)
	r.refuses.Store("m/13")
	var log syncBuffer
	b := open(t, usage.Config{Dir: t.TempDir(), Sinks: []usage.Target{r.sink(t)}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	countTools(b, 0, 100)
	eventually(t, func() bool { return len(r.names()) == 99 && b.Sinks()[0].Queued == 0 }, "the others arrive")
	s := b.Sinks()[0]
	assert.EqualValues(t, 1, s.Refused)
	assert.False(t, s.Failing)
	assert.EqualValues(t, 99, s.Delivered)
	assert.Equal(t, 1, strings.Count(log.String(), "refuses some"))
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// stuck is a sink that waits until it is let go, and then fails as it is told.
type stuck struct {
	release chan error
	began   chan struct{}
	got     atomic.Int64
}

func (s *stuck) Send(ctx context.Context, events []json.RawMessage) error {
	select {
	case s.began <- struct{}{}:
	default:
	}
	select {
	case err := <-s.release:
		if err == nil {
			s.got.Add(int64(len(events)))
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A queue that is full drops its oldest events, counts them, and says so once. No call waits.
func TestAFullQueueDropsTheOldest(t *testing.T) {
	for name, inMemory := range map[string]bool{"on disk": false, "in memory": true} {
		t.Run(name, func(t *testing.T) {
			s := &stuck{release: make(chan error), began: make(chan struct{}, 1)}
			var log syncBuffer
			b := open(t, usage.Config{
				Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil)),
				Sinks: []usage.Target{{Name: "slow", Sink: s, QueueBytes: 2 * usage.SegmentBytes, InMemory: inMemory}},
			})
			countTools(b, 0, 1)
			<-s.began
			const calls = 30_000
			for i := range calls / 1000 { // no faster than they are put into the queue
				countTools(b, 1+i*1000, 1+(i+1)*1000)
				eventually(t, func() bool {
					r := b.Sinks()[0]
					return r.Queued+r.Dropped == int64(1+(i+1)*1000)
				}, "each event waits or is counted as dropped")
			}
			r := b.Sinks()[0]
			assert.Positive(t, r.Dropped)
			assert.LessOrEqual(t, r.QueuedBytes, int64(3*usage.SegmentBytes))
			assert.Equal(t, 1, strings.Count(log.String(), "is full"))
			go func() {
				for range 2 {
					s.release <- errors.New("not yet")
				}
				close(s.release)
			}()
			usage.Impatient(b)
			eventually(t, func() bool { return b.Sinks()[0].Queued == 0 }, "what was kept is delivered")
			assert.GreaterOrEqual(t, s.got.Load(), r.Queued-1, "the batch under way may have been dropped with its part")
		})
	}
}

func TestASinkThatPanicsEndsNothing(t *testing.T) {
	b := open(t, usage.Config{Sinks: []usage.Target{{Name: "bad", Sink: panics{}}}})
	usage.Impatient(b)
	countTools(b, 0, 1)
	eventually(t, func() bool { return b.Sinks()[0].Failing }, "it counts as a failure")
	require.NoError(t, b.Close())
}

type panics struct{}

func (panics) Send(context.Context, []json.RawMessage) error { panic("an embedder's mistake") }

func TestADamagedQueueIsReadAsFarAsItGoes(t *testing.T) {
	r := newReceiver(t)
	r.code.Store(http.StatusServiceUnavailable)
	dir := t.TempDir()
	b := open(t, usage.Config{Dir: dir, Sinks: []usage.Target{r.sink(t)}})
	countTools(b, 0, 10)
	require.NoError(t, b.Close())
	files, err := filepath.Glob(filepath.Join(dir, "queue-bills", "*.events"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	raw, err := os.ReadFile(files[0])
	require.NoError(t, err)
	raw[bytes.IndexByte(raw, '\n')+30] ^= 4 // of the second line
	require.NoError(t, os.WriteFile(files[0], append(raw, "00000000 {\"half\":"...), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "queue-bills", "cursor"), []byte("nonsense"), 0o600))
	r.code.Store(http.StatusNoContent)
	b = open(t, usage.Config{Dir: dir, Sinks: []usage.Target{r.sink(t)}})
	countTools(b, 10, 12)
	eventually(t, func() bool { return len(r.names()) == 11 && b.Sinks()[0].Queued == 0 }, "all others arrive")
	assert.False(t, r.names()["m/1"])
	assert.Positive(t, b.Sinks()[0].Dropped)
}

// A file has lines of events and nothing else, also where it is opened again; only a line that was cut off is ended.
func TestAFileThatIsOpenedAgainHasNoEmptyLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	send := func(event string) {
		t.Helper()
		f, err := usage.NewFile(usage.FileConfig{Path: path})
		require.NoError(t, err)
		require.NoError(t, f.Send(t.Context(), []json.RawMessage{json.RawMessage(event)}))
		require.NoError(t, f.Close())
	}
	send("1")
	send("2")
	require.NoError(t, os.WriteFile(path, []byte("1\n2\n{\"cut"), 0o600))
	send("3")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "1\n2\n{\"cut\n3\n", string(raw))
}

func TestAFileIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "usage.jsonl")
	require.NoError(t, os.WriteFile(path, []byte("a line that was cut o"), 0o600))
	f, err := usage.NewFile(usage.FileConfig{Path: path, MaxBytes: 20_000, Files: 2})
	require.NoError(t, err)
	b := open(t, usage.Config{Sinks: []usage.Target{{Name: "file", Sink: f, InMemory: true}}})
	for i := range 20 {
		countTools(b, i*10, (i+1)*10)
		eventually(t, func() bool { return b.Sinks()[0].Delivered == int64((i+1)*10) }, "they are written")
	}
	require.NoError(t, b.Close())
	files, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	require.Equal(t, []string{path, path + ".1", path + ".2"}, files)
	last := 0
	for _, name := range []string{path + ".2", path + ".1", path} { // the oldest first
		raw, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.LessOrEqual(t, len(raw), 20_000)
		for line := range bytes.Lines(raw) {
			e, err := usage.Decode(bytes.TrimSpace(line))
			if err != nil {
				assert.Contains(t, string(line), "cut o")
				continue
			}
			var n int
			_, err = fmt.Sscanf(e.Name, "m/%d", &n)
			require.NoError(t, err)
			assert.True(t, last == 0 || n == last+1, "%d after %d", n, last)
			last = n
		}
	}
	assert.Equal(t, 199, last)
}

func TestSinksAreCheckedWhenTheyAreMade(t *testing.T) {
	for _, c := range []usage.HTTPConfig{
		{}, {URL: "ftp://x"}, {URL: "https://"}, {URL: "https://user:secret@example.com"}, {URL: "://"}, {URL: "https://x", Header: map[string]string{"a b": "x"}}, {URL: "https://x", Header: map[string]string{"a": "x\r\ny: z"}},
	} {
		_, err := usage.NewHTTP(c)
		require.ErrorIs(t, err, status.ErrInvalidArgument, c.URL)
		assert.NotContains(t, err.Error(), "secret")
	}
	for _, c := range []usage.FileConfig{{}, {Path: "x", MaxBytes: -1}, {Path: "x", Files: 1001}} {
		_, err := usage.NewFile(c)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
	for _, targets := range [][]usage.Target{
		{{Name: "x"}}, {{Name: "../x", Sink: panics{}}}, {{Name: "x", Sink: panics{}}, {Name: "x", Sink: panics{}}}, {{Name: "x", Sink: panics{}, QueueBytes: -1}}, make([]usage.Target, 9),
	} {
		_, err := usage.Open(usage.Config{Dir: t.TempDir(), Sinks: targets})
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
}
