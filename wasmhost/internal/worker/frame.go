package worker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
)

// The mapping that a server and its worker share: a page of positions, a beat for each
// slot, and two rings of bytes, of which each has one process that writes and one that
// reads.
//
//	0      positions of the ring to the worker, and of the ring to the server
//	4096   slots × 16 bytes: a [sandbox.Beat] each; the worker writes them
//	…      ring to the worker, ring to the server
//
// A peer that was taken over may write anything there at any time. So each side keeps
// its own position in its own memory, reads each word of the peer's once, and copies a
// frame out before it looks at it.
const (
	slots       = 1024
	ringBytes   = 256 << 10
	beatsAt     = 4096
	beatBytes   = 16
	ringsAt     = beatsAt + slots*beatBytes
	regionBytes = ringsAt + 2*ringBytes
)

const (
	headerBytes = 16
	// maxFrame bounds the payload of one frame, so that a long message does not keep the
	// short ones waiting.
	maxFrame = 32 << 10
	// maxMessage bounds a message: an artifact, of which either part may be 512 MiB.
	maxMessage = 1 << 30
)

// The kinds of messages, and who sends them.
const (
	kindCall    kind = 1 + iota // server: run a function
	kindResult                  // worker: the call's outcome; the slot is free again
	kindHost                    // worker: a capability, Extism's request, next, or a file
	kindAnswer                  // server: the answer
	kindChunk                   // worker: a chunk of the capability emit
	kindCredit                  // server: the chunk has been taken
	kindLog                     // worker: a line
	kindCancel                  // server: nobody waits for the call any more
	kindControl                 // server: load, unload, warm, evict
	kindLeave                   // worker: the guest waits; its slot and place in the server are given back
	kindClose                   // worker: a file is closed, also after its call has ended
	kindHolding                 // worker: what an account holds there, of no call
	kinds
)

func (h *header) put(b []byte) {
	binary.LittleEndian.PutUint32(b[0:], h.size)
	b[4], b[5] = byte(h.kind), 0
	if h.more {
		b[5] = 1
	}
	binary.LittleEndian.PutUint16(b[6:], h.slot)
	binary.LittleEndian.PutUint32(b[8:], h.gen)
	binary.LittleEndian.PutUint32(b[12:], h.total)
}

var errFrame = errors.New("the peer broke the protocol")

// parseHeader reads a header that the peer may have forged.
func parseHeader(b []byte) (h header, err error) {
	h = header{
		size: binary.LittleEndian.Uint32(b[0:]), kind: kind(b[4]), more: b[5] == 1,
		slot: binary.LittleEndian.Uint16(b[6:]), gen: binary.LittleEndian.Uint32(b[8:]), total: binary.LittleEndian.Uint32(b[12:]),
	}
	switch {
	case h.kind == 0 || h.kind >= kinds, b[5] > 1:
		return h, fmt.Errorf("%w: a frame of kind %d, flags %d", errFrame, h.kind, b[5])
	case h.size > maxFrame, h.total > maxMessage, h.size > h.total:
		return h, fmt.Errorf("%w: a frame of %d bytes of %d", errFrame, h.size, h.total)
	case h.slot >= slots:
		return h, fmt.Errorf("%w: slot %d", errFrame, h.slot)
	}
	return h, nil
}

// writer builds a message.
type writer struct{ b []byte }

// writers keeps the memory of messages that have been sent.
var writers = sync.Pool{New: func() any { return new(writer) }}

// keptWriter bounds the buffer that one of them keeps.
const keptWriter = 64 << 10

func newWriter() *writer { return writers.Get().(*writer) }

// free gives a writer back when its message has been sent, which copies it.
func (w *writer) free() {
	if cap(w.b) <= keptWriter {
		w.b = w.b[:0]
		writers.Put(w)
	}
}

func (w *writer) byte(v byte) { w.b = append(w.b, v) }
func (w *writer) bool(v bool) {
	if v {
		w.byte(1)
	} else {
		w.byte(0)
	}
}
func (w *writer) uint32(v uint32) { w.b = binary.LittleEndian.AppendUint32(w.b, v) }
func (w *writer) int64(v int64)   { w.b = binary.LittleEndian.AppendUint64(w.b, uint64(v)) }

func (w *writer) bytes(v []byte) {
	w.uint32(uint32(len(v)))
	w.b = append(w.b, v...)
}

func (w *writer) string(v string) {
	w.uint32(uint32(len(v)))
	w.b = append(w.b, v...)
}

// reader reads a message that the peer may have forged: what is missing sets bad and
// reads as nothing.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) bool() bool {
	v := r.byte()
	r.bad = r.bad || v > 1
	return v == 1
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.LittleEndian.Uint64(b))
	}
	return 0
}

// amount is an int64 that counts something: not negative.
func (r *reader) amount() int64 {
	v := r.int64()
	if v < 0 {
		r.bad = true
		return 0
	}
	return v
}

// bytes returns a view of the message.
func (r *reader) bytes() []byte {
	n := r.uint32()
	if n > math.MaxInt32 {
		r.bad = true
		return nil
	}
	return r.take(int(n))
}

func (r *reader) string() string { return string(r.bytes()) }

// end wants everything to have been read.
func (r *reader) end() error {
	if r.bad || len(r.b) > 0 {
		return fmt.Errorf("%w: a message of another form", errFrame)
	}
	return nil
}
