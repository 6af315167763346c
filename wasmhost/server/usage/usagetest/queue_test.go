package usagetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/internal/kittest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage/usagetest"
)

// queue is a queue in memory with one fault.
type queue struct {
	fault string
	most  int64

	mu      sync.Mutex // guards the fields below
	events  []json.RawMessage
	size    int64
	handed  int
	dropped int64
	puts    int
}

func (q *queue) Put(_ context.Context, events []json.RawMessage) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.puts++
	switch {
	case q.fault == "loses half of a long batch" && len(events) > 1000:
		events = events[:len(events)/2]
	case q.fault == "loses each hundredth batch" && q.puts%100 == 0 && q.puts > 60 && len(events) == 10:
		return nil
	case q.fault == "puts new events first" && len(q.events) > 0:
		old := q.events
		q.events = nil
		defer func() { q.events = append(q.events, old...) }()
	case q.fault == "keeps nothing of a book" && len(events) <= 3 && len(events) > 0 && bytes.Contains(events[0], []byte("calc/add")):
		return nil
	}
	for _, e := range events {
		if q.fault != "keeps the caller's slices" {
			e = bytes.Clone(e)
		}
		q.events, q.size = append(q.events, e), q.size+int64(len(e))
	}
	for q.size > q.most && q.fault != "has no bound" {
		at := 0
		if q.fault == "drops the newest" {
			at = len(q.events) - 1
		}
		q.size -= int64(len(q.events[at]))
		q.events = slices.Delete(q.events, at, at+1)
		q.dropped++
		if q.fault != "is done with events that it has not handed out" {
			q.handed = max(0, q.handed-1)
		}
	}
	if q.fault == "does not count what it drops" {
		q.dropped = 0
	}
	return nil
}

func (q *queue) Next(context.Context) (events []json.RawMessage, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	from, n := 0, min(len(q.events), usage.MaxBatchEvents)
	switch q.fault {
	case "hands out all at once":
		n = len(q.events)
	case "hands out what follows without being told":
		from = min(q.handed, n)
	}
	for _, e := range q.events[from:n] {
		if q.fault != "hands out what it keeps" {
			e = bytes.Clone(e)
		}
		events = append(events, e)
	}
	q.handed = n
	return events, nil
}

func (q *queue) Done(context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(q.handed, len(q.events))
	if q.fault == "is done with the same number again" {
		n = min(10, len(q.events))
	}
	if q.fault == "is done with one" {
		n = min(1, n)
	}
	for _, e := range q.events[:n] {
		q.size -= int64(len(e))
	}
	q.events, q.handed = slices.Delete(q.events, 0, n), 0
	return nil
}

func (q *queue) Stats() usage.QueueStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := usage.QueueStats{Queued: int64(len(q.events)), QueuedBytes: q.size, Dropped: q.dropped}
	if q.fault == "does not count what it has handed out" {
		r.Queued -= int64(q.handed)
	}
	return r
}

func (q *queue) reopen() usage.Queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	again := &queue{fault: q.fault, most: q.most, events: slices.Clone(q.events), size: q.size}
	switch q.fault {
	case "takes what it has handed out for done":
		again.events = again.events[q.handed:]
	case "loses its last event when it ends":
		again.events = again.events[:len(again.events)-1]
	}
	return again
}

func TestTheKitOfQueuesFindsFaults(t *testing.T) {
	const (
		order  = "events come in their order, a batch at a time"
		texts  = "texts may hold anything and are the caller's"
		again  = "events come again until they are done"
		full   = "the oldest are dropped where there is no room"
		reopen = "what waits outlives the process, and is in order"
		stats  = "a queue tells what waits in it, and what was lost"
	)
	kittest.Run(t, func(t *testing.T, fault string) {
		t.Helper()
		usagetest.Queue(t, func(_ *testing.T, maxBytes int64) usagetest.Waiting {
			q := &queue{fault: fault, most: maxBytes}
			return usagetest.Waiting{Queue: q, Reopen: q.reopen}
		})
	}, map[string]string{
		"loses half of a long batch":                     order,
		"puts new events first":                          order,
		"hands out all at once":                          order,
		"keeps the caller's slices":                      texts,
		"hands out what it keeps":                        texts,
		"hands out what follows without being told":      again,
		"is done with the same number again":             again,
		"is done with one":                               again,
		"has no bound":                                   full,
		"drops the newest":                               full,
		"does not count what it drops":                   full,
		"is done with events that it has not handed out": "what is done is no more than what was handed out",
		"loses each hundredth batch":                     "events are put while others are taken",
		"takes what it has handed out for done":          reopen,
		"loses its last event when it ends":              reopen,
		"does not count what it has handed out":          stats,
		"keeps nothing of a book":                        "a book's events pass through it",
	})
}
