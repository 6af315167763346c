package wasmhost

import (
	"context"
	"log/slog"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
)

// A module's values go with the module, and the next module of its name starts empty.
// The process may end between the deletion of a module and that of its values. So a mark is
// set before the module is deleted, and when the host starts, the values of those with a mark
// are dropped. What has no mark is kept: a module whose records are not found need not have been
// removed; they may be damaged, or missing for a while. Before the first upload under a
// name the values are dropped once more, and what could not be dropped is remembered.

// mark notes in the store of values, if it can do that, that a module is about to be removed.
func (h *Host) mark(ctx context.Context, ns kv.Namespace) error {
	marker, ok := h.kv.(kv.Marker)
	if !ok {
		return nil
	}
	if err := marker.Mark(ctx, ns); err != nil {
		return status.Publicf(status.Unavailable, "note that module %q is being removed", ns.Module).WithCause(err)
	}
	return nil
}

// unmark takes a mark back when the module has not been removed. It continues after the caller has
// left. If it fails, the next start does it, because the module is stored.
func (h *Host) unmark(ctx context.Context, ns kv.Namespace) {
	marker, ok := h.kv.(kv.Marker)
	if !ok {
		return
	}
	if err := marker.Unmark(context.WithoutCancel(ctx), ns); err != nil {
		h.log.WarnContext(ctx, "a module that was not removed stays marked as being removed until the next start",
			slog.String("tenant", ns.Tenant), slog.String("module", ns.Module), slog.Any("error", err))
	}
}

// endLife drops the values of a module that was just removed, and closes them to calls
// that are still under way. The module is gone, so this continues after the caller has
// left. The tenant's loading lock is held.
func (h *Host) endLife(ctx context.Context, t *tenant, name string) {
	h.mu.Lock()
	life := t.lives[name]
	delete(t.lives, name)
	h.mu.Unlock()
	if life != nil {
		life.End()
	}
	t.leftover[name] = true
	if err := h.dropLeftover(context.WithoutCancel(ctx), t, name); err != nil {
		h.log.ErrorContext(ctx, "values of a removed module can't be dropped yet; they are before its name is used again",
			slog.String("tenant", t.name), slog.String("module", name), slog.Any("error", err))
	}
}

func (h *Host) dropLeftover(ctx context.Context, t *tenant, name string) error {
	if err := h.kv.Drop(ctx, kv.Namespace{Tenant: t.name, Module: name}); err != nil {
		return err
	}
	delete(t.leftover, name)
	return nil
}

// startEmpty makes sure that a module which is not in service yet finds no values of an
// earlier one of its name. It fails when they can't be dropped. The tenant's loading lock
// is held.
func (h *Host) startEmpty(ctx context.Context, t *tenant, name string) error {
	h.mu.RLock()
	_, serves := t.modules[name]
	h.mu.RUnlock()
	// A host whose modules are in memory alone can't tell a new module from one that
	// was there before a restart, which keeps its values.
	if serves || !h.lasting && !t.leftover[name] {
		return nil
	}
	if err := h.dropLeftover(ctx, t, name); err != nil {
		return status.Errorf(status.Unavailable, "drop the values of an earlier module %q: %w", name, err)
	}
	return nil
}

// sweepValues finishes removals during which a process has ended: it drops the values of the modules
// that are marked and gone. Of a tenant whose modules can't be read, nothing is known.
func (h *Host) sweepValues(ctx context.Context, records []module.Record) {
	marker, ok := h.kv.(kv.Marker)
	if !ok {
		return
	}
	marked, err := marker.Marked(ctx)
	if err != nil {
		h.log.ErrorContext(ctx, "values of removed modules can't be looked for", slog.Any("error", err))
		return
	}
	stored := map[kv.Namespace]bool{}
	for _, rec := range records {
		stored[kv.Namespace{Tenant: rec.Tenant, Module: rec.Name}] = true
	}
	for _, ns := range marked {
		if stored[ns] {
			h.unmark(ctx, ns)
			continue
		}
		if h.damage(ns.Tenant) != nil {
			continue
		}
		if err := h.kv.Drop(ctx, ns); err != nil {
			h.log.ErrorContext(ctx, "values of a removed module can't be dropped", slog.String("tenant", ns.Tenant), slog.String("module", ns.Module), slog.Any("error", err))
			continue
		}
		h.log.InfoContext(ctx, "dropped the values of a removed module", slog.String("tenant", ns.Tenant), slog.String("module", ns.Module))
	}
}

// reportValues logs which of the tenants' values can't be read.
func (h *Host) reportValues(ctx context.Context) {
	reporter, ok := h.kv.(kv.Reporter)
	if !ok {
		return
	}
	for _, name := range h.Tenants() {
		r := reporter.Report(name)
		if r.Problem != "" {
			h.log.ErrorContext(ctx, "values can't be read", slog.String("tenant", name), slog.String("problem", r.Problem))
		}
		for _, module := range r.Damaged {
			h.log.ErrorContext(ctx, "the values of a module are damaged; calls that need them fail until they are put back or removed",
				slog.String("tenant", name), slog.String("module", module))
		}
	}
}
