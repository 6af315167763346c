package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

const (
	// DefaultMaxFileBytes bounds a file of a store in a directory.
	DefaultMaxFileBytes = 16 << 20
	// DefaultPrefix is the directory of the snapshots, within that of the store.
	DefaultPrefix = "global"

	pointers = ".pointers"
	suffix   = ".json"
)

// DirConfig configures a [Dir].
type DirConfig struct {
	// Prefix is the directory of the snapshots, within that of the store: one for each
	// tenant, for example. Empty means [DefaultPrefix].
	Prefix string
	// MaxFileBytes is the largest file that is written or read; 0 means [DefaultMaxFileBytes].
	MaxFileBytes int
	// MaxChain bounds how many snapshots a conversation keeps, the newest ones; 0 keeps all.
	MaxChain int
}

// Dir is a store in a directory, in the layout of Genkit's file stores (js/ai/src/session-stores.ts,
// go/ai/exp/localstore): <prefix>/<snapshotId>.json holds a snapshot, and
// <prefix>/.pointers/<sessionId>.json the id of a session's newest one. The pointers are
// for Genkit; this store reads all snapshots when it is opened and keeps an index.
//
// A file is written under a temporary name, synced and renamed, so that it is whole
// whenever the process ends; once Update has returned, it survives the loss of power too. The
// directory is one process's: opening it takes a lock. Dir is safe for concurrent use.
type Dir struct {
	files  storedir.FS
	prefix string
	limit  int
	chain  int

	mu       sync.Mutex // guards the fields below, and the files
	closed   bool
	unsynced bool // a change may not be on the disk yet: nothing is told before it is
	index    *index
	watch    watchers
}

var (
	_ Store   = (*Dir)(nil)
	_ Watcher = (*Dir)(nil)
)

// OpenDir opens a store, and makes its directory where there is none. It fails with
// FAILED_PRECONDITION when another process has it open.
func OpenDir(dir string, c DirConfig) (*Dir, error) {
	files, err := storedir.Open(dir, "agent store")
	if err != nil {
		return nil, err
	}
	return openFS(files, c)
}

func openFS(files storedir.FS, c DirConfig) (*Dir, error) {
	d := &Dir{files: files, prefix: cmp.Or(c.Prefix, DefaultPrefix), limit: c.MaxFileBytes, chain: c.MaxChain, index: newIndex(), watch: watchers{}}
	if d.limit <= 0 {
		d.limit = DefaultMaxFileBytes
	}
	err := checkID("prefix", d.prefix)
	if err == nil {
		err = d.load()
	}
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return d, nil
}

// load makes the directories, removes what a killed process left half written, and reads
// what there is. A damaged snapshot is left out; who asks for it is told.
func (d *Dir) load() error {
	err := storedir.Mkdir(d.files, ".", d.prefix)
	if err == nil {
		err = storedir.Mkdir(d.files, d.prefix, pointers)
	}
	if err == nil {
		err = storedir.RemoveTemporary(d.files, d.prefix, path.Join(d.prefix, pointers))
	}
	if err == nil {
		err = d.files.SyncDir(d.prefix) // what a killed process left unsynced is read from now on
	}
	var entries []fs.DirEntry
	if err == nil {
		entries, err = d.files.ReadDir(d.prefix)
	}
	if err != nil {
		return status.Errorf(status.FailedPrecondition, "open the agent store: %w", err)
	}
	var found []*Snapshot
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || e.IsDir() || checkID("snapshot id", id) != nil {
			continue
		}
		if s, err := d.read(id); err == nil && s != nil {
			s.State = nil
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b *Snapshot) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for _, s := range found {
		d.index.put(s)
	}
	return nil
}

// Close unlocks the directory.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	for id := range d.watch {
		d.watch.gone(id)
	}
	return d.files.Close()
}

// enter takes the lock.
func (d *Dir) enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, status.Errorf(status.FailedPrecondition, "the agent store is closed")
	}
	if d.unsynced {
		if err := d.files.SyncDir(d.prefix); err != nil {
			d.mu.Unlock()
			return nil, status.Errorf(status.Unavailable, "sync an earlier change of the agent store: %w", err)
		}
		d.unsynced = false
	}
	return d.mu.Unlock, nil
}

// Get implements [Store].
func (d *Dir) Get(ctx context.Context, id string) (*Snapshot, error) {
	if checkID("snapshot id", id) != nil {
		return nil, noSnapshot(id)
	}
	leave, err := d.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return d.get(id)
}

func (d *Dir) get(id string) (*Snapshot, error) {
	s, err := d.read(id)
	if err == nil && s == nil {
		err = noSnapshot(id)
	}
	return s, err
}

// Latest implements [Store].
func (d *Dir) Latest(ctx context.Context, sessionID string) (*Snapshot, error) {
	leave, err := d.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	id := d.index.latest(sessionID)
	if id == "" {
		return nil, noSession(sessionID)
	}
	return d.get(id)
}

// Update implements [Store]; RESOURCE_EXHAUSTED when the snapshot is too large. change runs
// under the store's lock and must not call the store.
func (d *Dir) Update(ctx context.Context, id string, change func(*Snapshot) (*Snapshot, error)) (*Snapshot, error) {
	if err := checkID("snapshot id", id); err != nil {
		return nil, err
	}
	leave, err := d.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	stored, err := d.read(id)
	if err != nil {
		return nil, err
	}
	next, err := change(stored)
	if err != nil || next == nil {
		return nil, err
	}
	var was *Snapshot
	if e := d.index.all[id]; e != nil { // whatever change made of its argument
		was = &Snapshot{SessionID: e.session}
	}
	if err := settle(id, was, next); err != nil {
		return nil, err
	}
	return next, d.write(next)
}

func (d *Dir) write(s *Snapshot) error {
	doc, err := json.MarshalIndent(s, "", "  ") // as Genkit writes it
	if err != nil {
		return status.Publicf(status.InvalidArgument, "encode snapshot %q: %w", s.SnapshotID, err)
	}
	if len(doc) > d.limit {
		return status.Publicf(status.ResourceExhausted, "snapshot %q would take %d bytes, more than %d", s.SnapshotID, len(doc), d.limit)
	}
	name := s.SnapshotID + suffix
	old, err := d.files.ReadFile(path.Join(d.prefix, name), int64(d.limit))
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return status.Errorf(status.Unavailable, "read snapshot %q: %w", s.SnapshotID, err)
	}
	if err := storedir.WriteFile(d.files, d.prefix, name, doc); err != nil {
		if storedir.Unsettled(err) {
			d.restore(name, old, fresh)
		}
		return status.Errorf(status.Unavailable, "store snapshot %q: %w", s.SnapshotID, err)
	}
	d.index.put(s)
	d.watch.tell(s.SnapshotID, s.Status)
	if fresh && d.index.latest(s.SessionID) == s.SnapshotID {
		d.point(s)
	}
	d.prune(s.SnapshotID)
	return nil
}

// restore puts back what a failed change may have replaced, so that a caller that got the
// error finds the old content. Where that fails as well, either may be there until the file can be synced.
func (d *Dir) restore(name string, old []byte, fresh bool) {
	if !fresh {
		d.unsynced = storedir.WriteFile(d.files, d.prefix, name, old) != nil
		return
	}
	err := d.files.Remove(path.Join(d.prefix, name))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = d.files.SyncDir(d.prefix)
	}
	d.unsynced = err != nil
}

// point writes a session's pointer. Nothing here depends on it.
func (d *Dir) point(s *Snapshot) {
	doc, err := rawjson.Encode(map[string]any{"currentSnapshotId": s.SnapshotID, "currentCreatedAt": s.CreatedAt, "updatedAt": time.Now().UTC()})
	if err == nil {
		_ = storedir.WriteFile(d.files, path.Join(d.prefix, pointers), s.SessionID+suffix, doc)
	}
}

// prune removes what a chain has too much. What can't be removed is left for the next time.
func (d *Dir) prune(id string) {
	for _, old := range d.index.beyond(id, d.chain) {
		err := d.files.Remove(path.Join(d.prefix, old+suffix))
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			d.index.remove(old)
			d.watch.gone(old)
		}
	}
}

// read returns a snapshot, nil for none; mu is held.
func (d *Dir) read(id string) (*Snapshot, error) {
	content, err := d.files.ReadFile(path.Join(d.prefix, id+suffix), int64(d.limit))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, storedir.ErrIrregular):
		return nil, damaged(id).WithCause(err)
	case err != nil:
		return nil, status.Errorf(status.Unavailable, "read snapshot %q: %w", id, err)
	}
	s := &Snapshot{}
	var compact bytes.Buffer // values are as they were given, not as the file is laid out
	if json.Compact(&compact, content) != nil || json.Unmarshal(compact.Bytes(), s) != nil || s.SnapshotID != id || s.SessionID == "" {
		return nil, damaged(id)
	}
	if s.Status == "" {
		s.Status = Completed
	}
	return s, nil
}

func damaged(id string) *status.Error {
	return status.Publicf(status.DataLoss, "the file of snapshot %q is damaged", id)
}

// Watch implements [Watcher].
func (d *Dir) Watch(ctx context.Context, id string) (<-chan Status, error) {
	leave, err := d.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if d.index.all[id] == nil {
		return closed(), nil
	}
	s, err := d.get(id)
	if err != nil {
		return nil, err
	}
	return d.watch.add(ctx, &d.mu, id, s.Status), nil
}
