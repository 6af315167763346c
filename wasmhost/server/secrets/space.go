package secrets

import "sync"

// space is the lock of a tenant: its values are read by many, and changed by one at a time.
type space struct {
	users int // who hold it or wait for it; guarded by Store.mu

	mu sync.RWMutex
}

func (sp *space) lock(change bool) (unlock func()) {
	if change {
		sp.mu.Lock()
		return sp.mu.Unlock
	}
	sp.mu.RLock()
	return sp.mu.RUnlock
}
