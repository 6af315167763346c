//go:build unix

package bench_test

import (
	"syscall"
	"time"
)

// processorTime is the time that this process has used, of all processors together.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
