package access

import (
	"time"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// OpenFS opens a store on a file system that fails.
func OpenFS(files storedir.FS) (*Dir, error) { return openFS(files) }

// Sources returns how many sources are counted apart.
func (t *Throttle) Sources() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.sources)
}

// Refresh changes how often keys are fetched.
func (o *OIDC) Refresh(after, atLeast, stale time.Duration) {
	o.keys.refreshAfter, o.keys.minRefresh, o.keys.maxStale = after, atLeast, stale
}

// Known returns how many tokens need no check.
func (o *OIDC) Known() int {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return len(o.known)
}
