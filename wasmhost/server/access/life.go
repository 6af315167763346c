package access

import (
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Life tells requests under way that their identity has ended: it was revoked, or it has
// expired. It is safe for concurrent use.
type Life struct {
	mu       sync.Mutex  // guards the fields below
	err      error       // set once it has ended
	until    time.Time   // zero: no end is known
	expired  error       // what it ends with then
	timer    *time.Timer // runs only while somebody watches
	watchers map[*watcher]struct{}
}

type watcher struct{ ended func(error) }

// NewLife returns a life that ends with expired when until has come; the zero time does not
// come.
func NewLife(until time.Time, expired error) *Life {
	l := &Life{}
	l.EndAt(until, expired)
	return l
}

// EndAt has the life end with expired when until has come, or when it would have ended
// anyway, whichever is sooner.
func (l *Life) EndAt(until time.Time, expired error) {
	if until.IsZero() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || !l.until.IsZero() && l.until.Before(until) {
		return
	}
	l.until, l.expired = until, expired
	l.stopTimer()
	l.startTimer()
}

// startTimer has the life end in time where somebody watches it; others ask with Err.
func (l *Life) startTimer() {
	if l.timer != nil || l.until.IsZero() || len(l.watchers) == 0 {
		return
	}
	expired := l.expired
	l.timer = time.AfterFunc(time.Until(l.until), func() { l.End(expired) })
}

var errEnded = status.Publicf(status.Unauthenticated, "the identity has ended")

// End ends the life with err, or with an UNAUTHENTICATED error where that is nil, once, and tells all who watch it.
func (l *Life) End(err error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	if err == nil {
		err = errEnded // a life that has ended has ended with something
	}
	l.err = err
	watchers := l.watchers
	l.watchers = nil
	l.stopTimer()
	l.mu.Unlock()
	for w := range watchers {
		w.ended(err)
	}
}

func (l *Life) stopTimer() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// Err returns what the life has ended with, nil while it lasts. It goes by the clock, also
// where a timer is late.
func (l *Life) Err() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended()
}

// ended is Err. mu is held.
func (l *Life) ended() error {
	if l.err == nil && !l.until.IsZero() && !time.Now().Before(l.until) {
		if l.expired == nil {
			return errEnded
		}
		return l.expired
	}
	return l.err
}

// OnEnd has ended called when the life ends, at once when it has, and no more after stop.
// It must not block. A nil life does not end.
func (l *Life) OnEnd(ended func(error)) (stop func()) {
	if l == nil {
		return func() {}
	}
	w := &watcher{ended}
	l.mu.Lock()
	err := l.ended()
	if err == nil {
		if l.watchers == nil {
			l.watchers = map[*watcher]struct{}{}
		}
		l.watchers[w] = struct{}{}
		l.startTimer()
	}
	l.mu.Unlock()
	if err != nil {
		ended(err)
		return func() {}
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if delete(l.watchers, w); len(l.watchers) == 0 {
			l.stopTimer()
		}
	}
}
