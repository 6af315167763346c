package module_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module/moduletest"
)

func TestMemory(t *testing.T) {
	moduletest.Run(t, func(*testing.T) module.Store { return module.NewMemory() })
}

func TestDir(t *testing.T) {
	moduletest.Run(t, func(t *testing.T) module.Store { return openDir(t, t.TempDir()) })
}

func openDir(t *testing.T, path string) *module.Dir {
	t.Helper()
	d, err := module.OpenDir(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	return d
}

func TestMemoryDropsBytesThatNobodyNeeds(t *testing.T) {
	testDrops(t, module.NewMemory())
}

func TestDirDropsBytesThatNobodyNeeds(t *testing.T) {
	testDrops(t, openDir(t, t.TempDir()))
}

func testDrops(t *testing.T, s interface {
	module.Store
	module.Deleter
},
) {
	t.Helper()
	rec, wasm := moduletest.Record("default", "textkit", "a")
	for range 2 {
		_, err := s.Put(t.Context(), rec, wasm)
		require.NoError(t, err)
	}
	require.NoError(t, s.Delete(t.Context(), "default", "textkit"))
	_, err := s.Wasm(t.Context(), rec.Digest)
	require.ErrorIs(t, err, status.ErrNotFound)
}
