package kv

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// File keeps values in a directory: in it one for each tenant, and in that a file for each
// module, so that no name can reach into another and damage stays where it is. Each change
// is on the disk before it is answered, whole or not at all. Everything that is stored has
// a checksum: what is damaged is DATA_LOSS, never another value, and never none. A damaged
// file is left where it is, until [File.Drop] removes it, or the operator; the others serve.
//
// Keys are in memory while a file is open, values are not.
type File struct {
	files storedir.FS
	now   func() time.Time
	// unread says why what an earlier version has stored can't be read: then nobody knows
	// what a namespace without a file of its own has held.
	unread string
	// unreadable are the directories of tenants that could not be read when the store was
	// opened.
	unreadable map[string]bool

	mu      sync.Mutex // guards the fields below
	spaces  map[Namespace]*fileSpace
	modules modulesOf               // those in spaces
	marks   map[Namespace]bool      // see [Marker]; false where that is not certain
	opened  map[*fileSpace]struct{} // those whose file is open
	open    int                     // how many files may be open
	uses    uint64                  // counts uses, so that the file that was used longest ago is closed
	closed  bool
}

var (
	_ Store     = (*File)(nil)
	_ Lister    = (*File)(nil)
	_ Marker    = (*File)(nil)
	_ Reporter  = (*File)(nil)
	_ io.Closer = (*File)(nil)
)

// maxOpen bounds the files that are open at a time.
const maxOpen = 256

// Open opens the store that path names, and makes it where there is none. It is a directory
// of that name, without ".db" at its end. Where path is the one file of an earlier version,
// its values are taken over, once, and it is called path.migrated from then on; one that
// can't be read is called path.damaged, and namespaces that have no values since fail with
// DATA_LOSS for as long as it is there.
//
// Open fails with FAILED_PRECONDITION when another process has the store. Damage does not
// make it fail; see [File.Report]. now is the store's clock; nil takes the system's.
func Open(path string, now func() time.Time) (*File, error) {
	dir := strings.TrimSuffix(path, ".db")
	if dir == path {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			dir = path + ".d"
		}
	}
	files, err := storedir.Open(dir, "store of values")
	if err != nil {
		return nil, err
	}
	f, err := openFS(files, now)
	if err != nil {
		return nil, err
	}
	if err := f.takeOver(path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func openFS(files storedir.FS, now func() time.Time) (*File, error) {
	if now == nil {
		now = time.Now
	}
	f := &File{files: files, now: now, spaces: map[Namespace]*fileSpace{}, marks: map[Namespace]bool{}, modules: modulesOf{}, opened: map[*fileSpace]struct{}{}, unreadable: map[string]bool{}, open: maxOpen}
	if err := f.scan(); err != nil {
		return nil, errors.Join(status.Errorf(status.Internal, "kv: open: %w", err), f.Close())
	}
	return f, nil
}

// scan removes unfinished files and syncs unsynced ones of a process that was killed,
// and reads every file, so that damage is reported at the start.
func (f *File) scan() error {
	if err := storedir.RemoveTemporary(f.files, "."); err != nil {
		return err
	}
	tenants, err := f.files.ReadDir(".")
	if err != nil {
		return err
	}
	for _, t := range tenants {
		if !strings.HasPrefix(t.Name(), tenantPrefix) {
			continue
		}
		modules, err := f.files.ReadDir(t.Name())
		switch {
		case err != nil && storedir.Exhausted(err):
			return err
		case err != nil: // the other tenants are served
			f.unreadable[t.Name()] = true
			continue
		}
		if err := storedir.RemoveTemporary(f.files, t.Name()); err != nil {
			return err
		}
		if err := f.files.SyncDir(t.Name()); err != nil {
			return err
		}
		for _, m := range modules {
			if isMark(m.Name()) {
				f.scanMark(t.Name(), m.Name())
				continue
			}
			f.scanSpace(t.Name(), m.Name())
		}
	}
	return f.files.SyncDir(".")
}

// scanSpace looks at one file. One that is damaged, or can't be read now, keeps no others
// from being served: the space remembers, and tells it.
func (f *File) scanSpace(dir, name string) {
	ns, ok := namespaceOf(dir, name)
	if !ok {
		ns, ok = f.namespaceIn(filepath.ToSlash(filepath.Join(dir, name)))
	}
	if !ok {
		return // a long name in a damaged header, or no file of this store
	}
	s := f.space(ns)
	if s.load() != nil {
		s.exists.Store(true)
		s.sums.Store(&sums{damaged: true})
	}
	s.unload()
}

// space returns a namespace's place, which it keeps.
func (f *File) space(ns Namespace) *fileSpace {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.spaces[ns]
	if !ok {
		s = newSpace(f, ns)
		f.spaces[ns] = s
		f.modules.add(ns)
	}
	f.uses++
	s.used.Store(f.uses)
	return s
}

// locked waits for the lock to change a namespace. A place that was given up meanwhile is not
// used again.
func (f *File) locked(ctx context.Context, ns Namespace) (s *fileSpace, err error) {
	for {
		s = f.space(ns)
		if err := s.enter(ctx); err != nil {
			return nil, err
		}
		f.mu.Lock()
		closed, current := f.closed, f.spaces[ns] == s
		f.mu.Unlock()
		switch {
		case closed:
			s.leave()
			return nil, status.Errorf(status.Internal, "kv: the store is closed")
		case current:
			return s, nil
		}
		s.leave()
	}
}

// enter waits for the lock to change a namespace, or to open its file.
func (f *File) enter(ctx context.Context, ns Namespace) (s *fileSpace, leave func(), err error) {
	if s, err = f.locked(ctx, ns); err != nil {
		return nil, nil, err
	}
	if err := s.load(); err != nil {
		s.leave()
		return nil, nil, err
	}
	f.closeIdle(s)
	return s, s.leave, nil
}

// closeIdle closes the files that were used longest ago, where more than maxOpen are open.
func (f *File) closeIdle(but *fileSpace) {
	for {
		var oldest *fileSpace
		f.mu.Lock()
		open, most := len(f.opened), f.open
		if open <= most {
			f.mu.Unlock()
			return
		}
		for s := range f.opened {
			if s != but && (oldest == nil || s.used.Load() < oldest.used.Load()) {
				oldest = s
			}
		}
		f.mu.Unlock()
		if oldest == nil || !oldest.tryEnter() {
			return
		}
		oldest.unload()
		oldest.leave()
	}
}

// failed keeps the status of an error that has one; others are the host's concern.
func failed(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*status.Error](err); ok {
		return e
	}
	return status.Errorf(status.Unavailable, "kv: %w", err)
}

// Get implements [Store]; DATA_LOSS when what is stored is damaged.
func (f *File) Get(ctx context.Context, ns Namespace, key string) (value json.RawMessage, err error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	err = f.view(ctx, ns, func(s *fileSpace) error {
		e, ok := s.entries[key]
		if !ok || gone(e.expires, f.now()) {
			return nil
		}
		value, err = s.value(key, e)
		return err
	})
	return value, failed(err)
}

// view runs fn while the file of a namespace is open and not changed.
func (f *File) view(ctx context.Context, ns Namespace, fn func(s *fileSpace) error) error {
	s := f.space(ns)
	s.mu.RLock()
	if s.open.Load() {
		defer s.mu.RUnlock()
		return fn(s)
	}
	s.mu.RUnlock()
	s, leave, err := f.enter(ctx, ns)
	if err != nil {
		return err
	}
	defer leave()
	return fn(s)
}

// Set implements [Store].
func (f *File) Set(ctx context.Context, ns Namespace, key string, value json.RawMessage, o SetOptions, q Quota) error {
	p, err := newPlan(key, value, o, q, f.now())
	if err != nil {
		return err
	}
	s, leave, err := f.enter(ctx, ns)
	if err != nil {
		return failed(err)
	}
	defer leave()
	return failed(s.set(p, q, f.now()))
}

// List implements [Store].
func (f *File) List(ctx context.Context, ns Namespace, prefix, from string, limit int) (page Page, err error) {
	now := f.now()
	err = f.view(ctx, ns, func(s *fileSpace) error {
		page = s.list(prefix, from, listLimit(limit), now)
		return nil
	})
	return page, failed(err)
}

// Drop implements [Store]. It removes a file that is damaged, too.
func (f *File) Drop(ctx context.Context, ns Namespace) error {
	s, err := f.locked(ctx, ns)
	if err != nil {
		return err
	}
	defer s.leave()
	if err := s.drop(); err != nil {
		return failed(err)
	}
	if err := s.unmark(); err != nil {
		return failed(err)
	}
	if !s.exists.Load() { // nothing is known of it any more; names are used without end
		f.mu.Lock()
		delete(f.spaces, ns)
		f.modules.remove(ns)
		f.mu.Unlock()
	}
	return nil
}

// note remembers whether a space's file is open.
func (f *File) note(s *fileSpace, open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.open.Store(open)
	if open {
		f.opened[s] = struct{}{}
	} else {
		delete(f.opened, s)
	}
}

// Namespaces implements [Lister].
func (f *File) Namespaces(context.Context) ([]Namespace, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []Namespace
	for ns, s := range f.spaces {
		if s.exists.Load() {
			all = append(all, ns)
		}
	}
	sortNamespaces(all)
	return all, nil
}

// Report implements [Reporter].
func (f *File) Report(tenant string) Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := Report{Problem: f.unread}
	if f.unreadable[storedir.FileName(tenantPrefix, tenant, "")] {
		r.Problem = "the directory of the tenant's values can't be read"
	}
	for module := range f.modules[tenant] {
		f.spaces[Namespace{Tenant: tenant, Module: module}].report(&r)
	}
	slices.Sort(r.Damaged)
	return r
}

// Close closes the files when the changes under way are done.
func (f *File) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	spaces := make([]*fileSpace, 0, len(f.spaces))
	for _, s := range f.spaces {
		spaces = append(spaces, s)
	}
	f.mu.Unlock()
	for _, s := range spaces {
		s.token <- struct{}{} // calls under way end
		s.unload()
		s.leave()
	}
	return failed(f.files.Close())
}

// Hold has changes wait until release is called, so that all files can be copied as they are at
// one moment. Reading goes on. It is meant for backups, and short.
func (f *File) Hold() (release func()) { return storedir.Hold(f.files) }

// isMissing reports the error of a file that is not there.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
