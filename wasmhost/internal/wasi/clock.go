package wasi

import (
	"math"
	"time"
)

// WASI's clocks. Those of processor time are refused: a guest has none of its own.
const (
	clockRealtime  = 0
	clockMonotonic = 1
)

// Where the clocks stand that were not granted. The monotonic one is not 0, which Go's
// runtime takes for a broken clock.
const (
	standingRealtime  = 1_640_995_200 * int64(time.Second) // 1 January 2022
	standingMonotonic = int64(time.Second)
)

// began is where the monotonic clock of this process starts from.
var began = time.Now()

// now reads a clock; false when there is no such clock.
func (p *Process) now(clock uint32) (int64, bool) {
	switch {
	case clock == clockRealtime && p.config.Clock:
		return p.host.Clock(clock, time.Now().UnixNano()), true
	case clock == clockMonotonic && p.config.Clock:
		return p.host.Clock(clock, standingMonotonic+int64(time.Since(began))), true
	case clock == clockRealtime:
		return standingRealtime + p.slept, true
	case clock == clockMonotonic:
		return standingMonotonic + p.slept, true
	}
	return 0, false
}

// sleep waits, which is all that moves a clock that was not granted.
func (p *Process) sleep(d time.Duration) {
	p.host.Sleep(d)
	if !p.config.Clock {
		p.slept = min(p.slept, math.MaxInt64-standingRealtime-int64(d)) + int64(d)
	}
}

func clockResGet(_ *Process, mem memory, a []uint64) Errno {
	switch uint32(a[0]) {
	case clockRealtime:
		return mem.putUint64(a[1], uint64(time.Microsecond))
	case clockMonotonic:
		return mem.putUint64(a[1], uint64(time.Nanosecond))
	}
	return EINVAL
}

func clockTimeGet(p *Process, mem memory, a []uint64) Errno {
	now, ok := p.now(uint32(a[0]))
	if !ok {
		return EINVAL
	}
	return mem.putUint64(a[2], uint64(now))
}

func randomGet(p *Process, mem memory, a []uint64) Errno {
	buf, ok := mem.view(a[0], a[1])
	if !ok {
		return EFAULT
	}
	for len(buf) > 0 {
		piece := buf[:min(len(buf), pieceBytes)]
		p.host.Charge(int64(len(piece)))
		p.host.Worked(len(piece))
		if err := p.host.Random(piece); err != nil {
			return EIO
		}
		buf = buf[len(piece):]
	}
	return 0
}
