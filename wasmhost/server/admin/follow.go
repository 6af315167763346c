package admin

import (
	"context"
	"errors"
	"log/slog"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// follow has the host serve a tenant as it is stored. What fails is told as the tenant's
// problem and tried again. The lock of its name is held.
func (t *Tenants) follow(ctx context.Context, r *record) {
	err := t.host.SetTenant(ctx, r.Name, r.config())
	t.mu.Lock()
	r.Problem = ""
	if err != nil {
		r.Problem = status.ToWire(err, false).Message
	}
	t.mu.Unlock()
	if err == nil {
		return
	}
	t.log.ErrorContext(ctx, "a tenant is not served as it is stored yet", slog.String("tenant", r.Name), slog.Any("error", err))
	t.goes(func(ctx context.Context) {
		if !pause(ctx, t.retry) {
			return
		}
		defer t.changes.lock(r.Name)()
		t.mu.RLock()
		still := t.tenants[r.Name] == r
		t.mu.RUnlock()
		if still {
			t.follow(ctx, r)
		}
	})
}

// reread brings a tenant up to date whose change failed: the store says what there is. The
// lock of its name is held.
func (t *Tenants) reread(ctx context.Context, name string) {
	ctx = context.WithoutCancel(ctx)
	d, err := t.store.Get(ctx, TenantKind, name)
	if errors.Is(err, status.ErrNotFound) {
		return // nothing was there, or a deletion sees to it
	}
	var r *record
	if err == nil {
		r, err = decodeRecord(d)
	}
	if err != nil {
		t.log.ErrorContext(ctx, "a tenant whose change failed can't be read", slog.String("tenant", name), slog.Any("error", err))
		return
	}
	t.mu.Lock()
	old := t.tenants[name]
	changed := old == nil || old.Revision != r.Revision
	if changed {
		t.set(r)
	}
	t.mu.Unlock()
	if changed && r.State != Deleting {
		t.follow(ctx, r)
	}
}
