package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// probes are attacks of a guest that has escaped from the sandbox. They run in a
// worker; server is the process that has started it.
func probes(server int, secret, address, socket string) map[string]func() error {
	at := func(path string) string { return fmt.Sprintf("/proc/%d/%s", server, path) }
	open := func(name string, flag int) error {
		f, err := os.OpenFile(name, flag, 0o600)
		if err == nil {
			_ = f.Close()
		}
		return err
	}
	return map[string]func() error{
		"read a file":                       func() error { return open(secret, os.O_RDONLY) },
		"read the passwords":                func() error { return open("/etc/passwd", os.O_RDONLY) },
		"write a file":                      func() error { return open(filepath.Join(filepath.Dir(secret), "new"), os.O_CREATE|os.O_WRONLY) },
		"list a directory":                  func() error { _, err := os.ReadDir("/"); return err },
		"open this program for writing":     func() error { return open("/proc/self/exe", os.O_RDWR) },
		"open the server's memory":          func() error { return open(at("mem"), os.O_RDWR) },
		"read the server's environment":     func() error { return open(at("environ"), os.O_RDONLY) },
		"read the server's memory":          func() error { return readOther(server) },
		"signal the server":                 func() error { return unix.Kill(server, 0) },
		"kill the server's thread":          func() error { return unix.Tgkill(server, server, 0) },
		"trace the server":                  func() error { return unix.PtraceAttach(server) },
		"connect by TCP":                    func() error { return dial("tcp", address) },
		"send by UDP":                       func() error { return dial("udp", address) },
		"connect to a local socket":         func() error { return dial("unix", socket) },
		"connect to an abstract socket":     func() error { return dial("unix", "@"+filepath.Base(socket)) },
		"make a pair of sockets":            func() error { _, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err },
		"execute a program":                 func() error { return unix.Exec("/bin/true", []string{"true"}, nil) },
		"execute this program":              func() error { return unix.Exec("/proc/self/exe", []string{"x"}, nil) },
		"start a process":                   func() error { return exec.Command("/bin/true").Run() },
		"fork":                              fork,
		"make namespaces":                   func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"mount":                             func() error { return unix.Mount("none", "/", "tmpfs", 0, "") },
		"change its root":                   func() error { return unix.Chroot("/") },
		"raise its limits":                  func() error { return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}) },
		"become dumpable":                   func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) },
		"load code into the kernel":         func() error { _, _, e := unix.Syscall(unix.SYS_BPF, 0, 0, 0); return asError(e) },
		"take a descriptor of the server's": func() error { _, err := unix.PidfdOpen(server, 0); return err },
		"look at other terminals":           func() error { _, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); return refusedBy(err, unix.EPERM) },
	}
}

func asError(e unix.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

// refusedBy is an error only when it is that one: others say that something was tried.
func refusedBy(err, want error) error {
	if errors.Is(err, want) {
		return err
	}
	return nil
}

func readOther(pid int) error {
	buf := make([]byte, 8)
	local := []unix.Iovec{{Base: &buf[0], Len: 8}}
	_, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
	return refusedBy(err, unix.EPERM)
}

func dial(network, address string) error {
	c, err := net.Dial(network, address)
	if err == nil {
		_ = c.Close()
	}
	return err
}

func fork() error {
	pid, _, e := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	if e != 0 {
		return e
	}
	if pid == 0 {
		unix.Exit(0)
	}
	return nil
}

// alone are, for each mechanism, what it refuses without the help of others; a process
// without any of them could do all of it.
func alone(p *probe) map[string]map[string]func() error {
	all := probes(p.Server, p.Secret, p.Address, p.Socket)
	some := func(names ...string) map[string]func() error {
		list := map[string]func() error{}
		for _, name := range names {
			list[name] = all[name]
		}
		return list
	}
	return map[string]map[string]func() error{
		"landlock":   some("read a file", "write a file", "list a directory", "connect by TCP", "connect to an abstract socket", "signal the server"),
		"namespaces": some("connect by TCP", "connect to an abstract socket"),
		"seccomp":    some("read a file", "list a directory", "send by UDP", "connect to a local socket", "make a pair of sockets", "start a process", "fork", "signal the server"),
		"rlimits": {
			"hold descriptors without end": func() error { return hold(2 * maxFiles) },
			"hold memory without end": func() error {
				b, err := unix.Mmap(-1, 0, 2*dataReserve, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
				if err == nil {
					err = unix.Munmap(b)
				}
				return err
			},
		},
		"no-new-privileges": {"gain privileges by executing": func() error { return flagged(unix.PR_GET_NO_NEW_PRIVS, 1) }},
		"not-dumpable":      {"be looked into by others": func() error { return flagged(unix.PR_GET_DUMPABLE, 0) }},
		"descriptors":       {"use a descriptor that was left open": func() error { _, err := unix.FcntlInt(leftOpen, unix.F_GETFD, 0); return err }},
	}
}

// leftOpen is the number of a descriptor that the test leaves open for its children.
const leftOpen = 50

// hold has so many descriptors open at a time.
func hold(count int) (err error) {
	var fds []int
	for fd := 0; err == nil && len(fds) < count; {
		if fd, err = unix.Dup(0); err == nil {
			fds = append(fds, fd)
		}
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
	return err
}

// flagged fails when a flag of the process is set so.
func flagged(option, as int) error {
	v, err := unix.PrctlRetInt(option, 0, 0, 0, 0)
	if err != nil {
		return nil //nolint:nilerr // it is not known to be
	}
	if v == as {
		return fmt.Errorf("it is set to %d", v)
	}
	return nil
}

// probe is an attack that the test has a worker try.
type probe struct {
	Server                  int
	Secret, Address, Socket string
	Mechanism               string // the names of probes to try; the others when empty
}

// waitForOthers has the guest's thread wait, as one does that the system does not let run,
// until other threads of the worker have used so much processor time.
func waitForOthers(much time.Duration) {
	used := func() time.Duration {
		var u unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	var over atomic.Bool
	go func() {
		for !over.Load() { // it is to use the processor
		}
	}()
	for begin := used(); used()-begin < much; {
		pause := unix.Timespec{Nsec: 5e6}
		_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&pause)), 0, 0)
	}
	over.Store(true)
}

// On a busy machine the thread of a guest may not run for long while others of its worker
// do: that is not the guest's fault.
func TestAGuestIsJudgedByItsOwnThread(t *testing.T) {
	p := newPool(t, nil)
	m := counter(t, p, "a")
	for range 2 {
		out, err := ask(t.Context(), m, `"late"`)
		require.NoError(t, err)
		require.JSONEq(t, `{"count":1}`, out)
	}
	require.False(t, p.workerOf("a").doubted)
}

func init() { //nolint:gochecknoinits // a worker process of the test starts in its TestMain
	late = func() { waitForOthers(400 * time.Millisecond) }
	probing = func(input []byte) []byte {
		var p struct{ Probe *probe }
		if json.Unmarshal(input, &p) != nil || p.Probe == nil {
			return nil
		}
		got := map[string]string{}
		tries := probes(p.Probe.Server, p.Probe.Secret, p.Probe.Address, p.Probe.Socket)
		if p.Probe.Mechanism != "" {
			tries = alone(p.Probe)[p.Probe.Mechanism]
		}
		for name, try := range tries {
			got[name] = "done"
			if err := try(); err != nil {
				got[name] = err.Error()
			}
		}
		out, _ := json.Marshal(got)
		return out
	}
}

// probed is the target of the probes.
func probed(t *testing.T) probe {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("x"), 0o600))
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = tcp.Close() })
	socket := filepath.Join(t.TempDir(), "s")
	local, err := net.Listen("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { _ = local.Close() })
	abstract, err := net.Listen("unix", "@"+filepath.Base(socket))
	require.NoError(t, err)
	t.Cleanup(func() { _ = abstract.Close() })
	return probe{Server: os.Getpid(), Secret: secret, Address: tcp.Addr().String(), Socket: socket}
}

// tried has a worker try.
func tried(t *testing.T, m *Module, what probe) (got map[string]string) {
	t.Helper()
	in, err := json.Marshal(map[string]probe{"Probe": what})
	require.NoError(t, err)
	out, err := ask(t.Context(), m, string(in))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	return got
}

// Each mechanism holds by itself, and without any of them nothing is held: so no test of
// confinement passes for another reason than it.
func TestEachMechanismHoldsByItself(t *testing.T) {
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(fd) }()
	require.NoError(t, unix.Dup3(fd, leftOpen, 0)) // for children, too
	defer func() { _ = unix.Close(leftOpen) }()
	what := probed(t)
	confinedBy := func(t *testing.T, only string) *Module {
		t.Helper()
		p := newPool(t, func(c *Config) {
			c.Spare, c.MemoryBytes = false, 64<<20
			c.Command = append(slices.Clone(c.Command), onlyFlag+only)
			c.without = map[string]bool{}
			for _, outside := range []string{"landlock", "namespaces", "no-new-privileges"} {
				c.without[outside] = outside != only
			}
			if only == "seccomp" { // which a process without privileges may not have without it
				c.without["no-new-privileges"] = false
			}
		})
		m := counter(t, p, "a")
		_, err := ask(t.Context(), m, `{}`)
		require.NoError(t, err)
		for _, missing := range append(p.spawner.missing, p.workerOf("a").says.Missing...) {
			if name, _, _ := strings.Cut(missing, ":"); name == only {
				t.Skipf("this system lacks it: %s", missing)
			}
		}
		return m
	}
	for mechanism := range alone(&what) {
		what.Mechanism = mechanism
		t.Run(mechanism, func(t *testing.T) {
			if raceEnabled && mechanism == "rlimits" {
				t.Skip("the race detector maps more than the limit on memory, which is not set under it")
			}
			got := tried(t, confinedBy(t, mechanism), what)
			require.Len(t, got, len(alone(&what)[mechanism]))
			for name, result := range got {
				assert.NotEqual(t, "done", result, "a worker could %s", name)
			}
		})
		t.Run("without "+mechanism, func(t *testing.T) {
			for name, result := range tried(t, confinedBy(t, "nothing"), what) {
				assert.Equal(t, "done", result, "without %s, a worker could not %s: the test shows nothing", mechanism, name)
			}
		})
	}
}

func TestAWorkerCanReachNothing(t *testing.T) {
	p := newPool(t, nil)
	m := counter(t, p, "a")
	got := tried(t, m, probed(t))
	require.Len(t, got, len(probes(0, "", "", "")))
	for name, result := range got {
		assert.NotEqual(t, "done", result, "a worker could %s", name)
	}
	again, err := ask(t.Context(), m, `{}`)
	require.NoError(t, err, "the worker still serves")
	require.JSONEq(t, `{"count":1}`, again)
}
