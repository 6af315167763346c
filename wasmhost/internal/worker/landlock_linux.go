package worker

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock (Linux 5.13 and later) takes all of the file system, TCP, abstract sockets and
// signals from a thread and what it starts. The server's spawning thread restricts itself,
// so that a worker is born with it, on all of its threads.

// rulesetAttr is struct landlock_ruleset_attr (include/uapi/linux/landlock.h).
type rulesetAttr struct{ fs, net, scoped uint64 }

// landlock restricts the calling thread to reading and executing this program. It returns
// the version of Landlock that the system has.
func landlock(program string) (version int, err error) {
	abi, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return 0, e
	}
	attr, size := rulesetAttr{fs: handledFiles(int(abi))}, uintptr(8)
	if abi >= 4 {
		attr.net, size = unix.LANDLOCK_ACCESS_NET_BIND_TCP|unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, 16
	}
	if abi >= 6 {
		attr.scoped, size = scopeAbstractSockets|scopeSignals, 24
	}
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if e != 0 {
		return int(abi), e
	}
	defer func() { _ = unix.Close(int(fd)) }()
	files, err := programFiles(program)
	if err != nil {
		return int(abi), err
	}
	for _, name := range files {
		if err := allowExecution(int(fd), name); err != nil {
			return int(abi), fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return int(abi), err
	}
	if _, _, e := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); e != 0 {
		return int(abi), e
	}
	return int(abi), nil
}

const (
	scopeAbstractSockets = 1 << 0
	scopeSignals         = 1 << 1
)

// handledFiles are all accesses to files that a version of Landlock knows.
func handledFiles(abi int) uint64 {
	bits := 13 // execute to make_sym
	switch {
	case abi >= 5:
		bits = 16 // refer, truncate, ioctl_dev
	case abi >= 3:
		bits = 15
	case abi == 2:
		bits = 14
	}
	return 1<<bits - 1
}

// programFiles are the files that starting this program takes: itself, and, when it was
// linked with the system's libraries, those.
func programFiles(program string) ([]string, error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	list := []string{program}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		for _, dir := range []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"} {
			if _, err := os.Stat(dir); err == nil {
				list = append(list, dir)
			}
		}
	}
	return list, nil
}

// pathBeneathAttr is struct landlock_path_beneath_attr, which is packed.
type pathBeneathAttr [12]byte

func allowExecution(ruleset int, name string) error {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var attr pathBeneathAttr
	*(*uint64)(unsafe.Pointer(&attr[0])) = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE
	*(*int32)(unsafe.Pointer(&attr[8])) = int32(fd)
	if _, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0); e != 0 {
		return errors.Join(e)
	}
	return nil
}
