//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package module

import (
	"os"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func lockFile(*os.Root, string) (*os.File, error) {
	return nil, status.Errorf(status.Unimplemented, "this platform has no file locks, which a module store in a directory needs")
}

func (f files) sync(string) error { return f.change() }
