package wasmhost

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/condition"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
)

// wanted reports why a module is not to be changed by the condition of ctx. The tenant's loading lock is held.
func (h *Host) wanted(ctx context.Context, tenantName, name string) error {
	current, err := h.Module(tenantName, name)
	if errors.Is(err, status.ErrNotFound) {
		return condition.Met(ctx, nil)
	}
	if err != nil {
		return err
	}
	return condition.Met(ctx, &current)
}

// room says up to which revision a module has to be pruned, 0 for none, so that another may
// be stored within the tenant's quota. Whatever number of revisions there are, the oldest
// make room; for bytes only those before the one that is current, so that it can be rolled
// back to. It fails with RESOURCE_EXHAUSTED when that is not enough.
func (h *Host) room(t *tenant, rec *module.Record) (through int, err error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	current := 0
	if l := t.modules[rec.Name]; l != nil {
		current = l.record.Revision
	}
	then := maps.Clone(t.kept)
	own := append(slices.Clone(t.kept[rec.Name]), revision{digest: rec.Digest, bytes: int64(rec.Size), record: recordBytes(rec)})
	drop := func() { through, own = own[0].number, own[1:] }
	for int64(len(own)) > t.quota.Revisions {
		drop()
	}
	for then[rec.Name] = own; then.bytes() > t.quota.StoredBytes; then[rec.Name] = own {
		if len(own) < 2 || own[0].number >= current {
			return 0, status.Publicf(status.ResourceExhausted, "with this module of %d bytes and its descriptor the tenant would store %d bytes, and may store %d; remove a module first", rec.Size, then.bytes(), t.quota.StoredBytes)
		}
		drop()
	}
	if _, ok := h.store.(module.Pruner); through > 0 && !ok {
		return 0, status.Publicf(status.ResourceExhausted, "the module has its %d revisions, or the tenant its %d bytes, and this host's store prunes none; remove a module first", t.quota.Revisions, t.quota.StoredBytes)
	}
	return through, nil
}

// prune forgets a module's revisions up to and including through. It goes on when its caller
// has left: the upload is done. A revision that can't be removed is removed at the next one.
func (h *Host) prune(ctx context.Context, rec *module.Record, through int) {
	pruner, ok := h.store.(module.Pruner)
	if through == 0 || !ok {
		return
	}
	log := h.log.With(slog.String("tenant", rec.Tenant), slog.String("module", rec.Name), slog.Int("through", through))
	if err := pruner.Prune(context.WithoutCancel(ctx), rec.Tenant, rec.Name, through); err != nil {
		log.ErrorContext(ctx, "old revisions can't be pruned yet", slog.Any("error", err))
		return
	}
	log.InfoContext(ctx, "old revisions pruned")
}

// countKept reads the sizes of a module's revisions. When that can't be read the old figure
// stays.
func (h *Host) countKept(ctx context.Context, t *tenant, name string) {
	versions, err := h.store.Versions(context.WithoutCancel(ctx), t.name, name)
	if err != nil && !errors.Is(err, status.ErrNotFound) {
		h.log.WarnContext(ctx, "revisions can't be counted", slog.String("tenant", t.name), slog.String("module", name), slog.Any("error", err))
		return
	}
	revisions := make([]revision, 0, len(versions))
	for _, v := range slices.Backward(versions) {
		revisions = append(revisions, revision{v.Revision, v.Digest, int64(v.Size), recordBytes(&v)})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(revisions) == 0 {
		delete(t.kept, name)
		return
	}
	t.kept[name] = revisions
}
