package usage

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
)

// Queue holds the events that wait for one sink, up to a bound. A directory has one, and memory another; an embedder
// brings its own by [Config.Queues]. The contract, which the kit in the package usagetest checks:
//
//   - Put adds events, each JSON of at most 32 KiB on one line, after those that are there. Where there is no room the oldest are
//     dropped for them, and counted. Once it has returned nil they outlive the process, where the queue does; the last ones
//     may be lost with the power. When it fails the same events come again, before any others: some may be there already.
//   - Next returns the oldest events, no more than [MaxBatchEvents] and none where the queue is empty, and the same
//     again until Done was called, unless they were dropped. The caller owns them.
//   - Done removes those that Next returned last, and no other, also where some of them were dropped meanwhile. When it
//     fails they may come again, after a restart perhaps; where the process ends before, they do.
//   - Stats tells what waits, and how many events were dropped since the queue was opened. It does not wait.
//
// The slices are only Put's until it returns. Put is called by one goroutine, Next and Done by another, and Stats by many.
// A queue that has a method Close is closed after its last event.
type Queue interface {
	Put(ctx context.Context, events []json.RawMessage) error
	Next(ctx context.Context) ([]json.RawMessage, error)
	Done(ctx context.Context) error
	Stats() QueueStats
}

// QueueStats are numbers of a [Queue].
type QueueStats struct {
	Queued      int64 // events that wait, also those of before
	QueuedBytes int64
	Dropped     int64 // because the queue was full or damaged
}

const (
	// MaxBatchEvents bounds the events that are sent at once.
	MaxBatchEvents = 500
	// batchBytes bounds their bytes, where they are more than one.
	batchBytes = 512 << 10
	// mostScratch is how large a scratch buffer may be that is kept.
	mostScratch = 1 << 20
)

// memoryQueue is a queue that ends with the process.
type memoryQueue struct {
	log  *slog.Logger
	most int64

	mu      sync.Mutex // guards the fields below
	lines   []json.RawMessage
	bytes   int64
	removed int64 // since the queue began: the number of the first line
	handed  int64 // the number of the line after those that Next returned
	dropped int64
	told    bool
}

var _ Queue = (*memoryQueue)(nil)

func newMemoryQueue(most int64, log *slog.Logger) *memoryQueue {
	return &memoryQueue{log: log, most: most}
}

// Put implements [Queue].
func (q *memoryQueue) Put(_ context.Context, events []json.RawMessage) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range events {
		q.lines = append(q.lines, bytes.Clone(e))
		q.bytes += int64(len(e))
	}
	n, left := 0, q.bytes
	for ; left > q.most && n < len(q.lines); n++ {
		left -= int64(len(q.lines[n]))
	}
	if n == 0 {
		return nil
	}
	q.drop(n)
	q.dropped += int64(n)
	if !q.told {
		q.told = true
		tellFull(q.log)
	}
	return nil
}

// tellFull is called once, until the queue has been empty again.
func tellFull(log *slog.Logger) {
	log.Error("the queue of usage events is full: the oldest are dropped, and counted")
}

// drop removes the first n lines. mu is held.
func (q *memoryQueue) drop(n int) {
	for _, line := range q.lines[:n] {
		q.bytes -= int64(len(line))
	}
	q.lines = slices.Delete(q.lines, 0, n)
	q.removed += int64(n)
}

// Next implements [Queue].
func (q *memoryQueue) Next(context.Context) (events []json.RawMessage, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := 0
	for _, line := range q.lines {
		if size += len(line); len(events) > 0 && (len(events) >= MaxBatchEvents || size > batchBytes) {
			break
		}
		events = append(events, bytes.Clone(line))
	}
	q.handed = q.removed + int64(len(events))
	if len(events) == 0 {
		q.told = false
	}
	return events, nil
}

// Done implements [Queue].
func (q *memoryQueue) Done(context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(int(max(0, q.handed-q.removed))) // others may have been dropped meanwhile
	return nil
}

// Stats implements [Queue].
func (q *memoryQueue) Stats() QueueStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return QueueStats{int64(len(q.lines)), q.bytes, q.dropped}
}
