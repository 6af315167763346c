package wasmhost

import (
	"context"
	"maps"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// provider shows one tenant's modules to a registry.
type provider struct {
	host   *Host
	tenant string
}

var (
	_ registry.Provider      = (*provider)(nil)
	_ registry.ValueProvider = (*provider)(nil)
)

// codeKind is the kind of the value by which a registry finds what runs code, and codeLanguage its name.
const codeKind, codeLanguage = "interpreter", "javascript"

// Provider returns the tenant's tools as a source of actions for a registry, and the
// middleware and formats of its modules as values. It follows every later upload,
// rollback and removal. A registry refuses to add that of a tenant that does not exist,
// with NOT_FOUND.
func (h *Host) Provider(tenantName string) registry.Provider {
	return &provider{host: h, tenant: tenantName}
}

// Name is "wasm/<tenant>".
func (p *provider) Name() string { return "wasm/" + p.tenant }

// Check fails with NOT_FOUND where the host has no such tenant.
func (p *provider) Check() error {
	_, err := p.host.tenant(p.tenant)
	return err
}

// List describes the tools as the descriptor was read at upload; it starts no guest.
func (p *provider) List(context.Context) ([]action.Desc, error) {
	p.host.mu.RLock()
	defer p.host.mu.RUnlock()
	var descs []action.Desc
	if t, ok := p.host.tenants[p.tenant]; ok {
		for _, l := range t.modules {
			descs = append(descs, l.descs...)
		}
	}
	return descs, nil
}

// actionOf is Resolve of a tenant's provider.
func (h *Host) actionOf(ctx context.Context, tenantName string, key action.Key) (action.Action, error) {
	return (&provider{host: h, tenant: tenantName}).Resolve(ctx, key)
}

// Resolve returns the action of a key; DATA_LOSS for whatever is asked of a module of which
// the stored record or bytes are damaged.
func (p *provider) Resolve(_ context.Context, key action.Key) (action.Action, error) {
	p.host.mu.RLock()
	defer p.host.mu.RUnlock()
	if t, ok := p.host.tenants[p.tenant]; ok {
		name, _, _ := strings.Cut(key.Name, "/")
		if l, ok := t.modules[name]; ok {
			if a, ok := l.actions[key]; ok {
				return a, nil
			}
			if l.damage != nil {
				return nil, l.damage
			}
		}
	}
	if err := p.host.damaged[p.tenant]; err != nil {
		return nil, err
	}
	return nil, status.Publicf(status.NotFound, "%s %q not found", key.Kind, key.Name)
}

// Values returns the middleware or the formats of the tenant's modules, or what runs code.
func (p *provider) Values(kind string) map[string]any {
	if kind == codeKind {
		if p.host.scripts == nil {
			return nil
		}
		return map[string]any{codeLanguage: p.host.interpreter(p.tenant)}
	}
	p.host.mu.RLock()
	defer p.host.mu.RUnlock()
	t, ok := p.host.tenants[p.tenant]
	if !ok {
		return nil
	}
	all := map[string]any{}
	for _, l := range t.modules {
		maps.Copy(all, l.values[kind])
	}
	return all
}
