package secrets

import (
	"sync"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
)

// maxOpened bounds the values that are kept decrypted: 32 MiB where each is as long as it can
// be.
const maxOpened = 4096

// openedValues are values that were decrypted lately, by the checksum of their files, so that
// a file that is another one is decrypted anew. Decrypting takes twenty times as long as
// reading, and a guest's request asks for each secret that its policy grants. It is safe for
// concurrent use.
type openedValues struct {
	mu  sync.Mutex // guards all
	all map[string]openedValue
}

type openedValue struct {
	tenant string
	v      secret.Value
}

func (o *openedValues) get(r *record) (secret.Value, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found, ok := o.all[r.sum]
	return found.v, ok
}

// put keeps a value, in the place of any other where there are too many.
func (o *openedValues) put(tenant string, r *record, v secret.Value) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[string]openedValue{}
	}
	for sum := range o.all {
		if len(o.all) < maxOpened {
			break
		}
		delete(o.all, sum)
	}
	o.all[r.sum] = openedValue{tenant, v}
}

// forget drops the values of a tenant.
func (o *openedValues) forget(tenant string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for sum, v := range o.all {
		if v.tenant == tenant {
			delete(o.all, sum)
		}
	}
}
