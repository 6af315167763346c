package wasi_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/wasi"
)

// memoryBytes is the memory of a test's guest.
const memoryBytes = 64 << 10

// proxy is a guest whose exports are WASI's functions: each calls the import of its name.
func proxy() []byte {
	var types, imports, bodies [][]byte
	var funcs []uint32
	signatures := wasi.Signatures()
	exports := [][]byte{w.Export("memory", 2, 0)}
	for i, s := range signatures {
		index := uint32(i)
		types = append(types, w.FuncType(s.Params, s.Results))
		imports = append(imports, w.ImportFunc(wasi.ModuleName, s.Name, index))
		funcs = append(funcs, index)
		var code []byte
		for p := range uint32(len(s.Params)) {
			code = append(code, append([]byte{0x20}, w.U32(p)...)...)
		}
		bodies = append(bodies, w.Body("", append(code, append([]byte{0x10}, w.U32(index)...)...)...))
		exports = append(exports, w.Export(s.Name, 0, uint32(len(signatures)+i)))
	}
	return w.Module(w.Types(types...), w.Imports(imports...), w.Funcs(funcs...), w.Memories(w.Limits(1)), w.Exports(exports...), w.Code(bodies...))
}

// guest calls functions of WASI as a guest would.
type guest struct {
	mod api.Module
	// process and host are ours; nil under wazero's own WASI.
	process *wasi.Process
	host    *testHost
}

func instantiate(t testing.TB, link func(r wazero.Runtime), config wazero.ModuleConfig) api.Module {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { require.NoError(t, r.Close(ctx)) })
	link(r)
	mod, err := r.InstantiateWithConfig(ctx, proxy(), config)
	require.NoError(t, err)
	return mod
}

// ourGuest runs under the WASI of this package.
func ourGuest(t testing.TB, config *wasi.Config) *guest {
	t.Helper()
	g := &guest{host: &testHost{fake: true}}
	g.process = wasi.New(config, g.host)
	t.Cleanup(func() { g.process.Reset(nil) })
	g.mod = instantiate(t, func(r wazero.Runtime) {
		_, err := wasi.Module(r, func(context.Context) *wasi.Process { return g.process }).Instantiate(context.Background())
		require.NoError(t, err)
	}, wazero.NewModuleConfig())
	return g
}

// wazerosGuest runs under wazero's.
func wazerosGuest(t testing.TB, config wazero.ModuleConfig) *guest {
	t.Helper()
	return &guest{mod: instantiate(t, func(r wazero.Runtime) { wasi_snapshot_preview1.MustInstantiate(context.Background(), r) }, config)}
}

// try calls a function and returns its errno, or the error that ended the guest.
func (g *guest) try(name string, args ...uint64) (uint32, error) {
	res, err := g.mod.ExportedFunction(name).Call(context.Background(), args...)
	if err != nil || len(res) == 0 {
		return 0, err
	}
	return uint32(res[0]), nil
}

// call is try for what must not end the guest.
func (g *guest) call(t testing.TB, name string, args ...uint64) wasi.Errno {
	t.Helper()
	errno, err := g.try(name, args...)
	require.NoError(t, err, name)
	return wasi.Errno(errno)
}

// exited returns the code with which the host ended the guest.
func exited(err error) (uint32, bool) {
	if exit, ok := errors.AsType[*sys.ExitError](err); ok {
		return exit.ExitCode(), true
	}
	return 0, false
}

func (g *guest) bytes() []byte {
	b, _ := g.mod.Memory().Read(0, memoryBytes)
	return b
}

func (g *guest) put(at uint32, b []byte)  { copy(g.bytes()[at:], b) }
func (g *guest) u32(at uint32) uint32     { return binary.LittleEndian.Uint32(g.bytes()[at:]) }
func (g *guest) u64(at uint32) uint64     { return binary.LittleEndian.Uint64(g.bytes()[at:]) }
func (g *guest) text(at, n uint32) string { return string(g.bytes()[at : at+n]) }
func (g *guest) putUint32(at uint32, v ...uint32) {
	for i, v := range v {
		binary.LittleEndian.PutUint32(g.bytes()[at+4*uint32(i):], v)
	}
}

// withoutMemory is a guest that asks for random bytes and has no place for them.
func withoutMemory() []byte {
	return w.Module(w.Types(w.FuncType("", "i"), w.FuncType("ii", "i")), w.Imports(w.ImportFunc(wasi.ModuleName, "random_get", 1)),
		w.Funcs(0), w.Exports(w.Export("f", 0, 1)), w.Code(w.Body("", 0x41, 0, 0x41, 4, 0x10, 0)))
}
