package worker

import "github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"

// A message goes as one or more frames: a header of 16 bytes, and at most maxFrame bytes
// of it. All numbers are little-endian.
//
//	size  u32  bytes that follow in this frame
//	kind  u8
//	flags u8   1: more frames of this message follow
//	slot  u16  which call of the peer it belongs to
//	gen   u32  the call's number; a slot is used again and again
//	total u32  bytes of the whole message
type header struct {
	size  uint32
	kind  kind
	more  bool
	slot  uint16
	gen   uint32
	total uint32
}

type kind uint8

// transport carries frames between a server and its worker.
type transport interface {
	// send writes one frame, and waits for room as long as the peer lives. It is safe
	// for concurrent use.
	send(h *header, payload []byte) error
	// receive hands every frame to handle until the transport ends, and says why. It
	// returns when nothing that it has started runs any more. While unasked returns true
	// it sleeps when there is no frame, and does not poll: nobody waits for one, or the
	// waiting call polls itself.
	receive(handle handler, unasked func() bool) error
	// spin looks for frames itself for some microseconds, until done says so, when
	// nobody else does. It reports what done said last. A transport that can't returns
	// false at once.
	spin(handle handler, done func() bool) bool
	// nudge has both sides look for frames, should one sleep over them.
	nudge()
	// beat is where a slot's beat is kept; nil when the two share no memory.
	beat(slot uint16) *sandbox.Beat
	// close ends it; sends and receives fail.
	close()
}

// handler takes a frame. Its error ends the transport. The returned function is run by
// the goroutine that received the frame; the function calls slow before long work, so
// that another goroutine receives meanwhile.
type handler func(h header, payload []byte) (then task, err error)

type task func(slow func())
