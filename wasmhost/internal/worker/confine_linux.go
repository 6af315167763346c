package worker

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/memory"
)

// A worker gives up everything that a guest could use which has escaped from the sandbox.
// Each mechanism is independent; one that the system does not have is reported, and the
// others hold. Before the worker starts, its server's spawning thread has given up new
// privileges and restricted itself by Landlock, both of which are a thread's own and which
// the worker inherits on all of its threads, and has asked for namespaces; see
// launch_linux.go.

// maxFiles bounds the worker's descriptors: the image of each module takes one.
const maxFiles = 4096

// confine restricts this process, for good. memory is what its guests may hold. without
// names what a test leaves out; nil for nothing.
func confine(memory int64, ring bool, without func(mechanism string) bool) *startReply {
	r := &startReply{}
	if ring {
		if err := receivePagemap(); err != nil {
			r.Missing = append(r.Missing, fmt.Sprintf("pagemap, for speed alone: %v", err))
		}
	}
	for _, m := range []struct {
		name string
		set  func() error
	}{
		{"rlimits", func() error { return limitResources(memory) }},
		{"not-dumpable", func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }},
		{"descriptors", closeOthers},
		{"seccomp", installFilter},
	} {
		if without != nil && without(m.name) {
			continue
		}
		if err := m.set(); err != nil {
			r.Missing = append(r.Missing, fmt.Sprintf("%s: %v", m.name, err))
			continue
		}
		r.Confined = append(r.Confined, m.name)
	}
	return r
}

// receivePagemap takes the descriptor of /proc/self/pagemap, which tells pages apart that
// guests have written to, from the server: this process can't open it any more.
func receivePagemap() error {
	defer func() { _ = unix.Close(controlFD) }() // it has served its purpose
	buf, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(controlFD, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return err
	}
	if n == 0 || oobn == 0 {
		return errors.New("the server could not open it")
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) == 0 {
		return errors.Join(err, errors.New("no descriptor came"))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return errors.Join(err, errors.New("no descriptor came"))
	}
	memory.UsePagemap(os.NewFile(uintptr(fds[0]), "pagemap"))
	return nil
}

// dataReserve is the memory that the Go runtime maps beside that of the guests.
const dataReserve = 512 << 20

func limitResources(memory int64) error {
	var errs []error
	for _, l := range []struct {
		resource int
		most     uint64
	}{
		{unix.RLIMIT_DATA, uint64(memory) + dataReserve},
		{unix.RLIMIT_NOFILE, maxFiles},
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_MEMLOCK, 0},
		{unix.RLIMIT_MSGQUEUE, 0},
	} {
		var old unix.Rlimit
		if err := unix.Getrlimit(l.resource, &old); err != nil {
			errs = append(errs, err)
			continue
		}
		most := min(l.most, old.Max)
		if l.resource == unix.RLIMIT_DATA && (memory <= 0 || raceEnabled) { // the race detector maps terabytes
			continue
		}
		errs = append(errs, unix.Setrlimit(l.resource, &unix.Rlimit{Cur: most, Max: most}))
	}
	return errors.Join(errs...)
}

// closeOthers has no descriptor open that this process was not given on purpose: the
// ring's, and what the runtime has opened itself, which closes on exec.
func closeOthers() error {
	for fd := serverBell + 2; fd < 64; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
	// Output to the standard streams goes nowhere; they are /dev/null, or the
	// pipes of a worker without a ring.
	return nil
}
