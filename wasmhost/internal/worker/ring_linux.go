package worker

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// Bounds of a spin, in which a side looks for the next frame before it sleeps. Between two
// looks it lets other threads have its processor, mostly the peer: on an idle machine a
// spin takes about as long as waking this side would. On a busy one a yield may last for
// milliseconds, in which others run, and which cost nothing; so it is the number of yields
// that counts, and the time only ends what goes on too long for another reason.
const (
	spinYields = 100
	spinTime   = time.Millisecond
	looks      = 8 // before each yield
)

// ringTransport carries frames in the mapping, and wakes a sleeping peer by an eventfd.
// The holder of rx reads; it is the goroutine of receive, or that of a call that waits
// alone.
type ringTransport struct {
	mapping region
	out, in *ring
	ringing *os.File // wakes the peer
	bell    *os.File // the peer wakes this side
	closed  atomic.Bool
	ended   chan struct{}

	tx sync.Mutex // guards the writer's side of out
	rx sync.Mutex // guards the reader's side of in

	misses atomic.Int32 // spins in a row that found nothing
	idle   atomic.Int32 // goroutines of receive that sleep or read
	group  sync.WaitGroup
	failed atomic.Pointer[error]

	leaving func() // for tests: called before a reader gives rx back
}

// fds are the descriptors of a ring as the worker finds them: mapping, the bell that wakes
// the worker, the bell that wakes the server.
const (
	mappingFD  = 3
	workerBell = 4
	serverBell = 5
	controlFD  = 6
)

// newRing makes the server's side and the files for the worker.
func newRing() (_ *ringTransport, files []*os.File, err error) {
	fd, err := unix.MemfdCreate("genkit-ring", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, fmt.Errorf("memfd: %w", err)
	}
	shared := os.NewFile(uintptr(fd), "genkit-ring")
	defer func() {
		if err != nil {
			for _, f := range append(files, shared) {
				_ = f.Close()
			}
		}
	}()
	if err := unix.Ftruncate(fd, regionBytes); err != nil {
		return nil, nil, fmt.Errorf("ring: %w", err)
	}
	// A worker that could shrink it would have the server end by SIGBUS.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return nil, nil, fmt.Errorf("seal the ring: %w", err)
	}
	var bells [2]int
	for i := range bells {
		if bells[i], err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
			return nil, nil, fmt.Errorf("eventfd: %w", err)
		}
		files = append(files, os.NewFile(uintptr(bells[i]), "genkit-bell"))
	}
	// The server has descriptors of its own for the bells: those of files are closed
	// when the worker has them.
	var own [2]int
	for i := range own {
		if own[i], err = unix.FcntlInt(uintptr(bells[i]), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return nil, nil, fmt.Errorf("dup: %w", err)
		}
	}
	t, err := mapRing(fd, own[0], own[1], true)
	if err != nil {
		return nil, nil, err
	}
	return t, append([]*os.File{shared}, files...), nil
}

// mapRing maps a ring. The server writes the first direction and reads the second.
func mapRing(fd, wakesWorker, wakesServer int, server bool) (*ringTransport, error) {
	m, err := unix.Mmap(fd, 0, regionBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the ring: %w", err)
	}
	t := &ringTransport{mapping: m, ended: make(chan struct{})}
	runtime.AddCleanup(t, func(m []byte) { _ = unix.Munmap(m) }, m) // calls that end late still look at it
	t.out, t.in = t.mapping.ring(0), t.mapping.ring(1)
	ringing, bell := wakesWorker, wakesServer
	if !server {
		t.out, t.in = t.in, t.out
		ringing, bell = bell, ringing
	}
	for _, fd := range []int{ringing, bell} {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, fmt.Errorf("bell: %w", err)
		}
	}
	t.ringing, t.bell = os.NewFile(uintptr(ringing), "genkit-bell"), os.NewFile(uintptr(bell), "genkit-bell")
	return t, nil
}

// afterStart is called when the worker has its files: handing them over may have made the
// bells block, which is shared.
func (t *ringTransport) afterStart() error {
	return errors.Join(nonblock(t.ringing), nonblock(t.bell))
}

func nonblock(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Control(func(fd uintptr) { serr = unix.SetNonblock(int(fd), true) })
	return errors.Join(err, serr)
}

func (t *ringTransport) beat(slot uint16) *sandbox.Beat { return t.mapping.beat(slot) }

var errTransportClosed = errors.New("the connection is closed")

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

func (t *ringTransport) send(h *header, payload []byte) error {
	for wait := time.Duration(0); ; {
		if t.closed.Load() {
			return errTransportClosed
		}
		t.tx.Lock()
		ok, err := t.out.write(h, payload)
		wake := ok && t.out.mustWake()
		t.tx.Unlock()
		if err != nil {
			return err
		}
		if wake {
			_, _ = t.ringing.Write(one) // a full bell has rung
		}
		if ok {
			return nil
		}
		wait = t.pause(wait)
	}
}

// pause waits for room: the reader takes what there is, or is gone.
func (t *ringTransport) pause(wait time.Duration) time.Duration {
	if wait == 0 {
		yieldThread()
		return 10 * time.Microsecond
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ended:
	}
	return min(2*wait, time.Millisecond)
}

// yieldThread lets another thread have the processor. It does not tell the Go scheduler:
// it comes back at once when nobody wants it.
func yieldThread() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

func (t *ringTransport) receive(handle handler, unasked func() bool) error {
	t.group.Add(1)
	t.idle.Add(1)
	t.reader(handle, unasked)
	t.group.Wait()
	if err := t.failed.Load(); err != nil {
		return *err
	}
	return errTransportClosed
}

// keptReaders is how many goroutines wait for frames when there is nothing to do.
const keptReaders = 2

// reader takes turns with others of its kind: one reads, the others sleep, or run what
// reading has brought.
func (t *ringTransport) reader(handle handler, unasked func() bool) {
	defer t.group.Done()
	for {
		then, err := t.take(handle, unasked)
		if err != nil {
			if !errors.Is(err, errTransportClosed) {
				t.failed.CompareAndSwap(nil, &err)
			}
			t.close()
			t.idle.Add(-1)
			return
		}
		if then == nil {
			continue
		}
		if t.idle.Add(-1) == 0 { // the next frame has to find somebody
			t.idle.Add(1)
			t.group.Add(1)
			go t.reader(handle, unasked)
		}
		var told atomic.Bool
		then(func() { // once: somebody else reads on
			if !told.Swap(true) {
				t.wakeSelf()
			}
		})
		if t.idle.Add(1) > keptReaders && !t.closed.Load() {
			t.idle.Add(-1)
			if !told.Swap(true) { // it was to read on, and others may be leaving, too
				t.wakeSelf()
			}
			return
		}
	}
}

// take reads until there is something to run, and sleeps while there is nothing to read.
func (t *ringTransport) take(handle handler, unasked func() bool) (then task, err error) {
	if t.rx.TryLock() {
		then, err = t.drain(handle, true, unasked)
		if then != nil { // it comes back soon, or calls slow: nobody needs to be woken
			t.rx.Unlock()
			return then, nil
		}
		if left := t.release(); err != nil || left {
			return nil, err
		}
	}
	if t.closed.Load() {
		return nil, errTransportClosed
	}
	var buf [8]byte
	if _, err := t.bell.Read(buf[:]); err != nil {
		return nil, errTransportClosed
	}
	return nil, nil
}

// drain reads frames, and spins after the last one if that has paid lately. It ends when
// there is no frame and done says so; unless it reads for all, also when there is one. The
// caller holds rx.
func (t *ringTransport) drain(handle handler, all bool, done func() bool) (then task, err error) {
	t.in.sleepy(false)
	spins := t.misses.Load() <= 64 || t.misses.Add(1)%8 == 0
	handled := false // since others last ran
	for {
		h, payload, ok, err := t.in.read()
		switch {
		case err != nil:
			return nil, err
		case ok:
			handled = true
			if then, err := handle(h, payload); then != nil || err != nil {
				return then, err
			}
			if !all && done() {
				return nil, nil
			}
			continue
		case t.closed.Load() || done():
			return nil, nil
		case handled && all: // those who got something may soon send something
			handled = false
			runtime.Gosched()
			continue
		case !spins:
			return nil, nil
		}
		if t.look(done) {
			t.misses.Store(0)
			continue
		}
		if !done() {
			t.misses.Add(1)
		}
		return nil, nil
	}
}

// look spins until there is a frame, and reports whether there is.
func (t *ringTransport) look(done func() bool) bool {
	var until time.Time
	for yields := 1; yields <= spinYields; yields++ {
		for range looks {
			if !t.in.empty() {
				return true
			}
		}
		if t.closed.Load() || done() {
			return false
		}
		if yields%16 == 0 {
			switch now := time.Now(); {
			case until.IsZero():
				until = now.Add(spinTime)
			case now.After(until):
				return !t.in.empty()
			}
		}
		yieldThread()
	}
	return !t.in.empty()
}

func (t *ringTransport) spin(handle handler, done func() bool) bool {
	for tries := 0; !t.rx.TryLock(); tries++ { // the common reader stops when a call waits alone
		if tries == 3 || done() {
			return done()
		}
		yieldThread()
	}
	then, err := t.drain(handle, false, done)
	left := t.release()
	if err != nil {
		if !errors.Is(err, errTransportClosed) {
			t.failed.CompareAndSwap(nil, &err)
		}
		t.close()
	}
	if then != nil {
		t.group.Go(func() { then(func() {}) })
	}
	if left {
		t.wakeSelf()
	}
	return done()
}

// release ends reading, asks to be woken, and reports whether a frame has come meanwhile, for
// which its caller has to look again or wake somebody. It looks after it has given the lock back:
// somebody whom the peer woke for a frame while the lock was still held has gone to sleep again.
func (t *ringTransport) release() (left bool) {
	t.in.sleepy(true)
	if t.leaving != nil {
		t.leaving()
	}
	t.rx.Unlock()
	return t.in.unread()
}

// wakeSelf rings this side's own bell, for the goroutine of receive.
func (t *ringTransport) wakeSelf() { _, _ = t.bell.Write(one) }

func (t *ringTransport) nudge() {
	t.wakeSelf()
	_, _ = t.ringing.Write(one)
}

func (t *ringTransport) close() {
	if t.closed.Swap(true) {
		return
	}
	close(t.ended)
	_ = t.bell.Close() // the goroutine that sleeps on it wakes
	_ = t.ringing.Close()
}
