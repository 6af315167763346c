package compile

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ownProgram names the program that runs, also when its file was replaced meanwhile.
func ownProgram() (string, error) {
	const self = "/proc/self/exe"
	_, err := os.Stat(self)
	return self, err
}

// isolate gives the child a process group of its own, which is killed as a whole, and
// has it end with this process.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
}

// outOfCPU reports whether the system has ended the child for its processor time.
func outOfCPU(exit *exec.ExitError) bool {
	if exit == nil {
		return false
	}
	ws, ok := exit.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == unix.SIGXCPU
}

// goReserve is the address space that the Go runtime maps beside the memory that it uses.
const goReserve = 160 << 20

// confine sets the limits of this process. A limit that can't be set is left to the
// watch.
func confine(cpu time.Duration, memory int64) {
	seconds := ceilSeconds(cpu)
	for _, l := range []struct {
		resource int
		most     uint64
	}{
		{unix.RLIMIT_CPU, seconds},
		{unix.RLIMIT_DATA, uint64(memory) + goReserve},
		{unix.RLIMIT_FSIZE, maxArtifactBytes},
		{unix.RLIMIT_NOFILE, 64},
		{unix.RLIMIT_CORE, 0},
	} {
		if buildFactor > 1 && l.resource == unix.RLIMIT_DATA {
			continue // the race detector maps terabytes
		}
		_ = unix.Setrlimit(l.resource, &unix.Rlimit{Cur: l.most, Max: l.most})
	}
	_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// consumed returns the processor time and the memory of this process; memory that is
// shared with others, such as the program itself, does not count.
func consumed(time.Time) (time.Duration, int64) {
	var usage unix.Rusage
	cpu := time.Duration(0)
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) == nil {
		cpu = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return cpu, goMemory()
	}
	fields := bytes.Fields(statm)
	if len(fields) < 3 {
		return cpu, goMemory()
	}
	resident, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	shared, _ := strconv.ParseInt(string(fields[2]), 10, 64)
	return cpu, (resident - shared) * int64(os.Getpagesize())
}
