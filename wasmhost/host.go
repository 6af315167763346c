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
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

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
	// Upload bounds the parts of an uploaded module.
	Upload UploadLimits
	// Tenants are served besides the default one, which may be among them. More can be
	// added, changed and removed while the host runs: see [Host.SetTenant].
	Tenants map[string]TenantConfig
	// Grants are the most that the policies of modules may grant; nil leaves it
	// to the policies, which is right where only those upload who may decide it.
	Grants *policy.Grants
	// KV keeps the values of the capability kv; nil keeps them in memory.
	// The caller that opened it closes it, after the host.
	KV kv.Store
	// Secrets finds the values that guests refer to; nil has none.
	Secrets secret.Source
	// Egress says how guests reach the network. Its InFlight is not used: a
	// tenant has a bound of its own.
	Egress egress.Config
	// Mounts are directories that policies may grant, by name. The caller that opened
	// them closes them, after the host.
	Mounts map[string]*vfs.Mount
	// Registry finds the actions that the capabilities run and generate may run for a
	// tenant; nil provides neither. It is called while guests run.
	Registry func(tenant string) (*registry.Registry, error)
	// JavaScript is the engine of scripts, see [Upload].Language: the file that package script names. nil
	// refuses them.
	JavaScript []byte
	// Interpreter runs guests on wazero's interpreter. A policy can ask for it for
	// one module.
	Interpreter bool
	// Compiler compiles modules in a process of its own: the result of
	// [CompileChild]. Empty compiles in this process, bounded by Upload alone.
	Compiler []string
	// Isolation says where guests run; in this process when empty.
	Isolation Isolation
	// MemoryBytes bounds the memory of all guests and their code together; half of
	// the machine's memory when 0.
	MemoryBytes int64
	// IdleTimeout is how long a module may wait for a call before what it holds
	// in memory is dropped; 10 minutes when 0, never when negative.
	IdleTimeout time.Duration
	// Slots bounds the calls that run at a time, of all tenants together: 64
	// for each processor when 0.
	Slots int
	// Loads bounds the uploads that are checked, compiled and initialised at a time,
	// of all tenants together: 8 when 0.
	Loads int
	// Compilers bounds how many modules are compiled at a time: half the processors
	// when 0.
	Compilers int
	// RequestBytes bounds the memory of the bodies of all requests under way: an
	// eighth of MemoryBytes when 0, but 64 MiB at least.
	RequestBytes int64
	// Quota bounds each tenant; fields that are 0 take [tenants.Defaults], and a
	// tenant's memory half of MemoryBytes.
	Quota tenants.Quota
	// Usage gets an event for each call; nil drops them.
	Usage tenants.Sink
	// ReplaceVersions lets an upload have the version of an earlier revision and
	// other bytes. It is for development: elsewhere a version names its bytes
	// for as long as its revision is kept.
	ReplaceVersions bool
	// Logger gets the host's and the guests' log lines; nil drops them.
	Logger *slog.Logger
}

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

	// changing serialises changes of the set of tenants. It is taken before a tenant's
	// loading and mu.
	changing sync.Mutex
	mu       sync.RWMutex // guards the maps; never held while a guest runs
	tenants  map[string]*tenant
	retries  retries          // of modules that could not be brought back
	damaged  map[string]error // why nothing that is stored of a tenant can be read, by its name
	closed   bool
}

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
	h.tenants[DefaultTenant] = h.newTenant(DefaultTenant, config.Tenants[DefaultTenant])
	for name, c := range config.Tenants {
		h.tenants[name] = h.newTenant(name, c)
	}
	if err := h.restore(ctx); err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return h, nil
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
			l.services.close()
		}
	}
	return err
}

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
			t.lives[name] = &lifetime{}
		}
		if l.services != nil {
			l.services.life = t.lives[name]
		}
		t.modules[name] = l
	}
	h.mu.Unlock()
	if old != nil {
		old.close()
	}
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

// reportDamaged remembers and logs of which tenants the store can't read anything.
func (h *Host) reportDamaged(ctx context.Context) {
	store, ok := h.store.(module.DamageReporter)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.damaged = map[string]error{}
	for name, err := range store.Damaged() {
		h.log.ErrorContext(ctx, "the modules of a tenant can't be read; the tenant is not served until its directory is put back and the server started again",
			slog.String("tenant", name), slog.Any("error", err))
		h.damaged[name] = status.Publicf(status.DataLoss, "the stored modules of tenant %q can't be read; the server's operator finds the reason in its log", name).WithCause(err)
	}
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
	if err := h.delete(ctx, tenantName, name); err != nil {
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

// provided lists the capabilities of this host that not every host has.
func (h *Host) provided() []abi.Capability {
	if h.registry != nil {
		return policy.Grantable()
	}
	return slices.DeleteFunc(policy.Grantable(), func(c abi.Capability) bool { return c == abi.CapRun || c == abi.CapGenerate })
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
		if err := h.checkTenant(name, c.Tenants[name]); err != nil {
			return err
		}
	}
	return c.Quota.Check()
}
