//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package local

import (
	"os"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func lockFile(*os.Root, string) (*os.File, error) {
	return nil, status.Errorf(status.Unimplemented, "this platform has no file locks, which a vector store needs")
}

func syncDir(*os.Root) error { return nil }
