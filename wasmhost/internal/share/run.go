package share

import (
	"runtime"
	"sync/atomic"
	"time"
)

// How long guests may have a processor. Compiled code can't be interrupted, so other
// goroutines and the garbage collector may wait for up to one slice of fuel.
const (
	// shortTime is how long a call runs before it has to share; most end within it.
	shortTime = 300 * time.Microsecond
	// sliceTime is the time that a slice should take: the fuel of a slice is made to fit, because
	// a unit may be a third of a nanosecond, or a hundred when it misses the caches.
	sliceTime = 100 * time.Microsecond
)

// Bounds of a slice in fuel; the first slice of a module is firstSlice.
const (
	minSlice   = 5_000
	firstSlice = 100_000
	maxSlice   = 400_000
)

// Processors limits how many long-running guests run at once, to GOMAXPROCS-1 and at least
// one. A guest takes a token for each slice. It is safe for concurrent use.
type Processors struct{ tokens chan struct{} }

// NewProcessors makes the tokens for this process.
func NewProcessors() *Processors {
	return &Processors{tokens: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))}
}

// Tokens returns how many guests that run long may run at a time.
func (p *Processors) Tokens() int { return cap(p.tokens) }

// Background runs work that no caller waits for while it holds a token.
func (p *Processors) Background(work func()) {
	p.tokens <- struct{}{}
	defer func() { <-p.tokens }()
	work()
}

// Load counts the long-running calls of one module and keeps its slice size. The zero value is that of a
// module without calls; it is safe for concurrent use.
type Load struct {
	long  atomic.Int32 // calls under way that run long
	slice atomic.Int64 // fuel that took about sliceTime in an earlier call; 0: not measured yet
}

// Run is a call's share of the processors. It keeps guests that run long from crowding out
// those that don't, and the Go scheduler with them: a call runs at first without asking.
// After shortTime, or from its beginning when enough calls of its module run long already,
// it needs a token for each slice, and hands it on after the slice; calls that wait for one
// are served in turn.
type Run struct {
	tokens  chan struct{}
	load    *Load
	slice   int64     // fuel of the next slice
	began   time.Time // when the call began
	resumed time.Time // when the slice began
	long    bool
	held    bool // whether a token is held
	timer   *time.Timer
}

// NewRun makes the share of a call that begins now.
func NewRun(p *Processors, l *Load, now time.Time) Run {
	r := Run{tokens: p.tokens, load: l, slice: l.slice.Load(), began: now, resumed: now}
	if r.slice == 0 {
		r.slice = firstSlice
	}
	return r
}

// Slice returns the fuel of the next slice.
func (r *Run) Slice() int64 { return r.slice }

// Long reports whether the call needs a token for each slice.
func (r *Run) Long() bool { return r.long }

// Began returns when the call began to run.
func (r *Run) Began() time.Time { return r.began }

// Enter is called before the first slice. It blocks only for a module that keeps the
// processors busy already, and fails when the call is over before it began.
func (r *Run) Enter(call Call) error {
	if !r.long && int(r.load.long.Load()) >= cap(r.tokens) {
		r.becomeLong()
	}
	if r.long {
		if err := r.Wait(call); err != nil {
			return err
		}
		r.Start(time.Now())
	}
	return nil
}

// Start restarts the call's running time at now, for example after initialisation.
func (r *Run) Start(now time.Time) { r.began, r.resumed = now, now }

// SliceDone is called when a slice is used up. It reports whether the call has to wait for
// [Run.Next] before it goes on.
func (r *Run) SliceDone(now time.Time) (wait bool) {
	r.adapt(now.Sub(r.resumed))
	if !r.long {
		if now.Sub(r.began) < shortTime && int(r.load.long.Load()) < cap(r.tokens) {
			r.resumed = now
			return false
		}
		r.becomeLong()
	}
	return true
}

// Next hands the token on and waits for one for the next slice. It fails when the call is
// over before that.
func (r *Run) Next(call Call) error {
	r.Leave()
	if err := r.Wait(call); err != nil {
		return err
	}
	// Let goroutines that became ready during the slice run first: the receiver of a
	// token is put at the head of the scheduler's queue.
	runtime.Gosched()
	r.resumed = time.Now()
	return nil
}

// adapt changes the fuel of the next slice so that it takes about sliceTime. A slice may
// have been slow only because the operating system paused it, so a smaller slice grows
// again by doubling.
func (r *Run) adapt(took time.Duration) {
	switch {
	case took > 2*sliceTime:
		r.slice = max(minSlice, r.slice/2, r.slice*int64(sliceTime)/int64(took))
	case took < sliceTime/2:
		r.slice = min(maxSlice, r.slice*2)
	}
}

// becomeLong makes the call one that needs a token for each slice, until it ends.
func (r *Run) becomeLong() {
	r.long = true
	r.load.long.Add(1)
}

// Wait takes a token. It fails when the call is over before one is to be had.
func (r *Run) Wait(call Call) error {
	for !r.held {
		select {
		case r.tokens <- struct{}{}:
			r.held = true
			return nil
		default:
		}
		call.Blocks()
		if left := time.Until(call.Deadline()); r.timer == nil {
			r.timer = time.NewTimer(left)
		} else {
			r.timer.Reset(left)
		}
		select {
		case r.tokens <- struct{}{}:
			r.held = true
			return nil
		case <-r.timer.C:
		case <-call.Done():
		}
		if err := call.Over(time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// Leave hands the token on: the call waits for something, or has ended.
func (r *Run) Leave() {
	if r.held {
		r.held = false
		<-r.tokens
	}
}

// Resume excludes the time since left, when the guest began to wait for the host, from the
// call's running time.
func (r *Run) Resume(left time.Time) {
	now := time.Now()
	r.began = r.began.Add(now.Sub(left))
	r.resumed = now
}

// Unused reports, of a call that has ended, whether it never had a timer.
func (r *Run) Unused() bool { return r.timer == nil }

// End is called once, when the call has ended.
func (r *Run) End() {
	r.Leave()
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.long {
		r.long = false
		r.load.long.Add(-1)
		r.load.slice.Store(r.slice)
	}
}
