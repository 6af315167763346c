package wasmhost

import (
	"context"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// codeGuest is a tenant's module that runs code, made when it is first asked for.
type codeGuest struct {
	making chan struct{} // has a token while somebody makes the module

	mu     sync.Mutex // guards the fields below
	loaded *loaded
	closed bool
}

func newCodeGuest() *codeGuest { return &codeGuest{making: make(chan struct{}, 1)} }

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

// of returns the module, which prepare makes without running it. That may take as long as compiling the engine: who comes
// meanwhile waits until ctx ends, and a tenant that is closed waits for nobody.
func (c *codeGuest) of(ctx context.Context, prepare func() (*loaded, error)) (*loaded, error) {
	if l, err := c.get(); l != nil || err != nil {
		return l, err
	}
	select {
	case c.making <- struct{}{}:
		defer func() { <-c.making }()
	case <-ctx.Done():
		return nil, status.Convert(ctx.Err())
	}
	if l, err := c.get(); l != nil || err != nil {
		return l, err
	}
	l, err := prepare()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		l.close()
		return nil, errTenantChanged()
	}
	c.loaded = l
	return l, nil
}

// get returns the module that there is; nil where it is to be made.
func (c *codeGuest) get() (*loaded, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errTenantChanged()
	}
	return c.loaded, nil
}

func errTenantChanged() error {
	return status.Publicf(status.Unavailable, "the tenant was changed meanwhile; try again")
}
