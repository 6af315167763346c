// Package wasmhost makes the tools of WebAssembly modules appear in an engine's
// registry: modules are loaded while it runs, checked, metered, kept, swapped and
// rolled back, one set for each tenant.
//
// It owns the way of an upload (inspect → link → compile → describe → check →
// store → swap) and the adapter from an action to a guest's function. Use:
//
//	host, err := wasmhost.New(ctx, wasmhost.Config{Store: store})
//	rec, err := host.Load(ctx, "default", wasmhost.Upload{Name: "textkit", Wasm: wasm})
//	err = eng.AddProvider(host.Provider("default"))
//
// A *Host is safe for concurrent use; two hosts may live in one process.
package wasmhost

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/services"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// Host loads and serves modules.
type Host struct {
	store   module.Store
	sandbox *sandbox.Sandbox
	guests  runner // the sandbox, or worker processes
	limits  policy.Limits
	upload  UploadLimits
	log     *slog.Logger
	usage   tenants.Sink // nil: nobody asks
	replace bool
	// calls is the queue before the guests, loads the one of uploads, compiles the one
	// before the compiler, decodes the one of bodies that are to be decoded, checks the one
	// of checks of schemas that take long, lists the one of what is listed.
	calls, loads, lists, compiles, decodes, checks *tenants.Gate
	requests, answers, replies                     *tenants.Bytes // of bodies, of HTTP responses, of replies to guests
	opens                                          *tenants.Bytes // files and directories that guests have open in mounts

	grants   *policy.Grants // nil: no bound
	quota    tenants.Quota  // of a tenant that has none of its own
	kv       kv.Store
	lasting  bool // the store of modules outlives the process
	secrets  secret.Source
	egress   egress.Config
	mounts   map[string]*vfs.Mount
	registry func(tenant string) (*registry.Registry, error)
	scripts  *scriptEngine // nil: there is none
	compiler []string      // transforms scripts
	// interpreter returns what runs code for a tenant.
	interpreter func(tenant string) any

	// changing serialises changes of the set of tenants. It is taken before a tenant's
	// loading and mu.
	changing sync.Mutex
	mu       sync.RWMutex // guards the maps; never held while a guest runs
	tenants  map[string]*tenant
	changes  map[string]chan struct{} // closed when the tenant's modules change; those that somebody waits for
	retries  retries                  // of modules that could not be brought back
	damaged  map[string]error         // why nothing that is stored of a tenant can be read, by its name
	closed   bool
}

var _ inService = (*Host)(nil)

func (h *Host) isClosed() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.closed
}

// swap puts l in the place of the module of that name (nil removes it) and closes
// the old one, whose calls under way still run to their end.
func (h *Host) swap(t *tenant, name string, l *loaded) {
	h.mu.Lock()
	old := t.modules[name]
	if l == nil {
		delete(t.modules, name)
	} else {
		if t.lives[name] == nil {
			t.lives[name] = &services.Lifetime{}
		}
		if l.services != nil {
			l.services.Serve(t.lives[name])
		}
		t.modules[name] = l
	}
	if changed := h.changes[t.name]; changed != nil {
		close(changed)
		delete(h.changes, t.name)
	}
	h.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// Changed returns a channel that is closed when a module of the tenant is put into service or out of it the next time.
func (h *Host) Changed(tenantName string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := h.changes[tenantName]
	if changed == nil {
		changed = make(chan struct{})
		if h.changes == nil {
			h.changes = map[string]chan struct{}{}
		}
		h.changes[tenantName] = changed
	}
	return changed
}

// Modules returns the current record of each of a tenant's modules, sorted by
// name; NOT_FOUND when there is no such tenant, DATA_LOSS when nothing that is stored of it
// can be read.
func (h *Host) Modules(tenantName string) ([]module.Record, error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return nil, err
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if err := h.damaged[tenantName]; err != nil {
		return nil, err
	}
	records := make([]module.Record, 0, len(t.modules))
	for _, l := range t.modules {
		records = append(records, l.record)
	}
	slices.SortFunc(records, func(a, b module.Record) int { return cmp.Compare(a.Name, b.Name) })
	return records, nil
}

func (h *Host) damage(tenantName string) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.damaged[tenantName]
}

// Module returns the current record of one module; NOT_FOUND when there is none.
func (h *Host) Module(tenantName, name string) (module.Record, error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return module.Record{}, err
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	l, ok := t.modules[name]
	if err := h.damaged[tenantName]; err != nil {
		return module.Record{}, err
	}
	if !ok {
		return module.Record{}, noModule(name)
	}
	return l.record, nil
}

func noModule(name string) error {
	return status.Publicf(status.NotFound, "module %q does not exist", abi.Line(name, 80))
}

// guestOf finds the guest that serves a name now.
func (h *Host) guestOf(tenantName, kind, name string) *guest {
	h.mu.RLock()
	defer h.mu.RUnlock()
	t, ok := h.tenants[tenantName]
	if !ok {
		return nil
	}
	module, _, _ := strings.Cut(name, "/")
	l, ok := t.modules[module]
	if !ok {
		return nil
	}
	for _, g := range l.guests {
		if g.kind == kind && g.name == name {
			return g
		}
	}
	return nil
}

func (h *Host) tenant(name string) (*tenant, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil, status.Publicf(status.Unavailable, "the host is shutting down")
	}
	t, ok := h.tenants[name]
	if !ok {
		return nil, noTenant(name)
	}
	return t, nil
}

// Tenants returns the names of all tenants, sorted.
func (h *Host) Tenants() []string {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Sorted(maps.Keys(h.tenants))
}

// loadedOf returns the module that serves an action; nil when none does.
func (h *Host) loadedOf(t *tenant, key action.Key) *loaded {
	name, _, _ := strings.Cut(key.Name, "/")
	h.mu.RLock()
	defer h.mu.RUnlock()
	l := t.modules[name]
	if l == nil || l.actions[key] == nil {
		return nil
	}
	return l
}
