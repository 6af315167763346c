//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package storedir

import (
	"errors"
	"os"
)

func lock(*os.Root, string) (*os.File, error) { return nil, errors.ErrUnsupported }

// Sync does nothing.
func Sync(*os.Root, string) error { return nil }
