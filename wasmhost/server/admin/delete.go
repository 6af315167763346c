package admin

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

const (
	// maxDeletions is how many tenants are erased at a time.
	maxDeletions = 2
	maxRetry     = time.Minute
)

// Delete begins to delete a tenant with everything that belongs to it, and returns the
// operation that does; asked for again, the one that is under way. From then on nothing of the
// tenant runs, and its name is taken until the operation has ended. It fails with
// FAILED_PRECONDITION for [wasmhost.DefaultTenant]. revision is as for [Tenants.Change].
func (t *Tenants) Delete(ctx context.Context, name, revision string) (Operation, error) {
	if name == wasmhost.DefaultTenant {
		if _, err := t.current(name, ""); errors.Is(err, status.ErrDataLoss) {
			return Operation{}, err
		}
		return Operation{}, Indelible(name)
	}
	if t.host == nil {
		return Operation{}, status.Errorf(status.FailedPrecondition, "admin: Start was not called")
	}
	defer t.changes.lock(name)()
	if err := t.findLost(ctx, name); err != nil && !errors.Is(err, status.ErrDataLoss) {
		return Operation{}, err
	}
	old, err := t.current(name, revision)
	if err != nil {
		t.mu.RLock()
		old = t.tenants[name]
		t.mu.RUnlock()
		switch {
		case old != nil && old.State == Deleting && revision == "":
			return t.Operation(old.Operation)
		case old == nil || old.State != Damaged || revision != "":
			return Operation{}, err
		}
	}
	o := t.deletion(name) // of a tenant whose record was damaged while it was being deleted
	if o == nil {
		if o, err = t.begin(ctx, deleteTenant, name); err != nil {
			return Operation{}, err
		}
	}
	r, err := t.markDeleting(ctx, old, o.ID)
	if err != nil {
		t.abandon(ctx, o)
		return Operation{}, err
	}
	t.mu.Lock()
	t.set(r)
	shown := o.show()
	t.mu.Unlock()
	// It is stored: nothing of the tenant runs any more, also when the caller has left.
	ctx = context.WithoutCancel(ctx)
	if id, err := t.host.TenantID(name); err == nil && id == r.ID {
		if err := t.host.SetTenant(ctx, name, r.config()); err != nil {
			t.log.WarnContext(ctx, "a tenant that is being deleted can't be suspended first", slog.String("tenant", name), slog.Any("error", err))
		}
	}
	t.goes(func(ctx context.Context) { t.erase(ctx, r, o) })
	return shown, nil
}

// Indelible is the error of who asks for the deletion of [wasmhost.DefaultTenant].
func Indelible(name string) error {
	return status.Publicf(status.FailedPrecondition, "the tenant %q can't be deleted; it can be suspended", name)
}

// markDeleting stores that a tenant is being deleted.
func (t *Tenants) markDeleting(ctx context.Context, old *record, id string) (*record, error) {
	r := *old
	if old.State == Damaged {
		anew, _, err := t.anew(ctx, old, Settings{})
		if err != nil {
			return nil, err
		}
		r = *anew
	}
	r.State, r.Operation, r.UpdatedAt = Deleting, id, time.Now().UTC().Truncate(time.Millisecond)
	stored, err := t.put(ctx, &r, old)
	if err != nil {
		t.reread(ctx, old.Name)
	}
	return stored, err
}

// abandon forgets an operation that has not begun, unless its tenant is stored as being
// deleted by it after all.
func (t *Tenants) abandon(ctx context.Context, o *operation) {
	ctx = context.WithoutCancel(ctx)
	t.mu.Lock()
	r := t.tenants[o.Tenant]
	begun := r != nil && r.Operation == o.ID
	if !begun {
		delete(t.operations, o.ID)
	}
	t.mu.Unlock()
	if begun {
		t.goes(func(ctx context.Context) { t.erase(ctx, r, o) })
		return
	}
	if err := t.store.Delete(ctx, operationKind, o.ID); err != nil {
		t.log.WarnContext(ctx, "an operation that has not begun can't be forgotten yet", slog.String("operation", o.ID), slog.Any("error", err))
	}
}

// erase deletes everything of a tenant, and tries again until it has.
func (t *Tenants) erase(ctx context.Context, r *record, o *operation) {
	told := ""
	for wait := t.retry; ; wait = min(2*wait, maxRetry) {
		err := t.eraseOnce(ctx, r, o)
		if err == nil {
			t.log.InfoContext(ctx, "tenant deleted", slog.String("tenant", r.Name), slog.String("operation", o.ID))
			return
		}
		if ctx.Err() != nil {
			return // the next start goes on
		}
		if err.Error() != told {
			told = err.Error()
			t.log.ErrorContext(ctx, "a tenant can't be deleted yet; it is tried again", slog.String("tenant", r.Name), slog.String("operation", o.ID), slog.Any("error", err))
		}
		wire := status.ToWire(err, false)
		t.note(o, func(o *Operation) { o.Error = &wire })
		if !pause(ctx, wait) {
			return
		}
	}
}

func (t *Tenants) eraseOnce(ctx context.Context, r *record, o *operation) error {
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := t.host.EraseTenant(ctx, r.Name, func(done, total int) {
		t.note(o, func(o *Operation) { o.Progress = &Progress{done, total} })
	})
	if err == nil && t.config.Erase != nil {
		err = t.config.Erase(ctx, r.show())
	}
	if err != nil {
		return err
	}
	defer t.changes.lock(r.Name)()
	// The tenant is gone from the store first: an operation that has succeeded never goes on.
	t.mu.Lock()
	delete(t.ledgers, r.Name)
	t.mu.Unlock()
	if err := t.store.Delete(ctx, spentKind, r.Name); err != nil {
		return err
	}
	if err := t.store.Delete(ctx, TenantKind, r.Name); err != nil {
		return err
	}
	if t.config.Usage != nil {
		t.config.Usage.Forget(r.Name)
	}
	t.mu.Lock()
	delete(t.tenants, r.Name)
	t.order = nil
	t.mu.Unlock()
	t.succeed(ctx, o)
	return nil
}

// resume goes on with the deletions that were under way when the process ended, and ends the
// operations whose tenants are gone.
func (t *Tenants) resume(ctx context.Context) {
	t.mu.Lock()
	var deleting []*record
	for _, r := range t.tenants {
		if r.State == Deleting {
			deleting = append(deleting, r)
		}
	}
	var over []*operation
	for _, o := range t.operations {
		if o.State != Running {
			continue
		}
		switch r := t.tenants[o.Tenant]; {
		case r != nil && r.State == Damaged: // nobody knows whether it had begun
			wire := status.ToWire(r.damage(), false)
			o.Error = &wire
		case r == nil || r.Operation != o.ID:
			over = append(over, o)
		}
	}
	t.mu.Unlock()
	for _, o := range over {
		t.succeed(ctx, o)
	}
	for _, r := range deleting {
		t.mu.Lock()
		o, ok := t.operations[r.Operation]
		if !ok || o.State == Unreadable { // its record is written anew when it ends
			o = &operation{Operation: Operation{ID: r.Operation, Kind: deleteTenant, Tenant: r.Name, State: Running, CreatedAt: r.UpdatedAt, UpdatedAt: r.UpdatedAt}}
			t.operations[o.ID] = o
		}
		t.mu.Unlock()
		t.goes(func(ctx context.Context) { t.erase(ctx, r, o) })
	}
	t.forget(ctx, time.Now())
}
