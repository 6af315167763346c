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
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/meter"
)

// Config says how a sandbox compiles.
type Config struct {
	// CacheDir keeps compiled code between runs; empty keeps it in memory.
	// Whoever can write there can run code in this process.
	CacheDir string
	// Interpreter runs guests on wazero's interpreter: slower by a factor of
	// tens, with no machine code made from the modules.
	Interpreter bool
}

// Sandbox compiles modules and holds what they share.
type Sandbox struct {
	config    Config
	runtime   wazero.Runtime
	validator wazero.Runtime // interpreter: checks originals without compiling them
	cache     wazero.CompilationCache

	// long holds a token for each guest that may run beyond its first slices; see
	// lane.
	long chan struct{}

	// closing tells guests under way to end at their next slice, and life what the
	// host does for them.
	closing atomic.Bool
	life    context.Context //nolint:containedctx // ends with the sandbox
	end     context.CancelFunc
	// compiling is held for reading while a module is compiled, and taken by
	// Close before the runtime goes. It is taken before mu.
	compiling sync.RWMutex

	mu      sync.Mutex // guards modules
	modules map[*Module]struct{}
}

// New starts a sandbox. Close it to free what its guests hold.
func New(ctx context.Context, config Config) (*Sandbox, error) {
	s := &Sandbox{config: config, modules: map[*Module]struct{}{}, long: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx)) // a sandbox outlives the call that made it
	s.cache = wazero.NewCompilationCache()
	if config.CacheDir != "" {
		var err error
		if err = os.MkdirAll(config.CacheDir, 0o700); err == nil {
			s.cache, err = wazero.NewCompilationCacheWithDir(config.CacheDir)
		}
		if err != nil {
			return nil, status.Errorf(status.Internal, "compile cache: %w", err)
		}
	}
	rc := wazero.NewRuntimeConfigCompiler()
	if config.Interpreter {
		rc = wazero.NewRuntimeConfigInterpreter()
	}
	s.runtime = wazero.NewRuntimeWithConfig(ctx, rc.WithCoreFeatures(api.CoreFeaturesV2).WithCompilationCache(s.cache))
	s.validator = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2))
	if err := s.link(ctx); err != nil {
		return nil, errors.Join(status.Errorf(status.Internal, "link the host modules: %w", err), s.Close(ctx))
	}
	return s, nil
}

// link makes the host's modules, which all guests share; each call finds its own
// state through its context.
func (s *Sandbox) link(ctx context.Context) error {
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, s.runtime); err != nil {
		return err
	}
	for _, build := range []func(wazero.Runtime) wazero.HostModuleBuilder{meterModule, nativeModule, extismModule, extismUserModule} {
		if _, err := build(s.runtime).Instantiate(ctx); err != nil {
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
	s.compiling.Lock() // those that compile have finished, the next ones will be refused
	defer s.compiling.Unlock()
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
	return errors.Join(s.runtime.Close(ctx), s.validator.Close(ctx), s.cache.Close(ctx))
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
	// Mounts are the directories that the guest sees through WASI. A module
	// with one gets a new instance for each call, unless Reuse is set: what a
	// call has open is state.
	Mounts []Mount
}

// Compile validates the original, meters it and compiles the result. It runs no
// guest code. It fails with INVALID_ARGUMENT when the module is not valid.
func (s *Sandbox) Compile(ctx context.Context, src Source) (_ *Module, err error) {
	defer func() { // a fault of validator, meter or compiler must not end the process
		if r := recover(); r != nil {
			err = status.Errorf(status.Internal, "compiling panicked: %v\n%s", r, debug.Stack())
		}
	}()
	s.compiling.RLock()
	defer s.compiling.RUnlock()
	if s.closing.Load() {
		return nil, errClosing()
	}
	// Rewriting could make an invalid module valid: check the original first.
	original, err := s.validator.CompileModule(ctx, src.Wasm)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "not a valid WebAssembly module: %s", validationText(err))
	}
	if err := original.Close(ctx); err != nil {
		return nil, status.Errorf(status.Internal, "close the validated module: %w", err)
	}
	metered, err := meter.Rewrite(src.Wasm, src.Module, meter.Options{MaxTableElements: src.Limits.TableElements})
	if err != nil {
		return nil, status.Errorf(status.Internal, "meter: %w", err)
	}
	compiled, err := s.compile(ctx, metered.Wasm)
	if err != nil {
		return nil, status.Errorf(status.Internal, "compile the metered module: %w", err)
	}
	m := newModule(s, src, metered, compiled)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.modules[m] = struct{}{}
	return m, nil
}

func errClosing() error {
	return status.Publicf(status.Unavailable, "the host is shutting down")
}

// compile falls back to an empty cache when the one on disk is damaged: the module
// is known to be valid, so nothing else should make it fail.
func (s *Sandbox) compile(ctx context.Context, wasm []byte) (wazero.CompiledModule, error) {
	compiled, err := s.runtime.CompileModule(ctx, wasm)
	if err == nil || s.config.CacheDir == "" {
		return compiled, err
	}
	if rerr := removeEntries(s.config.CacheDir); rerr != nil {
		return nil, errors.Join(err, rerr)
	}
	return s.runtime.CompileModule(ctx, wasm)
}

// removeEntries deletes the files below dir and keeps the folders, which the cache
// has made once.
func removeEntries(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return root.Remove(path)
	})
	return errors.Join(err, root.Close())
}

func (s *Sandbox) forget(m *Module) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.modules, m)
}
