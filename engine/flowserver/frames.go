package flowserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/negotiation"
)

// buffers holds the buffers in which answers are put together. Big ones are not kept.
type buffer struct{ b []byte }

const maxPooled = 64 << 10

func (s *Server) buffer() *buffer {
	if b, ok := buffers.Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, 0, 1<<10)}
}

func (b *buffer) free() {
	if cap(b.b) <= maxPooled {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

var buffers sync.Pool // scratch memory; shared by all servers, as it holds nothing between uses

// Members of an answer and of a frame.
const (
	memberMessage = "message"
	memberResult  = "result"
	memberError   = "error"
)

// appendFrame appends `data: {member: raw}` and an empty line. There is exactly one
// space, for Genkit's JS client cuts six characters off; and there is nothing but ASCII,
// for it decodes each piece that it reads by itself and breaks characters that lie
// across two.
func appendFrame(dst []byte, member string, raw []byte) ([]byte, error) {
	dst = append(dst, "data: "...)
	if bytes.ContainsAny(raw, "\r\n") { // an event's line must not be broken
		var line bytes.Buffer
		if err := json.Compact(&line, raw); err != nil {
			return nil, status.Errorf(status.Internal, "encode a frame: %w", err)
		}
		raw = line.Bytes()
	}
	dst = append(dst, '{', '"')
	dst = append(dst, member...)
	dst = append(dst, '"', ':')
	dst = appendASCII(dst, raw)
	return append(dst, "}\n\n"...), nil
}

// appendASCII appends JSON with all characters beyond ASCII escaped. They occur in
// strings alone.
func appendASCII(dst, raw []byte) []byte {
	const digits = "0123456789abcdef"
	for len(raw) > 0 {
		n := 0
		for n < len(raw) && raw[n] < utf8.RuneSelf {
			n++
		}
		dst, raw = append(dst, raw[:n]...), raw[n:]
		if len(raw) == 0 {
			break
		}
		r, size := utf8.DecodeRune(raw)
		raw = raw[size:]
		units := [2]rune{r}
		used := units[:1]
		if r > 0xFFFF {
			units[0], units[1] = utf16.EncodeRune(r)
			used = units[:2]
		}
		for _, u := range used {
			dst = append(dst, '\\', 'u', digits[u>>12&15], digits[u>>8&15], digits[u>>4&15], digits[u&15])
		}
	}
	return dst
}

// deadline gives each write of a response its time.
type deadline struct {
	rc      *http.ResponseController
	timeout time.Duration
	at      time.Time
}

// extend sets the deadline anew when a quarter of it is used up.
func (d *deadline) extend() {
	now := time.Now()
	if d.at.Sub(now) > d.timeout*3/4 {
		return
	}
	d.at = now.Add(d.timeout)
	_ = d.rc.SetWriteDeadline(d.at) // a writer without deadlines is not a connection
}

// frames writes the frames of one stream. Chunks may come from several goroutines.
type frames struct {
	w        http.ResponseWriter
	deadline deadline
	gone     context.CancelFunc // ends the run when the reader is gone; nil where nothing ends

	mu    sync.Mutex // guards the fields below; held while a frame is written, so that they come whole
	buf   *buffer
	err   error // of the first write that failed
	begun bool
	over  bool          // the last frame is written, or the request has ended: nothing follows
	every time.Duration // between heartbeats; 0 for none
	idle  *time.Timer   // fires when there was no frame for a while; nil until then
}

func (s *Server) frames(w http.ResponseWriter, rc *http.ResponseController, gone context.CancelFunc) *frames {
	return &frames{w: w, deadline: deadline{rc: rc, timeout: s.config.WriteTimeout}, gone: gone, buf: s.buffer()}
}

// begin sends the headers.
func (f *frames) begin() {
	f.begun = true
	h := f.w.Header()
	h["Content-Type"] = eventStreamValue
	h["Cache-Control"] = noCacheValue
	h["X-Accel-Buffering"] = noValue
	h["X-Content-Type-Options"] = noSniffValue
	f.w.WriteHeader(http.StatusOK)
}

// Values of headers, shared by all answers; nobody changes them.
var (
	eventStreamValue = []string{negotiation.EventStream}
	jsonTypeValue    = []string{jsonType}
	noCacheValue     = []string{"no-cache"}
	noValue          = []string{"no"}
	noSniffValue     = []string{"nosniff"}
)

// watch has a stream that has nothing to say begin after a while and, where every is not 0, send a
// comment each time that long has passed. When stop returns, nothing writes to the response any more.
func (f *frames) watch(every time.Duration) (stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.every = every
	f.idle = time.AfterFunc(negotiation.Quiet, f.wait)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.idle.Stop()
		f.close()
	}
}

func (f *frames) wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || f.over {
		return
	}
	f.deadline.extend()
	if !f.begun {
		f.begin()
	}
	var err error
	if f.every > 0 {
		_, err = f.w.Write([]byte(negotiation.HeartbeatLine))
		f.idle.Reset(f.every)
	}
	if err == nil {
		err = f.flush()
	}
	if err != nil {
		_ = f.broken(err)
	}
}

// open sends the headers at once, for a reader who is to learn the stream's id.
func (f *frames) open() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deadline.extend()
	f.begin()
	return f.flush()
}

// message is the flow's emit.
func (f *frames) message(chunk json.RawMessage) error {
	if err := checkChunk(chunk); err != nil {
		return err
	}
	return f.send(memberMessage, chunk)
}

func checkChunk(chunk json.RawMessage) error {
	if err := schema.Check(chunk); err != nil {
		return status.Errorf(status.Internal, "a chunk is not JSON: %w", err)
	}
	return nil
}

func (f *frames) send(member string, raw []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return status.Errorf(status.FailedPrecondition, "a chunk was emitted after the end")
	}
	if f.err != nil {
		return f.err
	}
	var err error
	if f.buf.b, err = appendFrame(f.buf.b[:0], member, raw); err != nil {
		return err
	}
	return f.write()
}

// write sends the buffer. f.mu is held.
func (f *frames) write() error {
	f.deadline.extend()
	if !f.begun {
		f.begin()
	}
	_, err := f.w.Write(f.buf.b)
	if err == nil {
		err = f.flush()
	}
	if err != nil {
		return f.broken(err)
	}
	if f.every > 0 {
		f.idle.Reset(f.every)
	}
	return nil
}

func (f *frames) broken(err error) error {
	f.err = status.Errorf(status.Cancelled, "the reader is gone: %w", err)
	if f.gone != nil {
		f.gone()
	}
	return f.err
}

func (f *frames) flush() error {
	err := f.deadline.rc.Flush()
	if errors.Is(err, http.ErrNotSupported) {
		return nil // it all comes at the end
	}
	return err
}

// end writes the last frame; chunks after it are refused.
func (f *frames) end(member string, raw []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.close()
	if f.err != nil {
		return f.err
	}
	var err error
	if f.buf.b, err = appendFrame(f.buf.b[:0], member, raw); err != nil {
		return err
	}
	f.deadline.extend()
	if !f.begun {
		f.begin()
	}
	// The end of the response sends it, together with the end of its body.
	if _, err := f.w.Write(f.buf.b); err != nil {
		return f.broken(err)
	}
	return nil
}

// close lets no more frames through. f.mu is held.
func (f *frames) close() {
	f.over = true
	if f.buf != nil {
		f.buf.free()
		f.buf = nil
	}
}

// answerJSON writes a result as a whole.
func (s *Server) answerJSON(w http.ResponseWriter, rc *http.ResponseController, out json.RawMessage) error {
	const head, tail = `{"` + memberResult + `":`, "}\n"
	h := w.Header()
	h["Content-Type"] = jsonTypeValue
	h["X-Content-Type-Options"] = noSniffValue
	h["Content-Length"] = []string{strconv.Itoa(len(head) + len(out) + len(tail))}
	d := deadline{rc: rc, timeout: s.config.WriteTimeout}
	d.extend()
	w.WriteHeader(http.StatusOK)
	buf := s.buffer()
	defer buf.free()
	if len(out) <= maxPooled/2 {
		buf.b = append(append(append(buf.b, head...), out...), tail...)
		_, err := w.Write(buf.b)
		return writeError(err)
	}
	for _, part := range [][]byte{[]byte(head), out, []byte(tail)} {
		if err := s.writePart(w, &d, part); err != nil {
			return err
		}
	}
	return nil
}

// writePart writes a big value piece by piece, each in its time.
func (s *Server) writePart(w http.ResponseWriter, d *deadline, part []byte) error {
	for len(part) > 0 {
		d.extend()
		n, err := w.Write(part[:min(len(part), maxPooled)])
		if err != nil {
			return writeError(err)
		}
		part = part[n:]
	}
	return nil
}

func writeError(err error) error {
	if err == nil {
		return nil
	}
	return status.Errorf(status.Cancelled, "write the answer: %w", err)
}
