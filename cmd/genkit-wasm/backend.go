package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/budget"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/cache"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// backend is what a server serves: one engine with a child for each tenant, and
// the host of their modules.
type backend struct {
	store      *module.Dir
	host       *wasmhost.Host
	engine     *engine.Engine
	registries map[string]*registry.Registry
	shown      *engine.Engine // the default tenant's, for the Dev UI
	closers    []func() error // of providers
	beneath    []func() error // of what the host rests on
}

// backendConfig says what to open.
type backendConfig struct {
	data         string
	tenants      []string
	limits       policy.Limits  // of every module; fields that are 0 take the defaults
	grants       *policy.Grants // the most that policies may grant; nil is the host's default
	reach        *reachFlags
	defaultModel string
	host         wasmhost.Config // what is set there stays
	log          *slog.Logger
}

// openBackend opens the store below data, brings back the modules that it holds and
// makes the tenants' registries.
func openBackend(ctx context.Context, c backendConfig) (b *backend, err error) {
	b = &backend{registries: map[string]*registry.Registry{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(context.WithoutCancel(ctx)))
		}
	}()
	if b.store, err = module.OpenDir(filepath.Join(c.data, "modules")); err != nil {
		return b, err
	}
	tenants := map[string]policy.Limits{}
	for _, name := range c.tenants {
		tenants[name] = policy.Limits{}
	}
	delete(tenants, wasmhost.DefaultTenant)
	config := c.host
	config.Store, config.CacheDir = b.store, filepath.Join(c.data, "cache")
	config.Tenants, config.Limits, config.Logger = tenants, c.limits, c.log
	config.Grants, config.Registry = c.grants, b.registry
	if err := b.openReach(&config, c); err != nil {
		return b, err
	}
	if b.host, err = wasmhost.New(ctx, config); err != nil {
		return b, err
	}
	if err := b.openEngine(ctx, c); err != nil {
		return b, err
	}
	for _, name := range b.host.Tenants() {
		child := b.engine.Child()
		if err := child.AddProvider(b.host.Provider(name)); err != nil {
			return b, err
		}
		// What remembers calls is each tenant's own; it shadows the engine's.
		for _, p := range []registry.Plugin{cache.Plugin(cache.Options{}), budget.Plugin(budget.Options{})} {
			if err := p.Register(ctx, child.Registry()); err != nil {
				return b, err
			}
		}
		b.registries[name] = child.Registry()
		if name == wasmhost.DefaultTenant {
			b.shown = child
		}
	}
	return b, nil
}

// openReach opens what the host serves its guests from.
func (b *backend) openReach(config *wasmhost.Config, c backendConfig) error {
	if c.reach != nil {
		unmount, err := c.reach.open(config)
		if err != nil {
			return err
		}
		b.beneath = append(b.beneath, unmount)
	}
	store, err := kv.Open(filepath.Join(c.data, "kv.db"), nil)
	if err != nil {
		return err
	}
	b.beneath = append(b.beneath, store.Close)
	config.KV = store
	return nil
}

func (b *backend) openEngine(ctx context.Context, c backendConfig) error {
	var err error
	b.engine, err = engine.New(ctx, engine.Config{
		Name: "genkit-wasm", Plugins: builtin.All(), DefaultModel: c.defaultModel, Logger: c.log,
	})
	if err != nil || (os.Getenv("OPENAI_API_KEY") == "" && os.Getenv("OPENAI_BASE_URL") == "") {
		return err
	}
	p, err := openai.New(openai.FromEnv())
	if err != nil {
		return err
	}
	b.closers = append(b.closers, p.Close)
	return b.engine.AddProvider(p)
}

// registry returns a tenant's registry.
func (b *backend) registry(tenant string) (*registry.Registry, error) {
	if r, ok := b.registries[tenant]; ok {
		return r, nil
	}
	return nil, status.Publicf(status.NotFound, "tenant %q does not exist", abi.Line(tenant, 80))
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
	if b.host != nil {
		errs = append(errs, b.host.Close(ctx))
	}
	for _, c := range b.beneath {
		errs = append(errs, c())
	}
	if b.store != nil {
		errs = append(errs, b.store.Close())
	}
	return errors.Join(errs...)
}

// load uploads module files to the default tenant, as --load asks for. A directory
// stands for its *.wasm files. Beside FILE.wasm, FILE.descriptor.json and
// FILE.policy.json go with it.
func (b *backend) load(ctx context.Context, paths []string) error {
	for _, path := range paths {
		modules := []string{path}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			if modules, err = filepath.Glob(filepath.Join(path, "*.wasm")); err != nil {
				return usage(err)
			}
			slices.Sort(modules)
		}
		for _, file := range modules {
			if err := b.loadFile(ctx, file); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *backend) loadFile(ctx context.Context, file string) error {
	base := strings.TrimSuffix(file, ".wasm")
	up, err := (&files{module: file, descriptor: existing(base + ".descriptor.json"), policy: existing(base + ".policy.json")}).read()
	if err != nil {
		return err
	}
	if up.Name, err = moduleName(up, file); err != nil {
		return err
	}
	up.Replace = true // whoever starts the server has built the file
	if _, err := b.host.Load(ctx, wasmhost.DefaultTenant, up); err != nil {
		refusal := refusedModule(err)
		if f, ok := errors.AsType[*failure](refusal); ok {
			f.text = "load " + file + ": " + f.text
		}
		return refusal
	}
	return nil
}

// existing returns path when there is a file, else "".
func existing(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
