package wasmhost

import (
	"context"
	"time"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/worker"
)

// Isolation is the place where guests run.
//
// Experimental: there may be more values, and the confinement of a worker process may change.
type Isolation string

const (
	// InProcess runs guests in this process, with the sandbox between them and it.
	InProcess Isolation = "in-process"
	// Process runs guests in worker processes of this program, those of each tenant,
	// or group of tenants, in one of their own: a guest that gets out of the sandbox, or
	// brings it to a standstill, finds itself in a process that has nothing else. It
	// needs [Config].Compiler.
	Process Isolation = "process"
)

// TryProcess reports whether [Process] works here: it starts a worker process, which takes
// some 20 ms, and ends it. compiler is the result of [CompileChild]. It fails with
// FAILED_PRECONDITION when the program can't be started again, and UNAVAILABLE when no
// process can be started.
func TryProcess(ctx context.Context, compiler []string) error {
	return worker.Try(ctx, compiler, nil)
}

// runner runs guests. Everything that decides about them is on this side of it: grants,
// quotas, queues, and checks of their output.
type runner interface {
	// Compile checks and compiles a module of a class, which share worker processes; it
	// runs no guest code.
	Compile(ctx context.Context, class string, src sandbox.Source) (running, error)
	// Evict drops the memory of modules that have been idle for that long, and returns how many bytes.
	Evict(idle time.Duration) int64
	// DropAccount forgets what was kept for an account.
	DropAccount(a *share.Account)
	// Close ends all calls and waits for them as long as ctx allows.
	Close(ctx context.Context) error
}

// running is a module that can be called, as a [sandbox.Module] is.
type running interface {
	Warm(ctx context.Context) error
	Call(ctx context.Context, call sandbox.Call) (*sandbox.Result, error)
	Close()
}

var (
	_ running = (*sandbox.Module)(nil)
	_ running = (*worker.Module)(nil)
)

// inProcess runs guests in the sandbox itself, which [Host] closes.
type inProcess struct{ sandbox *sandbox.Sandbox }

func (p inProcess) Compile(ctx context.Context, _ string, src sandbox.Source) (running, error) {
	m, err := p.sandbox.Compile(ctx, src)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (p inProcess) Evict(idle time.Duration) int64 { return p.sandbox.Evict(idle) }

// DropAccount does nothing: [Host] tells the sandbox.
func (inProcess) DropAccount(*share.Account) {}

func (inProcess) Close(context.Context) error { return nil }

// inWorkers runs guests in worker processes.
type inWorkers struct {
	pool *worker.Pool
}

func (p *inWorkers) Compile(ctx context.Context, class string, src sandbox.Source) (running, error) {
	m, err := p.pool.Compile(ctx, class, src)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (p *inWorkers) Evict(idle time.Duration) int64 { return p.pool.Evict(idle) }

func (p *inWorkers) DropAccount(a *share.Account) { p.pool.DropAccount(a) }

func (p *inWorkers) Close(ctx context.Context) error { return p.pool.Close(ctx) }
