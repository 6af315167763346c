package budget

import (
	"sync"
	"time"
)

// windows counts the use of each key, in a window that starts with its first use.
type windows struct {
	length time.Duration

	mu    sync.Mutex // guards byKey and the windows in it
	byKey map[string]*window
}

type window struct {
	start time.Time
	spent amount
}

// used returns the use of a key, and how long its window lasts still.
func (w *windows) used(key string) (amount, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	found, ok := w.byKey[key]
	if !ok {
		return amount{}, 0
	}
	left := w.length - time.Since(found.start)
	if left <= 0 {
		delete(w.byKey, key)
		return amount{}, 0
	}
	return found.spent, left
}

func (w *windows) add(key string, spent amount) {
	w.mu.Lock()
	defer w.mu.Unlock()
	found, ok := w.byKey[key]
	if ok && time.Since(found.start) >= w.length {
		ok = false
	}
	if !ok {
		if len(w.byKey) >= MaxKeys {
			w.makeRoom()
		}
		found = &window{start: time.Now()}
		w.byKey[key] = found
	}
	found.spent.add(spent)
}

// makeRoom forgets the windows that have ended, or else the oldest. It wants the lock.
func (w *windows) makeRoom() {
	oldest, first := "", true
	for key, other := range w.byKey {
		if time.Since(other.start) >= w.length {
			delete(w.byKey, key)
			continue
		}
		if first || other.start.Before(w.byKey[oldest].start) {
			oldest, first = key, false
		}
	}
	if len(w.byKey) >= MaxKeys {
		delete(w.byKey, oldest)
	}
}
