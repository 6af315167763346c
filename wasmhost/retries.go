package wasmhost

import (
	"context"
	"sync"
)

// retries are attempts to bring modules back, until they end with the host. The zero value is
// ready for use.
type retries struct {
	group sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	closed bool
	life   context.Context //nolint:containedctx // ends with the host; nil before the first attempt
	end    context.CancelFunc
}

// start runs an attempt in the background, unless the host has been closed.
func (r *retries) start(attempt func(ctx context.Context)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if r.life == nil {
		r.life, r.end = context.WithCancel(context.Background()) //nolint:forbidigo // no request waits for it
	}
	ctx := r.life
	r.group.Go(func() { attempt(ctx) })
}

// close ends all attempts and waits for them.
func (r *retries) close() {
	r.mu.Lock()
	r.closed = true
	if r.end != nil {
		r.end()
	}
	r.mu.Unlock()
	r.group.Wait()
}
