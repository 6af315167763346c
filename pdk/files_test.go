package pdk_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/pdk"
)

// A file that joins a kit has to reach new projects, too.
func TestEachFileOfAKitIsEmbedded(t *testing.T) {
	for _, pattern := range []string{"c/*.h", "rust/*.rs"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, name := range files {
			want, err := os.ReadFile(name)
			require.NoError(t, err)
			got, err := pdk.Files.ReadFile(filepath.ToSlash(name))
			require.NoError(t, err)
			assert.Equal(t, string(want), string(got), name)
		}
	}
}
