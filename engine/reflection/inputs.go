package reflection

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// maxInputs bounds how many inputs wait for a run that reads slowly.
const maxInputs = 4096

// inputs is the stream of inputs of one run. The reader of the connection never waits
// for it: an item that does not fit ends the stream.
type inputs struct {
	limit int // of bytes

	mu    sync.Mutex // guards the fields below
	queue []json.RawMessage
	bytes int
	ended bool
	err   error
	news  chan struct{} // closed, and replaced, when something came
}

func newInputs(limit int) *inputs { return &inputs{limit: limit, news: make(chan struct{})} }

func (i *inputs) push(chunk json.RawMessage) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended {
		return
	}
	if len(i.queue) >= maxInputs || i.bytes+len(chunk) > i.limit {
		i.queue, i.ended = nil, true
		i.err = status.Publicf(status.ResourceExhausted, "more than %d inputs or %d bytes wait for the action", maxInputs, i.limit)
	} else {
		i.queue = append(i.queue, append(json.RawMessage(nil), chunk...))
		i.bytes += len(chunk)
	}
	i.tell()
}

// fail ends the stream; nil is its end in good order.
func (i *inputs) fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.ended {
		i.ended, i.err = true, err
		i.tell()
	}
}

// tell wakes who waits; mu is held.
func (i *inputs) tell() {
	close(i.news)
	i.news = make(chan struct{})
}

// next implements [action.NextInput].
func (i *inputs) next(ctx context.Context) (json.RawMessage, bool, error) {
	for {
		i.mu.Lock()
		if len(i.queue) > 0 {
			in := i.queue[0]
			i.queue = i.queue[1:]
			i.bytes -= len(in)
			i.mu.Unlock()
			return in, true, nil
		}
		ended, err, news := i.ended, i.err, i.news
		i.mu.Unlock()
		if ended {
			return nil, false, err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, false, status.Convert(ctx.Err())
		}
	}
}
