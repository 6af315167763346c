package usagetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// Waiting is a queue that has no events yet.
type Waiting struct {
	usage.Queue
	// Reopen ends the queue as a server does that is stopped, and opens it again; nil where it does not outlive
	// its process, and then that is not checked.
	Reopen func() usage.Queue
}

// queueBytes bounds the queues of the kit.
const queueBytes = 3 << 20

// Queue runs the contract of [usage.Queue]; open returns an empty one that holds about maxBytes, and sees to its end.
func Queue(t *testing.T, open func(t *testing.T, maxBytes int64) Waiting) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Waiting){
		"events come in their order, a batch at a time":     testQueueOrder,
		"texts may hold anything and are the caller's":      testQueueTexts,
		"events come again until they are done":             testQueueAgain,
		"the oldest are dropped where there is no room":     testQueueFull,
		"what is done is no more than what was handed out":  testQueueDropsWhileSent,
		"events are put while others are taken":             testQueueConcurrent,
		"what waits outlives the process, and is in order":  testQueueReopen,
		"a queue tells what waits in it, and what was lost": testQueueStats,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t, queueBytes)) })
	}
	t.Run("a book's events pass through it", func(t *testing.T) { testQueueOfBook(t, open) })
}

// numbered are events with the numbers from to to, each of about so many bytes.
func numbered(from, to, size int) (events []json.RawMessage) {
	for i := from; i < to; i++ {
		events = append(events, event(fmt.Sprintf("e-%06d", i), strings.Repeat("x", size)))
	}
	return events
}

// putAll adds events, some at a time.
func putAll(t *testing.T, q usage.Queue, events []json.RawMessage) {
	t.Helper()
	for len(events) > 0 {
		n := min(len(events), 100)
		require.NoError(t, q.Put(t.Context(), events[:n]))
		events = events[n:]
	}
}

func takeNext(t *testing.T, q usage.Queue) []json.RawMessage {
	t.Helper()
	events, err := q.Next(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, len(events), usage.MaxBatchEvents)
	return events
}

// drain takes all events.
func drain(t *testing.T, q usage.Queue) (all []json.RawMessage) {
	t.Helper()
	for len(all) < 10_000 {
		events := takeNext(t, q)
		if len(events) == 0 {
			return all
		}
		all = append(all, events...)
		require.NoError(t, q.Done(t.Context()))
	}
	t.Fatal("the queue does not end")
	return nil
}

// same wants events to be those, and shows the first that is another.
func same(t *testing.T, want, got []json.RawMessage, why ...any) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		require.Equal(t, string(want[i]), string(got[i]), why...)
	}
	require.Equal(t, len(want), len(got), why...) //nolint:testifylint // without thousands of events
}

func testQueueOrder(t *testing.T, q Waiting) {
	assert.Empty(t, takeNext(t, q))
	require.NoError(t, q.Done(t.Context()), "nothing was handed out")
	want := numbered(0, 1200, 10)
	require.NoError(t, q.Put(t.Context(), want[:1]))
	require.NoError(t, q.Put(t.Context(), want[1:4]))
	require.NoError(t, q.Put(t.Context(), nil))
	require.NoError(t, q.Put(t.Context(), want[4:]))
	same(t, want, drain(t, q))
	assert.Empty(t, takeNext(t, q))
}

func testQueueTexts(t *testing.T, q Waiting) {
	want := []json.RawMessage{event("e-1", "a \"b\"\n\u2028é"), event("e-2", strings.Repeat("x", 15_000)), event("e-3", "\x00")}
	var put []json.RawMessage
	for _, e := range want {
		put = append(put, bytes.Clone(e))
	}
	require.NoError(t, q.Put(t.Context(), put))
	for _, e := range put {
		clear(e)
	}
	clear(put)
	got := takeNext(t, q)
	same(t, want, got)
	for _, e := range got {
		clear(e)
	}
	same(t, want, takeNext(t, q))
}

func testQueueAgain(t *testing.T, q Waiting) {
	events := numbered(0, 20, 10)
	putAll(t, q, events[:10])
	for range 3 {
		same(t, events[:10], takeNext(t, q))
	}
	putAll(t, q, events[10:])
	require.NoError(t, q.Done(t.Context()))
	require.NoError(t, q.Done(t.Context()), "what was handed out is done once")
	same(t, events[10:], drain(t, q))
}

// first returns the number of an event.
func first(t *testing.T, e json.RawMessage) (n int) {
	t.Helper()
	var d struct {
		ID string `json:"id"`
	}
	require.NoError(t, json.Unmarshal(e, &d))
	_, err := fmt.Sscanf(d.ID, "e-%d", &n)
	require.NoError(t, err)
	return n
}

func testQueueFull(t *testing.T, q Waiting) {
	events := numbered(0, 2000, 2000) // 8 MB
	putAll(t, q, events)
	stats := q.Stats()
	assert.Positive(t, stats.Dropped)
	assert.EqualValues(t, len(events), stats.Dropped+stats.Queued)
	assert.LessOrEqual(t, stats.QueuedBytes, int64(2*queueBytes))
	left := drain(t, q)
	require.EqualValues(t, stats.Queued, len(left)) //nolint:testifylint // without thousands of events
	require.LessOrEqual(t, len(left), len(events))
	same(t, events[len(events)-len(left):], left, "the newest are there")
	putAll(t, q, events[:3])
	assert.Len(t, drain(t, q), 3, "there is room again")
}

func testQueueDropsWhileSent(t *testing.T, q Waiting) {
	events := numbered(0, 2000, 2000)
	putAll(t, q, events[:300])
	sent := takeNext(t, q)
	require.NotEmpty(t, sent)
	putAll(t, q, events[300:])
	require.NoError(t, q.Done(t.Context()))
	left := drain(t, q)
	require.NotEmpty(t, left)
	require.LessOrEqual(t, len(left), len(events))
	same(t, events[len(events)-len(left):], left)
	assert.LessOrEqual(t, first(t, left[0]), max(int(q.Stats().Dropped), len(sent)), "nothing is gone that was neither dropped nor handed out")
}

func testQueueConcurrent(t *testing.T, q Waiting) {
	const all = 3000
	want := numbered(0, all, 10)
	var got []json.RawMessage
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; i < all; i += 10 {
			if !assert.NoError(t, q.Put(t.Context(), want[i:i+10])) {
				return
			}
			q.Stats()
		}
	})
	put := make(chan struct{})
	go func() { wg.Wait(); close(put) }()
	for ended := false; !ended && !t.Failed(); {
		select {
		case <-put:
			ended = true // what is there comes now, or never
		default:
		}
		got = append(got, drain(t, q)...)
	}
	wg.Wait()
	same(t, want, got)
}

func testQueueReopen(t *testing.T, q Waiting) {
	if q.Reopen == nil {
		return
	}
	events := numbered(0, 1300, 10)
	putAll(t, q, events[:1200])
	done := takeNext(t, q)
	require.NoError(t, q.Done(t.Context()))
	handed := takeNext(t, q)
	require.NotEmpty(t, handed)
	again := q.Reopen()
	same(t, handed, takeNext(t, again), "what was not done comes again")
	putAll(t, again, events[1200:])
	same(t, events[len(done):], drain(t, again))
	assert.Zero(t, again.Stats().Dropped)
}

func testQueueStats(t *testing.T, q Waiting) {
	assert.Zero(t, q.Stats())
	events := numbered(0, 700, 10)
	putAll(t, q, events)
	stats := q.Stats()
	assert.EqualValues(t, 700, stats.Queued)
	assert.GreaterOrEqual(t, stats.QueuedBytes, int64(700*len(events[0])))
	n := len(takeNext(t, q))
	assert.EqualValues(t, 700, q.Stats().Queued, "what was handed out waits")
	require.NoError(t, q.Done(t.Context()))
	assert.EqualValues(t, 700-n, q.Stats().Queued)
	drain(t, q)
	assert.Zero(t, q.Stats())
}

// keeps is a sink that keeps what it gets.
type keeps struct {
	mu  sync.Mutex // guards got
	got []json.RawMessage
}

func (k *keeps) Send(_ context.Context, events []json.RawMessage) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range events {
		k.got = append(k.got, bytes.Clone(e))
	}
	return nil
}

func testQueueOfBook(t *testing.T, open func(t *testing.T, maxBytes int64) Waiting) {
	to, names := &keeps{}, map[string]bool{}
	b, err := usage.Open(usage.Config{
		Sinks: []usage.Target{{Name: "bills", Sink: to}},
		Queues: func(name string, maxBytes int64) (usage.Queue, error) {
			names[name] = true
			return open(t, maxBytes).Queue, nil
		},
	})
	require.NoError(t, err)
	assert.Equal(t, map[string]bool{"queue-bills": true, "refused-bills": true}, names)
	for range 3 {
		b.Record(tenant.Event{Time: time.Now(), Tenant: "acme", Tool: "calc/add"})
	}
	require.NoError(t, b.Close())
	require.Len(t, to.got, 3)
	for _, e := range to.got {
		decoded, err := usage.Decode(e)
		require.NoError(t, err)
		assert.Equal(t, "acme", decoded.Tenant)
	}
}
