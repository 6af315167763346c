package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// running counts the calls of an engine and ends them. A child's calls count in
// its parent too; a child's lock is never held while its parent's is taken.
type running struct {
	parent *running
	base   context.Context //nolint:containedctx // its end is the engine's end
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards the fields below, and that no call is added once closed is set
	closed  bool
	closers []func(ctx context.Context) error // of what goes on in the background
}

func newRunning(parent *running) *running {
	base, stop := context.WithCancel(context.Background()) //nolint:forbidigo // the engine's life, which Close ends
	return &running{parent: parent, base: base, stop: stop}
}

// begin counts a call in. The context it returns ends with the engine; end must be
// called. It fails with FAILED_PRECONDITION when the engine is closed.
func (r *running) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	endParent := func() {}
	if r.parent != nil {
		if ctx, endParent, err = r.parent.begin(ctx); err != nil {
			return nil, nil, err
		}
	}
	if !r.enter() {
		endParent()
		return nil, nil, status.Publicf(status.FailedPrecondition, "the engine is closed")
	}
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(r.base, cancel)
	return ctx, func() {
		unhook()
		cancel()
		r.wg.Done()
		endParent()
	}, nil
}

// onClose has fn called when the engine is closed, or one that it is a child of.
func (r *running) onClose(fn func(ctx context.Context) error) {
	for ; r != nil; r = r.parent {
		r.mu.Lock()
		r.closers = append(r.closers, fn)
		r.mu.Unlock()
	}
}

func (r *running) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.wg.Add(1)
	}
	return !r.closed
}

func (r *running) close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	closers := r.closers
	r.mu.Unlock()
	defer r.stop()
	var background sync.WaitGroup
	errs := make([]error, len(closers))
	for i, fn := range closers {
		background.Go(func() { errs[i] = fn(ctx) })
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.wg.Wait()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		r.stop()
		<-done
		err = status.Convert(ctx.Err())
	}
	background.Wait()
	if err == nil {
		err = errors.Join(errs...)
	}
	return err
}
