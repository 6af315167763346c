// Package sandbox runs guests: it pools the instances of compiled modules, gives every call
// a fresh state and ends calls that overstep their limits.
//
// It owns the instances of wazero (and, in its tests, the Extism SDK as an oracle). Both
// calling conventions are implemented natively: genkit_v1, and Extism's host/env with its
// kernel in Go. Use:
//
//	sb, err := sandbox.New(ctx, sandbox.Config{CacheDir: dir})
//	m, err := sb.Compile(ctx, sandbox.Source{Wasm: wasm, Module: parsed, Limits: limits})
//	res, err := m.Call(ctx, sandbox.Call{Export: "slugify", Input: in})
//
// A *Sandbox and a *Module are safe for concurrent use. An instance serves one
// call at a time; no lock is held while a guest runs.
//
// How a call stays within its limits: fuel is charged by the metered module
// (wasmhost/internal/meter); each time a slice of it is used up the guest comes back to
// the host, which looks at the deadline, the caller's context and the budget, and
// lets the Go scheduler run. How state stays fresh: memory and mutable globals are
// restored from an image that was taken after initialisation; a module that
// changes its tables, drops segments, or has grown its memory gets a new instance
// instead.
package sandbox

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/compile"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/wasi"
)

// Config configures the compiler of a sandbox and the limits of its guests.
type Config struct {
	// CacheDir keeps compiled code between runs; see [compile.Config], also for
	// CacheBytes, which is 4 GiB when 0. Empty keeps it in memory.
	CacheDir   string
	CacheBytes int64
	// Compiler is the command that compiles modules in a process of its own, as
	// [compile.Child] returns it. Empty compiles in this process.
	Compiler []string
	// Compilers bounds how many modules are compiled at a time; half the
	// processors, at least one, when 0.
	Compilers int
	// CompileMemory tightens, in bytes, what a compiling process may use, which
	// goes by the size of the module.
	CompileMemory int64
	// MemoryBytes bounds the memory that all instances, images and compiled code hold
	// together; 0 is no bound.
	MemoryBytes int64
	// IdleTimeout is how long a module may wait for a call before its
	// instances, its image and its code are dropped; 0 keeps them.
	IdleTimeout time.Duration
	// Logger is told of a cache that is damaged; nil drops that.
	Logger *slog.Logger
	// Interpreter runs guests on wazero's interpreter: slower by a factor of
	// tens, with no machine code made from the modules.
	Interpreter bool
	// Adopts makes a sandbox for [Sandbox.Adopt] alone: it compiles nothing and
	// touches no files.
	Adopts bool
	// Freed is called when memory of an account has been given back at another time than
	// the end of a call; nil for an account of the process alone. It must not block.
	Freed func(*share.Account)
	// Start gives the sources of each initialisation, so that the images of two sandboxes are alike; nil is the system.
	Start func() Sources
	// Explain compiles modules so that calls can have a [Profile]: slower, in this process, and kept nowhere.
	Explain bool
	// Rewrite replaces [meter.Rewrite] in tests.
	Rewrite func(wasm []byte, m *inspect.Module, opt meter.Options) (*meter.Result, error)
}

// New starts a sandbox. Close it to free the memory of its guests.
func New(ctx context.Context, config Config) (*Sandbox, error) {
	s := &Sandbox{log: config.Logger, modules: map[*Module]struct{}{}, bases: map[baseKey]*base{}, processors: share.NewProcessors(), start: config.Start, swept: make(chan struct{})}
	s.memory = share.NewMemory(config.MemoryBytes, s.makeRoom)
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx)) // not New's caller's: it lasts until Close
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.freed = config.Freed; s.freed == nil {
		s.freed = func(*share.Account) {}
	}
	var err error
	s.compiler, err = compile.New(ctx, compile.Config{
		Listener: listenerFor(config.Explain),
		CacheDir: config.CacheDir, CacheBytes: config.CacheBytes, Command: config.Compiler, Parallel: config.Compilers, MemoryBytes: config.CompileMemory,
		Memory: s.memory, Link: link, Logger: s.log, Interpreter: config.Interpreter, Adopts: config.Adopts, Rewrite: config.Rewrite,
	})
	if err != nil {
		s.end()
		return nil, err
	}
	if config.IdleTimeout > 0 {
		go s.janitor(config.IdleTimeout) // Close waits for it
	} else {
		close(s.swept)
	}
	return s, nil
}

// link makes the host's modules, which all guests share; each call finds its own
// state through its context.
func link(ctx context.Context, r wazero.Runtime) error {
	for _, build := range []func(wazero.Runtime) wazero.HostModuleBuilder{wasiModule, meterModule, nativeModule, extismModule, extismUserModule} {
		if _, err := build(r).Instantiate(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the sandbox: calls under way end with UNAVAILABLE at their next slice
// and are waited for, because the code that they run is freed. When ctx ends first,
// which only an Emit that blocks can cause, nothing is freed and ctx's error is
// returned.
func (s *Sandbox) Close(ctx context.Context) error {
	if s.closing.Swap(true) {
		return nil
	}
	s.end()
	<-s.swept
	s.compiler.Stop()
	s.mu.Lock()
	modules := slices.Collect(maps.Keys(s.modules))
	s.mu.Unlock()
	for _, m := range modules {
		m.Close()
	}
	for _, m := range modules {
		select {
		case <-m.drained:
		case <-ctx.Done():
			return status.Errorf(status.Of(ctx.Err()), "close the sandbox: calls are still under way: %w", ctx.Err())
		}
	}
	return s.compiler.Close(ctx)
}

// Source is a module to compile and run.
type Source struct {
	// Wasm is the original binary and Module its parsed form.
	Wasm   []byte
	Module *inspect.Module
	Limits Limits
	// Clock gives the guest the time of day; without it WASI's clocks stand
	// still, but for its own sleeps.
	Clock bool
	// Reuse keeps an instance's state from call to call.
	Reuse bool
	// Config holds the values of Extism's config_get. It is not changed.
	Config map[string]string
	// Interpreter has this module interpreted: no machine code is made of it.
	Interpreter bool
	// Account is the tenant's; nil counts the module's memory for the process
	// alone.
	Account *share.Account
	// Lazy, Anew and Original are those of a [compile.Source].
	Lazy, Anew bool
	Original   compile.Original
	// Mounts are the directories that the guest sees through WASI. Files that a call
	// has open are closed at its end, unless Reuse is set. A module whose
	// initialisation looks at one gets a new instance for each call.
	Mounts []Mount
	// Setup names an export of type () → i32 that is called once in a new instance, after what
	// initialises every module; the input of the whole initialisation is then what Seed returns. With it, modules
	// of equal bytes and other seeds share their code and nothing else. When it fails, the error
	// that the guest has set is the initialisation's. Seed is called for the first instance, and for a new one
	// after the image was evicted; what it returns is not changed.
	Setup string
	Seed  func(ctx context.Context) ([]byte, error)
}

func (src *Source) compile() *compile.Source {
	return &compile.Source{
		Wasm: src.Wasm, Module: src.Module, TableElements: src.Limits.TableElements, Interpreter: src.Interpreter, Account: src.Account,
		Lazy: src.Lazy || src.Setup != "", Anew: src.Anew, Original: src.Original, // others of the same code have it in memory
	}
}

// Compile makes a module ready to be called. It runs no guest code. It fails as
// [compile.Compiler.Load] does.
func (s *Sandbox) Compile(ctx context.Context, src Source) (*Module, error) {
	code, err := s.compiler.Load(ctx, src.compile())
	if err != nil {
		return nil, err
	}
	return s.admit(newModule(s, &src, ShapeOf(src.Module), code))
}

// admit keeps a module until it is closed.
func (s *Sandbox) admit(m *Module) (*Module, error) {
	s.mu.Lock()
	s.modules[m] = struct{}{}
	s.mu.Unlock()
	if s.closing.Load() { // Close may not have seen it
		m.Close()
		return nil, share.ErrClosing()
	}
	return m, nil
}

// Builds returns how many times a module was compiled since the start, not counting code
// that came from the cache.
func (s *Sandbox) Builds() int64 { return s.compiler.Builds() }

// NewAccount makes an account whose memory counts against the sandbox's as well.
func (s *Sandbox) NewAccount(limits share.AccountLimits) *share.Account {
	return s.memory.NewAccount(limits)
}

// DropAccount is [share.Memory.Drop].
func (s *Sandbox) DropAccount(a *share.Account) { s.memory.Drop(a) }

func newModule(s *Sandbox, src *Source, shape *Shape, c *compile.Code) *Module {
	m := &Module{
		sandbox: s, code: c, account: src.Account, fixedBytes: shape.FixedBytes, limits: src.Limits, reuse: src.Reuse, config: src.Config, wasi: wasiConfig(src),
		extism:       shape.Extism,
		hasMemory:    shape.HasMemory,
		initialisers: shape.Initialisers,
		setup:        src.Setup,
		seed:         src.Seed,
		singleUse:    shape.SingleUse,
		slots:        make(chan struct{}, src.Limits.Concurrency),
		drained:      make(chan struct{}),
	}
	if src.Setup != "" && !shape.SingleUse && !src.Reuse && len(src.Mounts) == 0 && len(src.Config) == 0 {
		m.base = s.baseFor(baseKey{code: c, clock: src.Clock})
	}
	m.used.Store(time.Now().UnixNano())
	return m
}

// Adopt takes a module that another process of this program has prepared. Of src, Wasm,
// Module, Original and Lazy are not used. It runs no guest code; it fails with INTERNAL
// when the artifact is not of this program.
func (s *Sandbox) Adopt(ctx context.Context, p *Prepared, src Source) (*Module, error) {
	code, err := s.compiler.Adopt(ctx, &p.Prepared, src.compile())
	if err != nil {
		return nil, err
	}
	return s.admit(newModule(s, &src, &p.Shape, code))
}

// Again is [compile.Compiler.Again].
func (s *Sandbox) Again(ctx context.Context, p *Prepared, src Source) (*Prepared, error) {
	again, err := s.compiler.Again(ctx, &p.Prepared, src.compile())
	if err != nil {
		return nil, err
	}
	return &Prepared{Prepared: *again, Shape: p.Shape}, nil
}

// Prepare is [compile.Compiler.Prepare].
func (s *Sandbox) Prepare(ctx context.Context, src Source) (*Prepared, error) {
	p, err := s.compiler.Prepare(ctx, src.compile())
	if err != nil {
		return nil, err
	}
	return &Prepared{Prepared: *p, Shape: *ShapeOf(src.Module)}, nil
}

// wasiConfig returns the WASI settings of the module's guests.
func wasiConfig(src *Source) *wasi.Config {
	config := &wasi.Config{Clock: src.Clock}
	for _, m := range src.Mounts {
		config.Mounts = append(config.Mounts, wasi.Mount(m))
	}
	return config
}
