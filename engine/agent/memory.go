package agent

import (
	"container/list"
	"context"
	"encoding/json"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Bounds of a store in memory that is given none.
const (
	DefaultMaxSnapshots = 10_000
	DefaultMaxTotal     = 1 << 30
)

// MemoryConfig configures a [Memory].
type MemoryConfig struct {
	// MaxSnapshots bounds how many snapshots are kept: where one more comes, the one that was
	// used longest ago is forgotten. 0 means [DefaultMaxSnapshots].
	MaxSnapshots int
	// MaxTotal bounds the bytes of all snapshots in the same way; 0 means [DefaultMaxTotal].
	MaxTotal int
	// MaxChain bounds how many snapshots a conversation keeps, the newest ones; 0 keeps all.
	MaxChain int
}

// Memory is a store that is gone with the process. It is safe for concurrent use.
type Memory struct {
	config MemoryConfig

	mu    sync.Mutex // guards the fields below
	bytes int
	docs  map[string]*list.Element
	used  *list.List // of *memoryDoc, the last used one first
	index *index
	watch watchers
}

type memoryDoc struct {
	id  string
	doc []byte
}

var (
	_ Store   = (*Memory)(nil)
	_ Watcher = (*Memory)(nil)
)

// NewMemory returns an empty store.
func NewMemory(c MemoryConfig) *Memory {
	if c.MaxSnapshots <= 0 {
		c.MaxSnapshots = DefaultMaxSnapshots
	}
	if c.MaxTotal <= 0 {
		c.MaxTotal = DefaultMaxTotal
	}
	return &Memory{config: c, docs: map[string]*list.Element{}, used: list.New(), index: newIndex(), watch: watchers{}}
}

// Get implements [Store].
func (m *Memory) Get(ctx context.Context, id string) (*Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(id)
}

// get is Get; mu is held.
func (m *Memory) get(id string) (*Snapshot, error) {
	at, ok := m.docs[id]
	if !ok {
		return nil, noSnapshot(id)
	}
	m.used.MoveToFront(at)
	s := &Snapshot{}
	if err := json.Unmarshal(docOf(at).doc, s); err != nil {
		return nil, status.Errorf(status.DataLoss, "snapshot %q: %w", id, err)
	}
	return s, nil
}

func docOf(at *list.Element) *memoryDoc {
	d, _ := at.Value.(*memoryDoc)
	return d
}

// Latest implements [Store].
func (m *Memory) Latest(ctx context.Context, sessionID string) (*Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := m.index.latest(sessionID)
	if id == "" {
		return nil, noSession(sessionID)
	}
	return m.get(id)
}

// Update implements [Store]; RESOURCE_EXHAUSTED when the snapshot alone is too large.
func (m *Memory) Update(ctx context.Context, id string, change func(*Snapshot) (*Snapshot, error)) (*Snapshot, error) {
	if err := checkID("snapshot id", id); err != nil {
		return nil, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, status.Convert(err)
		}
		stored, before, err := m.read(id)
		if err != nil {
			return nil, err
		}
		next, err := change(stored)
		if err != nil || next == nil {
			return nil, err
		}
		written, err := m.swap(id, before, next)
		if err != nil || written {
			return next, err
		}
	}
}

// read returns a snapshot, nil for none, and the text that it was read from.
func (m *Memory) read(id string) (*Snapshot, *list.Element, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.docs[id]
	if at == nil {
		return nil, nil, nil
	}
	s, err := m.get(id)
	return s, at, err
}

// swap writes a snapshot, unless another one than before is there.
func (m *Memory) swap(id string, before *list.Element, next *Snapshot) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.docs[id] != before {
		return false, nil
	}
	var stored *Snapshot
	if before != nil {
		stored = &Snapshot{SessionID: m.index.all[id].session}
	}
	if err := settle(id, stored, next); err != nil {
		return false, err
	}
	doc, err := rawjson.Encode(next)
	if err != nil {
		return false, status.Publicf(status.InvalidArgument, "encode snapshot %q: %w", id, err)
	}
	if len(doc) > m.config.MaxTotal {
		return false, status.Publicf(status.ResourceExhausted, "snapshot %q would take %d bytes, more than %d", id, len(doc), m.config.MaxTotal)
	}
	if before != nil { // a new element, so that whoever read the old one sees that it was replaced
		m.used.Remove(before)
		m.bytes -= len(docOf(before).doc)
		delete(m.docs, id)
	}
	for len(m.docs) >= m.config.MaxSnapshots || m.bytes+len(doc) > m.config.MaxTotal {
		m.remove(docOf(m.used.Back()).id)
	}
	m.docs[id] = m.used.PushFront(&memoryDoc{id: id, doc: doc})
	m.bytes += len(doc)
	m.index.put(next)
	m.watch.tell(id, next.Status)
	for _, old := range m.index.beyond(id, m.config.MaxChain) {
		m.remove(old)
	}
	return true, nil
}

// remove forgets a snapshot; mu is held.
func (m *Memory) remove(id string) {
	at := m.docs[id]
	if at == nil {
		return
	}
	m.bytes -= len(docOf(at).doc)
	m.used.Remove(at)
	delete(m.docs, id)
	m.index.remove(id)
	m.watch.gone(id)
}

// Watch implements [Watcher].
func (m *Memory) Watch(ctx context.Context, id string) (<-chan Status, error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.docs[id] == nil {
		return closed(), nil
	}
	s, err := m.get(id)
	if err != nil {
		return nil, err
	}
	return m.watch.add(ctx, &m.mu, id, s.Status), nil
}

// watchers are the channels of those who watch snapshots. The store's lock guards them.
type watchers map[string]map[chan Status]Status

func closed() <-chan Status {
	c := make(chan Status)
	close(c)
	return c
}

// add makes a channel that ends with ctx. mu is the store's lock, which is held.
func (w watchers) add(ctx context.Context, mu *sync.Mutex, id string, now Status) <-chan Status {
	c := make(chan Status, 1)
	c <- now
	if w[id] == nil {
		w[id] = map[chan Status]Status{}
	}
	w[id][c] = now
	context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if _, there := w[id][c]; there {
			close(c)
			delete(w[id], c)
			if len(w[id]) == 0 {
				delete(w, id)
			}
		}
	})
	return c
}

// tell gives a new status to those who watch. One that has not been read is replaced.
func (w watchers) tell(id string, now Status) {
	for c, was := range w[id] {
		if was == now {
			continue
		}
		select {
		case <-c:
		default:
		}
		c <- now // it has room: nobody else sends
		w[id][c] = now
	}
}

// gone ends the channels of a snapshot that was removed.
func (w watchers) gone(id string) {
	for c := range w[id] {
		close(c)
	}
	delete(w, id)
}
