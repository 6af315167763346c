package wasi

import (
	"io"
	"math"
	"time"
)

// Sizes of what poll_oneoff reads and writes, and its kinds of events.
const (
	subscriptionBytes = 48
	eventBytes        = 32

	eventClock = 0
	eventRead  = 1
	eventWrite = 2
)

// hangup is the flag of an event that says that no more comes.
const hangup = 1

// subscription is an event that a guest waits for, and, for a clock that has not reached
// its time, how long that takes.
type subscription struct {
	user   uint64
	kind   byte
	wait   time.Duration // 0: the event is there
	errno  Errno
	bytes  uint64
	hangup bool
}

// pollOneoff waits until at least one of the events that the guest names is there, and
// writes those that are. Reads and writes never wait here, so a poll sleeps only when it
// names clocks and nothing else.
func pollOneoff(p *Process, mem memory, a []uint64) Errno {
	count := uint32(a[2])
	if count == 0 || count > MaxSubscriptions {
		return EINVAL
	}
	in, ok1 := mem.table(a[0], count, subscriptionBytes)
	out, ok2 := mem.table(a[1], count, eventBytes)
	result, ok3 := mem.view(a[3], 4)
	if !ok1 || !ok2 || !ok3 {
		return EFAULT
	}
	p.host.Charge(int64(count) * eventFuel)
	subs, wait, errno := p.subscriptions(in)
	if errno != 0 {
		return errno
	}
	if wait > 0 {
		p.host.Charge(fileFuel) // others are woken, and this guest after them
		p.sleep(wait)
	}
	fired := uint32(0)
	for i := range subs {
		if s := &subs[i]; s.wait <= wait {
			s.put(out[fired*eventBytes:][:eventBytes])
			fired++
		}
	}
	little.PutUint32(result, fired)
	return 0
}

// subscriptions reads them all before anything is written, since input and output may
// overlap. wait is how long the first event takes.
func (p *Process) subscriptions(in []byte) (subs []subscription, wait time.Duration, errno Errno) {
	subs = make([]subscription, 0, 4)
	wait = math.MaxInt64
	for ; len(in) > 0; in = in[subscriptionBytes:] {
		s := subscription{user: little.Uint64(in), kind: in[8]}
		switch s.kind {
		case eventClock:
			p.clock(&s, in[16:])
		case eventRead, eventWrite:
			p.ready(&s, uint64(little.Uint32(in[16:])))
		default:
			return nil, 0, EINVAL
		}
		wait = min(wait, s.wait)
		subs = append(subs, s)
	}
	return subs, wait, 0
}

// clock computes how long a clock takes to reach its time: at most 292 years.
func (p *Process) clock(s *subscription, in []byte) {
	const absolute = 1
	now, ok := p.now(little.Uint32(in))
	timeout, flags := little.Uint64(in[8:]), little.Uint16(in[24:])
	if !ok || flags&^absolute != 0 {
		s.errno = EINVAL
		return
	}
	if flags == absolute {
		timeout -= min(timeout, uint64(now))
	}
	s.wait = time.Duration(min(timeout, math.MaxInt64))
}

// ready returns the events for which a descriptor is ready. Nothing here blocks: a file is on disk,
// standard input is at its end, and what is printed is taken at once.
func (p *Process) ready(s *subscription, fd uint64) {
	d, errno := p.lookup(fd)
	switch {
	case errno != 0:
		s.errno = errno
	case d.kind == directory:
		s.errno = EBADF
	case (s.kind == eventRead && !d.read) || (s.kind == eventWrite && !d.write):
		s.errno = EBADF
	case d.kind == stream && s.kind == eventRead:
		s.hangup = true
	case d.kind == stream:
		s.bytes = MaxPrinted
	case s.kind == eventRead:
		s.bytes, s.errno = p.left(d)
	default:
		s.bytes = pieceBytes
	}
}

// left returns how much of a file lies before its position's end.
func (p *Process) left(d *descriptor) (uint64, Errno) {
	p.work()
	st, failed := d.file.Stat()
	if failed != 0 {
		return 0, errnoOf(failed)
	}
	at, failed := d.file.Seek(0, io.SeekCurrent)
	if failed != 0 {
		return 0, errnoOf(failed)
	}
	return uint64(max(0, st.Size-at)), 0
}

func (s *subscription) put(buf []byte) {
	clear(buf)
	little.PutUint64(buf, s.user)
	little.PutUint16(buf[8:], uint16(s.errno))
	buf[10] = s.kind
	little.PutUint64(buf[16:], s.bytes)
	if s.hangup {
		little.PutUint16(buf[24:], hangup)
	}
}
