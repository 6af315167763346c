package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheKeyOfCodeIsMadeOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "code.key")
	first, err := codeKey(file)
	require.NoError(t, err)
	assert.Len(t, first, codeKeyBytes)
	again, err := codeKey(file)
	require.NoError(t, err)
	assert.Equal(t, first, again)
	if runtime.GOOS != "windows" {
		info, err := os.Stat(file)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	require.NoError(t, os.WriteFile(file, first[:7], 0o600))
	whole, err := codeKey(file)
	require.NoError(t, err)
	assert.Len(t, whole, codeKeyBytes)
	assert.NotEqual(t, first, whole)
	_, err = codeKey(filepath.Join(file, "below"))
	require.Error(t, err)
}
