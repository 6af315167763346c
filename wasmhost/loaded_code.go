package wasmhost

import (
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// codeGuest is a tenant's module that runs code, made when it is first asked for.
type codeGuest struct {
	mu     sync.Mutex // guards the fields below
	loaded *loaded
	closed bool
}

func (c *codeGuest) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed = true; c.loaded != nil {
		c.loaded.close()
	}
}

// end is close for a host whose guests have ended.
func (c *codeGuest) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed = true; c.loaded != nil {
		c.loaded.services.Close()
	}
}

// of returns the module, which prepare makes without running it.
func (c *codeGuest) of(prepare func() (*loaded, error)) (*loaded, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, status.Publicf(status.Unavailable, "the tenant was changed meanwhile; try again")
	case c.loaded != nil:
		return c.loaded, nil
	}
	l, err := prepare()
	if err != nil {
		return nil, err
	}
	c.loaded = l
	return l, nil
}
