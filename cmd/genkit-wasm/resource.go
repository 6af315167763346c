package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// resourceFlags say what the modules of a server may take.
type resourceFlags struct {
	memory       int64
	idle         time.Duration
	slots        int
	quota        string
	tenantQuotas []string
	usage        string
	interpreter  bool
}

func (f *resourceFlags) add(flags *pflag.FlagSet) {
	flags.Int64Var(&f.memory, "memory", 0, "`BYTES` that all modules and their code may hold; 0 is half of the machine's")
	flags.DurationVar(&f.idle, "idle-timeout", 10*time.Minute, "how long a module may wait for a call before it is dropped from memory; it comes back with the next")
	flags.IntVar(&f.slots, "slots", 0, "calls of all tenants at a time; 0 is 64 for each processor")
	flags.StringVar(&f.quota, "quota", "", "quota of each tenant, `JSON` or @FILE, such as {\"concurrency\":16,\"fuelPerMinute\":60000000000}")
	flags.StringArrayVar(&f.tenantQuotas, "tenant-quota", nil, "quota of one tenant, `NAME=JSON`; may be given again")
	flags.StringVar(&f.usage, "usage", "", "a `FILE` to which a line of JSON is added for each call: who, what, fuel, time, memory")
	flags.BoolVar(&f.interpreter, "interpreter", false, "interpret modules: slower by a factor of tens, no machine code is made of them")
}

// hostConfig makes of the flags what the host is to obey, and what closes the journal.
func (a *app) hostConfig(f *resourceFlags, dev bool) (wasmhost.Config, func() error, error) {
	none := func() error { return nil }
	if f.memory < 0 || f.slots < 0 || f.idle < 0 {
		return wasmhost.Config{}, none, usagef("--memory, --slots and --idle-timeout can't be negative")
	}
	config := wasmhost.Config{
		Compiler: a.compiler, MemoryBytes: f.memory, IdleTimeout: f.idle, Slots: f.slots, Interpreter: f.interpreter,
		ReplaceVersions: dev, Quotas: map[string]tenant.Quota{},
	}
	if f.idle == 0 {
		config.IdleTimeout = -1
	}
	var err error
	if config.Quota, err = a.quota("--quota", f.quota); err != nil {
		return config, none, err
	}
	for _, text := range f.tenantQuotas {
		name, value, found := strings.Cut(text, "=")
		if !found {
			return config, none, usagef("--tenant-quota %q: want NAME=JSON", text)
		}
		if config.Quotas[name], err = a.quota("--tenant-quota "+name, value); err != nil {
			return config, none, err
		}
	}
	if f.usage == "" {
		return config, none, nil
	}
	file, err := os.OpenFile(f.usage, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return config, none, &failure{exit: exitUsage, text: fmt.Sprintf("--usage: %v", err), cause: err}
	}
	journal := tenant.NewJournal(file)
	config.Usage = journal
	return config, func() error { return errors.Join(journal.Close(), file.Close()) }, nil
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
