package storedir_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

func open(t *testing.T, path string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	return root
}

func TestALockIsHeldUntilItIsClosed(t *testing.T) {
	path := t.TempDir()
	root := open(t, path)
	held, err := storedir.Lock(root, path, "test store")
	require.NoError(t, err)
	_, err = storedir.Lock(open(t, path), path, "test store")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.ErrorContains(t, err, "the test store in")
	assert.ErrorContains(t, err, "is in use by another process")
	require.NoError(t, held.Close())
	again, err := storedir.Lock(root, path, "test store")
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

func TestALockThatCannotBeHadSaysWhy(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(path, storedir.LockName), 0o700))
	_, err := storedir.Lock(open(t, path), path, "test store")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.ErrorContains(t, err, "lock the test store: ")
}

func TestADirectoryIsSynced(t *testing.T) {
	path := t.TempDir()
	root := open(t, path)
	require.NoError(t, root.Mkdir("inside", 0o700))
	require.NoError(t, storedir.Sync(root, "."))
	require.NoError(t, storedir.Sync(root, "inside"))
}
