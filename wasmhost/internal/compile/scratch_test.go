package compile

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// start starts a compiler that links nothing.
func start(t *testing.T, config Config) *Compiler {
	t.Helper()
	config.Memory = share.NewMemory(0, nil)
	config.Link = func(context.Context, wazero.Runtime) error { return nil }
	c, err := New(t.Context(), config)
	require.NoError(t, err)
	return c
}

// TestWhatKilledProcessesLeftIsRemoved makes directories as a process has left them, and one that a process still has.
func TestWhatKilledProcessesLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	make1 := func(name string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.Mkdir(path, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(path, "code"), []byte("x"), 0o600))
		return path
	}
	left, held, young, old, foreign := make1(scratchPrefix+"left"), make1(scratchPrefix+"held"), make1(scratchPrefix+"young"), make1(scratchPrefix+"old"), make1("something-else")
	for _, path := range []string{left, held} {
		root, err := os.OpenRoot(path)
		require.NoError(t, err)
		lock, err := storedir.Lock(root, path, "test")
		require.NoError(t, err)
		require.NoError(t, root.Close())
		if path == left {
			require.NoError(t, lock.Close()) // as the end of a process does
		} else {
			defer lock.Close()
		}
	}
	past := time.Now().Add(-2 * unlockedFor)
	require.NoError(t, os.Chtimes(old, past, past))
	link := filepath.Join(dir, scratchPrefix+"link")
	require.NoError(t, os.Symlink(foreign, link))

	s := start(t, Config{CacheDir: t.TempDir()})
	assert.NoDirExists(t, left)
	assert.NoDirExists(t, old)
	assert.DirExists(t, held, "its process lives")
	assert.DirExists(t, young, "its process may be about to lock it")
	assert.FileExists(t, filepath.Join(foreign, "code"), "no link is followed")
	assert.DirExists(t, s.scratch)
	other := start(t, Config{CacheDir: t.TempDir()})
	assert.DirExists(t, s.scratch, "two of one process leave each other alone")
	require.NoError(t, other.Close(t.Context()))
	require.NoError(t, s.Close(t.Context()))
	assert.NoDirExists(t, s.scratch)
}
