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
	"context"
	"errors"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/sandbox"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// DefaultTenant exists in every host.
const DefaultTenant = "default"

// Config says how a host runs. Its zero value is usable: default limits, modules
// kept in memory only.
type Config struct {
	// Store keeps modules across restarts; nil keeps them in memory.
	Store module.Store
	// CacheDir keeps compiled code; empty keeps it in memory. Only the
	// operator may be able to write there.
	CacheDir string
	// Limits are the server's; fields that are 0 take [policy.Defaults].
	Limits policy.Limits
	// Inspect bounds uploads; fields that are 0 take inspect's defaults.
	Inspect inspect.Limits
	// Tenants are served besides the default one, each with limits that
	// tighten the server's.
	Tenants map[string]policy.Limits
	// Grants are the most that the policies of modules may grant; nil leaves it
	// to the policies, which is right where only those upload who may decide it.
	// TenantGrants tighten them; a tenant that is not in it has them all.
	Grants       *policy.Grants
	TenantGrants map[string]policy.Grants
	// KV keeps the values of the capability kv; nil keeps them in memory.
	// Whoever opened it closes it, after the host.
	KV kv.Store
	// Secrets finds what guests refer to; nil has none.
	Secrets secret.Source
	// Egress says how guests reach the network. Its InFlight is not used: a
	// tenant has a bound of its own.
	Egress egress.Config
	// Mounts are directories that policies may grant, by name. Whoever opened
	// them closes them, after the host.
	Mounts map[string]*vfs.Mount
	// Registry finds what the capabilities run and generate may run for a
	// tenant; nil provides neither. It is called while guests run.
	Registry func(tenant string) (*registry.Registry, error)
	// Interpreter runs guests on wazero's interpreter. A policy can ask for it for
	// one module.
	Interpreter bool
	// Compiler compiles modules in a process of its own: what [CompileChild] has
	// returned. Empty compiles in this process, bounded by Inspect alone.
	Compiler []string
	// MemoryBytes bounds what all guests and their code hold together; half of
	// the machine's memory when 0.
	MemoryBytes int64
	// IdleTimeout is how long a module may wait for a call before what it holds
	// in memory is dropped; 10 minutes when 0, never when negative.
	IdleTimeout time.Duration
	// Slots bounds the calls that run at a time, of all tenants together: 64
	// for each processor when 0.
	Slots int
	// Quota bounds each tenant, Quotas single ones where they are to have
	// another; fields that are 0 take [tenants.Defaults], and a tenant's
	// memory half of MemoryBytes.
	Quota  tenants.Quota
	Quotas map[string]tenants.Quota
	// Usage gets an event for each call; nil drops them.
	Usage tenants.Sink
	// ReplaceVersions lets an upload have the version of an earlier revision and
	// other bytes. It is for development: elsewhere a version names its bytes
	// for ever.
	ReplaceVersions bool
	// Logger gets the host's and the guests' log lines; nil drops them.
	Logger *slog.Logger
}

// Host loads and serves modules.
type Host struct {
	store   module.Store
	sandbox *sandbox.Sandbox
	limits  policy.Limits
	inspect inspect.Limits
	log     *slog.Logger
	usage   tenants.Sink // nil: nobody asks
	replace bool
	// calls is the queue before the guests, loads the one before the compiler.
	calls, loads *tenants.Gate

	grants   *policy.Grants // nil: no bound
	kv       kv.Store
	secrets  secret.Source
	egress   egress.Config
	mounts   map[string]*vfs.Mount
	registry func(tenant string) (*registry.Registry, error)

	mu      sync.RWMutex // guards the maps; never held while a guest runs
	tenants map[string]*tenant
	closed  bool
}

// tenant is one customer's set of modules.
type tenant struct {
	name   string
	limits policy.Limits
	grants *policy.Grants // nil: no bound
	// inFlight bounds the HTTP requests of the tenant's guests.
	inFlight chan struct{}
	quota    tenants.Quota
	account  *sandbox.Account
	calls    *tenants.Tenant
	loads    *tenants.Tenant
	bill     bill
	// loading serialises what changes the set, so that uploads of one tenant
	// are stored and swapped in the same order. It is taken before Host.mu.
	loading sync.Mutex
	modules map[string]*loaded
}

// New starts a host and serves what its store holds. A stored module that can't be
// served any more is kept, reported with its problem, and does not keep the others
// from starting.
func New(ctx context.Context, config Config) (*Host, error) {
	h := &Host{
		store: config.Store, inspect: config.Inspect,
		log: config.Logger, tenants: map[string]*tenant{}, usage: config.Usage, replace: config.ReplaceVersions,
	}
	h.limits = config.Limits.Or(policy.Defaults())
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.store == nil {
		h.store = module.NewMemory()
	}
	if h.inspect.MemoryPages == 0 {
		h.inspect.MemoryPages = int(h.limits.MemoryBytes >> 16)
	}
	if err := h.configure(config); err != nil {
		return nil, err
	}
	if err := h.startSandbox(ctx, &config); err != nil {
		return nil, err
	}
	h.addTenant(DefaultTenant, h.limits, &config)
	for name, limits := range config.Tenants {
		if err := abi.CheckModuleName(name); err != nil {
			return nil, errors.Join(status.Publicf(status.InvalidArgument, "tenant %q: not a usable name", name), h.Close(ctx))
		}
		h.addTenant(name, limits.Within(h.limits), &config)
	}
	if err := h.restore(ctx); err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return h, nil
}

func (h *Host) restore(ctx context.Context) error {
	records, err := h.store.Current(ctx)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, rec := range records {
		t, err := h.tenant(rec.Tenant)
		if err != nil {
			h.log.WarnContext(ctx, "stored module belongs to a tenant that is not configured", slog.String("tenant", rec.Tenant), slog.String("module", rec.Name))
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return status.Convert(ctx.Err())
		}
		wg.Go(func() {
			defer func() { <-slots }()
			h.restoreModule(ctx, t, rec)
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return status.Convert(ctx.Err())
	}
	return nil
}

func (h *Host) restoreModule(ctx context.Context, t *tenant, rec module.Record) {
	start := time.Now()
	l, err := h.reload(ctx, t, rec, true)
	if err != nil {
		h.log.ErrorContext(ctx, "stored module can't be served", slog.String("tenant", rec.Tenant), slog.String("module", rec.Name), slog.Any("error", err))
		rec.Problem = status.ToWire(err, false).Message
		l = &loaded{record: rec}
	} else {
		h.log.InfoContext(ctx, "module restored", slog.String("tenant", rec.Tenant), slog.String("module", rec.Name), slog.Duration("took", time.Since(start)))
	}
	h.swap(t, rec.Name, l)
}

// Close ends the host. Calls under way end with UNAVAILABLE within a slice of their
// fuel and are waited for, no longer than ctx allows.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	err := h.sandbox.Close(ctx)
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, t := range h.tenants {
		for _, l := range t.modules {
			l.services.close()
		}
	}
	return err
}

func (h *Host) tenant(name string) (*tenant, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil, status.Publicf(status.Unavailable, "the host is shutting down")
	}
	t, ok := h.tenants[name]
	if !ok {
		return nil, status.Publicf(status.NotFound, "tenant %q does not exist", abi.Line(name, 80))
	}
	return t, nil
}

func (h *Host) isClosed() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.closed
}

// Tenants returns the names of all tenants, sorted.
func (h *Host) Tenants() []string {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Sorted(maps.Keys(h.tenants))
}

// swap puts l in the place of the module of that name (nil removes it) and closes
// the old one, whose calls under way still end in peace.
func (h *Host) swap(t *tenant, name string, l *loaded) {
	h.mu.Lock()
	old := t.modules[name]
	if l == nil {
		delete(t.modules, name)
	} else {
		t.modules[name] = l
	}
	h.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// Modules returns the current record of each of a tenant's modules, sorted by
// name; NOT_FOUND when there is no such tenant.
func (h *Host) Modules(tenantName string) ([]module.Record, error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return nil, err
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	records := make([]module.Record, 0, len(t.modules))
	for _, l := range t.modules {
		records = append(records, l.record)
	}
	slices.SortFunc(records, func(a, b module.Record) int { return cmp.Compare(a.Name, b.Name) })
	return records, nil
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
	if !ok {
		return module.Record{}, noModule(name)
	}
	return l.record, nil
}

func noModule(name string) error {
	return status.Publicf(status.NotFound, "module %q does not exist", abi.Line(name, 80))
}

// Versions returns every revision of a module, newest first; NOT_FOUND when there
// is none.
func (h *Host) Versions(ctx context.Context, tenantName, name string) ([]module.Record, error) {
	if _, err := h.Module(tenantName, name); err != nil {
		return nil, err
	}
	return h.store.Versions(ctx, tenantName, name)
}

// Remove takes a module out of service and deletes all its revisions and the values
// that it kept; NOT_FOUND when there is none. Calls under way end in peace.
func (h *Host) Remove(ctx context.Context, tenantName, name string) error {
	t, err := h.tenant(tenantName)
	if err != nil {
		return err
	}
	t.loading.Lock()
	defer t.loading.Unlock()
	if _, err := h.Module(tenantName, name); err != nil {
		return err
	}
	if err := h.store.Delete(ctx, tenantName, name); err != nil {
		return err
	}
	h.mu.RLock()
	if l := t.modules[name]; l != nil && l.services != nil {
		l.services.removed.Store(true)
	}
	h.mu.RUnlock()
	h.swap(t, name, nil)
	if err := h.kv.Drop(ctx, kv.Namespace{Tenant: tenantName, Module: name}); err != nil {
		return err
	}
	h.log.InfoContext(ctx, "module removed", slog.String("tenant", tenantName), slog.String("module", name))
	return nil
}

// Rollback serves an earlier revision again; revision 0 means the one before the
// current. It fails with NOT_FOUND when there is no such revision and with
// FAILED_PRECONDITION when there is none before.
func (h *Host) Rollback(ctx context.Context, tenantName, name string, revision int) (module.Record, error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return module.Record{}, err
	}
	t.loading.Lock()
	defer t.loading.Unlock()
	versions, err := h.Versions(ctx, tenantName, name)
	if err != nil {
		return module.Record{}, err
	}
	target, err := pick(versions, revision)
	if err != nil {
		return module.Record{}, err
	}
	l, err := h.reload(ctx, t, target, false)
	if err != nil {
		return module.Record{}, err
	}
	rec, err := h.store.SetCurrent(ctx, tenantName, name, target.Revision)
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
