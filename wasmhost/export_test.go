package wasmhost

import "context"

// Builds returns how many times a module was compiled, not counting code that was there.
func Builds(h *Host) int64 { return h.sandbox.Builds() }

// CodeGuest is a tenant's module that runs code, with one that prepare makes of nothing.
type CodeGuest struct{ *codeGuest }

func NewCodeGuest() CodeGuest { return CodeGuest{newCodeGuest()} }

func (c CodeGuest) Of(ctx context.Context, prepare func() error) error {
	_, err := c.of(ctx, func() (*loaded, error) { return &loaded{}, prepare() })
	return err
}

func (c CodeGuest) Close() { c.close() }
