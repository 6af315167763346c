package durable

import (
	"bytes"
	"cmp"
	"container/list"
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// MemoryConfig bounds a [Memory]. Its zero value has the defaults.
type MemoryConfig struct {
	// TTL is how long a stream can be read after its end: 5 minutes. A stream that has
	// not ended does not expire.
	TTL time.Duration
	// MaxStreams bounds the number of kept streams, open and ended: 10 000.
	MaxStreams int
	// MaxStreamBytes bounds one stream: 16 MiB.
	MaxStreamBytes int64
	// MaxBytes bounds all streams together: 256 MiB.
	MaxBytes int64
}

// Memory keeps streams in this process. When a limit is reached, Memory drops the
// stream that ended earliest, even before its TTL. It never drops a stream that has not
// ended. It is safe for concurrent use.
type Memory struct {
	config MemoryConfig

	// mu guards the fields below. Lock order: stream.mu before Memory.mu.
	mu      sync.Mutex
	streams map[string]*stream
	ended   *list.List // of *stream, by the time of their end
	bytes   int64
	timer   *time.Timer // runs while ended holds something
	closed  bool
}

var _ Manager = (*Memory)(nil)

// NewMemory returns a manager without streams.
func NewMemory(c MemoryConfig) *Memory {
	c.TTL = cmp.Or(c.TTL, 5*time.Minute)
	c.MaxStreams = cmp.Or(c.MaxStreams, 10_000)
	c.MaxStreamBytes = cmp.Or(c.MaxStreamBytes, 16<<20)
	c.MaxBytes = cmp.Or(c.MaxBytes, 256<<20)
	return &Memory{config: c, streams: map[string]*stream{}, ended: list.New()}
}

// eventBytes is the memory of an event besides its value, roughly.
const eventBytes = 48

// stream is one stream.
type stream struct {
	m   *Memory
	key string

	// expires and size are set at the end, under m.mu.
	expires time.Time
	size    int64

	mu     sync.Mutex // guards the fields below
	events []Event    // only ever appended to
	bytes  int64
	over   bool
	wait   chan struct{} // closed at the next event; nil while nobody waits
}

// Open begins a stream.
func (m *Memory) Open(_ context.Context, key string) (Writer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(time.Now())
	if m.closed {
		return nil, status.Publicf(status.Unavailable, "the stream manager is closed")
	}
	if _, taken := m.streams[key]; taken {
		return nil, status.Publicf(status.AlreadyExists, "the stream exists already")
	}
	if len(m.streams) >= m.config.MaxStreams && !m.evict() {
		return nil, status.Publicf(status.ResourceExhausted, "the limit of %d open streams is reached", m.config.MaxStreams).WithRetryAfter(time.Second)
	}
	s := &stream{m: m, key: key}
	m.streams[key] = s
	return s, nil
}

// Subscribe reads a stream from its beginning.
func (m *Memory) Subscribe(_ context.Context, key string) (Reader, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(time.Now())
	s, ok := m.streams[key]
	if !ok {
		return nil, status.Publicf(status.NotFound, "stream not found")
	}
	return &reader{s: s}, nil
}

// Close drops all ended streams and refuses new ones. Open streams can still be written
// and read to their end.
func (m *Memory) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for m.evict() {
	}
}

// Len returns the number of stored streams.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.streams)
}

// Bytes returns the memory that the kept streams hold, roughly.
func (m *Memory) Bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}

// reserve makes room for n bytes, in any case with ignoreLimits. The caller must not
// hold m.mu.
func (m *Memory) reserve(n int64, ignoreLimits bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.bytes+n > m.config.MaxBytes && m.evict() {
	}
	if m.bytes+n > m.config.MaxBytes && !ignoreLimits {
		return false
	}
	m.bytes += n
	return true
}

// evict forgets the stream that ended first; false when none has. m.mu must be held.
func (m *Memory) evict() bool {
	first := m.ended.Front()
	if first == nil {
		return false
	}
	s, _ := m.ended.Remove(first).(*stream)
	delete(m.streams, s.key)
	m.bytes -= s.size
	if m.ended.Len() == 0 && m.timer != nil {
		m.timer.Stop()
		m.timer = nil
	}
	return true
}

// expire forgets the streams whose TTL has passed. m.mu must be held.
func (m *Memory) expire(now time.Time) {
	for first := m.ended.Front(); first != nil; first = m.ended.Front() {
		if s, _ := first.Value.(*stream); now.Before(s.expires) {
			return
		}
		m.evict()
	}
}

// finished starts the TTL of a stream that has ended.
func (m *Memory) finished(s *stream, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.size, s.expires = size, time.Now().Add(m.config.TTL)
	m.ended.PushBack(s)
	if m.closed {
		m.evict()
		return
	}
	if m.timer == nil {
		m.timer = time.AfterFunc(m.config.TTL, m.sweep)
	}
}

// sweep removes expired streams and restarts the timer.
func (m *Memory) sweep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(time.Now())
	if first := m.ended.Front(); first != nil && m.timer != nil {
		s, _ := first.Value.(*stream)
		m.timer.Reset(time.Until(s.expires))
	}
}

// Write adds a chunk.
func (s *stream) Write(_ context.Context, chunk json.RawMessage) error {
	return s.add(Event{Kind: Chunk, Value: chunk}, false)
}

// End adds the last event.
func (s *stream) End(_ context.Context, last Event) error {
	if !last.Kind.Last() {
		return status.Errorf(status.InvalidArgument, "the last event must be Done or Failed")
	}
	return s.add(last, last.Kind == Failed && len(last.Value) <= MaxFailureBytes)
}

func (s *stream) add(e Event, ignoreLimits bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return status.Errorf(status.FailedPrecondition, "the stream has ended")
	}
	n := int64(len(e.Value)) + eventBytes
	if s.bytes+n > s.m.config.MaxStreamBytes && !ignoreLimits {
		return status.Publicf(status.ResourceExhausted, "the stream exceeds the limit of %d bytes", s.m.config.MaxStreamBytes)
	}
	if !s.m.reserve(n, ignoreLimits) {
		return status.Publicf(status.ResourceExhausted, "the kept streams exceed the limit of %d bytes in total", s.m.config.MaxBytes)
	}
	s.bytes += n
	e.Value = bytes.Clone(e.Value)
	s.events = append(s.events, e)
	if s.wait != nil {
		close(s.wait)
		s.wait = nil
	}
	if e.Kind.Last() {
		s.over = true
		s.m.finished(s, s.bytes)
	}
	return nil
}

// reader is a place in a stream.
type reader struct {
	s    *stream
	next int
}

func (r *reader) Close() {}

func (r *reader) Next(ctx context.Context) ([]Event, error) {
	for {
		events, wait := r.take()
		switch {
		case len(events) > 0:
			return events, nil
		case wait == nil:
			return nil, io.EOF
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take returns unread events, or a channel that is closed when more arrive; both are nil after the
// last event. The events are shared: nobody changes what was appended.
func (r *reader) take() ([]Event, <-chan struct{}) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.events); r.next < n {
		events := s.events[r.next:n:n]
		r.next = n
		return events, nil
	}
	if s.over {
		return nil, nil
	}
	if s.wait == nil {
		s.wait = make(chan struct{})
	}
	return nil, s.wait
}
