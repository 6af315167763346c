package tenant

import (
	"context"
	"time"
)

// Began returns when the call was let in.
func (p *Pass) Began() time.Time { return p.start }

// Value finds the pass itself under its gate's key.
func (p *Pass) Value(key any) any {
	if k, ok := key.(passKey); ok && k.gate == p.tenant.gate {
		return p
	}
	return p.Context.Value(key)
}

// PassOf returns the pass of the call at the tenant's gate that ctx belongs to; nil when
// there is none.
func (t *Tenant) PassOf(ctx context.Context) *Pass { return t.gate.passOf(ctx) }

// Leave gives the slot back: the call waits for something that is not its own work, and
// holds nothing meanwhile that others need. It does nothing for a call that has no slot
// of its own.
func (p *Pass) Leave() {
	t := p.tenant
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if p.state != holds {
		return
	}
	p.state = left
	t.suspended++
	t.free()
}

// Return queues for a slot after [Pass.Leave], before the tenant's calls that have not
// begun. It fails with ctx's error, and with RESOURCE_EXHAUSTED when the call has queued
// for [MaxWait] in all. The call has no slot then; it can end, or try again.
func (p *Pass) Return(ctx context.Context) error {
	t := p.tenant
	t.gate.mu.Lock()
	away := p.state == left
	t.gate.mu.Unlock()
	if !away {
		return nil
	}
	return t.admit(ctx, p, t.returning)
}
