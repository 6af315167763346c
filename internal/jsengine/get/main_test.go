package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
)

// What is missing or wrong is written, and what is right is left alone.
func TestGet(t *testing.T) {
	want := jsenginetest.File(t)
	path := filepath.Join(t.TempDir(), "engines", "engine.wasm")
	is := func() os.FileInfo {
		require.NoError(t, get(t.Context(), path))
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "%d bytes, want %d", len(got), len(want))
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info
	}
	is()
	require.NoError(t, os.WriteFile(path, []byte("\x00asm"), 0o600))
	is()
	before := is()
	assert.Equal(t, before.ModTime(), is().ModTime())
}
