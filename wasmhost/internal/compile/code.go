package compile

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

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/symbols"
)

func namesOf(metered *meter.Result) Names {
	return Names{Fuel: metered.FuelExport, Globals: metered.Globals, Words: metered.Words}
}

// codeOf finds or makes the code of a source, and counts the caller as a user of it. The entry's name
// is a digest of everything that machine code depends on: the bytes, the limit of tables, whether it
// is interpreted, the engine and this program. The zero byte keeps two parts from running together.
func (c *Compiler) codeOf(src *Source) *Code {
	interpreted := c.config.Interpreter || src.Interpreter
	h := sha256.Sum256(src.Wasm)
	name := sha256.New()
	for _, part := range []string{string(h[:]), strconv.FormatUint(uint64(src.TableElements), 10), strconv.FormatBool(interpreted), c.engine, c.program} {
		name.Write([]byte(part))
		name.Write([]byte{0})
	}
	entry := hex.EncodeToString(name.Sum(nil))
	c.mu.Lock()
	defer c.mu.Unlock()
	code, ok := c.codes[entry]
	if !ok {
		code = &Code{compiler: c, entry: entry, digest: h, interpreted: interpreted, tableElements: src.TableElements}
		c.codes[entry] = code
	}
	code.refs++
	code.mu.Lock()
	defer code.mu.Unlock()
	if code.original == nil {
		code.original = src.Original
	}
	return code
}

// Release ends the use of the code by a module. It is dropped with the last one.
func (c *Code) Release() {
	c.compiler.mu.Lock()
	c.refs--
	last := c.refs == 0
	if last {
		delete(c.compiler.codes, c.entry)
	}
	c.compiler.mu.Unlock()
	if last {
		c.Drop()
	}
}

// Pin brings the code into memory and keeps it there until Unpin. It waits in the account's
// queue when the code has to be compiled; the account may be nil. It fails as
// [Compiler.Load] does, and with DATA_LOSS when the original is gone or another.
func (c *Code) Pin(ctx context.Context, account *share.Account) error {
	return c.pin(ctx, account, nil, nil)
}

// pin is Pin for a caller who may have the original at hand, and parsed. Of several callers one loads;
// the others wait for it and then look again, because it may have failed (its context ended, say)
// and each of them may have a context or an original that lets it succeed.
func (c *Code) pin(ctx context.Context, a *share.Account, wasm []byte, parsed *inspect.Module) error {
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
				return share.ContextError(ctx.Err())
			}
		}
		done := make(chan struct{})
		c.loading = done
		c.mu.Unlock()
		compiled, metered, size, err := c.load(ctx, a, wasm, parsed)
		c.mu.Lock()
		c.loading = nil
		if err == nil {
			c.compiled, c.size = compiled, size
			c.names = namesOf(metered)
			c.names.Symbols = c.symbols
			c.pins++
		}
		c.mu.Unlock()
		close(done)
		return err
	}
}

// Unpin ends a Pin.
func (c *Code) Unpin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pins--
}

// Instantiate makes a guest of the code, which is pinned.
func (c *Code) Instantiate(ctx context.Context, config wazero.ModuleConfig) (api.Module, error) {
	return c.runtime().InstantiateModule(ctx, c.compiled, config)
}

// Names returns the names of the meter's globals. The code is pinned.
func (c *Code) Names() Names { return c.names }

// Drop takes the code out of memory, unless it is pinned. It reports how many bytes that
// gave back.
func (c *Code) Drop() int64 {
	c.mu.Lock()
	if c.compiled == nil || c.pins > 0 {
		c.mu.Unlock()
		return 0
	}
	compiled, size := c.compiled, c.size
	c.compiled, c.size = nil, 0
	c.mu.Unlock()
	_ = compiled.Close(context.Background()) //nolint:forbidigo // frees memory; nothing to wait for or to lose
	c.compiler.config.Memory.Give(size)
	return size
}

// Evictable reports whether the code could come back after it was dropped.
func (c *Code) Evictable() bool { return c.source() != nil }

// source returns where the original can be read again, nil when it can't.
func (c *Code) source() Original {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.original
}

// load brings compiled code from the cache, or makes it, and counts its memory. It holds no lock but
// Compiler.compiling for reading, and is called by one goroutine for one Code at a time.
func (c *Code) load(ctx context.Context, account *share.Account, wasm []byte, parsed *inspect.Module) (_ wazero.CompiledModule, _ *meter.Result, size int64, err error) {
	defer func() { // a fault of validator, meter or compiler must not end the process
		if r := recover(); r != nil {
			err = status.Errorf(status.Internal, "compiling panicked: %v\n%s", r, debug.Stack())
		}
	}()
	ctx, leave, err := c.compiler.enter(ctx)
	if err != nil {
		return nil, nil, 0, err
	}
	defer leave()
	a := c.cached()
	var compiled wazero.CompiledModule
	if a != nil {
		if compiled, err = c.stage(ctx, a); err != nil {
			c.compiler.log.Warn("cached code can't be used and is made anew", slog.String("entry", c.entry), slog.Any("error", err))
			c.compiler.cache.drop(c.entry)
			compiled = nil
		}
	}
	if compiled == nil {
		if a, compiled, err = c.build(ctx, account, wasm, parsed); err != nil {
			if e := status.Convert(err); e.Code == status.Internal && e.Public() { // the uploader does not see the reason
				c.compiler.log.Error("a module is refused by a fault of the server", slog.String("sha256", hex.EncodeToString(c.digest[:])), slog.String("cause", cause(e)))
			}
			return nil, nil, 0, err
		}
	}
	if size, err = c.reserve(ctx, a, compiled); err != nil {
		return nil, nil, 0, err
	}
	return compiled, &a.metered, size, nil
}

// reserve counts the memory that code takes against the process's budget, or closes the code and fails.
// No tenant's budget is charged: code is shared by all who have the same bytes.
func (c *Code) reserve(ctx context.Context, a *artifact, compiled wazero.CompiledModule) (int64, error) {
	memory, size := c.compiler.config.Memory, codeSize(a)
	if short := memory.Reserve(&memory.Budget, size); short != nil {
		_ = compiled.Close(ctx)
		return 0, memory.Refused(short)
	}
	return size, nil
}

// codeSize estimates what a compiled module holds: machine code, wazero's tables for
// each function, and the decoded module.
func codeSize(a *artifact) int64 {
	return int64(len(a.native) + 2*len(a.metered.Wasm) + 32<<10)
}

// cached returns the code that the disk holds, nil when there is none to be trusted.
func (c *Code) cached() *artifact {
	cache := c.compiler.cache
	if cache == nil || c.interpreted {
		return nil
	}
	a, err := cache.get(c.entry)
	switch {
	case err == nil:
		return a
	case !errors.Is(err, errNoEntry):
		c.compiler.log.Warn("cached code is refused and made anew", slog.String("entry", c.entry), slog.Any("error", err))
		cache.drop(c.entry)
	}
	return nil
}

// onDisk tells whether the cache has an entry, which may yet turn out to be damaged.
func (c *Code) onDisk() bool {
	return c.compiler.cache != nil && !c.interpreted && c.Evictable() && c.compiler.cache.has(c.entry)
}

// build compiles the original and keeps the result on disk. It waits in the account's queue and then
// for one of Config.Parallel tokens. An original that is read again must have the digest of the
// uploaded one: the store is not trusted to return the same bytes.
func (c *Code) build(ctx context.Context, account *share.Account, wasm []byte, parsed *inspect.Module) (*artifact, wazero.CompiledModule, error) {
	done, err := c.compiler.queue(ctx, account)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	if wasm == nil {
		if wasm, err = c.source()(ctx); err != nil {
			return nil, nil, err
		}
		if sha256.Sum256(wasm) != c.digest {
			return nil, nil, errOtherOriginal()
		}
	}
	if len(c.compiler.config.Command) == 0 || c.interpreted {
		return c.buildHere(ctx, wasm, parsed)
	}
	a, err := c.compiler.spawn(ctx, wasm, c.tableElements)
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

func errOtherOriginal() error {
	return status.Publicf(status.DataLoss, "the stored module is not the one that was uploaded")
}

// exists reports whether the code is in memory or on disk, which is when loading it would be fast.
func (c *Code) exists() bool {
	c.mu.Lock()
	there := c.compiled != nil
	c.mu.Unlock()
	return there || c.compiler.cache != nil && !c.interpreted && c.compiler.cache.has(c.entry)
}

// anew compiles the module and drops the result when the source asks for that and the code exists
// already. It does the same work as a first compilation, so that its duration does not tell a tenant
// whether another one has uploaded the same module. It waits in the account's queue like build.
func (c *Code) anew(ctx context.Context, src *Source) error {
	if !src.Anew || !c.exists() {
		return nil
	}
	done, err := c.compiler.queue(ctx, src.Account)
	if err != nil {
		return err
	}
	defer done()
	ctx, leave, err := c.compiler.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if len(c.compiler.config.Command) > 0 && !c.interpreted {
		_, err = c.compiler.spawn(ctx, src.Wasm, c.tableElements)
		return err
	}
	metered, err := c.compiler.rewrite(ctx, src.Wasm, src.Module, c.tableElements)
	if err != nil || c.interpreted {
		return err
	}
	apart := wazero.NewRuntimeWithConfig(ctx, compilerConfig()) // closing code of the shared one would free what others run
	defer func() { _ = apart.Close(ctx) }()
	if _, err := apart.CompileModule(ctx, metered.Wasm); err != nil {
		return errCompile(err)
	}
	return nil
}

func errCompile(err error) error {
	return status.Errorf(status.Internal, "compile the metered module: %w", err)
}

func (c *Compiler) rewrite(ctx context.Context, wasm []byte, parsed *inspect.Module, tableElements uint32) (*meter.Result, error) {
	return rewrite(ctx, c.interpreter, c.config.Rewrite, wasm, parsed, tableElements, c.config.Listener != nil)
}

// buildHere compiles in this process.
func (c *Code) buildHere(ctx context.Context, wasm []byte, parsed *inspect.Module) (*artifact, wazero.CompiledModule, error) {
	if parsed == nil {
		var err error
		if parsed, err = inspect.Parse(wasm, unbounded()); err != nil {
			return nil, nil, status.Errorf(status.Internal, "inspect: %w", err)
		}
	}
	metered, err := c.compiler.rewrite(ctx, wasm, parsed, c.tableElements)
	if err != nil {
		return nil, nil, err
	}
	if c.compiler.config.Listener != nil {
		ctx = experimental.WithFunctionListenerFactory(ctx, c.compiler.config.Listener)
		c.symbols = symbols.Read(wasm, parsed)
		metered.Wasm = c.symbols.Attach(metered)
	}
	if c.compiler.folder == "" || c.interpreted { // nothing is kept on disk
		compiled, err := c.runtime().CompileModule(ctx, metered.Wasm)
		if err != nil {
			return nil, nil, errCompile(err)
		}
		return &artifact{metered: *metered}, compiled, nil
	}
	a, err := compileIn(ctx, c.compiler.folder, metered)
	if err != nil {
		return nil, nil, errCompile(err)
	}
	compiled, err := c.stage(ctx, a)
	if err != nil {
		return nil, nil, status.Errorf(status.Internal, "load what was compiled: %w", err)
	}
	c.keep(a)
	return a, compiled, nil
}

// runtime returns the wazero runtime that runs this code.
func (c *Code) runtime() wazero.Runtime {
	if c.interpreted {
		return c.compiler.interpreter
	}
	return c.compiler.runtime
}

// keep puts an artifact into the disk cache. A failure costs a compilation later and is only logged.
func (c *Code) keep(a *artifact) {
	if c.compiler.cache == nil || len(a.native) == 0 {
		return
	}
	if err := c.compiler.cache.put(c.entry, a); err != nil {
		c.compiler.log.Warn("compiled code can't be kept on disk", slog.Any("error", err))
	}
}

// stage hands code that is trusted to wazero, which reads it from its own folder. That wazero has read
// the file, and not compiled the module itself without a limit on time, is seen by the file: wazero
// replaces one that it does not accept.
func (c *Code) stage(ctx context.Context, a *artifact) (wazero.CompiledModule, error) {
	compiler := c.compiler
	if len(a.native) == 0 {
		return nil, errors.New("the artifact has no machine code")
	}
	staging := &compiler.staging[len(compiler.staging)-1]
	if name, err := hex.DecodeString(a.nativeName); err == nil && len(name) > 0 {
		staging = &compiler.staging[int(name[0])%len(compiler.staging)] // one of the same name at a time
	}
	staging.Lock()
	defer staging.Unlock()
	path := filepath.Join(compiler.folder, a.nativeName)
	if err := os.WriteFile(path, a.native, 0o600); err != nil {
		return nil, err
	}
	before, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	compiled, err := compiler.runtime.CompileModule(ctx, a.metered.Wasm)
	after, serr := os.Stat(path)
	if rerr := os.Remove(path); err == nil && (serr != nil || rerr != nil || !os.SameFile(before, after)) {
		err = errors.Join(errors.New("wazero has not taken the code"), serr, rerr, compiled.Close(ctx))
	}
	if err != nil {
		return nil, err
	}
	return compiled, nil
}

// Load validates the original, meters it and compiles the result, or takes what was made
// of the same bytes before; the caller releases the code in the end. It fails with
// INVALID_ARGUMENT when the module is not valid, RESOURCE_EXHAUSTED when compiling it costs
// more than its size allows, UNAVAILABLE when there is no compiler to be had.
func (c *Compiler) Load(ctx context.Context, src *Source) (*Code, error) {
	code := c.codeOf(src)
	err := code.anew(ctx, src)
	if err == nil && (!src.Lazy || !code.onDisk()) {
		if err = code.pin(ctx, src.Account, src.Wasm, src.Module); err == nil {
			code.Unpin()
		}
	}
	if err != nil {
		code.Release()
		return nil, err
	}
	return code, nil
}
