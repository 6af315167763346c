package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"

	"github.com/tetratelabs/wazero"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/meter"
)

// code is what all modules of the same bytes share: the compiled module. It is in
// memory while an instance runs on it; when nobody has used it for a while it is dropped, and
// comes back from the cache on disk, or from the original.
type code struct {
	sandbox       *Sandbox
	entry         string // in the cache and in Sandbox.codes
	interpreted   bool
	tableElements uint32
	digest        [sha256.Size]byte // of the original
	refs          int               // modules that use it; guarded by Sandbox.mu

	mu       sync.Mutex // guards what follows; not held while something is loaded; taken after Sandbox.mu
	original Original   // nil: the code can't be dropped
	loading  chan struct{}
	compiled wazero.CompiledModule // nil when not in memory
	pins     int                   // instances
	size     int64                 // bytes that it is counted with
	// What the meter says, known once the code has been loaded.
	fuelExport string
	globals    []meter.Global
	words      *meter.WordGlobals
}

// Original returns a module's uploaded bytes, for code that is no longer in memory.
type Original func(ctx context.Context) ([]byte, error)

// codeOf finds or makes the code of a source, and counts the caller as a user of it.
func (s *Sandbox) codeOf(src *Source) *code {
	interpreted := s.config.Interpreter || src.Interpreter
	h := sha256.Sum256(src.Wasm)
	name := sha256.New()
	for _, part := range []string{string(h[:]), strconv.FormatUint(uint64(src.Limits.TableElements), 10), strconv.FormatBool(interpreted), s.engine, s.program} {
		name.Write([]byte(part))
		name.Write([]byte{0})
	}
	entry := hex.EncodeToString(name.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.codes[entry]
	if !ok {
		c = &code{sandbox: s, entry: entry, digest: h, interpreted: interpreted, tableElements: src.Limits.TableElements}
		s.codes[entry] = c
	}
	c.refs++
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.original == nil {
		c.original = src.Original
	}
	return c
}

// release ends the use of a code by a module. It is dropped with the last one.
func (c *code) release() {
	c.sandbox.mu.Lock()
	c.refs--
	last := c.refs == 0
	if last {
		delete(c.sandbox.codes, c.entry)
	}
	c.sandbox.mu.Unlock()
	if last {
		c.drop()
	}
}

// pin brings the code into memory and keeps it there until unpin. wasm is the original,
// when the caller has it at hand.
func (c *code) pin(ctx context.Context, wasm []byte, parsed *inspect.Module) error {
	for {
		c.mu.Lock()
		if c.compiled != nil {
			c.pins++
			c.mu.Unlock()
			return nil
		}
		if loading := c.loading; loading != nil {
			c.mu.Unlock()
			select {
			case <-loading: // perhaps in vain: then it is this one's turn
				continue
			case <-ctx.Done():
				return contextError(ctx.Err())
			}
		}
		done := make(chan struct{})
		c.loading = done
		c.mu.Unlock()
		compiled, metered, size, err := c.load(ctx, wasm, parsed)
		c.mu.Lock()
		c.loading = nil
		if err == nil {
			c.compiled, c.size = compiled, size
			c.fuelExport, c.globals, c.words = metered.FuelExport, metered.Globals, metered.Words
			c.pins++
		}
		c.mu.Unlock()
		close(done)
		return err
	}
}

func (c *code) unpin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pins--
}

// drop takes the code out of memory, unless an instance runs on it. It reports how many
// bytes that gave back.
func (c *code) drop() int64 {
	c.mu.Lock()
	if c.compiled == nil || c.pins > 0 {
		c.mu.Unlock()
		return 0
	}
	compiled, size := c.compiled, c.size
	c.compiled, c.size = nil, 0
	c.mu.Unlock()
	_ = compiled.Close(context.Background()) // frees memory; nothing to wait for or to lose
	c.sandbox.process.give(size)
	return size
}

// evictable reports whether the code could come back after it was dropped.
func (c *code) evictable() bool { return c.source() != nil }

func (c *code) source() Original {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.original
}

// load brings compiled code from the cache, or makes it.
func (c *code) load(ctx context.Context, wasm []byte, parsed *inspect.Module) (_ wazero.CompiledModule, _ *meter.Result, size int64, err error) {
	s := c.sandbox
	defer func() { // a fault of validator, meter or compiler must not end the process
		if r := recover(); r != nil {
			err = status.Errorf(status.Internal, "compiling panicked: %v\n%s", r, debug.Stack())
		}
	}()
	s.compiling.RLock()
	defer s.compiling.RUnlock()
	if s.closing.Load() {
		return nil, nil, 0, errClosing()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	a := c.cached()
	var compiled wazero.CompiledModule
	if a != nil {
		if compiled, err = c.stage(ctx, a); err != nil {
			s.log.Warn("cached code can't be used and is made anew", slog.String("entry", c.entry), slog.Any("error", err))
			s.cache.drop(c.entry)
			compiled = nil
		}
	}
	if compiled == nil {
		if a, compiled, err = c.build(ctx, wasm, parsed); err != nil {
			return nil, nil, 0, err
		}
	}
	size = codeSize(a)
	if !s.reserve(s.process, size) {
		_ = compiled.Close(ctx)
		return nil, nil, 0, errNoMemory("the server", s.process.limit)
	}
	return compiled, &a.metered, size, nil
}

// codeSize estimates what a compiled module holds: machine code, wazero's tables for
// each function, and the decoded module.
func codeSize(a *artifact) int64 {
	return int64(len(a.native) + 2*len(a.metered.Wasm) + 32<<10)
}

// cached returns the code that the disk holds, nil when there is none to be trusted.
func (c *code) cached() *artifact {
	s := c.sandbox
	if s.cache == nil || c.interpreted {
		return nil
	}
	a, err := s.cache.get(c.entry)
	switch {
	case err == nil:
		return a
	case !errors.Is(err, errNoEntry):
		s.log.Warn("cached code is refused and made anew", slog.String("entry", c.entry), slog.Any("error", err))
		s.cache.drop(c.entry)
	}
	return nil
}

// onDisk tells whether the cache has an entry, which may yet turn out to be damaged.
func (c *code) onDisk() bool {
	return c.sandbox.cache != nil && !c.interpreted && c.evictable() && c.sandbox.cache.has(c.entry)
}

// build makes code from the original, one of few at a time, and keeps it on disk.
func (c *code) build(ctx context.Context, wasm []byte, parsed *inspect.Module) (*artifact, wazero.CompiledModule, error) {
	s := c.sandbox
	select {
	case s.compilers <- struct{}{}:
		defer func() { <-s.compilers }()
	case <-ctx.Done():
		return nil, nil, contextError(ctx.Err())
	}
	if wasm == nil {
		var err error
		if wasm, err = c.source()(ctx); err != nil {
			return nil, nil, err
		}
		if sha256.Sum256(wasm) != c.digest {
			return nil, nil, status.Publicf(status.DataLoss, "the stored module is not the one that was uploaded")
		}
	}
	if len(s.config.Compiler) == 0 || c.interpreted {
		return c.buildHere(ctx, wasm, parsed)
	}
	a, err := s.spawn(ctx, wasm, c.tableElements)
	if err != nil {
		return nil, nil, err
	}
	compiled, err := c.stage(ctx, a)
	if err != nil {
		return nil, nil, status.Errorf(status.Internal, "load what the compiler made: %w", err)
	}
	c.keep(a)
	return a, compiled, nil
}

// buildHere compiles in this process.
func (c *code) buildHere(ctx context.Context, wasm []byte, parsed *inspect.Module) (*artifact, wazero.CompiledModule, error) {
	s := c.sandbox
	if parsed == nil {
		var err error
		if parsed, err = inspect.Parse(wasm, unbounded()); err != nil {
			return nil, nil, status.Errorf(status.Internal, "inspect: %w", err)
		}
	}
	metered, err := rewrite(ctx, s.interpreter, wasm, parsed, c.tableElements)
	if err != nil {
		return nil, nil, err
	}
	if s.folder == "" || c.interpreted { // nothing is kept on disk
		compiled, err := c.engine().CompileModule(ctx, metered.Wasm)
		if err != nil {
			return nil, nil, status.Errorf(status.Internal, "compile the metered module: %w", err)
		}
		return &artifact{metered: *metered}, compiled, nil
	}
	a, err := compileIn(ctx, s.folder, metered)
	if err != nil {
		return nil, nil, status.Errorf(status.Internal, "compile the metered module: %w", err)
	}
	compiled, err := c.stage(ctx, a)
	if err != nil {
		return nil, nil, status.Errorf(status.Internal, "load what was compiled: %w", err)
	}
	c.keep(a)
	return a, compiled, nil
}

func (c *code) engine() wazero.Runtime {
	if c.interpreted {
		return c.sandbox.interpreter
	}
	return c.sandbox.runtime
}

func (c *code) keep(a *artifact) {
	if c.sandbox.cache == nil || len(a.native) == 0 {
		return
	}
	if err := c.sandbox.cache.put(c.entry, a); err != nil {
		c.sandbox.log.Warn("compiled code can't be kept on disk", slog.Any("error", err))
	}
}

// stage hands code that is trusted to wazero, which reads it from its own folder.
func (c *code) stage(ctx context.Context, a *artifact) (wazero.CompiledModule, error) {
	s := c.sandbox
	staging := &s.staging[len(s.staging)-1]
	if name, err := hex.DecodeString(a.nativeName); err == nil && len(name) > 0 {
		staging = &s.staging[int(name[0])%len(s.staging)] // one of the same name at a time
	}
	staging.Lock()
	defer staging.Unlock()
	path := filepath.Join(s.folder, a.nativeName)
	if err := os.WriteFile(path, a.native, 0o600); err != nil {
		return nil, err
	}
	before, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	compiled, err := s.runtime.CompileModule(ctx, a.metered.Wasm)
	after, serr := os.Stat(path)
	if rerr := os.Remove(path); err == nil && (serr != nil || rerr != nil || !os.SameFile(before, after)) {
		err = errors.Join(errors.New("wazero has not taken the code"), serr, rerr, compiled.Close(ctx))
	}
	if err != nil {
		return nil, err
	}
	return compiled, nil
}
