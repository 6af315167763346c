//go:build unix

package vfs_test

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/experimental/sys"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
)

// Opening a pipe would block; a file with another name may belong to somebody else.
func TestSpecialFilesStayShut(t *testing.T) {
	dir, beside := tree(t)
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666))
	require.NoError(t, os.Link(beside, filepath.Join(dir, "hard")))
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, "socket"))
	require.NoError(t, err)
	defer l.Close()
	m := mount(t, dir, vfs.Options{Writable: true})
	f := m.FS(true, nil)
	for _, name := range []string{"pipe", "socket"} {
		for _, flag := range []sys.Oflag{sys.O_RDONLY, sys.O_WRONLY, sys.O_RDWR, sys.O_RDWR | sys.O_CREAT} {
			_, errno := f.OpenFile(name, flag, 0)
			assert.NotZero(t, errno, name)
		}
	}
	assert.Equal(t, sys.EPERM, write(f, "hard", 3), "what has another name is not written")
	before, _ := m.Used()
	require.Zero(t, f.Unlink("hard"))
	after, _ := m.Used()
	assert.Equal(t, before, after, "and frees nothing")
	b, err := os.ReadFile(beside)
	require.NoError(t, err)
	assert.Equal(t, "top secret", string(b))
}
