//go:build unix

package vfs

import (
	"io/fs"
	"syscall"
)

// nonblock keeps an open of a pipe from waiting for its other end.
const nonblock = syscall.O_NONBLOCK | syscall.O_NOCTTY

// links returns how many names a file has.
func links(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink) //nolint:unconvert // narrower on other systems
	}
	return 1
}
