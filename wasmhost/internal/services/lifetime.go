package services

import (
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Lifetime is the time from a module's first upload to its removal. All of its revisions
// share one, so that a call that outlives the removal, of whichever revision, neither
// reads nor writes the values of the next module of that name. Its zero value has begun.
type Lifetime struct {
	mu    sync.RWMutex // held for reading while values are read or written
	ended bool
}

// use runs an operation on the module's values; FAILED_PRECONDITION when the module was
// removed.
func (l *Lifetime) use(c abi.Capability, operation func() error) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.ended {
		return status.Publicf(status.FailedPrecondition, "%s: the module was removed", c)
	}
	return operation()
}

// End waits for operations that are under way and refuses later ones.
func (l *Lifetime) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}
