package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/builtin/mcp"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/budget"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/cache"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/codemode"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/datadir"
	"github.com/genkit-wasm/genkit-wasm/internal/packdir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets"
	accounts "github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// backend holds the parts of a server: one engine with a child for each tenant, and
// the host of their modules.
type backend struct {
	store     *module.Dir
	resources *admin.Dir // of the tenants
	values    *kv.File
	book      *accounts.Book
	journal   *tenant.Journal // of --usage; nil: there is none
	tenants   *admin.Tenants
	host      *wasmhost.Host
	keys      *access.Keys // nil: nobody is asked who calls
	secrets   *secrets.Store
	models    []*modelOffer
	mcp       map[string]*mcp.Host // by tenant
	data      string
	erasing   sync.Mutex // held while tenants' keys are revoked
	log       *slog.Logger
	engine    *engine.Engine
	closers   []func() error // of providers
	closeLast []func() error // of mounts and stores, called after the host has been closed

	mu       sync.RWMutex // guards the fields below
	children map[string]child
	ready    bool // host and engine are there
}

// child is the engine of a tenant, with the tenant's ID: the next tenant of that name has
// another one.
type child struct {
	id     string
	engine *engine.Engine
}

// backendConfig configures a backend.
type backendConfig struct {
	data         string
	limits       policy.Limits  // of every module; fields that are 0 take the defaults
	grants       *policy.Grants // the most that policies may grant; nil is the host's default
	reach        *reachFlags
	defaultModel string
	providers    []string // of --provider
	mcp          map[string]map[string]mcp.ServerConfig
	generates    allowance.Limits // of a generate request
	host         wasmhost.Config  // fields that are set there stay; its tenants are created where they are not stored
	// apart chooses the isolation of a server with several tenants, where host says nothing;
	// nil is in-process.
	apart func(ctx context.Context) wasmhost.Isolation
	// guarded is set where identities are asked for. Such a server is for customers, who come
	// while it runs, so apart chooses however many tenants there are yet.
	guarded bool
	keys    *access.Keys
	// secretKeys encrypt the tenants' secrets; nil lets none be set.
	secretKeys *secrets.Keys
	log        *slog.Logger
	// accounts are what the flags say of the accounts of usage; nil has no prices and no sinks.
	accounts *accounting
}

// openBackend opens the store below data, brings back the modules that it holds and
// makes the tenants' registries.
func openBackend(ctx context.Context, c backendConfig) (b *backend, err error) {
	b = &backend{children: map[string]child{}, keys: c.keys, data: c.data, log: c.log}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(context.WithoutCancel(ctx)))
		}
	}()
	if b.store, err = module.OpenDir(filepath.Join(c.data, datadir.Modules)); err != nil {
		return b, err
	}
	if err := b.openBook(&c); err != nil {
		return b, err
	}
	config := c.host
	config.Store, config.CacheDir = b.store, filepath.Join(c.data, datadir.Cache)
	config.Limits, config.Logger = c.limits, c.log
	config.Grants, config.Registry = c.grants, b.registry
	if err := b.openReach(&config, c); err != nil {
		return b, err
	}
	if err := b.openProviders(c.providers); err != nil {
		return b, err
	}
	if err := b.openMCP(c.mcp, c.log); err != nil {
		return b, err
	}
	if err := b.openSecrets(ctx, c, &config); err != nil {
		return b, err
	}
	if err := b.openTenants(ctx, c, &config); err != nil {
		return b, err
	}
	if b.host, err = b.tenants.Start(ctx, config); err != nil {
		return b, err
	}
	if err := b.openEngine(ctx, c); err != nil {
		return b, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = true
	return b, nil
}

// openBook opens the accounts of usage, which get the calls of modules beside the journal of --usage.
func (b *backend) openBook(c *backendConfig) (err error) {
	if c.accounts == nil {
		c.accounts = &accounting{}
	}
	if b.book, err = c.accounts.open(filepath.Join(c.data, datadir.Usage), c.log); err != nil {
		return err
	}
	if journal, ok := c.host.Usage.(*tenant.Journal); ok {
		b.journal, c.host.Usage = journal, journaled{journal, b.book}
		return nil
	}
	c.host.Usage = b.book
	return nil
}

// openTenants opens the store of the tenants and chooses where their modules run.
func (b *backend) openTenants(ctx context.Context, c backendConfig, config *wasmhost.Config) (err error) {
	if b.resources, err = admin.OpenDir(filepath.Join(c.data, datadir.Tenants)); err != nil {
		return err
	}
	initial := map[string]admin.Settings{}
	for name, t := range c.host.Tenants {
		initial[name] = admin.Settings{Limits: t.Limits, Grants: t.Grants, Quota: t.Quota, Group: t.Group}
	}
	together := false
	b.tenants, err = admin.Open(ctx, admin.Config{
		Store: b.resources, Initial: initial, Erase: b.erase, Logger: c.log, Prices: b.book.Prices(), Usage: b.book,
		Created: func(t admin.Tenant) {
			if together {
				c.log.Warn("until the server is started again the modules of all tenants run in its own process, because it was started with one tenant; --isolation chooses",
					slog.String("tenant", t.Name))
			}
		},
	})
	if err != nil || config.Isolation != "" || c.apart == nil {
		return err
	}
	config.Isolation = wasmhost.InProcess
	if all, _ := b.tenants.List("", 2); c.guarded || len(all) > 1 {
		config.Isolation = c.apart(ctx)
		return nil
	}
	together = true
	return nil
}

// openReach opens the store, mounts and secrets of the host's guests.
func (b *backend) openReach(config *wasmhost.Config, c backendConfig) error {
	if c.reach != nil {
		unmount, err := c.reach.open(config)
		if err != nil {
			return err
		}
		b.closeLast = append(b.closeLast, unmount)
	}
	store, err := kv.Open(filepath.Join(c.data, "kv.db"), nil)
	if err != nil {
		return err
	}
	b.closeLast = append(b.closeLast, store.Close)
	b.values, config.KV = store, store
	return nil
}

func (b *backend) openEngine(ctx context.Context, c backendConfig) error {
	key, err := codeKey(filepath.Join(c.data, datadir.CodeKey))
	if err != nil {
		return err
	}
	code := codemode.Plugin(codemode.Options{Key: key})
	plugins := append(slices.DeleteFunc(builtin.All(), func(p registry.Plugin) bool { return p.Name() == code.Name() }), code)
	b.engine, err = engine.New(ctx, engine.Config{
		Name: "genkit-wasm", Plugins: plugins, DefaultModel: c.defaultModel, GenerateLimits: c.generates, Logger: c.log,
	})
	if err != nil {
		return err
	}
	for _, o := range b.models {
		if err := b.engine.AddProvider(o.shown()); err != nil {
			return err
		}
	}
	return nil
}

// registry returns a tenant's registry.
func (b *backend) registry(tenant string) (*registry.Registry, error) {
	e, err := b.engineOf(tenant)
	if err != nil {
		return nil, err
	}
	return e.Registry(), nil
}

// engineOf returns a tenant's engine, and makes it when it is first asked for. The host says
// which tenants there are.
func (b *backend) engineOf(tenant string) (*engine.Engine, error) {
	b.mu.RLock()
	c, ready := b.children[tenant], b.ready
	b.mu.RUnlock()
	if !ready {
		return nil, status.Publicf(status.Unavailable, "the server is starting").WithRetryAfter(time.Second)
	}
	id, err := b.host.TenantID(tenant)
	if err != nil {
		return nil, err
	}
	if c.engine != nil && c.id == id {
		return c.engine, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.children[tenant]; c.engine != nil && c.id == id {
		return c.engine, nil
	}
	e := b.engine.Child()
	providers := []registry.Provider{b.host.Provider(tenant)}
	for _, o := range b.models {
		providers = append(providers, b.accountOf(o, tenant, id))
	}
	if h := b.mcp[tenant]; h != nil {
		providers = append(providers, h)
	}
	for _, p := range providers {
		if err := e.AddProvider(p); err != nil {
			return nil, err
		}
	}
	// Middleware with a memory of calls is each tenant's own; it shadows the engine's. The
	// engine outlives the request that asked for it first, so it has no part in that one's context.
	for _, p := range []registry.Plugin{cache.Plugin(cache.Options{}), budget.Plugin(budget.Options{})} {
		if err := p.Register(context.Background(), e.Registry()); err != nil {
			return nil, err
		}
	}
	b.children[tenant] = child{id, e}
	return e, nil
}

// openSecrets opens the store of the tenants' secrets, before those of the server's flags.
func (b *backend) openSecrets(ctx context.Context, c backendConfig, config *wasmhost.Config) (err error) {
	urls := map[string]string{}
	for _, o := range b.models {
		urls[o.Name()] = o.BaseURL()
	}
	b.secrets, err = secrets.Open(ctx, secrets.Config{
		Path: filepath.Join(c.data, datadir.Secrets), Keys: c.secretKeys, Logger: c.log,
		TenantID:  func(tenant string) (string, error) { return b.tenants.ID(tenant) },
		Providers: urls,
	})
	if err != nil {
		return err
	}
	b.closeLast = append(b.closeLast, b.secrets.Close)
	config.Secrets = b.secrets.Source(config.Secrets)
	return nil
}

// erase deletes what belongs to a tenant besides what the host keeps: its engine, its
// secrets, and the scopes of keys, which must not let anybody in to the next tenant of that
// name.
func (b *backend) erase(ctx context.Context, t admin.Tenant) error {
	b.mu.Lock()
	if b.children[t.Name].id == t.ID {
		delete(b.children, t.Name)
	}
	b.mu.Unlock()
	if err := b.secrets.Drop(ctx, t.Name); err != nil {
		return err
	}
	b.erasing.Lock()
	defer b.erasing.Unlock()
	keys, done, err := b.openKeys(ctx)
	if keys == nil {
		return err
	}
	changed, err := keys.Withdraw(ctx, t.Name)
	for _, id := range changed {
		b.log.InfoContext(ctx, "a key has lost its scope of a deleted tenant; it is revoked if it had no other", slog.String("tenant", t.Name), slog.String("key", id))
	}
	return errors.Join(err, done())
}

// openKeys returns the keys of the data directory, also where nobody is asked who calls: then
// they let somebody in when the server is started otherwise. nil where there are none.
func (b *backend) openKeys(ctx context.Context) (keys *access.Keys, done func() error, err error) {
	if b.keys != nil {
		return b.keys, func() error { return nil }, nil
	}
	if _, err := os.Stat(keysDir(b.data)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	store, err := access.OpenDir(keysDir(b.data))
	if err != nil {
		return nil, nil, err
	}
	if keys, err = access.OpenKeys(ctx, access.KeysConfig{Store: store, Logger: b.log}); err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return keys, func() error { return errors.Join(keys.Close(), store.Close()) }, nil
}

// close ends the engine, the host and the store, in that order.
func (b *backend) close(ctx context.Context) error {
	var errs []error
	if b.engine != nil {
		errs = append(errs, b.engine.Close(ctx))
	}
	for _, c := range b.closers {
		errs = append(errs, c())
	}
	if b.tenants != nil {
		b.tenants.Close()
	}
	if b.host != nil {
		errs = append(errs, b.host.Close(ctx))
	}
	if b.book != nil {
		errs = append(errs, b.book.Close())
	}
	for _, c := range b.closeLast {
		errs = append(errs, c())
	}
	if b.resources != nil {
		errs = append(errs, b.resources.Close())
	}
	if b.store != nil {
		errs = append(errs, b.store.Close())
	}
	return errors.Join(errs...)
}

// load uploads module files to the default tenant, as --load asks for. A directory
// means its modules and scripts, or, with a package.json, one script. Beside FILE.wasm, FILE.descriptor.json and FILE.policy.json
// go with it.
func (b *backend) load(ctx context.Context, paths []string, log *slog.Logger) error {
	for _, file := range modulesOf(paths) {
		log.Info("loading a module", slog.String("file", file)) // which takes a while where it must be compiled
		if err := b.loadFile(ctx, file); err != nil {
			return err
		}
	}
	return nil
}

// modulesOf lists modules and scripts: those that are named, and those in directories.
func modulesOf(paths []string) (files []string) {
	for _, path := range paths {
		if packdir.IsDirectory(path) && !packdir.IsPackage(path) {
			files = append(files, modulesIn(path)...)
			continue
		}
		files = append(files, path)
	}
	return files
}

// modulesIn lists the modules and scripts of a directory, and those of its directories that are packages, sorted.
// Declarations of types are none.
func modulesIn(dir string) []string {
	var files []string
	for _, pattern := range []string{"*.wasm", "*.ts", "*.mts", "*.js", "*.mjs"} {
		more, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is ours
		files = append(files, more...)
	}
	files = slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(file, ".d.ts") || strings.HasSuffix(file, ".d.mts") })
	packages, _ := filepath.Glob(filepath.Join(dir, "*", "package.json"))
	for _, file := range packages {
		if name := filepath.Base(filepath.Dir(file)); name != "node_modules" && !strings.HasPrefix(name, ".") {
			files = append(files, filepath.Dir(file))
		}
	}
	slices.Sort(files)
	return files
}

func (b *backend) loadFile(ctx context.Context, file string) error {
	up, err := sidecars(file).readFiles()
	if err != nil {
		return err
	}
	up.FallbackName = stem(file)
	up.Replace = true // the person who starts the server has built the file
	if _, err := b.host.Load(ctx, wasmhost.DefaultTenant, up); err != nil {
		refusal := refusedModule(err)
		if f, ok := errors.AsType[*failure](refusal); ok {
			f.text = "load " + file + ": " + f.text
		}
		return refusal
	}
	return nil
}

// sidecars are a module and what lies beside it.
func sidecars(file string) *files {
	base := baseOf(file)
	return &files{module: file, descriptor: existing(base + ".descriptor.json"), policy: existing(base + ".policy.json")}
}

// baseOf is the path of a module or script without its ending.
func baseOf(file string) string {
	if packdir.IsDirectory(file) {
		return filepath.Clean(file)
	}
	if script.LanguageOf(file) != "" {
		return strings.TrimSuffix(file, filepath.Ext(file))
	}
	return strings.TrimSuffix(file, ".wasm")
}

// existing returns path when there is a file, else "".
func existing(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
