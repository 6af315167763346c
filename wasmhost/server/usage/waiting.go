package usage

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// maxHeld bounds the bytes of events that wait in memory for a queue that takes none.
const maxHeld = 8 << 20

// waiting is a queue with the events that it could not take.
type waiting struct {
	queue Queue
	log   *slog.Logger

	mu   sync.Mutex // guards the fields below; the goroutine that puts is the only one that changes them
	held []json.RawMessage
	// heldBytes are those of held, dropped the events that were dropped from it.
	heldBytes, dropped int64
	// unread and undone say that the queue could not be read, and not be told of a delivery: they belong to the goroutine
	// that delivers.
	unread, undone bool
}

// put adds events, or keeps them for a later time where the queue takes none. It reports whether none is kept.
func (w *waiting) put(ctx context.Context, events []json.RawMessage) bool {
	held := w.held
	if len(held) > 0 {
		events = append(slices.Clip(held), events...)
	}
	err := guarded(ctx, func(ctx context.Context) error { return w.queue.Put(ctx, events) })
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.held, w.heldBytes = nil, 0
		return true
	}
	if len(held) == 0 {
		w.log.Error("the queue of usage events can't be written; events are kept in memory and tried again", slog.Any("error", err))
	}
	for _, e := range events[len(held):] {
		held = append(held, bytes.Clone(e))
		w.heldBytes += int64(len(e))
	}
	n := 0
	for ; w.heldBytes > maxHeld; n++ {
		w.heldBytes -= int64(len(held[n]))
	}
	if n > 0 && w.dropped == 0 {
		tellFull(w.log)
	}
	w.held = held[n:]
	w.dropped += int64(n)
	return false
}

// next returns the events that are to be delivered next; none where the queue is empty.
func (w *waiting) next(ctx context.Context) (events []json.RawMessage, err error) {
	err = guarded(ctx, func(ctx context.Context) (err error) { events, err = w.queue.Next(ctx); return err })
	if err != nil && !w.unread {
		w.log.Error("the queue of usage events can't be read; it is tried again", slog.Any("error", err))
	}
	w.unread = err != nil
	return events, err
}

// done removes those that next has returned.
func (w *waiting) done(ctx context.Context) {
	err := guarded(ctx, w.queue.Done)
	if err != nil && !w.undone {
		w.log.Warn("how far usage events were delivered can't be stored; after a restart some come again", slog.Any("error", err))
	}
	w.undone = err != nil
}

func (w *waiting) stats() QueueStats {
	r := w.queue.Stats()
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Queued += int64(len(w.held))
	r.QueuedBytes += w.heldBytes
	r.Dropped += w.dropped
	return r
}

func (w *waiting) close() error {
	if c, ok := w.queue.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// guarded calls what an embedder has brought, which does not end the server, and gets a time for it.
func guarded(ctx context.Context, f func(ctx context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = status.Errorf(status.Internal, "it panicked: %v", r)
		}
	}()
	return f(ctx)
}

// sendTime is how long a call of a sink or a queue may take.
const sendTime = 30 * time.Second
