package storedir_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// The kernel refuses to sync a directory of /proc, so an answer without an error would mean
// that it was not asked.
func TestTheKernelIsAskedToSyncADirectory(t *testing.T) {
	root, err := os.OpenRoot("/proc/self")
	require.NoError(t, err)
	defer root.Close()
	require.ErrorIs(t, storedir.Sync(root, "fd"), syscall.EINVAL)
}
