package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// resourceFlags are the flags for the limits of a server's modules.
type resourceFlags struct {
	memory       int64
	idle         time.Duration
	slots        int
	quota        string
	tenantQuotas []string
	usage        string
	interpreter  bool
	isolation    string
	groups       []string
	engineFlags
}

// leastMemory is what --memory is at least: with less, a module in Go or an engine of scripts does not begin.
const leastMemory = 16 << 20

func (f *resourceFlags) add(flags *pflag.FlagSet) {
	flags.Var(&number[int64]{into: &f.memory, least: leastMemory, most: 1 << 50, form: sizes, zero: "half of the machine's"}, "memory", "`BYTES` that all modules and their code may hold, such as 4294967296 or 4GiB; 0 is half of the machine's")
	f.idle = 10 * time.Minute
	spanFlag(flags, &f.idle, "idle-timeout", 0, 8760*time.Hour, "how long a module may wait for a call before it is dropped from memory; it comes back with the next; 0 drops none for that")
	wholeFlag(flags, &f.slots, "slots", 0, 1_000_000, "calls of all tenants at a time; 0 is 64 for each processor")
	flags.StringVar(&f.quota, "quota", "", "quota of each tenant, `JSON` or @FILE, such as {\"concurrency\":16,\"fuelPerMinute\":60000000000}")
	flags.StringArrayVar(&f.tenantQuotas, "tenant-quota", nil, "quota of one tenant, `NAME=JSON`; may be given again")
	flags.StringVar(&f.usage, "usage", "", "a `FILE` to which a line of JSON is added for each call: who, what, fuel, time, memory")
	flags.StringVar(&f.isolation, "isolation", "", "where modules run, `MODE`: in-process, or process: each tenant's in a process of its own that can reach nothing (default: process on Linux with --auth or tenants besides \"default\", where it works, else in-process)")
	flags.StringArrayVar(&f.groups, "isolation-group", nil, "tenants that trust each other and may share a process, `NAME=TENANT,TENANT`; may be given again")
	f.addEngines(flags)
	flags.BoolVar(&f.interpreter, "interpreter", false, "interpret modules: slower by a factor of tens, no machine code is made of them")
}

// hostConfig makes of the flags what the host is to obey, its tenants included, and what
// closes the journal.
func (a *app) hostConfig(ctx context.Context, f *resourceFlags, tenants []string, dev bool, log *slog.Logger) (wasmhost.Config, func() error, error) {
	none := func() error { return nil }
	config, err := a.hostSettings(f, tenants, dev)
	if err != nil {
		return config, none, err
	}
	if _, _, err := f.isolate(ctx, a.compiler); err != nil {
		return config, none, err
	}
	if f.usage == "" {
		return config, none, nil
	}
	journal, err := tenant.OpenJournal(f.usage, log)
	if err != nil {
		return config, none, &failure{exit: exitUsage, text: fmt.Sprintf("--usage: %v", err), cause: err}
	}
	config.Usage = journal
	return config, journal.Close, nil
}

// hostSettings is what the flags say of the host. Nothing is started, and no journal opened.
func (a *app) hostSettings(f *resourceFlags, tenants []string, dev bool) (wasmhost.Config, error) {
	config := wasmhost.Config{
		Compiler: a.compiler, MemoryBytes: f.memory, IdleTimeout: f.idle, Slots: f.slots, Interpreter: f.interpreter,
		ReplaceVersions: dev, Tenants: map[string]wasmhost.TenantConfig{},
	}
	var err error
	if config.JavaScript, err = f.javascript(); err != nil {
		return config, err
	}
	for _, name := range tenants {
		config.Tenants[name] = wasmhost.TenantConfig{}
	}
	if f.idle == 0 {
		config.IdleTimeout = -1
	}
	mode, groups, err := f.modes()
	if err != nil {
		return config, err
	}
	config.Isolation = mode
	for name, group := range groups {
		if err := configure(&config, name, "--isolation-group", func(c *wasmhost.TenantConfig) { c.Group = group }); err != nil {
			return config, err
		}
	}
	if config.Quota, err = a.quota("--quota", f.quota); err != nil {
		return config, err
	}
	for _, text := range f.tenantQuotas {
		name, value, found := strings.Cut(text, "=")
		if !found {
			return config, usagef("--tenant-quota %q: want NAME=JSON", text)
		}
		quota, err := a.quota("--tenant-quota "+name, value)
		if err != nil {
			return config, err
		}
		if err := configure(&config, name, "--tenant-quota", func(c *wasmhost.TenantConfig) { c.Quota = quota }); err != nil {
			return config, err
		}
	}
	return config, nil
}

// configure changes what a tenant has that --tenant has named.
func configure(config *wasmhost.Config, name, flag string, change func(*wasmhost.TenantConfig)) error {
	c, ok := config.Tenants[name]
	if !ok && name != wasmhost.DefaultTenant {
		return usagef("%s: there is no tenant %q; name it with --tenant %s", flag, name, name)
	}
	change(&c)
	config.Tenants[name] = c
	return nil
}

// isolate reads --isolation and --isolation-group. The mode is empty where nothing was chosen:
// then a server that has several tenants, or asks who calls, keeps their modules in processes
// of their own, if that works here.
func (f *resourceFlags) isolate(ctx context.Context, program []string) (wasmhost.Isolation, map[string]string, error) {
	mode, groups, err := f.modes()
	if err != nil || mode != wasmhost.Process {
		return mode, groups, err
	}
	if err := wasmhost.TryProcess(ctx, program); err != nil {
		return "", nil, &failure{
			exit: exitFailed, text: fmt.Sprintf("--isolation process does not work here: %v", err),
			hint: "run modules in the server's own process with --isolation in-process", cause: err,
		}
	}
	return mode, groups, nil
}

// modes is isolate, and tries nothing.
func (f *resourceFlags) modes() (wasmhost.Isolation, map[string]string, error) {
	mode := wasmhost.Isolation(f.isolation)
	if mode == "" && len(f.groups) > 0 {
		mode = wasmhost.Process
	}
	switch {
	case mode == "": // it depends on the tenants
	case mode != wasmhost.InProcess && mode != wasmhost.Process:
		return "", nil, usagef("--isolation is %q, want %s or %s", f.isolation, wasmhost.InProcess, wasmhost.Process)
	case mode != wasmhost.Process && len(f.groups) > 0:
		return "", nil, usagef("--isolation-group is for --isolation process")
	}
	groups := map[string]string{}
	for _, text := range f.groups {
		name, members, found := strings.Cut(text, "=")
		if !found || name == "" || members == "" {
			return "", nil, usagef("--isolation-group %q: want NAME=TENANT,TENANT", text)
		}
		for tenant := range strings.SplitSeq(members, ",") {
			if other, ok := groups[tenant]; ok && other != name {
				return "", nil, usagef("--isolation-group: tenant %q is in the groups %q and %q", tenant, other, name)
			}
			groups[tenant] = name
		}
	}
	return mode, groups, nil
}

// byDefault chooses for a server that has several tenants, or is to get them.
func byDefault(ctx context.Context, program []string, log *slog.Logger) wasmhost.Isolation {
	why := errors.New("worker processes are confined on Linux alone")
	if runtime.GOOS == "linux" {
		why = wasmhost.TryProcess(ctx, program)
	}
	if why == nil {
		log.Info("each tenant's modules run in a process of its own", slog.String("isolation", string(wasmhost.Process)))
		return wasmhost.Process
	}
	log.Warn("the modules of all tenants run in the server's own process: a guest that got out of the sandbox would reach every tenant; --isolation in-process says that this is meant",
		slog.String("isolation", string(wasmhost.InProcess)), slog.Any("error", why))
	return wasmhost.InProcess
}

func (a *app) quota(flag, text string) (tenant.Quota, error) {
	raw, err := a.jsonValue(strings.TrimPrefix(flag, "--"), text)
	if err != nil || raw == nil {
		return tenant.Quota{}, err
	}
	q, err := tenant.ParseQuota(raw)
	if err != nil {
		return q, usagef("%s: %s", flag, status.Convert(err).Message)
	}
	return q, nil
}
