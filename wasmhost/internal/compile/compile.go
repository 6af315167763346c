// Package compile makes machine code of uploaded modules: it validates and meters them, has
// the result verified, compiles it, in a process of its own where it is told how to start
// one, and keeps the code in memory and on disk for all modules of the same bytes.
//
// It runs no guest. Use:
//
//	c, err := compile.New(ctx, compile.Config{CacheDir: dir, Memory: memory, Link: link})
//	code, err := c.Load(ctx, &compile.Source{Wasm: wasm, Module: parsed, TableElements: 65_536})
//	err = code.Pin(ctx, nil)     // it stays in memory until Unpin
//	guest, err := code.Instantiate(ctx, config)
//
// A *Compiler and a *Code are safe for concurrent use.
//
// # From bytes to code
//
//	original ─ validated by wazero's interpreter ─ metered ─ proved by verify ─ machine code
//	                                                                              │
//	             cache on disk (authenticated) ── read by wazero from a private folder ── Code, in memory
//
// Validation, metering, proof and compilation happen in a child process when Config.Command is
// set, else in this one. Loading happens here, and executes nothing that verify has not accepted.
//
// # Locks
//
// Compiler.adopting is taken first, then compiling (for reading), Compiler.mu and Code.mu. The
// last two are held for a few instructions at a time, never while something is compiled or read.
package compile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/symbols"
)

// Code is one compiled binary, shared by all modules of equal bytes and limits. Two counts
// keep it: refs are the modules that use it (it is forgotten with the last one), pins the
// instances and callers that need it in memory. Code without pins may be dropped to make room,
// and is loaded again from the cache on disk, or compiled again from the original.
type Code struct {
	compiler      *Compiler
	entry         string // in the cache and in Compiler.codes
	interpreted   bool
	tableElements uint32
	digest        [sha256.Size]byte // of the original
	refs          int               // modules that use it; guarded by Compiler.mu

	mu       sync.Mutex            // guards the fields below; not held while something is loaded; taken after Compiler.mu
	original Original              // nil: the code can't be dropped
	loading  chan struct{}         // closed when the load under way has ended; nil: none is
	compiled wazero.CompiledModule // nil when not in memory
	pins     int                   // instances
	size     int64                 // bytes that it counts against Config.Memory
	names    Names                 // known once the code has been loaded
	symbols  *symbols.Table        // set by whoever loads the code, before that
}

// Names are those of the globals that the meter has added to a module or exported from it.
type Names struct {
	Fuel    string // the fuel left of the slice
	Globals []meter.Global
	Words   *meter.WordGlobals // nil for what moves no words
	Symbols *symbols.Table     // nil unless Config.Listener is set
}

// handedCode implements wazero's cache of machine code (internal/filecache.Cache, wazero 1.12) for a
// process that may not touch files: it holds the one entry that is being loaded.
type handedCode struct {
	mu     sync.Mutex // guards the fields below
	key    [sha256.Size]byte
	native []byte
	taken  bool
}

// Config says how a compiler works. Memory and Link must be set.
type Config struct {
	// CacheDir keeps compiled code between runs; empty keeps it in memory. Entries are
	// authenticated with a key that is kept there too, so only someone who can read
	// this user's files there can run code in this process.
	CacheDir string
	// CacheBytes bounds the size of CacheDir; 4 GiB when 0.
	CacheBytes int64
	// Command compiles modules in a process of its own, as [Child] returns it. Empty
	// compiles in this process.
	Command []string
	// Parallel bounds how many modules are compiled at a time; half the processors, at
	// least one, when 0.
	Parallel int
	// MemoryBytes tightens what a compiling process may use, which goes by the size of
	// the module.
	MemoryBytes int64
	// Memory is the budget that compiled code counts against.
	Memory *share.Memory
	// Link makes the modules that guests import.
	Link func(ctx context.Context, r wazero.Runtime) error
	// Logger is told of a cache that is damaged; nil drops that.
	Logger *slog.Logger
	// Interpreter runs all guests on wazero's interpreter.
	Interpreter bool
	// Adopts makes a compiler for [Compiler.Adopt] alone: it compiles nothing and touches
	// no files.
	Adopts bool
	// Listener is told of each call of a function, and stack traces have lines where a module knows them; nil for neither.
	// Code is compiled in this process then, and not kept.
	Listener experimental.FunctionListenerFactory
	// Rewrite replaces [meter.Rewrite] in tests, for modules that are compiled in this
	// process.
	Rewrite func(wasm []byte, m *inspect.Module, opt meter.Options) (*meter.Result, error)
}

// Compiler makes code and holds what all of it shares.
type Compiler struct {
	config  Config
	log     *slog.Logger
	runtime wazero.Runtime
	// interpreter checks originals without compiling them, and runs modules that
	// are to be interpreted.
	interpreter wazero.Runtime
	memory      wazero.CompilationCache

	// With a disk or a compiling process, wazero reads machine code from a folder that is
	// private to this process. scratch is that process's directory, folder the one inside it
	// that wazero looks into; engine names wazero's version and the processor's features,
	// program this binary. All of them are part of a cache entry's key.
	scratch, folder string
	scratchLock     io.Closer
	engine, program string
	cache           *codeCache // on disk; nil: in memory only
	// staging serialises the loading of files of the same name, by the name's first byte.
	staging [16]sync.Mutex
	// handed is the code that wazero loads for an adopted module; adopting is held from
	// putting it there until wazero has read it.
	handed   handedCode
	adopting sync.Mutex

	parallel chan struct{}   // one token for each module that is being compiled
	life     context.Context //nolint:containedctx // ends with the compiler, and what it compiles with it
	end      context.CancelFunc
	builds   atomic.Int64 // modules compiled since the start

	stopped atomic.Bool
	// compiling is held for reading while a module is compiled, and taken by Stop. It is
	// taken before mu.
	compiling sync.RWMutex

	mu    sync.Mutex // guards the fields below
	codes map[string]*Code
}

// New starts a compiler. Close it to free the code.
func New(ctx context.Context, config Config) (*Compiler, error) {
	if config.Listener != nil {
		config.CacheDir, config.Command = "", nil
	}
	c := &Compiler{
		config: config, log: config.Logger, codes: map[string]*Code{},
		parallel: make(chan struct{}, cmp.Or(max(0, config.Parallel), max(1, runtime.GOMAXPROCS(0)/2))),
	}
	c.life, c.end = context.WithCancel(context.WithoutCancel(ctx)) // not New's caller's: it lasts until Stop
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.config.Rewrite == nil {
		c.config.Rewrite = meter.Rewrite
	}
	if err := c.openCache(ctx); err != nil {
		return nil, errors.Join(status.Errorf(status.Internal, "compile cache: %w", err), c.closeCache(ctx))
	}
	c.runtime = wazero.NewRuntimeWithConfig(ctx, compilerConfig().WithCompilationCache(c.memory))
	c.interpreter = wazero.NewRuntimeWithConfig(ctx, interpreterConfig())
	for _, r := range []wazero.Runtime{c.runtime, c.interpreter} {
		if err := config.Link(ctx, r); err != nil {
			return nil, errors.Join(status.Errorf(status.Internal, "link the host modules: %w", err), c.Close(ctx))
		}
	}
	return c, nil
}

// openCache makes wazero's cache: in memory, or in a folder of this process's own,
// into which code comes from the authenticated cache and from compiling processes.
func (c *Compiler) openCache(ctx context.Context) error {
	if c.config.Adopts {
		var err error
		c.memory, err = handedCache(&c.handed)
		return err
	}
	if c.config.Interpreter || (c.config.CacheDir == "" && len(c.config.Command) == 0) {
		c.memory = wazero.NewCompilationCache()
		return nil
	}
	var err error
	if err = c.openScratch(); err != nil {
		return err
	}
	code := filepath.Join(c.scratch, "code")
	if err = os.Mkdir(code, 0o700); err != nil {
		return err
	}
	if c.folder, c.engine, err = engineFolder(ctx, code); err != nil {
		return err
	}
	if c.memory, err = wazero.NewCompilationCacheWithDir(code); err != nil || c.config.CacheDir == "" {
		return err
	}
	if c.program, err = programName(); err != nil {
		return err
	}
	c.cache, err = openCodeCache(c.config.CacheDir, c.engine, cmp.Or(c.config.CacheBytes, defaultCacheBytes))
	return err
}

const defaultCacheBytes = 4 << 30

// closeCache closes what openCache has opened, also after it failed halfway.
func (c *Compiler) closeCache(ctx context.Context) error {
	var errs []error
	if c.memory != nil {
		errs = append(errs, c.memory.Close(ctx))
	}
	if c.cache != nil {
		errs = append(errs, c.cache.close())
	}
	if c.scratch != "" {
		errs = append(errs, c.scratchLock.Close(), os.RemoveAll(c.scratch))
	}
	return errors.Join(errs...)
}

// Stop cancels compilations under way and refuses new ones: UNAVAILABLE. It returns when
// nothing is compiled any more.
func (c *Compiler) Stop() {
	c.stopped.Store(true)
	c.end()
	c.compiling.Lock()   // those that compile have finished, the next ones will be refused
	c.compiling.Unlock() //nolint:staticcheck // a call that waits for code must find out too
}

// Close frees the code. No guest may run on it any more.
func (c *Compiler) Close(ctx context.Context) error {
	c.Stop()
	return errors.Join(c.runtime.Close(ctx), c.interpreter.Close(ctx), c.closeCache(ctx))
}

// enter is called before something is compiled or loaded. It returns a context that ends
// with the compiler, and a function for the end of the work.
func (c *Compiler) enter(ctx context.Context) (context.Context, func(), error) {
	c.compiling.RLock()
	if c.stopped.Load() {
		c.compiling.RUnlock()
		return nil, nil, share.ErrClosing()
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.life, cancel)
	return ctx, func() {
		stop()
		cancel()
		c.compiling.RUnlock()
	}, nil
}

// queue waits until a module of the account may be compiled. The function ends that.
func (c *Compiler) queue(ctx context.Context, account *share.Account) (func(), error) {
	next, err := account.EnterCompile(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case c.parallel <- struct{}{}:
		c.builds.Add(1)
		return func() { <-c.parallel; next() }, nil
	case <-ctx.Done():
		next()
		return nil, share.ContextError(ctx.Err())
	}
}

// Builds returns how many times a module was compiled since the start, not counting code
// that came from the cache.
func (c *Compiler) Builds() int64 { return c.builds.Load() }

// Source is a module to compile.
type Source struct {
	// Wasm is the original binary and Module its parsed form.
	Wasm   []byte
	Module *inspect.Module
	// TableElements bounds each table, in entries.
	TableElements uint32
	// Interpreter has this module interpreted: no machine code is made of it.
	Interpreter bool
	// Account is the tenant's; nil queues with nobody.
	Account *share.Account
	// Lazy defers loading code that the disk cache holds until it is pinned; cached code
	// has been validated.
	Lazy bool
	// Anew compiles the module even where code of the same bytes is there already, so
	// that how long that takes does not tell whether somebody else has them. The code
	// that was there is used then.
	Anew bool
	// Original reads the module's bytes again after its code was dropped. Without it the
	// code stays in memory.
	Original Original
}

// Original returns a module's uploaded bytes, for code that is no longer in memory.
type Original func(ctx context.Context) ([]byte, error)

// handedCache makes a cache of wazero's that reads code from h. wazero has no exported
// way to give one that is no directory: its field is set. It fails where wazero's cache
// has another form than the version that go.mod names.
func handedCache(h *handedCode) (wazero.CompilationCache, error) {
	cache := wazero.NewCompilationCache()
	v := reflect.ValueOf(cache)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, errors.New("wazero's cache is of another form")
	}
	field := v.Elem().FieldByName("fileCache")
	if !field.IsValid() || field.Kind() != reflect.Interface || !reflect.TypeOf(h).Implements(field.Type()) {
		return nil, errors.New("wazero's cache takes code in another form")
	}
	//nolint:gosec // the field is addressable and of an interface type that *handedCode implements
	reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(reflect.ValueOf(h))
	return cache, nil
}

// openScratch makes the directory through which code passes to wazero. Nobody else can read it. It lies
// in the system's temporary directory or, where that can't be written to, beside the cache. It is locked
// while the process lives; directories that killed processes have left there are removed.
func (c *Compiler) openScratch() error {
	sweepScratch(os.TempDir())
	dir, err := os.MkdirTemp("", scratchPrefix)
	if err != nil && c.config.CacheDir != "" {
		if merr := os.MkdirAll(c.config.CacheDir, 0o700); merr != nil {
			return errors.Join(err, merr)
		}
		sweepScratch(c.config.CacheDir)
		dir, err = os.MkdirTemp(c.config.CacheDir, scratchPrefix)
	}
	if err != nil {
		return err
	}
	c.scratch, c.scratchLock = dir, unlocked{}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	lock, err := storedir.Lock(root, dir, "scratch directory")
	switch {
	case err == nil:
		c.scratchLock = lock
	case !errors.Is(err, status.ErrUnimplemented): // without locks nothing is swept, either
		return errors.Join(err, root.Close())
	}
	return root.Close()
}
