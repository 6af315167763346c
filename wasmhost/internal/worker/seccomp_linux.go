package worker

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The filter of system calls: those that a Go program needs to compute, wait, and have memory.
// Everything else fails with EPERM. It is written down as classic BPF by hand, which is
// shorter than any library for it.

// rule allows a system call, when its argument is as it should be.
type rule struct {
	nr uintptr
	// arg is the number of the argument whose lower half is looked at, masked by mask,
	// and has to be want; no argument is when mask is 0.
	arg  uint32
	mask uint32
	want uint32
}

// Offsets in struct seccomp_data (include/uapi/linux/seccomp.h), on little-endian machines.
const (
	dataNR   = 0
	dataArch = 4
	dataArgs = 16
)

// threadFlags have to be set in clone: what shares everything is no process.
const threadFlags = unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND

const pagemapScan = 0xc0606610 // _IOWR('f', 16, struct pm_scan_arg)

func rules(pid uint32) []rule {
	list := make([]rule, 0, 64)
	for _, nr := range append([]uintptr{
		unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_EPOLL_PWAIT, unix.SYS_NANOSLEEP,
		unix.SYS_GETRUSAGE, unix.SYS_CLOCK_GETTIME, unix.SYS_MADVISE, unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT,
		unix.SYS_MREMAP, unix.SYS_MINCORE, unix.SYS_BRK, unix.SYS_CLOSE, unix.SYS_EPOLL_CTL, unix.SYS_RT_SIGACTION,
		unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_GETPID, unix.SYS_GETTID,
		unix.SYS_CLOCK_NANOSLEEP, unix.SYS_GETRANDOM, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_RESTART_SYSCALL,
		unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_SCHED_GETAFFINITY, unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME,
		unix.SYS_TIMER_DELETE, unix.SYS_GETTIMEOFDAY, unix.SYS_FCNTL, unix.SYS_FSTAT, unix.SYS_MEMFD_CREATE,
		unix.SYS_FTRUNCATE, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_EPOLL_CREATE1, unix.SYS_EVENTFD2,
		unix.SYS_MEMBARRIER,
	}, morePerArch...) {
		list = append(list, rule{nr: nr})
	}
	return append(list,
		rule{nr: unix.SYS_CLONE, arg: 0, mask: threadFlags, want: threadFlags},
		rule{nr: unix.SYS_TGKILL, arg: 0, mask: ^uint32(0), want: pid}, // the runtime interrupts its own threads
		rule{nr: unix.SYS_IOCTL, arg: 1, mask: ^uint32(0), want: pagemapScan},
	)
}

func errno(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// filter makes the filter.
func filter(rules []rule) []unix.SockFilter {
	stmt := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	jump := func(code uint16, k uint32, jt, jf uint8) unix.SockFilter {
		return unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k}
	}
	const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	p := []unix.SockFilter{
		stmt(load, dataArch),
		jump(equal, auditArch, 1, 0),
		stmt(ret, unix.SECCOMP_RET_KILL_PROCESS),
		stmt(load, dataNR), // x32 calls have a number that is none of these
	}
	for _, r := range rules {
		if r.mask == 0 {
			p = append(p, jump(equal, uint32(r.nr), 0, 1), stmt(ret, unix.SECCOMP_RET_ALLOW))
			continue
		}
		p = append(p,
			jump(equal, uint32(r.nr), 0, 5),
			stmt(load, dataArgs+8*r.arg),
			stmt(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, r.mask),
			jump(equal, r.want, 0, 1),
			stmt(ret, unix.SECCOMP_RET_ALLOW),
			stmt(ret, errno(unix.EPERM)),
		)
	}
	// A C library that finds no clone3 takes clone, whose flags can be looked at.
	p = append(p, jump(equal, unix.SYS_CLONE3, 0, 1), stmt(ret, errno(unix.ENOSYS)))
	return append(p, stmt(ret, errno(unix.EPERM)))
}

// installFilter filters the system calls of all threads.
func installFilter() error {
	p := filter(rules(uint32(unix.Getpid())))
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	thread, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	switch {
	case e != 0:
		return e
	case thread != 0:
		return fmt.Errorf("thread %d has another filter", thread)
	}
	return nil
}
