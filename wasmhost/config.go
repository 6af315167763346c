package wasmhost

import (
	"log/slog"
	"reflect"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/intercept"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/symbols"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// DefaultTenant exists in every host.
const DefaultTenant = "default"

// SourceMapSection names a custom section for a source map of revision 3 whose columns are places in the file. With it,
// and without DWARF, the frames of an [intercept.Profile] have lines.
const SourceMapSection = symbols.SourceMapSection

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
	// Start gives the random bytes and times of each initialisation of a module, so that two hosts have guests in the same
	// state; nil is the system. It is for tests and recordings: what such a guest takes for random is known. It has no
	// effect on worker processes.
	Start func() intercept.Sources
	// Explain makes code with which a call can be explained, to an [intercept.Profiler]: some ten times slower, compiled in
	// this process and kept nowhere. It is for development, and has no effect on worker processes.
	Explain bool
	// Logger gets the host's and the guests' log lines; nil drops them.
	Logger *slog.Logger
}

// TenantConfig holds the settings of one tenant that differ from the host's. Its zero value has no
// differences.
type TenantConfig struct {
	// Limits tighten the server's; a field that is 0 leaves it.
	Limits policy.Limits
	// Grants tighten those of [Config]; nil leaves them.
	Grants *policy.Grants
	// Quota bounds the tenant; fields that are 0 take those of [Config].Quota.
	Quota tenants.Quota
	// Group names the tenants that trust each other, and may share a worker process
	// (see [Process]); one without a group has its own.
	Group string
	// ID tells the tenant from an earlier one of its name, whose streams of flows it must
	// not read; see [Host.TenantID]. Empty where names are not used again.
	ID string
	// Suspended keeps the tenant's modules and runs nothing of it: what would run, and
	// uploads, fail with PERMISSION_DENIED. What is stored can be read and removed.
	Suspended bool
	// Refusal is what they fail with while the tenant is suspended; nil is PERMISSION_DENIED.
	// A tenant whose settings are lost has the reason here.
	Refusal error
}

// refusal is why nothing of the tenant runs; nil when it does.
func (c TenantConfig) refusal() error {
	switch {
	case !c.Suspended:
		return nil
	case c.Refusal != nil:
		return c.Refusal
	}
	return suspended()
}

// alike reports whether two settings differ in nothing but whether and why they are suspended.
func (c TenantConfig) alike(other TenantConfig) bool {
	c.Suspended, c.Refusal = other.Suspended, other.Refusal
	return reflect.DeepEqual(c, other)
}

// CheckTenant reports whether a host of this configuration takes a tenant; it fails as
// [Host.SetTenant] does.
func (c Config) CheckTenant(name string, settings TenantConfig) error {
	return checkTenant(c.Grants, name, settings)
}

// checkTenant checks the settings of a tenant; bound are the most that it may grant, nil for no bound.
func checkTenant(bound *policy.Grants, name string, c TenantConfig) error {
	if err := abi.CheckModuleName(name); err != nil {
		return status.Publicf(status.InvalidArgument, "tenant %q: not a usable name", abi.Line(name, 80))
	}
	if err := c.Quota.Check(); err != nil {
		return status.Publicf(status.InvalidArgument, "tenant %q: %s", name, status.Convert(err).Message)
	}
	if c.Grants == nil || bound == nil {
		return nil
	}
	if err := c.Grants.Within(*bound); err != nil {
		return status.Publicf(status.InvalidArgument, "tenant %q: %s", name, status.Convert(err).Message)
	}
	return nil
}
