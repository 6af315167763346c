package meter_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

var (
	wordReads  = meter.Import{Module: "env", Name: "read"}
	wordWrites = meter.Import{Module: "env", Name: "write"}
)

// wordCopier copies 21 words from one import to the other.
func wordCopier() []byte {
	const i = 0
	return w.Module(
		w.Types(w.FuncType("I", "I"), w.FuncType("II", ""), w.FuncType("", "")),
		w.Imports(w.ImportFunc("env", "read", 0), w.ImportFunc("env", "write", 1)),
		w.Funcs(2), w.Exports(w.Export("f", 0, 2)),
		w.Code(w.Body("I", w.Cat(
			[]byte{0x03, 0x40, 0x20, i, 0x20, i, 0x10, 0, 0x10, 1}, // write(i, read(i))
			[]byte{0x20, i, 0x42, 8, 0x7c, 0x22, i, 0x42}, w.S64(21*8), []byte{0x54, 0x0d, 0, 0x0b},
		)...)))
}

// A module that keeps words calls the host an eighth as often, and pays the same.
func TestWordsCostWhatTheyCostOneByOne(t *testing.T) {
	wasm := wordCopier()
	m, err := inspect.Parse(wasm, roomy)
	require.NoError(t, err)
	for name, config := range engines() {
		used, calls := map[bool]int64{}, map[bool]int{}
		for _, words := range []bool{false, true} {
			opt := meter.Options{}
			if words {
				opt.Reads, opt.Writes = wordReads, wordWrites
			}
			res, err := meter.Rewrite(wasm, m, opt)
			require.NoError(t, err)
			require.Equal(t, words, res.Words != nil)
			h := newHost(t, config)
			env := &wordEnv{stored: map[uint64]uint64{}}
			env.export(t, h)
			guest := h.run(t, res)
			env.words = res.Words
			_, err = guest.ExportedFunction("f").Call(ctx)
			require.NoError(t, err)
			env.flush(guest)
			used[words], calls[words] = h.used(), env.calls
			require.Len(t, env.stored, 21)
			for at, v := range env.stored {
				assert.Equal(t, at*3, v)
			}
		}
		assert.Equal(t, used[false], used[true], name)
		assert.Equal(t, 42, calls[false])
		assert.Equal(t, 2, calls[true], "of the 21 words, the ninth and the eighteenth find no room")
	}
}

// wordEnv is the host of a copier: three times its offset is what is read.
type wordEnv struct {
	words  *meter.WordGlobals
	stored map[uint64]uint64
	calls  int
}

func (e *wordEnv) export(tb testing.TB, h *host) {
	tb.Helper()
	i64 := api.ValueTypeI64
	_, err := h.NewHostModuleBuilder("env").
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, _ api.Module, stack []uint64) {
		e.calls++
		stack[0] *= 3
	}), []api.ValueType{i64}, []api.ValueType{i64}).Export("read").
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, guest api.Module, stack []uint64) {
		e.calls++
		e.flush(guest)
		e.stored[stack[0]] = stack[1]
		if e.words != nil {
			guest.ExportedGlobal(e.words.Next).(api.MutableGlobal).Set(stack[0] + 8)
		}
	}), []api.ValueType{i64, i64}, nil).Export("write").Instantiate(ctx)
	require.NoError(tb, err)
}

// flush stores what waits.
func (e *wordEnv) flush(guest api.Module) {
	if e.words == nil {
		return
	}
	pending := guest.ExportedGlobal(e.words.Pending).(api.MutableGlobal)
	next := guest.ExportedGlobal(e.words.Next).Get()
	for i := range pending.Get() {
		e.stored[next-8*(pending.Get()-i)] = guest.ExportedGlobal(e.words.Behind[i]).Get()
	}
	pending.Set(0)
}

// The names are the host's choice, the types are not: what has another type stays as it is.
func TestImportsOfOtherTypesKeepNoWords(t *testing.T) {
	wasm := wordCopier()
	m, err := inspect.Parse(wasm, roomy)
	require.NoError(t, err)
	res, err := meter.Rewrite(wasm, m, meter.Options{Reads: wordWrites, Writes: wordReads})
	require.NoError(t, err)
	assert.Nil(t, res.Words)
	_, err = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter()).CompileModule(ctx, res.Wasm)
	require.NoError(t, err)
}
