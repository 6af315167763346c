package wasmhost

import (
	"sync"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/services"
)

// close takes the modules out of service.
func (t *tenant) close() {
	for _, l := range t.modules {
		l.close()
	}
	t.code.close()
}

// here fails when the tenant was changed or removed meanwhile. The loading lock is held.
func (t *tenant) here() error {
	if t.gone {
		return errTenantChanged()
	}
	return nil
}

// tenant is one customer's set of modules.
type tenant struct {
	capacity

	// loading serialises changes of the set, so that uploads of one tenant
	// are stored and swapped in the same order. It is taken before Host.mu.
	loading sync.Mutex
	modules map[string]*loaded
	code    *codeGuest                    // runs what models write
	lives   map[string]*services.Lifetime // of the modules, by name
	schemas atomic.Int64                  // bytes of memory that the modules' compiled schemas hold
	kept    kept                          // the stored state of its modules; guarded by Host.mu
	// leftover names the removed modules whose values could not be dropped yet. It is
	// guarded by loading.
	leftover map[string]bool
	// gone is set when another tenant has taken its place, or none. It is guarded by
	// loading.
	gone bool
}
