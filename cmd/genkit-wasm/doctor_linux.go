package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelFindings are what the kernel offers to confine worker processes.
func kernelFindings() []finding {
	landlock := finding{Name: "Landlock", Fix: "it takes files and the network from worker processes, from Linux 5.13 on (all of it from 6.12); a container's system call filter may hide it"}
	version, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e == 0 {
		landlock = finding{Name: "Landlock", OK: true, Found: fmt.Sprintf("version %d", version)}
	} else {
		landlock.Found = "not offered: " + e.Error()
	}
	seccomp := finding{Name: "seccomp", Found: "filters are not offered", Fix: "the kernel needs CONFIG_SECCOMP_FILTER"}
	if actions, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail"); err == nil && strings.Contains(string(actions), "kill_process") {
		seccomp = finding{Name: "seccomp", OK: true, Found: "filters of system calls"}
	}
	return []finding{landlock, seccomp}
}
