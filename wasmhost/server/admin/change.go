package admin

import (
	"context"
	"errors"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Create makes a tenant; ALREADY_EXISTS when there is one of the name, RESOURCE_EXHAUSTED
// when there are as many as may be, DATA_LOSS when there are modules of an earlier one whose record is missing. request is a hash of the request that asks for it, or
// empty: asked for again by the same request, Create returns the tenant that it made.
func (t *Tenants) Create(ctx context.Context, name string, s Settings, request string) (Tenant, error) {
	if err := checkName(name); err != nil {
		return Tenant{}, err
	}
	s = s.clone()
	if err := s.accept(); err != nil {
		return Tenant{}, err
	}
	defer t.changes.lock(name)()
	t.mu.Lock()
	old, n := t.tenants[name], len(t.tenants)+t.creating
	t.creating++
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.creating--
		t.mu.Unlock()
	}()
	if old != nil && request != "" && old.Request == request && old.State != Deleting {
		return old.show(), nil
	}
	switch {
	case old != nil && old.State == Deleting:
		return Tenant{}, status.Publicf(status.AlreadyExists, "tenant %q is being deleted; wait for the operation %s", name, old.Operation)
	case old != nil && old.State == Damaged:
		return Tenant{}, old.damage()
	case old != nil:
		return Tenant{}, status.Publicf(status.AlreadyExists, "tenant %q exists already", name)
	case n >= t.config.MaxTenants:
		return Tenant{}, status.Publicf(status.ResourceExhausted, "the server has its %d tenants; delete one first", t.config.MaxTenants)
	}
	if err := t.findLost(ctx, name); err != nil {
		return Tenant{}, err
	}
	r := fresh(name, s)
	r.Request = request
	made, err := t.apply(ctx, nil, r)
	if err == nil && t.config.Created != nil {
		t.config.Created(made)
	}
	return made, err
}

// Change changes a tenant's settings: change is given those that are stored and returns those
// that are to be. revision is the one that the caller knows, or empty for whatever is stored;
// FAILED_PRECONDITION with [ErrStale] when the stored one is another.
func (t *Tenants) Change(ctx context.Context, name, revision string, change func(Settings) (Settings, error)) (Tenant, error) {
	return t.change(ctx, name, revision, func(r *record) error {
		s, err := change(r.clone())
		if err != nil {
			return err
		}
		if err := s.accept(); err != nil {
			return err
		}
		r.Settings = s
		return nil
	})
}

// Suspend keeps a tenant's modules and lets nothing of it run; requests under way end. A
// tenant that is suspended stays as it is. revision is as for [Tenants.Change].
//
// Where that can't be stored, for instance because the disk is full, Suspend fails with UNAVAILABLE, and the tenant is suspended
// all the same, as long as the server runs; its problem says so, and to suspend it once more stores it.
func (t *Tenants) Suspend(ctx context.Context, name, revision string) (Tenant, error) {
	defer t.changes.lock(name)()
	made, err := t.changeLocked(ctx, name, revision, inState(Suspended))
	if err == nil {
		return made, nil
	}
	t.mu.RLock()
	r := t.tenants[name]
	t.mu.RUnlock()
	if r == nil || r.State != Active || t.host == nil || errors.Is(err, ErrStale) {
		return made, err
	}
	unstored := *r
	unstored.Settings, unstored.State = r.clone(), Suspended
	t.mu.Lock()
	t.set(&unstored)
	t.mu.Unlock()
	t.follow(context.WithoutCancel(ctx), &unstored)
	const text = "the tenant is suspended as long as this server runs, but that could not be stored; suspend it once more"
	t.mu.Lock()
	unstored.Problem = text
	t.mu.Unlock()
	return Tenant{}, status.Publicf(status.Unavailable, text).WithCause(err)
}

// Resume lets a suspended tenant run again. revision is as for [Tenants.Change].
func (t *Tenants) Resume(ctx context.Context, name, revision string) (Tenant, error) {
	return t.change(ctx, name, revision, inState(Active))
}

func inState(s State) func(*record) error {
	return func(r *record) error {
		r.State = s
		return nil
	}
}

func (t *Tenants) change(ctx context.Context, name, revision string, change func(*record) error) (Tenant, error) {
	defer t.changes.lock(name)()
	return t.changeLocked(ctx, name, revision, change)
}

// changeLocked is change. The lock of the name is held.
func (t *Tenants) changeLocked(ctx context.Context, name, revision string, change func(*record) error) (Tenant, error) {
	old, err := t.current(name, revision)
	if err != nil {
		return Tenant{}, err
	}
	r := *old
	r.Settings = old.clone()
	if err := change(&r); err != nil {
		return Tenant{}, err
	}
	if r.State == old.State && r.same(old.Settings) && old.Problem == "" {
		return old.show(), nil // nothing changes, the revision neither
	}
	r.UpdatedAt = time.Now().UTC().Truncate(time.Millisecond)
	return t.apply(ctx, old, &r)
}

// apply stores a tenant, and lets the host follow. The lock of its name is held.
func (t *Tenants) apply(ctx context.Context, old, r *record) (Tenant, error) {
	if t.host == nil {
		return Tenant{}, status.Errorf(status.FailedPrecondition, "admin: Start was not called")
	}
	if err := t.hosts.CheckTenant(r.Name, r.config()); err != nil {
		return Tenant{}, err
	}
	name := r.Name
	r, err := t.put(ctx, r, old)
	if err != nil {
		t.reread(ctx, name)
		return Tenant{}, err
	}
	t.mu.Lock()
	t.set(r)
	t.mu.Unlock()
	// It is stored: the host follows, also when the caller has left.
	t.follow(context.WithoutCancel(ctx), r)
	t.mu.RLock()
	defer t.mu.RUnlock()
	return r.show(), nil
}
