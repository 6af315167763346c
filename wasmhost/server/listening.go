package server

import (
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Streams of clients that wait for changes, at a time, of all tenants and of each.
const (
	maxListening      = 1024
	listeningOfTenant = 64
)

// listeners counts the streams of clients that wait for changes.
type listeners struct {
	mu     sync.Mutex // guards the fields below
	all    int
	tenant map[string]int
}

// take counts one more, or refuses at once. Its result gives it back.
func (l *listeners) take(tenantName string) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= maxListening || l.tenant[tenantName] >= listeningOfTenant {
		return nil, status.Publicf(status.ResourceExhausted, "too many clients wait for changes").WithRetryAfter(10 * time.Second)
	}
	l.all++
	l.tenant[tenantName]++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
		if l.tenant[tenantName]--; l.tenant[tenantName] == 0 {
			delete(l.tenant, tenantName)
		}
	}), nil
}
