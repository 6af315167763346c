package wasmhost

import (
	"context"
	"errors"
	"log/slog"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
)

// Versions returns every revision of a module, newest first; NOT_FOUND when there
// is none.
func (h *Host) Versions(ctx context.Context, tenantName, name string) ([]module.Record, error) {
	if _, err := h.Module(tenantName, name); err != nil {
		return nil, err
	}
	return h.store.Versions(ctx, tenantName, name)
}

// Remove takes a module out of service and deletes all its revisions and the values
// that it kept; NOT_FOUND when there is none. Calls under way run to their end. Values that
// can't be deleted now are, whatever happens meanwhile, before a module of that name is
// loaded again.
func (h *Host) Remove(ctx context.Context, tenantName, name string) error {
	t, err := h.tenant(tenantName)
	if err != nil {
		return err
	}
	t.loading.Lock()
	defer t.loading.Unlock()
	if err := t.here(); err != nil {
		return err
	}
	if _, err := h.Module(tenantName, name); err != nil {
		return err
	}
	if err := h.wanted(ctx, tenantName, name); err != nil {
		return err
	}
	ns := kv.Namespace{Tenant: tenantName, Module: name}
	if err := h.mark(ctx, ns); err != nil {
		return err
	}
	if err := h.delete(ctx, tenantName, name); err != nil {
		h.unmark(ctx, ns)
		return err
	}
	h.swap(t, name, nil)
	h.endLife(ctx, t, name)
	h.countKept(ctx, t, name)
	h.log.InfoContext(ctx, "module removed", slog.String("tenant", tenantName), slog.String("module", name))
	return nil
}

// delete removes a module from the store, where that can be done.
func (h *Host) delete(ctx context.Context, tenantName, name string) error {
	store, ok := h.store.(module.Deleter)
	if !ok {
		return status.Publicf(status.Unimplemented, "this host's store of modules removes none")
	}
	return store.Delete(ctx, tenantName, name)
}

// Rollback serves an earlier revision again; revision 0 means the one before the
// current. It fails with NOT_FOUND when there is no such revision and with
// FAILED_PRECONDITION when there is none before.
func (h *Host) Rollback(ctx context.Context, tenantName, name string, revision int) (module.Record, error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return module.Record{}, err
	}
	inside, leave, err := t.loads.Enter(ctx) // a module is initialised, as for an upload
	if err != nil {
		return module.Record{}, err
	}
	defer leave()
	ctx = share.WithPlace(inside, t.place(inside))
	t.loading.Lock()
	defer t.loading.Unlock()
	if err := errors.Join(t.here(), t.serving.check()); err != nil {
		return module.Record{}, err
	}
	versions, err := h.Versions(ctx, tenantName, name)
	if err != nil {
		return module.Record{}, err
	}
	if err := h.wanted(ctx, tenantName, name); err != nil {
		return module.Record{}, err
	}
	target, err := pick(versions, revision)
	if err != nil {
		return module.Record{}, err
	}
	store, ok := h.store.(module.Switcher)
	if !ok {
		return module.Record{}, status.Publicf(status.Unimplemented, "this host's store of modules can't roll back")
	}
	l, err := h.reload(ctx, t, target, false)
	if err != nil {
		return module.Record{}, err
	}
	rec, err := store.SetCurrent(ctx, tenantName, name, target.Revision)
	if err != nil {
		l.close()
		return module.Record{}, err
	}
	l.record = rec
	h.swap(t, name, l)
	h.log.InfoContext(ctx, "module rolled back", slog.String("tenant", tenantName), slog.String("module", name), slog.Int("revision", rec.Revision))
	return rec, nil
}

func pick(versions []module.Record, revision int) (module.Record, error) {
	current := 0
	for _, v := range versions {
		if v.Current {
			current = v.Revision
		}
	}
	for _, v := range versions { // newest first
		if v.Revision == revision || (revision == 0 && v.Revision < current) {
			return v, nil
		}
	}
	if revision == 0 {
		return module.Record{}, status.Publicf(status.FailedPrecondition, "there is no revision before the current one")
	}
	return module.Record{}, status.Publicf(status.NotFound, "revision %d does not exist", revision)
}
