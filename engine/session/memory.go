package session

import (
	"container/list"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Bounds of a store in memory that is given none.
const (
	DefaultMaxSessions = 10_000
	DefaultMaxTotal    = 1 << 30
)

// MemoryConfig configures a [Memory].
type MemoryConfig struct {
	// MaxSessions bounds how many sessions are kept: where one more comes, the one that
	// was used longest ago is forgotten. 0 means [DefaultMaxSessions].
	MaxSessions int
	// MaxTotal bounds the bytes of all sessions in the same way; 0 means
	// [DefaultMaxTotal].
	MaxTotal int
}

// Memory is a store that is gone with the process. It is safe for concurrent use.
type Memory struct {
	limit int
	total int

	mu       sync.Mutex // guards the fields below
	bytes    int        // of all sessions
	sessions map[string]*list.Element
	used     *list.List // of *memorySession, the last used one first
	revision uint64
}

type memorySession struct {
	id       string
	doc      json.RawMessage
	revision string
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory(c MemoryConfig) *Memory {
	m := &Memory{limit: c.MaxSessions, total: c.MaxTotal, sessions: map[string]*list.Element{}, used: list.New()}
	if m.limit <= 0 {
		m.limit = DefaultMaxSessions
	}
	if m.total <= 0 {
		m.total = DefaultMaxTotal
	}
	return m
}

// Get returns a session and its revision; NOT_FOUND when there is none.
func (m *Memory) Get(ctx context.Context, id string) (json.RawMessage, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", status.Convert(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.sessions[id]
	if !ok {
		return nil, "", status.Publicf(status.NotFound, "session %q not found", id)
	}
	m.used.MoveToFront(at)
	s := held(at)
	return slices.Clone(s.doc), s.revision, nil
}

func held(at *list.Element) *memorySession {
	s, _ := at.Value.(*memorySession)
	return s
}

// Save stores a session in the place of a revision; ABORTED when the stored one has
// another, RESOURCE_EXHAUSTED when it alone is too large.
func (m *Memory) Save(ctx context.Context, id string, doc json.RawMessage, revision string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", status.Convert(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.sessions[id]
	stored := ""
	if ok {
		stored = held(at).revision
	}
	if stored != revision {
		return "", aborted(id)
	}
	if len(doc) > m.total {
		return "", status.Publicf(status.ResourceExhausted, "session %q would take %d bytes, more than %d", id, len(doc), m.total)
	}
	if ok {
		m.remove(at)
	}
	for len(m.sessions) >= m.limit || m.bytes+len(doc) > m.total {
		m.remove(m.used.Back())
	}
	m.revision++
	s := &memorySession{id: id, doc: slices.Clone(doc), revision: strconv.FormatUint(m.revision, 10)}
	m.sessions[id] = m.used.PushFront(s)
	m.bytes += len(doc)
	return s.revision, nil
}

// remove forgets a session. m.mu is held.
func (m *Memory) remove(at *list.Element) {
	s := held(at)
	m.bytes -= len(s.doc)
	delete(m.sessions, s.id)
	m.used.Remove(at)
}

func aborted(id string) error {
	return status.Publicf(status.Aborted, "session %q was changed meanwhile", id)
}

// Delete removes a session.
func (m *Memory) Delete(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return status.Convert(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if at, ok := m.sessions[id]; ok {
		m.remove(at)
	}
	return nil
}
