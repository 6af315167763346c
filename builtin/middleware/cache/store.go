package cache

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

type key [sha256.Size]byte

type entry struct {
	key      key
	response []byte
	chunks   [][]byte
	streamed bool // else there are no chunks, and nobody knows what they would be
	made     time.Time
}

func (e *entry) size() int {
	n := len(e.response) + sha256.Size
	for _, c := range e.chunks {
		n += len(c)
	}
	return n
}

// store keeps entries, the one used last first, within its bounds.
type store struct {
	Options

	mu      sync.Mutex // guards the fields below
	entries map[key]*list.Element
	order   list.List // of *entry
	bytes   int
	flights map[key]*flight
}

// flight is a call that is under way, for whose answer equal ones wait.
type flight struct {
	ended chan struct{} // closed then
	began time.Time
}

// look returns a hit, or whether the caller leads, or whom to wait for.
func (s *store) look(k key, maxAge time.Duration) (hit *entry, other *flight, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if hit := s.get(k, maxAge); hit != nil {
		return hit, nil, false
	}
	if other, ok := s.flights[k]; ok {
		return nil, other, false
	}
	s.flights[k] = &flight{make(chan struct{}), time.Now()}
	return nil, nil, true
}

func (s *store) peek(k key, maxAge time.Duration) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(k, maxAge)
}

// get wants the lock.
func (s *store) get(k key, maxAge time.Duration) *entry {
	el, ok := s.entries[k]
	if !ok {
		return nil
	}
	e, _ := el.Value.(*entry)
	age := time.Since(e.made)
	if age >= s.TTL {
		s.remove(el)
		return nil
	}
	if age >= maxAge {
		return nil
	}
	s.order.MoveToFront(el)
	return e
}

func (s *store) land(k key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.flights[k].ended)
	delete(s.flights, k)
}

// put keeps an entry, unless it alone is too big, and drops those used longest ago.
func (s *store) put(k key, e *entry) {
	if e.size() > s.MaxBytes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.entries[k]; ok {
		s.remove(old)
	}
	s.entries[k] = s.order.PushFront(e)
	s.bytes += e.size()
	for s.bytes > s.MaxBytes || len(s.entries) > s.MaxEntries {
		s.remove(s.order.Back())
	}
}

// remove wants the lock.
func (s *store) remove(el *list.Element) {
	e, _ := s.order.Remove(el).(*entry)
	delete(s.entries, e.key)
	s.bytes -= e.size()
}
