package kv

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Memory keeps values as long as the process lives.
type Memory struct {
	now func() time.Time

	mu      sync.Mutex // guards the fields below
	spaces  map[Namespace]*space
	modules modulesOf // those in spaces
	marks   map[Namespace]bool
}

var (
	_ Store     = (*Memory)(nil)
	_ Lister    = (*Memory)(nil)
	_ Marker    = (*Memory)(nil)
	_ Reporter  = (*Memory)(nil)
	_ io.Closer = (*Memory)(nil)
)

// space is one namespace.
type space struct {
	entries map[string]entry
	keys    []string // sorted
	usage   usage
}

// NewMemory returns an empty store. now is its clock; nil takes the system's.
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{now: now, spaces: map[Namespace]*space{}, modules: modulesOf{}, marks: map[Namespace]bool{}}
}

// Get implements [Store].
func (m *Memory) Get(_ context.Context, ns Namespace, key string) (json.RawMessage, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.spaces[ns]
	if !ok {
		return nil, nil
	}
	e, ok := s.entries[key]
	if !ok || e.gone(m.now()) {
		return nil, nil
	}
	return bytes.Clone(e.value), nil
}

// Set implements [Store].
func (m *Memory) Set(_ context.Context, ns Namespace, key string, value json.RawMessage, o SetOptions, q Quota) error {
	now := m.now()
	p, err := newPlan(key, value, o, q, now)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, kept := m.spaces[ns]
	if !kept {
		s = &space{entries: map[string]entry{}}
	}
	old, had := s.entries[key]
	seen := old.value
	if had && old.gone(now) {
		seen = nil
	}
	if err := p.holds(seen); err != nil {
		return err
	}
	next, err := p.after(s.usage, s.without(key), q)
	if err != nil {
		s.sweep(now)
		if next, err = p.after(s.usage, s.without(key), q); err != nil {
			return err
		}
	}
	s.usage = next
	if p.value == nil {
		s.remove(key)
		return nil
	}
	s.put(key, entry{p.value, p.expire})
	if !kept {
		m.spaces[ns] = s
		m.modules.add(ns)
	}
	return nil
}

// without is the usage without a key's value.
func (s *space) without(key string) usage {
	if old, had := s.entries[key]; had {
		return s.usage.without(key, len(old.value))
	}
	return s.usage
}

func (s *space) put(key string, e entry) {
	if i, found := slices.BinarySearch(s.keys, key); !found {
		s.keys = slices.Insert(s.keys, i, key)
	}
	s.entries[key] = e
}

func (s *space) remove(key string) {
	if i, found := slices.BinarySearch(s.keys, key); found {
		s.keys = slices.Delete(s.keys, i, i+1)
		delete(s.entries, key)
	}
}

// sweep drops expired entries.
func (s *space) sweep(now time.Time) {
	s.keys = slices.DeleteFunc(s.keys, func(key string) bool {
		e := s.entries[key]
		if !e.gone(now) {
			return false
		}
		delete(s.entries, key)
		s.usage = s.usage.without(key, len(e.value))
		return true
	})
}

// List implements [Store].
func (m *Memory) List(_ context.Context, ns Namespace, prefix, from string, limit int) (Page, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var page Page
	s, ok := m.spaces[ns]
	if !ok {
		return page, nil
	}
	now := m.now()
	i, _ := slices.BinarySearch(s.keys, max(prefix, from))
	for ; i < len(s.keys) && strings.HasPrefix(s.keys[i], prefix); i++ {
		if s.entries[s.keys[i]].gone(now) {
			continue
		}
		if len(page.Keys) == listLimit(limit) {
			page.Next = s.keys[i]
			break
		}
		page.Keys = append(page.Keys, s.keys[i])
	}
	return page, nil
}

// Drop implements [Store].
func (m *Memory) Drop(_ context.Context, ns Namespace) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.spaces, ns)
	m.modules.remove(ns)
	delete(m.marks, ns)
	return nil
}

// Mark implements [Marker].
func (m *Memory) Mark(_ context.Context, ns Namespace) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.marks[ns] = true
	return nil
}

// Unmark implements [Marker].
func (m *Memory) Unmark(_ context.Context, ns Namespace) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.marks, ns)
	return nil
}

// Marked implements [Marker].
func (m *Memory) Marked(context.Context) ([]Namespace, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Collect(maps.Keys(m.marks))
	sortNamespaces(all)
	return all, nil
}

// Namespaces implements [Lister].
func (m *Memory) Namespaces(context.Context) ([]Namespace, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Collect(maps.Keys(m.spaces))
	sortNamespaces(all)
	return all, nil
}

// Report implements [Reporter].
func (m *Memory) Report(tenant string) (r Report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for module := range m.modules[tenant] {
		s := m.spaces[Namespace{Tenant: tenant, Module: module}]
		r.Keys += s.usage.keys
		r.Bytes += s.usage.bytes
	}
	return r
}

// Close does nothing: the values go with the store.
func (m *Memory) Close() error { return nil }
