// Package sandbox runs guests: it compiles metered modules, pools their
// instances, gives every call a fresh state and ends calls that overstep their
// limits.
//
// It owns wazero (and, in its tests, the Extism SDK as an oracle). Both calling
// conventions are implemented natively: genkit_v1, and Extism's host/env with its
// kernel in Go. Use:
//
//	sb, err := sandbox.New(ctx, sandbox.Config{CacheDir: dir})
//	m, err := sb.Compile(ctx, sandbox.Source{Wasm: wasm, Module: parsed, Limits: limits})
//	res, err := m.Call(ctx, sandbox.Call{Export: "slugify", Input: in})
//
// A *Sandbox and a *Module are safe for concurrent use. An instance serves one
// call at a time; no lock is held while a guest runs.
//
// How a call stays within its limits: fuel is charged by the rewritten module
// (wasmhost/meter); each time a slice of it is used up the guest comes back to
// the host, which looks at the deadline, the caller's context and the budget, and
// lets the Go scheduler run. How state stays fresh: memory and mutable globals are
// put back from an image that was taken after initialisation; a module that
// changes its tables, drops segments, or has grown its memory gets a new instance
// instead.
package sandbox

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/inspect"
)

// Config says how a sandbox compiles.
type Config struct {
	// CacheDir keeps compiled code between runs; empty keeps it in memory. What
	// is read from there is authenticated with a key that is kept there too, so
	// only who can read this user's files there can run code in this process.
	CacheDir string
	// CacheBytes bounds what CacheDir keeps; 4 GiB when 0.
	CacheBytes int64
	// Compiler is the command that compiles modules in a process of its own, as
	// [CompileChild] returns it. Empty compiles in this process.
	Compiler []string
	// Compilers bounds how many modules are compiled at a time; half the
	// processors, at least one, when 0.
	Compilers int
	// CompileMemory tightens, in bytes, what a compiling process may use, which
	// goes by the size of the module.
	CompileMemory int64
	// MemoryBytes bounds what all instances, images and compiled code hold
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
}

// Sandbox compiles modules and holds what they share.
type Sandbox struct {
	config  Config
	log     *slog.Logger
	process *budget
	runtime wazero.Runtime
	// interpreter checks originals without compiling them, and runs modules that
	// are to be interpreted.
	interpreter wazero.Runtime
	memory      wazero.CompilationCache

	// With a disk or a compiling process: wazero's own folder, private to this
	// process, from which it reads code, one file at a time; what names the
	// engine and this program; and where code is kept.
	scratch, folder string
	engine, program string
	cache           *codeCache // nil: in memory only
	staging         [16]sync.Mutex

	compilers chan struct{}   // one token for each module that is being compiled
	life      context.Context //nolint:containedctx // ends with the sandbox, and what it compiles with it
	end       context.CancelFunc
	swept     chan struct{} // closed when the janitor has ended

	// long holds a token for each guest that may run beyond its first slices; see
	// lane.
	long chan struct{}

	// closing tells guests under way to end at their next slice, and life what the
	// host does for them.
	closing atomic.Bool
	// compiling is held for reading while a module is compiled, and taken by
	// Close before the runtime goes. It is taken before mu.
	compiling sync.RWMutex

	mu      sync.Mutex // guards what follows
	modules map[*Module]struct{}
	codes   map[string]*code
}

// New starts a sandbox. Close it to free what its guests hold.
func New(ctx context.Context, config Config) (*Sandbox, error) {
	s := &Sandbox{
		config: config, log: config.Logger, process: &budget{limit: config.MemoryBytes},
		modules: map[*Module]struct{}{}, codes: map[string]*code{},
		long:      make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
		compilers: make(chan struct{}, cmp.Or(max(0, config.Compilers), max(1, runtime.GOMAXPROCS(0)/2))),
		swept:     make(chan struct{}),
	}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx)) // not New's caller's: it lasts until Close
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.openCache(ctx); err != nil {
		return nil, errors.Join(status.Errorf(status.Internal, "compile cache: %w", err), s.closeCache(ctx))
	}
	s.runtime = wazero.NewRuntimeWithConfig(ctx, compilerConfig().WithCompilationCache(s.memory))
	s.interpreter = wazero.NewRuntimeWithConfig(ctx, interpreterConfig())
	if config.IdleTimeout > 0 {
		go s.janitor(config.IdleTimeout) // Close waits for it
	} else {
		close(s.swept)
	}
	for _, r := range []wazero.Runtime{s.runtime, s.interpreter} {
		if err := link(ctx, r); err != nil {
			return nil, errors.Join(status.Errorf(status.Internal, "link the host modules: %w", err), s.Close(ctx))
		}
	}
	return s, nil
}

// openCache makes wazero's cache: in memory, or in a folder of this process's own,
// into which code comes from the authenticated cache and from compiling processes.
func (s *Sandbox) openCache(ctx context.Context) error {
	if s.config.Interpreter || (s.config.CacheDir == "" && len(s.config.Compiler) == 0) {
		s.memory = wazero.NewCompilationCache()
		return nil
	}
	var err error
	if s.scratch, err = s.tempDir("genkit-wasm-code-"); err != nil {
		return err
	}
	if s.folder, s.engine, err = engineFolder(ctx, s.scratch); err != nil {
		return err
	}
	if s.memory, err = wazero.NewCompilationCacheWithDir(s.scratch); err != nil || s.config.CacheDir == "" {
		return err
	}
	if s.program, err = programName(); err != nil {
		return err
	}
	s.cache, err = openCodeCache(s.config.CacheDir, s.engine, cmp.Or(s.config.CacheBytes, defaultCacheBytes))
	return err
}

// tempDir makes a directory that nobody else can reach: in the system's place for such,
// or, where that can't be written to, beside the code.
func (s *Sandbox) tempDir(pattern string) (string, error) {
	dir, err := os.MkdirTemp("", pattern)
	if err == nil || s.config.CacheDir == "" {
		return dir, err
	}
	if merr := os.MkdirAll(s.config.CacheDir, 0o700); merr != nil {
		return "", errors.Join(err, merr)
	}
	return os.MkdirTemp(s.config.CacheDir, pattern)
}

const defaultCacheBytes = 4 << 30

func (s *Sandbox) closeCache(ctx context.Context) error {
	var errs []error
	if s.memory != nil {
		errs = append(errs, s.memory.Close(ctx))
	}
	if s.cache != nil {
		errs = append(errs, s.cache.close())
	}
	if s.scratch != "" {
		errs = append(errs, os.RemoveAll(s.scratch))
	}
	return errors.Join(errs...)
}

// link makes the host's modules, which all guests share; each call finds its own
// state through its context.
func link(ctx context.Context, r wazero.Runtime) error {
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return err
	}
	for _, build := range []func(wazero.Runtime) wazero.HostModuleBuilder{meterModule, nativeModule, extismModule, extismUserModule} {
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
	s.compiling.Lock()   // those that compile have finished, the next ones will be refused
	s.compiling.Unlock() //nolint:staticcheck // a call that waits for code must find out too
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
	return errors.Join(s.runtime.Close(ctx), s.interpreter.Close(ctx), s.closeCache(ctx))
}

// Source is a module to compile.
type Source struct {
	// Wasm is the original binary and Module what inspect found in it.
	Wasm   []byte
	Module *inspect.Module
	Limits Limits
	// Clock gives the guest the time of day; without it WASI's clocks stand
	// still.
	Clock bool
	// Reuse keeps an instance's state from call to call.
	Reuse bool
	// Config is what Extism's config_get answers. It is not changed.
	Config map[string]string
	// Interpreter has this module interpreted: no machine code is made of it.
	Interpreter bool
	// Account is the tenant's; nil counts what the module takes for the process
	// alone.
	Account *Account
	// Lazy leaves code that the disk holds there until the first call. The module was
	// found to be valid when it came to be there.
	Lazy bool
	// Original gives the module's bytes again after its code was dropped. Without
	// it the code stays in memory.
	Original Original
	// Mounts are the directories that the guest sees through WASI. A module
	// with one gets a new instance for each call, unless Reuse is set: what a
	// call has open is state.
	Mounts []Mount
}

// Compile validates the original, meters it and compiles the result, or takes what was
// made of the same bytes before. It runs no guest code. It fails with INVALID_ARGUMENT when
// the module is not valid, RESOURCE_EXHAUSTED when compiling it costs more than its
// size allows, UNAVAILABLE when there is no compiler to be had.
func (s *Sandbox) Compile(ctx context.Context, src Source) (*Module, error) {
	c := s.codeOf(&src)
	if !src.Lazy || !c.onDisk() {
		if err := c.pin(ctx, src.Wasm, src.Module); err != nil {
			c.release()
			return nil, err
		}
		defer c.unpin()
	}
	m := newModule(s, &src, c)
	s.mu.Lock()
	s.modules[m] = struct{}{}
	s.mu.Unlock()
	if s.closing.Load() { // Close may not have seen it
		m.Close()
		return nil, errClosing()
	}
	return m, nil
}

func errClosing() error {
	return status.Publicf(status.Unavailable, "the host is shutting down")
}

func (s *Sandbox) forget(m *Module) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.modules, m)
}
