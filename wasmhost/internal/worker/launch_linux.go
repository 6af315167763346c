package worker

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// launch connects a command to this process and starts it.
func (p *Pool) launch() (cmd *exec.Cmd, _ transport, err error) {
	if p.config.Stream {
		return launchStream(p.command, p.spawner.start)
	}
	t, files, err := newRing()
	if err != nil {
		return nil, nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.close()
		return nil, nil, errors.Join(err, closeAll(files))
	}
	ours := os.NewFile(uintptr(pair[0]), "genkit-control")
	defer func() { err = errors.Join(err, ours.Close()) }()
	files = append(files, os.NewFile(uintptr(pair[1]), "genkit-control"))
	cmd, err = p.spawner.start(func() *exec.Cmd {
		cmd := p.command(modeRing)
		cmd.ExtraFiles = files
		return cmd
	})
	if err = errors.Join(err, closeAll(files)); err == nil {
		err = t.afterStart()
	}
	if err != nil {
		t.close()
		return nil, nil, err
	}
	sendPagemap(pair[0], cmd.Process.Pid)
	return cmd, t, nil
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// sendPagemap gives a worker its own pagemap, which it may not open. Without it, memory is
// put back in a slower way.
func sendPagemap(socket, pid int) {
	var rights []byte
	f, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err == nil {
		defer func() { _ = f.Close() }() // the worker has its own then
		rights = unix.UnixRights(int(f.Fd()))
	}
	_ = unix.Sendmsg(socket, []byte{0}, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// namespaces are those that an unprivileged process may have: no network, and a user
// without rights in any other.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// start starts what command makes, which is called again when that can't be started.
func (s *spawner) start(command func() *exec.Cmd) (cmd *exec.Cmd, err error) {
	s.once.Do(func() {
		s.commands = make(chan func())
		if !s.without["namespaces"] {
			s.flags = namespaces
		}
		go s.run(command().Path) // ends with close
	})
	done := make(chan struct{})
	select {
	case s.commands <- func() { cmd, err = s.startHere(command); close(done) }:
		<-done
		return cmd, err
	case <-s.end:
		return nil, errors.New("the pool is closed")
	}
}

// run takes a thread for the spawner that is not the process's first one. Landlock judges a signal to a process by the
// restrictions of its first thread: were these the spawner's, workers, which inherit them, might signal the server.
func (s *spawner) run(program string) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		s.serve(program)
		return
	}
	taken := make(chan struct{})
	go func() { // on another thread, as long as this goroutine has the first
		runtime.LockOSThread()
		close(taken)
		s.serve(program)
	}()
	<-taken
	runtime.UnlockOSThread()
}

// serve never unlocks its thread, which ends with it.
func (s *spawner) serve(program string) {
	if !s.without["no-new-privileges"] {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			s.missing = append(s.missing, fmt.Sprintf("no-new-privileges: %v", err))
		} else {
			s.held = append(s.held, "no-new-privileges")
		}
	}
	if !s.without["landlock"] {
		version, err := landlock(program)
		if err != nil {
			s.missing = append(s.missing, fmt.Sprintf("landlock: %v", err))
		} else {
			s.held = append(s.held, fmt.Sprintf("landlock (version %d)", version))
		}
	}
	for {
		select {
		case f := <-s.commands:
			f()
		case <-s.end:
			return
		}
	}
}

// startHere starts a command, in namespaces of its own where that is allowed.
func (s *spawner) startHere(command func() *exec.Cmd) (*exec.Cmd, error) {
	cmd := command()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: s.flags}
	err := cmd.Start()
	switch {
	case err == nil && s.flags != 0 && !s.told:
		s.told = true
		s.held = append(s.held, "namespaces (user, network, ipc, uts)")
		return cmd, nil
	case err == nil || s.flags == 0:
		return cmd, err
	}
	s.missing = append(s.missing, fmt.Sprintf("namespaces: %v", err))
	s.flags = 0
	return s.startHere(command)
}

// killedByOther reports whether a process was ended by a signal that nobody here has sent
// and that is no fault of its own: by an operator, or for want of memory.
func killedByOther(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	ws, ok := exit.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && (ws.Signal() == unix.SIGKILL || ws.Signal() == unix.SIGTERM)
}
