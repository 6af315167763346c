package compile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"github.com/tetratelabs/wazero"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// A module can be made ready in one process and run in another: the first checks, meters
// and compiles it, the second, which may touch no file, is handed the result. Use:
//
//	p, err := here.Prepare(ctx, &compile.Source{…})
//	code, err := there.Adopt(ctx, p, &compile.Source{…})    // Config.Adopts is set

// Prepared is a module that is ready to run in another process of this program.
type Prepared struct {
	Entry  string `json:"entry"`  // names bytes, engine and program
	Engine string `json:"engine"` // of the process that compiled it
	// Artifact holds the metered module and its machine code. It must come from a
	// process that is trusted: it is run as it is.
	Artifact []byte `json:"-"`
}

// Prepare is [Compiler.Load] without loading the code: the result is for
// the Adopt of another process. It fails as Load does. For a source that is Lazy, the
// artifact is left where it is when the disk holds it: [Compiler.Again] gets it.
func (c *Compiler) Prepare(ctx context.Context, src *Source) (_ *Prepared, err error) {
	code := c.codeOf(src)
	defer code.Release()
	if err := code.anew(ctx, src); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil { // a fault of validator, meter or compiler
			err = status.Errorf(status.Internal, "compiling panicked: %v", r)
		}
	}()
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	p := &Prepared{Entry: code.entry, Engine: c.engine}
	if src.Lazy && code.onDisk() {
		return p, nil
	}
	a := code.cached()
	if a == nil {
		if a, err = code.make(ctx, src); err != nil {
			return nil, err
		}
	}
	p.Artifact, err = a.encode(code.entry, c.engine)
	return p, err
}

// Again gets the artifact of what Prepare has prepared before: from the disk, or by way
// of src's Original. It fails as Prepare does, and with DATA_LOSS when the original is
// another.
func (c *Compiler) Again(ctx context.Context, p *Prepared, src *Source) (*Prepared, error) {
	if c.cache != nil {
		if a, err := c.cache.get(p.Entry); err == nil {
			again := *p
			again.Artifact, err = a.encode(p.Entry, c.engine)
			return &again, err
		}
	}
	if src.Original == nil {
		return nil, status.Publicf(status.DataLoss, "the module's code is gone, and so is what it was made of")
	}
	from := *src
	var err error
	if from.Wasm, err = src.Original(ctx); err != nil {
		return nil, err
	}
	if from.Module, err = inspect.Parse(from.Wasm, unbounded()); err != nil {
		return nil, status.Errorf(status.Internal, "inspect: %w", err)
	}
	from.Lazy = false
	again, err := c.Prepare(ctx, &from)
	if err == nil && again.Entry != p.Entry {
		return nil, errOtherOriginal()
	}
	return again, err
}

// encode returns the artifact as write writes it.
func (a *artifact) encode(entry, engine string) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(a.metered.Wasm) + len(a.native) + 4<<10)
	if err := a.write(&b, entry, engine); err != nil {
		return nil, status.Errorf(status.Internal, "write an artifact: %w", err)
	}
	return b.Bytes(), nil
}

// make is build without loading the result.
func (c *Code) make(ctx context.Context, src *Source) (*artifact, error) {
	done, err := c.compiler.queue(ctx, src.Account)
	if err != nil {
		return nil, err
	}
	defer done()
	if c.interpreted {
		metered, err := c.compiler.rewrite(ctx, src.Wasm, src.Module, c.tableElements)
		if err != nil {
			return nil, err
		}
		return &artifact{metered: *metered}, nil
	}
	if len(c.compiler.config.Command) == 0 {
		return nil, status.Errorf(status.FailedPrecondition, "there is no command to compile with")
	}
	a, err := c.compiler.spawn(ctx, src.Wasm, c.tableElements)
	if err == nil {
		c.keep(a)
	}
	return a, err
}

// Adopt takes a module that another process of this program has prepared; the caller
// releases the code in the end, and it stays in memory until its last user does. Of src, only
// TableElements and Interpreter are used. It fails with INTERNAL when the artifact is not of
// this program.
func (c *Compiler) Adopt(ctx context.Context, p *Prepared, src *Source) (*Code, error) {
	code := c.adoptedCode(p, src)
	if err := code.take(ctx, p); err != nil {
		code.Release()
		return nil, err
	}
	return code, nil
}

// adoptedCode finds or makes the code of an entry, and counts the caller as its user.
func (c *Compiler) adoptedCode(p *Prepared, src *Source) *Code {
	c.mu.Lock()
	defer c.mu.Unlock()
	code, ok := c.codes[p.Entry]
	if !ok {
		code = &Code{compiler: c, entry: p.Entry, interpreted: c.config.Interpreter || src.Interpreter, tableElements: src.TableElements}
		c.codes[p.Entry] = code
	}
	code.refs++
	return code
}

// take loads the artifact, unless the code is there.
func (c *Code) take(ctx context.Context, p *Prepared) error {
	c.compiler.adopting.Lock()
	defer c.compiler.adopting.Unlock()
	ctx, leave, err := c.compiler.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	c.mu.Lock()
	there := c.compiled != nil
	c.mu.Unlock()
	if there {
		return nil
	}
	a, err := readArtifact(bytes.NewReader(p.Artifact), p.Entry, p.Engine)
	if err != nil {
		return status.Errorf(status.Internal, "adopt: %w", err)
	}
	compiled, err := c.loadAdopted(ctx, a)
	if err != nil {
		return status.Errorf(status.Internal, "adopt: %w", err)
	}
	size, err := c.reserve(ctx, a, compiled)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.compiled, c.size, c.names = compiled, size, namesOf(&a.metered)
	return nil
}

// loadAdopted gives the machine code to wazero through handedCode; Compiler.adopting is held. Code that wazero
// does not take would have been compiled in this process, so that is an error.
func (c *Code) loadAdopted(ctx context.Context, a *artifact) (wazero.CompiledModule, error) {
	if c.interpreted {
		return c.compiler.interpreter.CompileModule(ctx, a.metered.Wasm)
	}
	handed := &c.compiler.handed
	if err := handed.put(a.nativeName, a.native); err != nil {
		return nil, err
	}
	compiled, err := c.compiler.runtime.CompileModule(ctx, a.metered.Wasm)
	if taken := handed.drop(); err == nil && !taken {
		err = errors.Join(errors.New("wazero has not taken the code"), compiled.Close(ctx))
	}
	return compiled, err
}

// put offers code under wazero's name for it until drop.
func (h *handedCode) put(name string, native []byte) error {
	key, err := hex.DecodeString(name)
	if err != nil || len(key) != sha256.Size {
		return errors.New("the artifact's machine code has no name")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.key, h.native, h.taken = [sha256.Size]byte(key), native, false
	return nil
}

// drop withdraws the code and reports whether wazero has read it.
func (h *handedCode) drop() (taken bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.native = nil
	return h.taken
}

// Get is called by wazero for code that it has not in memory.
func (h *handedCode) Get(key [sha256.Size]byte) (io.ReadCloser, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.native == nil || key != h.key {
		return nil, false, nil
	}
	h.taken = true
	return io.NopCloser(bytes.NewReader(h.native)), true, nil
}

// Add is called for code that wazero has compiled itself, which is not kept.
func (*handedCode) Add([sha256.Size]byte, io.Reader) error { return nil }

// Delete is called for code of another version; [handedCode.drop] does it.
func (*handedCode) Delete([sha256.Size]byte) error { return nil }
