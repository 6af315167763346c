package vfs_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/tetratelabs/wazero/experimental/sys"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
)

// A mount shows what is in a directory, and nothing that a link in it leads to.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "mount")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		fmt.Println(err)
		return
	}
	m, err := vfs.Open(dir, vfs.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	for _, name := range []string{".", "link", "../etc/passwd"} {
		file, errno := m.FS(true, nil).OpenFile(name, sys.O_RDONLY, 0)
		fmt.Println(name, errno == 0)
		if errno == 0 {
			file.Close()
		}
	}
	// Output:
	// . true
	// link false
	// ../etc/passwd false
}
