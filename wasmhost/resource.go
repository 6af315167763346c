package wasmhost

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/sandbox"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// CompileChild lets a program compile modules in processes of their own, under limits
// on processor time and memory: it calls this first of all in main, and puts what is
// returned into [Config].Compiler. In a compiling process, which is the program
// started again, it does not return.
//
//	func main() {
//		compiler := wasmhost.CompileChild()
//		…
//		host, err := wasmhost.New(ctx, wasmhost.Config{Compiler: compiler})
func CompileChild() []string { return sandbox.CompileChild() }

const (
	defaultIdle       = 10 * time.Minute
	slotsPerProcessor = 64
	// loadSlots is how many uploads are checked, compiled and initialised at a
	// time; most of that time they wait for a compiler.
	loadSlots = 8
	// loadsOfTenant is how many of these may be one tenant's, loadQueue how many
	// more may wait.
	loadsOfTenant = 4
	loadQueue     = 64
)

func (h *Host) startSandbox(ctx context.Context, config *Config) error {
	if config.MemoryBytes == 0 {
		config.MemoryBytes = machineMemory() / 2
	}
	if config.IdleTimeout == 0 {
		config.IdleTimeout = defaultIdle
	}
	if err := config.Quota.Check(); err != nil {
		return err
	}
	for name, q := range config.Quotas {
		if err := q.Check(); err != nil {
			return err
		}
		if _, ok := config.Tenants[name]; !ok && name != DefaultTenant {
			return status.Publicf(status.InvalidArgument, "there is a quota for tenant %q, which is not configured", abi.Line(name, 80))
		}
	}
	h.calls = tenants.NewGate(cmp.Or(config.Slots, slotsPerProcessor*runtime.GOMAXPROCS(0)))
	h.loads = tenants.NewGate(loadSlots)
	var err error
	h.sandbox, err = sandbox.New(ctx, sandbox.Config{
		CacheDir: config.CacheDir, Interpreter: config.Interpreter, Compiler: config.Compiler,
		MemoryBytes: config.MemoryBytes, IdleTimeout: max(0, config.IdleTimeout), Logger: h.log,
	})
	return err
}

func (h *Host) addTenant(name string, limits policy.Limits, config *Config) {
	quota := config.Quotas[name].Or(config.Quota).Or(tenants.Defaults()).Or(tenants.Quota{MemoryBytes: config.MemoryBytes / 2})
	grants := h.grants
	if own, ok := config.TenantGrants[name]; ok {
		grants = &own
	}
	h.tenants[name] = &tenant{
		name: name, limits: limits, quota: quota, modules: map[string]*loaded{},
		grants: grants, inFlight: make(chan struct{}, maxInFlight),
		account: h.sandbox.NewAccount(sandbox.AccountLimits{MemoryBytes: quota.MemoryBytes, FuelPerMinute: quota.FuelPerMinute}),
		calls:   h.calls.Join(quota),
		loads:   h.loads.Join(tenants.Quota{Concurrency: loadsOfTenant, Queue: loadQueue}),
		bill:    bill{modules: map[string]*tenants.Totals{}},
	}
}

// Usage is what a tenant takes now and has taken since the host began.
type Usage struct {
	Running     int                       `json:"running"`     // calls under way
	Waiting     int                       `json:"waiting"`     // calls in the queue
	MemoryBytes int64                     `json:"memoryBytes"` // instances and images
	PeakBytes   int64                     `json:"peakBytes"`   // the most that ever was
	Quota       tenants.Quota             `json:"quota"`
	Total       tenants.Totals            `json:"total"`
	Modules     map[string]tenants.Totals `json:"modules"`
}

// Usage tells what a tenant takes and has taken; NOT_FOUND when there is no such
// tenant.
func (h *Host) Usage(tenantName string) (Usage, error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Quota: t.quota, Modules: map[string]tenants.Totals{}}
	var refused int64
	u.Running, u.Waiting, refused = t.calls.Load()
	u.MemoryBytes, u.PeakBytes = t.account.MemoryBytes()
	t.bill.mu.Lock()
	defer t.bill.mu.Unlock()
	u.Total = t.bill.total
	u.Total.Refused = refused
	for name, sum := range t.bill.modules {
		u.Modules[name] = *sum
	}
	return u, nil
}

// Evict drops from memory what no call has used for that long: instances, their images
// and compiled code, which come back with the next call. It returns how many bytes that
// gave back. The host does so itself; see [Config].IdleTimeout.
func (h *Host) Evict(idle time.Duration) int64 { return h.sandbox.Evict(idle) }

// bill sums a tenant's events.
type bill struct {
	mu      sync.Mutex // guards what follows
	total   tenants.Totals
	modules map[string]*tenants.Totals
}

// maxBilled bounds the modules that are listed; the others count in the total.
const maxBilled = 10_000

func (b *bill) add(e *tenants.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total.Add(e)
	sum, ok := b.modules[e.Module]
	if !ok {
		if len(b.modules) >= maxBilled {
			return
		}
		sum = &tenants.Totals{}
		b.modules[e.Module] = sum
	}
	sum.Add(e)
}

// inTurn runs a guest's function in its tenant's turn, and bills it by c.Usage.
func (g *guest) inTurn(ctx context.Context, c sandbox.Call) (*sandbox.Result, error) {
	arrived := time.Now()
	if wait := g.owner.account.Wait(); wait > 0 {
		return nil, status.Publicf(status.ResourceExhausted, "the tenant has used up its fuel of %d units a minute; try again in %v", g.owner.quota.FuelPerMinute, wait.Round(time.Second)).
			WithRetryAfter(wait)
	}
	inside, leave, err := g.owner.calls.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if next := c.Next; next != nil {
		c.Next = func(ctx context.Context, request []byte) (json.RawMessage, error) {
			outside, back := g.owner.calls.StepOut(ctx)
			defer back()
			return next(outside, request)
		}
	}
	res, err := g.module.Call(inside, c)
	if errors.Is(err, sandbox.ErrClosed) {
		return nil, err // it will be billed to its successor
	}
	end := time.Now()
	start := c.Usage.Began
	if start.IsZero() {
		start = end // it never ran
	}
	e := tenants.Event{
		Time: end, Tenant: g.owner.name, Module: g.of.record.Name, Revision: g.of.revision(), Digest: g.of.record.Digest, Tool: g.name, Code: status.Of(err),
		Fuel: c.Usage.Fuel, QueuedNS: start.Sub(arrived), WallNS: end.Sub(start), MemoryBytes: c.Usage.MemoryBytes,
		InputBytes: len(c.Input),
	}
	if res != nil {
		e.OutputBytes = len(res.Output)
	}
	g.owner.bill.add(&e)
	if g.host.usage != nil {
		g.host.usage.Record(e)
	}
	return res, err
}

// checkVersion refuses other bytes under what the descriptor calls itself, its name and
// version, when a revision calls itself that already.
func (h *Host) checkVersion(ctx context.Context, rec *module.Record) error {
	if rec.Version == "" || h.replace {
		return nil
	}
	revisions, err := h.store.Versions(ctx, rec.Tenant, rec.Name)
	if errors.Is(err, status.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, r := range revisions {
		if r.Version == rec.Version && r.Digest != rec.Digest && r.Problem == "" && calledName(&r) == calledName(rec) {
			return status.Publicf(status.AlreadyExists,
				"version %q of module %q is revision %d already, with other bytes (%s); raise the version in the descriptor", abi.Line(r.Version, 80), rec.Name, r.Revision, r.Digest)
		}
	}
	return nil
}

// calledName is the module's name in its own descriptor.
func calledName(rec *module.Record) string {
	var d struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(rec.Descriptor, &d) // it was parsed when it came
	return d.Name
}

// checkRoom refuses a module more than the tenant may have.
func (h *Host) checkRoom(t *tenant, name string) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if _, ok := t.modules[name]; !ok && int64(len(t.modules)) >= t.quota.Modules {
		return status.Publicf(status.ResourceExhausted, "the tenant has the %d modules that it may have; remove one first", t.quota.Modules)
	}
	return nil
}

// machineMemory is what this process may use at most, as far as the system tells: the
// smaller of what the machine has and what its group of processes was given.
func machineMemory() int64 {
	const unknown = 8 << 30
	most := int64(0)
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			most = kib << 10
		}
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if text, err := os.ReadFile(file); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && (most == 0 || n < most) {
				most = n
			}
		}
	}
	return cmp.Or(most, unknown)
}
