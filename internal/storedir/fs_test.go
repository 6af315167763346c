package storedir_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

func openFS(t *testing.T, path string) storedir.FS {
	t.Helper()
	fsys, err := storedir.Open(path, "test store")
	require.NoError(t, err)
	t.Cleanup(func() { _ = fsys.Close() })
	return fsys
}

func TestADirectoryIsMadeWithAllAboveIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "c")
	fsys := openFS(t, path)
	_, err := storedir.Open(path, "test store")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	require.NoError(t, storedir.Mkdir(fsys, ".", "in"))
	require.NoError(t, storedir.Mkdir(fsys, ".", "in"), "it may be there")
	require.NoError(t, storedir.WriteFile(fsys, "in", "file", []byte("one")))
	require.NoError(t, storedir.WriteFile(fsys, "in", "file", []byte("two")))
	b, err := fsys.ReadFile("in/file", 3)
	require.NoError(t, err)
	assert.Equal(t, "two", string(b))
	entries, err := fsys.ReadDir("in")
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing temporary stays")
	_, err = fsys.OpenFile("none", os.O_RDWR, 0)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, storedir.RemoveAll(fsys, "in"))
	require.NoError(t, storedir.RemoveAll(fsys, "in"))
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = storedir.Open(file, "test store")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
}

func TestOnlyAStoresOwnFilesAreRead(t *testing.T) {
	path, outside := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(outside, []byte("secret"), 0o600))
	fsys := openFS(t, path)
	require.NoError(t, storedir.WriteFile(fsys, ".", "file", []byte("1234")))
	require.NoError(t, fsys.Mkdir("dir", 0o700))
	names := []string{"file", "dir"}
	for name, to := range map[string]string{"out": outside, "in": "file"} {
		if os.Symlink(to, filepath.Join(path, name)) == nil {
			names = append(names, name)
		}
	}
	for _, name := range names {
		_, err := fsys.ReadFile(name, 3)
		require.ErrorIs(t, err, storedir.ErrIrregular, name)
	}
	require.NoError(t, storedir.WriteFile(fsys, ".", storedir.TemporaryName(), []byte("left over")))
	require.NoError(t, storedir.RemoveTemporary(fsys, "."))
	entries, err := fsys.ReadDir(".")
	require.NoError(t, err)
	for _, e := range entries {
		assert.NotContains(t, e.Name(), storedir.TemporaryPrefix)
	}
}

func TestAHeldDirectoryIsNotChanged(t *testing.T) {
	path := t.TempDir()
	fsys := openFS(t, path)
	require.NoError(t, storedir.WriteFile(fsys, ".", "file", []byte("one")))
	require.NoError(t, storedir.WriteFile(fsys, ".", "doomed", nil))
	open, err := fsys.OpenFile("file", os.O_RDWR, 0)
	require.NoError(t, err)
	defer open.Close()
	changes := map[string]func() error{
		"create":   func() error { _, err := fsys.OpenFile("new", os.O_CREATE|os.O_WRONLY, 0o600); return err },
		"mkdir":    func() error { return fsys.Mkdir("dir", 0o700) },
		"remove":   func() error { return fsys.Remove("doomed") },
		"write":    func() error { _, err := open.Write([]byte("two")); return err },
		"write at": func() error { _, err := open.WriteAt([]byte("!"), 9); return err },
		"truncate": func() error { return open.Truncate(20) },
		"rename":   func() error { return fsys.Rename("file", "file2") },
	}
	tree := func() (all []string) {
		entries, err := fsys.ReadDir(".")
		require.NoError(t, err)
		for _, e := range entries {
			info, err := e.Info()
			require.NoError(t, err)
			all = append(all, fmt.Sprint(e.Name(), " ", info.Size()))
		}
		return all
	}
	before := tree()
	release := storedir.Hold(fsys)
	done := make(chan error, len(changes))
	var begun sync.WaitGroup
	for _, change := range changes {
		begun.Add(1)
		go func() {
			begun.Done()
			done <- change()
		}()
	}
	begun.Wait()
	for range 100 {
		runtime.Gosched()
		select {
		case <-done:
			t.Fatal("a change was made")
		default:
		}
		require.Equal(t, before, tree())
	}
	_, err = fsys.ReadFile("file", 3)
	require.NoError(t, err, "reading goes on")
	require.NoError(t, fsys.SyncDir("."))
	release()
	release()
	for range changes {
		require.NoError(t, <-done)
	}
	assert.NotEqual(t, before, tree())
}
