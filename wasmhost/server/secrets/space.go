package secrets

import "sync"

// space is the directory of a tenant. Each value in it is a file, which is written under a
// temporary name, synced and renamed, and its directory synced, so that it is whole whenever
// the process ends.
type space struct {
	users int // who hold it or wait for it; guarded by Store.mu

	mu sync.RWMutex // held while files are worked on; guards unsynced
	// unsynced says that a file was changed and failed to be synced: before anything is told
	// of the directory, it has to be.
	unsynced bool
}

func (sp *space) lock(change bool) (unlock func()) {
	if change {
		sp.mu.Lock()
		return sp.mu.Unlock
	}
	sp.mu.RLock()
	return sp.mu.RUnlock
}
