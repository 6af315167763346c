package wasmhost

import (
	"sync"

	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// bill sums a tenant's events.
type bill struct {
	mu      sync.Mutex // guards the fields below
	total   tenants.Totals
	modules map[string]*tenants.Totals
}

// maxBilled bounds the modules that are listed; the others count in the total.
const maxBilled = 10_000

func (b *bill) add(e *tenants.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total.Add(e)
	sum, ok := b.modules[e.Module]
	if !ok {
		if len(b.modules) >= maxBilled {
			return
		}
		sum = &tenants.Totals{}
		b.modules[e.Module] = sum
	}
	sum.Add(e)
}
