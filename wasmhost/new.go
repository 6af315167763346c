package wasmhost

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
)

// New starts a host and serves the modules of its store. A stored module that can't be
// served any more is kept, reported with its problem, and does not keep the others
// from starting.
func New(ctx context.Context, config Config) (*Host, error) {
	h := &Host{
		store: config.Store, upload: config.Upload,
		log: config.Logger, tenants: map[string]*tenant{}, usage: config.Usage, replace: config.ReplaceVersions,
	}
	h.limits = config.Limits.OrDefaults()
	h.scripts, h.compiler = newScriptEngine(config.JavaScript), config.Compiler
	h.interpreter = func(tenant string) any { return &interpreter{h, tenant} }
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.lasting = h.store != nil
	if h.store == nil {
		h.store = module.NewMemory()
	}
	if h.upload.MemoryPages == 0 {
		h.upload.MemoryPages = int(h.limits.MemoryBytes >> 16)
	}
	if err := h.configure(config); err != nil {
		return nil, err
	}
	if err := h.startSandbox(ctx, &config); err != nil {
		return nil, err
	}
	h.tenants[DefaultTenant] = h.newTenant(DefaultTenant, config.Tenants[DefaultTenant], nil)
	for name, c := range config.Tenants {
		h.tenants[name] = h.newTenant(name, c, nil)
	}
	if err := h.restore(ctx); err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return h, nil
}

// configure checks and takes the settings of capabilities.
func (h *Host) configure(c Config) error {
	h.kv, h.secrets, h.egress, h.registry, h.mounts = c.KV, c.Secrets, c.Egress, c.Registry, maps.Clone(c.Mounts)
	if h.kv == nil {
		h.kv = kv.NewMemory(nil)
	}
	if h.secrets == nil {
		h.secrets = secret.Static(nil)
	}
	h.grants = c.Grants
	for _, name := range slices.Sorted(maps.Keys(c.Tenants)) {
		if err := checkTenant(h.grants, name, c.Tenants[name]); err != nil {
			return err
		}
	}
	return c.Quota.Check()
}

// Close ends the host. Calls under way end with UNAVAILABLE within a slice of their
// fuel and are waited for, no longer than ctx allows.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.retries.close()
	err := errors.Join(h.guests.Close(ctx), h.sandbox.Close(ctx))
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, t := range h.tenants {
		t.lines.Close()
		for _, l := range t.modules {
			l.services.Close()
		}
		t.code.end()
	}
	return err
}
