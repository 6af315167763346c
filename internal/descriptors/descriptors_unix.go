//go:build unix

package descriptors

import "syscall"

// Limit is how many descriptors this process may have.
func Limit() int64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur == 0 {
		return usual
	}
	return int64(min(uint64(limit.Cur), 1<<40)) //nolint:unconvert // signed on some systems
}
