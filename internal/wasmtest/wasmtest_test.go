package wasmtest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

// Assembled modules run: an independent engine reads them.
func TestAnAssembledModuleRuns(t *testing.T) {
	wasm := w.Module(w.Types(w.FuncType("ii", "i")), w.Funcs(0), w.Exports(w.Export("add", 0, 0)), w.Code(w.Body("", 0x20, 0, 0x20, 1, 0x6a)))
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer func() { require.NoError(t, r.Close(t.Context())) }()
	m, err := r.Instantiate(t.Context(), wasm)
	require.NoError(t, err)
	got, err := m.ExportedFunction("add").Call(t.Context(), 40, 2)
	require.NoError(t, err)
	assert.Equal(t, []uint64{42}, got)
}

func TestLEB128(t *testing.T) {
	assert.Equal(t, []byte{0xe5, 0x8e, 0x26}, w.U32(624485))
	assert.Equal(t, []byte{0xc0, 0xbb, 0x78}, w.S64(-123456))
}
