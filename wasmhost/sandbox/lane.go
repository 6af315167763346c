package sandbox

import (
	"runtime"
	"sync/atomic"
	"time"
)

// How long guests may have a processor. Compiled code can't be interrupted, so a slice of
// fuel is what everybody else, the garbage collector included, may have to wait for.
const (
	// shortTime is how long a call runs before it has to share; most end within it.
	shortTime = 300 * time.Microsecond
	// sliceTime is what a slice should take: the fuel of a slice is made to fit, because
	// a unit may be a third of a nanosecond, or a hundred when it misses the caches.
	sliceTime = 100 * time.Microsecond
)

// Bounds of a slice in fuel; the first slice of a module is firstSlice.
const (
	minSlice   = 5_000
	firstSlice = 100_000
	maxSlice   = 400_000
)

// traffic is what the calls of a module know of each other.
type traffic struct {
	long  atomic.Int32 // calls under way that run long
	slice atomic.Int64 // fuel that took about sliceTime; 0 when nothing is known
}

// lane keeps guests that run long from crowding out those that don't, and the Go
// scheduler with them. A call runs at first without asking. After shortTime, or from its
// beginning when enough calls of its module run long already, it needs one of the
// sandbox's tokens for each slice, of which there is one fewer than processors (at least
// one), and hands it on after the slice: calls that wait for one are served in turn. It
// belongs to the goroutine that runs the guest.
type lane struct {
	tokens  chan struct{}
	traffic *traffic
	slice   int64     // fuel of the next slice
	began   time.Time // the call
	resumed time.Time // the slice
	long    bool
	held    bool
	timer   *time.Timer // for waiting; made when it is needed
}

func newLane(tokens chan struct{}, t *traffic, now time.Time) lane {
	l := lane{tokens: tokens, traffic: t, slice: t.slice.Load(), began: now, resumed: now}
	if l.slice == 0 {
		l.slice = firstSlice
	}
	return l
}

// enter is called before the first slice. It blocks only for a module that already keeps
// the lane busy, and fails when the call is over before it began.
func (l *lane) enter(st *state) error {
	if !l.long && int(l.traffic.long.Load()) >= cap(l.tokens) {
		l.turnLong()
	}
	if l.long {
		if err := l.wait(st); err != nil {
			return err
		}
		l.start(time.Now())
	}
	return nil
}

// start is called when the call's own time begins later than the call did.
func (l *lane) start(now time.Time) { l.began, l.resumed = now, now }

// next is called between two slices. It blocks until the call may go on, and ends the
// guest when its deadline comes or its caller leaves meanwhile.
func (l *lane) next(st *state, now time.Time) {
	l.adapt(now.Sub(l.resumed))
	if !l.long {
		if now.Sub(l.began) < shortTime && int(l.traffic.long.Load()) < cap(l.tokens) {
			l.resumed = now
			return
		}
		l.turnLong()
	}
	st.watch.drop()
	l.leave()
	if err := l.wait(st); err != nil {
		panic(&stop{err})
	}
	// Whoever became ready during the slice goes first: a token that is handed on takes
	// the place at the head of the scheduler's queue.
	runtime.Gosched()
	l.resumed = time.Now()
}

// adapt makes the next slice fit sliceTime. A slice that took long may only have been kept
// waiting by the system, so what was taken away comes back at the double.
func (l *lane) adapt(took time.Duration) {
	switch {
	case took > 2*sliceTime:
		l.slice = max(minSlice, l.slice/2, l.slice*int64(sliceTime)/int64(took))
	case took < sliceTime/2:
		l.slice = min(maxSlice, l.slice*2)
	}
}

func (l *lane) turnLong() {
	l.long = true
	l.traffic.long.Add(1)
}

// wait takes a token. It fails when the call is over before one is to be had.
func (l *lane) wait(st *state) error {
	for !l.held {
		select {
		case l.tokens <- struct{}{}:
			l.held = true
			return nil
		default:
		}
		if l.timer == nil {
			l.timer = time.NewTimer(time.Until(st.deadline))
		} else {
			l.timer.Reset(time.Until(st.deadline))
		}
		select {
		case l.tokens <- struct{}{}:
			l.held = true
			return nil
		case <-l.timer.C:
		case <-st.ctx.Done():
		}
		if err := st.over(time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// leave hands the token on: the call waits for something, or has ended.
func (l *lane) leave() {
	if l.held {
		l.held = false
		<-l.tokens
	}
}

// back is called when the call goes on after it left the lane at that time: the wait was
// not the guest's own.
func (l *lane) back(left time.Time) {
	now := time.Now()
	l.began = l.began.Add(now.Sub(left))
	l.resumed = now
}

// end is called once, when the call has ended.
func (l *lane) end() {
	l.leave()
	if l.timer != nil {
		l.timer.Stop()
	}
	if l.long {
		l.long = false
		l.traffic.long.Add(-1)
		l.traffic.slice.Store(l.slice)
	}
}
