package wasmhost

import (
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// bind makes the actions and values that a descriptor names. A stored descriptor was bound before.
func (h *Host) bind(owner *tenant, l *loaded, d *abi.Descriptor, limits policy.Limits, stored bool) error {
	l.actions = map[action.Key]action.Action{}
	l.values = map[string]map[string]any{middleware.Kind: {}, format.Kind: {}}
	var limiter *rate.Limiter
	if n := limits.CallsPerMinute; n > 0 {
		limiter = rate.NewLimiter(rate.Every(time.Minute/time.Duration(n)), int(n))
	}
	newGuest := func(kind, name, export string) *guest {
		name = l.record.Name + "/" + name
		return &guest{
			host: h, owner: &owner.capacity, of: l.record.Name, digest: l.record.Digest, revision: l.revision, text: l.text, module: l.guest,
			services: l.services, kind: kind, name: name, export: export, rate: limiter, usage: h.usage,
			log: h.log.With(slog.String("tenant", l.record.Tenant), slog.String(kind, name)),
		}
	}
	for _, t := range d.Tools {
		a, err := newTool(newGuest("tool", t.Name, t.Export), t, stored)
		if err != nil {
			return err
		}
		l.serve(a)
	}
	for kind, about := range d.Actions() {
		if kind == string(action.Prompt) {
			w := &wasmPrompt{module: l.record.Name, descriptor: d, grants: l.services.Grants(), about: about}
			made, err := newPrompt(w, h.registryOf(owner.name))
			if err != nil {
				return err
			}
			l.serve(made...)
			continue
		}
		g := newGuest(kind, about.Name, about.Export)
		a, err := newAction(g, about)
		if err != nil {
			return err
		}
		l.serve(a)
		l.guests = append(l.guests, g)
	}
	for _, m := range d.Middleware {
		g := newGuest(middleware.Kind, m.Name, m.Export)
		f, err := newMiddleware(g, m, stored)
		if err != nil {
			return err
		}
		l.put(g, f)
	}
	for _, f := range d.Formats {
		g := newGuest(format.Kind, f.Name, f.Export)
		l.put(g, newFormat(g, f))
	}
	return nil
}

// registryOf finds the actions of a tenant; none on a host that runs none for guests.
func (h *Host) registryOf(tenantName string) func() (*registry.Registry, error) {
	return func() (*registry.Registry, error) {
		if h.registry == nil {
			return registry.New(nil), nil
		}
		return h.registry(tenantName)
	}
}
