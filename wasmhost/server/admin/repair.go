package admin

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Repair writes the record of a damaged tenant anew, and the tenant runs. Its modules and what they
// have stored are kept. Its settings are s; where s is nil they are those of [Config].Initial, or
// none. The tenant keeps its ID, and so its secrets, where what it has spent, or the rest of the
// record, still tells it; otherwise it has a new one, and its secrets have to be set again.
//
// A record that was damaged while the service runs is written as the service has it, with the settings s
// where these are given. Repair fails with NOT_FOUND when there is no such tenant, and with
// FAILED_PRECONDITION when its record is not damaged, or when it was being deleted.
func (t *Tenants) Repair(ctx context.Context, name string, s *Settings) (Tenant, error) {
	if s != nil {
		given := s.clone()
		if err := given.accept(); err != nil {
			return Tenant{}, err
		}
		s = &given
	}
	defer t.changes.lock(name)()
	if err := t.findLost(ctx, name); err != nil && !errors.Is(err, status.ErrDataLoss) {
		return Tenant{}, err
	}
	t.mu.RLock()
	old := t.tenants[name]
	t.mu.RUnlock()
	switch {
	case old == nil:
		return Tenant{}, noTenant(name)
	case old.State == Damaged:
		return t.renew(ctx, old, s)
	}
	if _, err := t.store.Get(ctx, TenantKind, name); !errors.Is(err, status.ErrDataLoss) {
		if err != nil {
			return Tenant{}, err
		}
		return Tenant{}, status.Publicf(status.FailedPrecondition, "the record of tenant %q is not damaged", name)
	}
	if _, err := t.current(name, ""); err != nil { // it is being deleted, which writes it anew
		return Tenant{}, err
	}
	r := *old
	if s != nil {
		r.Settings = *s
	}
	r.UpdatedAt = time.Now().UTC().Truncate(time.Millisecond)
	return t.apply(ctx, old, &r)
}

// renew puts a record in the place of one that can't be read. The lock of its name is held.
func (t *Tenants) renew(ctx context.Context, old *record, s *Settings) (Tenant, error) {
	if o := t.deletion(old.Name); o != nil {
		return Tenant{}, status.Publicf(status.FailedPrecondition, "tenant %q was being deleted by the operation %s when its record was damaged; delete it", old.Name, o.ID)
	}
	if s == nil {
		initial := t.config.Initial[old.Name]
		s = &initial
	}
	r, l, err := t.anew(ctx, old, *s)
	if err != nil {
		return Tenant{}, err
	}
	made, err := t.applyLedger(ctx, old, r, l)
	if err == nil {
		t.log.WarnContext(ctx, "the record of a damaged tenant was written anew", slog.String("tenant", old.Name))
	}
	return made, err
}

func (t *Tenants) applyLedger(ctx context.Context, old, r *record, l *ledger) (Tenant, error) {
	t.mu.Lock()
	before := t.ledgers[r.Name]
	t.ledgers[r.Name] = l // before anything of it runs
	t.mu.Unlock()
	made, err := t.apply(ctx, old, r)
	if err != nil {
		t.mu.Lock()
		t.ledgers[r.Name] = before
		t.mu.Unlock()
	}
	return made, err
}
