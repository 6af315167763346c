package server

import (
	"sync"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

// maxOwed bounds the entries that wait.
const maxOwed = 1000

// owed are entries that could not be written when they should.
type owed struct {
	mu      sync.Mutex // guards entries
	entries []audit.Entry
}

func (o *owed) add(e audit.Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.entries) < maxOwed { // the server's log has them all
		o.entries = append(o.entries, e)
	}
}

// pay adds the entries that wait to the log, where that can be written now.
func (o *owed) pay(log audit.Keeper) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.entries) > 0 {
		if _, err := log.Append(o.entries[0]); err != nil {
			return
		}
		o.entries = o.entries[1:]
	}
}
