package wasmhost

import (
	"context"
	"errors"
	"log/slog"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/services"
)

// EraseTenant takes a tenant out of service and deletes all that the host keeps of it: its
// modules with all revisions, the values that they stored, and its sums of usage. Requests
// under way end, with NOT_FOUND as their cause. A tenant that is not in service is erased,
// too: after a failure, or a crash, EraseTenant is called again until it succeeds, and
// nothing else may set the tenant meanwhile. progress, which may be nil, is told how many of
// the modules are gone. It fails with FAILED_PRECONDITION for [DefaultTenant] and with
// DATA_LOSS when what is stored of the tenant can't be read.
//
// Experimental: see [Host.SetTenant].
func (h *Host) EraseTenant(ctx context.Context, name string, progress func(done, total int)) error {
	if progress == nil {
		progress = func(int, int) {}
	}
	if err := h.endTenant(ctx, name); err != nil {
		return err
	}
	if err := h.damage(name); err != nil {
		return err
	}
	records, err := h.stored(ctx, name)
	if err != nil {
		return err
	}
	for i, rec := range records {
		progress(i, len(records))
		if err := h.delete(ctx, name, rec.Name); err != nil && !errors.Is(err, status.ErrNotFound) {
			return err
		}
		if err := h.kv.Drop(ctx, kv.Namespace{Tenant: name, Module: rec.Name}); err != nil {
			return err
		}
	}
	if err := h.eraseValues(ctx, name); err != nil {
		return err
	}
	if f, ok := h.usage.(interface{ Forget(tenant string) }); ok {
		f.Forget(name)
	}
	progress(len(records), len(records))
	h.log.InfoContext(ctx, "tenant erased", slog.String("tenant", name), slog.Int("modules", len(records)))
	return nil
}

// endTenant takes a tenant out of service, if it is there, and lets none of its calls come
// to its values any more.
func (h *Host) endTenant(ctx context.Context, name string) error {
	t, err := h.tenant(name)
	if errors.Is(err, status.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if name != DefaultTenant {
		t.serving.refuse(noTenant(name))
	}
	if err := h.RemoveTenant(ctx, name); err != nil && !errors.Is(err, status.ErrNotFound) {
		return err
	}
	h.mu.RLock()
	lives := make([]*services.Lifetime, 0, len(t.lives))
	for _, life := range t.lives {
		lives = append(lives, life)
	}
	h.mu.RUnlock()
	for _, life := range lives {
		life.End()
	}
	return nil
}

// eraseValues drops the values of a tenant's modules that are not stored any more.
func (h *Host) eraseValues(ctx context.Context, name string) error {
	lister, ok := h.kv.(kv.Lister)
	if !ok {
		return nil
	}
	if r, ok := h.kv.(kv.Reporter); ok {
		if problem := r.Report(name).Problem; problem != "" { // what can't be listed can't be dropped
			return status.Publicf(status.DataLoss, "the values of tenant %q: %s; put it back, or remove it, and try again", name, problem)
		}
	}
	spaces, err := lister.Namespaces(ctx)
	if err != nil {
		return err
	}
	for _, ns := range spaces {
		if ns.Tenant != name {
			continue
		}
		if err := h.kv.Drop(ctx, ns); err != nil {
			return err
		}
	}
	return nil
}
