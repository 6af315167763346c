package tenant

import (
	"context"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Bytes counts what all tenants hold of something that the server has little of: the memory of
// requests, in bytes, or open files. The last eighth is for
// tenants that hold little, a 64th of all at most.
type Bytes struct {
	limit int64

	mu    sync.Mutex // guards the fields below, and all of its shares
	used  int64
	freed chan struct{} // closed when bytes were given back; nil while nobody waits
}

// NewBytes makes a count with a limit.
func NewBytes(limit int64) *Bytes { return &Bytes{limit: limit} }

// Limit returns how much all tenants together may hold.
func (b *Bytes) Limit() int64 { return b.limit }

// Share is one tenant's part of [Bytes]. It is safe for concurrent use.
type Share struct {
	of    *Bytes
	limit int64
	used  int64 // guarded by of.mu
}

// Join gives a tenant a share of at most so many bytes.
func (b *Bytes) Join(limit int64) *Share { return &Share{of: b, limit: limit} }

// SetLimit changes how many bytes the tenant may have counted. What is counted stays.
func (s *Share) SetLimit(limit int64) {
	b := s.of
	b.mu.Lock()
	defer b.mu.Unlock()
	s.limit = limit
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}

// Take counts n more bytes; RESOURCE_EXHAUSTED when there may be no more.
func (s *Share) Take(n int64) error {
	b := s.of
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.used+n > s.limit {
		return status.Publicf(status.ResourceExhausted, "requests of the tenant have reached the limit of %d bytes; try again later", s.limit).
			WithRetryAfter(time.Second)
	}
	if b.used+n > s.most(n) {
		return status.Publicf(status.ResourceExhausted, "requests of the server have reached their memory limit; try again later").
			WithRetryAfter(time.Second)
	}
	s.used += n
	b.used += n
	return nil
}

// most is what all tenants together may hold when this one takes n more. The lock is held.
func (s *Share) most(n int64) int64 {
	if b := s.of; s.used+n > b.limit/64 {
		return b.limit - b.limit/8
	}
	return s.of.limit
}

// Wait counts n more bytes as soon as there may be so many, and returns how many it has
// counted: what is more than the tenant may ever have counts as all that it may. It fails as
// ctx does.
func (s *Share) Wait(ctx context.Context, n int64) (int64, error) {
	b := s.of
	for {
		b.mu.Lock()
		n = min(n, s.limit, b.limit-b.limit/8)
		if s.used+n <= s.limit && b.used+n <= s.most(n) {
			s.used += n
			b.used += n
			b.mu.Unlock()
			return n, nil
		}
		if b.freed == nil {
			b.freed = make(chan struct{})
		}
		freed := b.freed
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// Give gives n bytes back.
func (s *Share) Give(n int64) {
	b := s.of
	b.mu.Lock()
	defer b.mu.Unlock()
	s.used -= n
	b.used -= n
	if b.freed != nil && n > 0 {
		close(b.freed)
		b.freed = nil
	}
}

// Used returns the bytes that are counted now.
func (s *Share) Used() int64 {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	return s.used
}
