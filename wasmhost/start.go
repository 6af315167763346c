package wasmhost

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/descriptors"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/compile"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/worker"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// CompileChild lets a program compile modules, and run them (see [Process]), in processes
// of their own: it calls this first of all in main, and puts the result into
// [Config].Compiler. In such a process, which is the program started again, it does not
// return.
//
//	func main() {
//		compiler := wasmhost.CompileChild()
//		…
//		host, err := wasmhost.New(ctx, wasmhost.Config{Compiler: compiler})
func CompileChild() []string {
	worker.Child(worker.Hooks{})
	script.Child()
	return compile.Child()
}

const (
	defaultIdle       = 10 * time.Minute
	slotsPerProcessor = 64
	// loadSlots is how many uploads are checked, compiled and initialised at a
	// time; most of that time they wait for a compiler.
	loadSlots = 8
	// loadPatience is how long an upload waits for its slot.
	loadPatience = 2 * time.Minute
	// checkPatience is how long the check of a document may wait in all.
	checkPatience = 30 * time.Second
	// loadsOfTenant is how many of these may be one tenant's, loadQueue how many
	// more may wait.
	loadsOfTenant = 4
	loadQueue     = 64
	// listSlots is how many lists of modules and actions are answered at a time,
	// listsOfTenant how many of these may be one tenant's, and listQueue how many more may
	// wait, for listPatience.
	listSlots     = 64
	listsOfTenant = 8
	listQueue     = 64
	listPatience  = 30 * time.Second
)

// What guests have open in mounts is a quarter of the server's descriptors at most, and no
// more than maxOpens: connections, stores and workers need the others. A tenant has a quarter
// of that.
const maxOpens = 4096

func (h *Host) startSandbox(ctx context.Context, config *Config) error {
	if config.MemoryBytes == 0 {
		config.MemoryBytes = machineMemory() / 2
	}
	if config.IdleTimeout == 0 {
		config.IdleTimeout = defaultIdle
	}
	h.quota = config.Quota.Or(tenants.Defaults()).Or(tenants.Quota{MemoryBytes: config.MemoryBytes / 2})
	h.calls = tenants.NewGate(cmp.Or(config.Slots, slotsPerProcessor*runtime.GOMAXPROCS(0)))
	h.loads = tenants.NewGate(cmp.Or(config.Loads, loadSlots)).Patient(loadPatience)
	h.lists = tenants.NewGate(listSlots).Patient(listPatience)
	compilers := cmp.Or(config.Compilers, max(1, runtime.GOMAXPROCS(0)/2))
	h.compiles = tenants.NewGate(compilers).Patient(loadPatience)
	h.decodes = tenants.NewGate(runtime.GOMAXPROCS(0))
	h.checks = tenants.NewGate(max(1, runtime.GOMAXPROCS(0)-1)).Patient(checkPatience)
	for _, count := range []**tenants.Bytes{&h.requests, &h.answers, &h.replies} {
		*count = tenants.NewBytes(cmp.Or(config.RequestBytes, max(64<<20, config.MemoryBytes/8)))
	}
	h.opens = tenants.NewBytes(min(maxOpens, descriptors.Limit()/4))
	var start func() sandbox.Sources
	if config.Start != nil {
		start = func() sandbox.Sources { return config.Start() }
	}
	var err error
	h.sandbox, err = sandbox.New(ctx, sandbox.Config{
		CacheDir: config.CacheDir, Interpreter: config.Interpreter, Compiler: config.Compiler,
		MemoryBytes: config.MemoryBytes, IdleTimeout: max(0, config.IdleTimeout), Logger: h.log,
		Compilers: compilers, Start: start, Explain: config.Explain,
	})
	if err != nil {
		return err
	}
	if h.guests, err = h.startGuests(config); err != nil {
		return errors.Join(err, h.sandbox.Close(ctx))
	}
	return nil
}

// Evict drops the memory of modules that have been idle for that long: instances, their images
// and compiled code, which come back with the next call. It returns how many bytes that
// gave back. The host does so itself; see [Config].IdleTimeout.
func (h *Host) Evict(idle time.Duration) int64 { return h.guests.Evict(idle) }

// startGuests makes the runner: a sandbox, or a pool of workers.
func (h *Host) startGuests(config *Config) (runner, error) {
	switch config.Isolation {
	case "", InProcess:
		return inProcess{h.sandbox}, nil
	case Process:
	default:
		return nil, status.Publicf(status.InvalidArgument, "isolation %q is not known; want %q or %q", abi.Line(string(config.Isolation), 40), InProcess, Process)
	}
	pool, err := worker.New(worker.Config{
		Command: config.Compiler, Sandbox: h.sandbox, Interpreter: config.Interpreter, MemoryBytes: config.MemoryBytes,
		IdleTimeout: max(0, config.IdleTimeout), Spare: true, Logger: h.log,
	})
	if err != nil {
		return nil, err
	}
	return &inWorkers{pool: pool}, nil
}
