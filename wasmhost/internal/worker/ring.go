package worker

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

var _ [0]struct{} = [unsafe.Sizeof(sandbox.Beat{}) - beatBytes]struct{}{}

// Offsets of one ring's words, each in a cache line of its own.
const (
	tailAt    = 0   // bytes ever written; the writer's
	headAt    = 64  // bytes ever read; the reader's
	waitingAt = 128 // 1: the reader sleeps, or is about to, and wants to be woken
	wordsSize = 192
)

// ring is one direction, seen from one side. The writer's methods want one goroutine at a
// time, and so do the reader's.
type ring struct {
	tail, head *atomic.Uint64
	waiting    *atomic.Uint32
	data       []byte
	own        uint64 // this side's position
}

// region is the mapping.
type region []byte

func (m region) word(at int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&m[at])) }

func (m region) ring(index int) *ring {
	words := index * wordsSize
	start := ringsAt + index*ringBytes
	return &ring{
		tail: m.word(words + tailAt), head: m.word(words + headAt),
		waiting: (*atomic.Uint32)(unsafe.Pointer(&m[words+waitingAt])),
		data:    m[start : start+ringBytes : start+ringBytes],
	}
}

func (m region) beat(slot uint16) *sandbox.Beat {
	return (*sandbox.Beat)(unsafe.Pointer(&m[beatsAt+int(slot)*beatBytes]))
}

// aligned is the size of a frame in the ring: headers do not wrap.
func aligned(payload uint32) uint64 { return (headerBytes + uint64(payload) + 15) &^ 15 }

// write puts a frame into the ring; false when there is no room yet.
func (r *ring) write(h *header, payload []byte) (bool, error) {
	need := aligned(h.size)
	head := r.head.Load()
	used := r.own - head
	if used > ringBytes {
		return false, fmt.Errorf("%w: a ring's reader is ahead of its writer", errFrame)
	}
	if ringBytes-used < need {
		return false, nil
	}
	h.put(r.at(r.own))
	r.copyIn(r.own+headerBytes, payload)
	r.own += need
	// The writer looks whether the reader sleeps after it has written, and the reader whether
	// there is something after it has said that it sleeps: neither may look first. Go's Store
	// orders that, but not under the race detector, where Swap does.
	r.tail.Swap(r.own)
	return true, nil
}

// at is a view of the header at a position.
func (r *ring) at(position uint64) []byte {
	i := position % ringBytes
	return r.data[i : i+headerBytes]
}

func (r *ring) copyIn(position uint64, b []byte) {
	n := copy(r.data[position%ringBytes:], b)
	copy(r.data, b[n:])
}

func (r *ring) copyOut(b []byte, position uint64) {
	n := copy(b, r.data[position%ringBytes:])
	copy(b[n:], r.data)
}

// mustWake reports, once, that the reader wants to be woken.
func (r *ring) mustWake() bool { return r.waiting.Load() != 0 && r.waiting.Swap(0) != 0 }

// empty reports whether there is nothing to read.
func (r *ring) empty() bool { return r.tail.Load() == r.own }

// unread reports whether there is something to read, to a goroutine that is not the reader.
func (r *ring) unread() bool { return r.tail.Load() != r.head.Load() }

// sleepy tells the writer whether to wake the reader for the next frame.
func (r *ring) sleepy(yes bool) {
	if yes {
		r.waiting.Swap(1) // before unread is asked: see write
	} else {
		r.waiting.Store(0)
	}
}

// read takes a frame out of the ring, if there is one. The payload is the caller's.
func (r *ring) read() (h header, payload []byte, ok bool, err error) {
	there := r.tail.Load() - r.own
	switch {
	case there == 0:
		return h, nil, false, nil
	case there > ringBytes, there < headerBytes, there%16 != 0:
		return h, nil, false, fmt.Errorf("%w: %d bytes in a ring of %d", errFrame, there, ringBytes)
	}
	var raw [headerBytes]byte
	src := r.at(r.own)
	binary.LittleEndian.PutUint64(raw[0:], binary.LittleEndian.Uint64(src[0:]))
	binary.LittleEndian.PutUint64(raw[8:], binary.LittleEndian.Uint64(src[8:]))
	if h, err = parseHeader(raw[:]); err != nil {
		return h, nil, false, err
	}
	need := aligned(h.size)
	if need > there {
		return h, nil, false, fmt.Errorf("%w: a frame of %d bytes, of which %d are there", errFrame, need, there)
	}
	if h.size > 0 {
		payload = make([]byte, h.size)
		r.copyOut(payload, r.own+headerBytes)
	}
	r.own += need
	r.head.Store(r.own)
	return h, payload, true, nil
}
