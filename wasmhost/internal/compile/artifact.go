package compile

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// artifact is the result of compiling a module: its metered form, the names of the globals that
// the meter has added, and the machine code that wazero has made of it. Its slices are not
// changed after it was made.
type artifact struct {
	metered meter.Result
	// native is a file of wazero's own cache and nativeName its name there; empty
	// when the code was made in this process and is not kept.
	native     []byte
	nativeName string
}

// artifactHeader precedes the bytes of an artifact in a file or a pipe.
type artifactHeader struct {
	Entry      string             `json:"entry"`  // the key of the cache; "" in a pipe
	Engine     string             `json:"engine"` // engineName of the process that made it
	Fuel       string             `json:"fuel"`
	Globals    []meter.Global     `json:"globals"`
	Words      *meter.WordGlobals `json:"words,omitempty"`
	NativeName string             `json:"nativeName"`
	WasmBytes  int64              `json:"wasmBytes"`
	Native     int64              `json:"nativeBytes"`
	// Failure is set instead of all that when there is no artifact.
	Failure *buildFailure `json:"failure,omitempty"`
}

// buildFailure is a failure of the compiling process, as it goes through its pipe.
type buildFailure struct {
	Code   status.Code `json:"code"`
	Public bool        `json:"public"`
	Text   string      `json:"text"`
	Cause  string      `json:"cause,omitempty"` // for the log
}

// failureOf packs an error for the pipe. Its code survives, and whether its text may be shown to the
// uploader.
func failureOf(err error) *buildFailure {
	e := status.Convert(err)
	return &buildFailure{Code: e.Code, Public: e.Public(), Text: e.Message, Cause: cause(e)}
}

// err unpacks the error on the server's side.
func (f *buildFailure) err() error {
	if f.Public && f.Cause != "" {
		return status.Publicf(f.Code, "%s", f.Text).WithCause(errors.New(f.Cause))
	}
	if f.Public {
		return status.Publicf(f.Code, "%s", f.Text)
	}
	return status.Errorf(f.Code, "compile: %s", f.Text)
}

// maxArtifactBytes bounds either part of an artifact, maxHeaderBytes its header.
const (
	maxArtifactBytes = 512 << 20
	maxHeaderBytes   = 4 << 20
)

// A header is its length in four bytes, big-endian, and that many bytes of JSON.
func writeHeader(w io.Writer, header any) error {
	raw, err := json.Marshal(header)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...))
	return err
}

// readHeader reads a header that writeHeader wrote, up to maxHeaderBytes.
func readHeader(r io.Reader, header any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxHeaderBytes {
		return fmt.Errorf("header of %d bytes", n)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, header)
}

// write writes header, metered module and machine code. entry and engine let the reader check that it
// has the right artifact.
func (a *artifact) write(w io.Writer, entry, engine string) error {
	err := writeHeader(w, artifactHeader{
		Entry: entry, Engine: engine, Fuel: a.metered.FuelExport, Globals: a.metered.Globals, Words: a.metered.Words,
		NativeName: a.nativeName, WasmBytes: int64(len(a.metered.Wasm)), Native: int64(len(a.native)),
	})
	if err == nil {
		_, err = w.Write(a.metered.Wasm)
	}
	if err == nil {
		_, err = w.Write(a.native)
	}
	return err
}

// readArtifact reads an artifact that write wrote, and refuses one of another entry or engine.
func readArtifact(r io.Reader, entry, engine string) (*artifact, error) {
	var h artifactHeader
	if err := readHeader(r, &h); err != nil {
		return nil, fmt.Errorf("artifact: %w", err)
	}
	if h.Failure != nil {
		return nil, h.Failure.err()
	}
	if h.Entry != entry || h.Engine != engine {
		return nil, errors.New("artifact: it is of another module or engine")
	}
	if name, err := hex.DecodeString(h.NativeName); (err != nil || len(name) != 32) && (h.NativeName != "" || h.Native != 0) {
		return nil, errors.New("artifact: the code has no usable name")
	}
	a := &artifact{metered: meter.Result{FuelExport: h.Fuel, Globals: h.Globals, Words: h.Words}, nativeName: h.NativeName}
	for _, part := range []struct {
		into *[]byte
		size int64
	}{{&a.metered.Wasm, h.WasmBytes}, {&a.native, h.Native}} {
		if part.size == 0 && part.into == &a.native { // it is to be interpreted
			continue
		}
		if part.size <= 0 || part.size > maxArtifactBytes {
			return nil, fmt.Errorf("artifact: a part of %d bytes", part.size)
		}
		var b bytes.Buffer // grows with what comes, not with what is announced
		if n, err := io.CopyN(&b, r, part.size); err != nil {
			return nil, fmt.Errorf("artifact: %d of %d bytes: %w", n, part.size, err)
		}
		*part.into = b.Bytes()
	}
	return a, nil
}

// rewriter is [meter.Rewrite], or its replacement in a test.
type rewriter func(wasm []byte, m *inspect.Module, opt meter.Options) (*meter.Result, error)

// rewrite validates a module, meters it and has the result verified. It is linear in the module's size.
func rewrite(ctx context.Context, validator wazero.Runtime, rewriter rewriter, wasm []byte, parsed *inspect.Module, tableElements uint32, mapped bool) (*meter.Result, error) {
	// Rewriting could make an invalid module valid: check the original first.
	original, err := validator.CompileModule(ctx, wasm)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "not a valid WebAssembly module: %s", ReasonOf(err))
	}
	if err := original.Close(ctx); err != nil {
		return nil, status.Errorf(status.Internal, "close the validated module: %w", err)
	}
	opt := meterOptions(tableElements)
	opt.Map = mapped
	metered, err := rewriter(wasm, parsed, opt)
	if err != nil {
		return nil, status.Errorf(status.Internal, "meter: %w", err)
	}
	if err := proven(parsed, metered, opt); err != nil {
		return nil, err
	}
	return metered, nil
}

// meterOptions name Extism's imports that move one word of a payload; the meter makes guests move
// eight words at a time.
func meterOptions(tableElements uint32) meter.Options {
	return meter.Options{
		MaxTableElements: tableElements,
		Reads:            meter.Import{Module: abi.ModuleExtism, Name: "input_load_u64"},
		Writes:           meter.Import{Module: abi.ModuleExtism, Name: "store_u64"},
	}
}

// ReasonOf is wazero's reason for refusing a module, bounded; it speaks of the module alone.
func ReasonOf(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return abi.Line(line, 300)
}

// emptyModule is the smallest module: magic number and version.
var emptyModule = []byte{0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00}

// engineFolder finds where wazero keeps code below dir, and names the engine: wazero's
// version, the system, and, in the name that it gives to a module's code, the
// processor's features. Code of another name would be compiled anew, in this process.
func engineFolder(ctx context.Context, dir string) (folder, engine string, err error) {
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return "", "", err
	}
	r := wazero.NewRuntimeWithConfig(ctx, compilerConfig().WithCompilationCache(cache))
	_, err = r.CompileModule(ctx, emptyModule)
	if err = errors.Join(err, r.Close(ctx), cache.Close(ctx)); err != nil {
		return "", "", err
	}
	folders, err := os.ReadDir(dir)
	if err != nil || len(folders) != 1 {
		return "", "", errors.Join(err, fmt.Errorf("wazero's cache has %d folders", len(folders)))
	}
	folder = filepath.Join(dir, folders[0].Name())
	name, _, err := takeNative(folder)
	return folder, folders[0].Name() + "/" + name, err
}

// takeNative reads the only file of wazero's folder and removes it. The file's name is wazero's key
// for the code (the SHA-256 of module and engine, in hexadecimal), under which it has to lie when
// wazero is to find it again.
func takeNative(folder string) (name string, native []byte, err error) {
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != 1 {
		return "", nil, errors.Join(err, fmt.Errorf("wazero has kept %d files", len(files)))
	}
	path := filepath.Join(folder, files[0].Name())
	if native, err = os.ReadFile(path); err != nil {
		return "", nil, err
	}
	return files[0].Name(), native, os.Remove(path)
}

// compileIn compiles a metered module and returns the code that wazero would keep. It
// works in a folder of its own below dir.
func compileIn(ctx context.Context, dir string, metered *meter.Result) (_ *artifact, err error) {
	work, err := os.MkdirTemp(dir, "compile-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	cache, err := wazero.NewCompilationCacheWithDir(work)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cache.Close(ctx)) }()
	r := wazero.NewRuntimeWithConfig(ctx, compilerConfig().WithCompilationCache(cache))
	defer func() { err = errors.Join(err, r.Close(ctx)) }()
	if _, err := r.CompileModule(ctx, metered.Wasm); err != nil {
		return nil, fmt.Errorf("the metered module: %w", err)
	}
	folders, err := os.ReadDir(work)
	if err != nil || len(folders) != 1 {
		return nil, errors.Join(err, fmt.Errorf("wazero's cache has %d folders", len(folders)))
	}
	a := &artifact{metered: *metered}
	a.nativeName, a.native, err = takeNative(filepath.Join(work, folders[0].Name()))
	return a, err
}

// Both configurations accept the same features, so that the validator and the compiler agree on which
// modules are valid.
func compilerConfig() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2)
}

func interpreterConfig() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2)
}
