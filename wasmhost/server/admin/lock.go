package admin

import (
	"context"
	"sync"
	"time"
)

// keyed is a set of locks by name. Its zero value is usable.
type keyed struct {
	mu    sync.Mutex // guards locks
	locks map[string]*counted
}

type counted struct {
	sync.Mutex
	users int // who hold it or wait for it; guarded by keyed.mu
}

// lock takes the lock of a name; the function gives it back.
func (k *keyed) lock(name string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*counted{}
	}
	l := k.locks[name]
	if l == nil {
		l = &counted{}
		k.locks[name] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, name)
		}
	}
}

// pause waits; false when the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
