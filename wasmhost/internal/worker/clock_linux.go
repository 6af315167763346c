package worker

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processorTime returns the processor time that a process has used.
func processorTime(pid int) (time.Duration, bool) {
	var ts unix.Timespec
	// The clock of another process: ~pid in the upper bits, 2 for all that it runs on
	// (include/linux/posix-timers_types.h).
	if unix.ClockGettime(int32(^pid<<3|2), &ts) != nil {
		return 0, false
	}
	return time.Duration(ts.Nano()), true
}

// threadTime returns the processor time that a thread of a process has used.
func threadTime(pid int, thread int64) (time.Duration, bool) {
	if thread == 0 {
		return 0, false
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/schedstat", pid, thread))
	if err != nil {
		return 0, false // it has no such thread, or none that may be looked at
	}
	first, _, _ := strings.Cut(string(text), " ")
	ns, err := strconv.ParseInt(first, 10, 64)
	return time.Duration(ns), err == nil && ns > 0
}

// lowerPriority gives all threads of a process the lowest priority.
func lowerPriority(pid int) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return // it has ended
	}
	for _, t := range threads {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, 19)
		}
	}
}
