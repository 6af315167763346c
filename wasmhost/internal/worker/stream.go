package worker

import (
	"bufio"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// streamTransport carries frames over a pair of pipes, where there is no ring.
type streamTransport struct {
	in     *bufio.Reader
	out    io.Writer
	closer []io.Closer
	closed atomic.Bool

	mu  sync.Mutex // guards the fields below; held while a frame is written
	buf []byte
}

func newStream(in io.ReadCloser, out io.WriteCloser) *streamTransport {
	return &streamTransport{in: bufio.NewReaderSize(in, 2*maxFrame), out: out, closer: []io.Closer{in, out}}
}

func (t *streamTransport) send(h *header, payload []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed.Load() {
		return errors.New("the connection is closed")
	}
	t.buf = append(t.buf[:0], make([]byte, headerBytes)...)
	h.put(t.buf)
	t.buf = append(t.buf, payload...)
	_, err := t.out.Write(t.buf)
	return err
}

func (t *streamTransport) receive(handle handler, _ func() bool) error {
	var running sync.WaitGroup
	defer running.Wait()
	var raw [headerBytes]byte
	for {
		if _, err := io.ReadFull(t.in, raw[:]); err != nil {
			return err
		}
		h, err := parseHeader(raw[:])
		if err != nil {
			return err
		}
		payload := make([]byte, h.size)
		if _, err := io.ReadFull(t.in, payload); err != nil {
			return err
		}
		then, err := handle(h, payload)
		if err != nil {
			return err
		}
		if then != nil {
			running.Go(func() { then(func() {}) })
		}
	}
}

func (*streamTransport) spin(handler, func() bool) bool { return false }

func (*streamTransport) nudge() {}

func (*streamTransport) beat(uint16) *sandbox.Beat { return nil }

func (t *streamTransport) close() {
	if t.closed.Swap(true) {
		return
	}
	for _, c := range t.closer {
		_ = c.Close()
	}
}
