package kv

import (
	"context"
	"encoding/json"
	"path"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// A mark is a file beside that of the values, which holds their namespace as JSON. One that can't
// be read, or names another place, marks nothing: then values are kept that nobody needs.
const (
	markExtension = ".removed"
	maxMark       = 4 << 10 // bytes
)

func markPath(ns Namespace) string {
	return path.Join(storedir.FileName(tenantPrefix, ns.Tenant, ""), storedir.FileName(modulePrefix, ns.Module, markExtension))
}

// Mark implements [Marker].
func (f *File) Mark(ctx context.Context, ns Namespace) error {
	s, err := f.locked(ctx, ns)
	if err != nil {
		return err
	}
	defer s.leave()
	content, err := json.Marshal(header(ns))
	if err != nil {
		return failed(err)
	}
	// The directory is there when there are values, or were.
	if err := storedir.Mkdir(f.files, ".", s.dir()); err != nil {
		return failed(err)
	}
	err = storedir.WriteFile(f.files, s.dir(), path.Base(markPath(ns)), content)
	f.mu.Lock()
	before := f.marks[ns]
	f.marks[ns] = before || err == nil // false: there may be a file all the same
	f.mu.Unlock()
	if err != nil && !before {
		_ = s.unmark() // or Unmark does it, or the next start tells the mark
	}
	return failed(err)
}

// Unmark implements [Marker].
func (f *File) Unmark(ctx context.Context, ns Namespace) error {
	s, err := f.locked(ctx, ns)
	if err != nil {
		return err
	}
	defer s.leave()
	return failed(s.unmark())
}

// Marked implements [Marker].
func (f *File) Marked(ctx context.Context) ([]Namespace, error) {
	var all, unsure []Namespace
	f.mu.Lock()
	for ns, sure := range f.marks {
		if sure {
			all = append(all, ns)
		} else {
			unsure = append(unsure, ns)
		}
	}
	f.mu.Unlock()
	for _, ns := range unsure { // a power cut might bring them back
		if err := f.Unmark(ctx, ns); err != nil {
			return nil, err
		}
	}
	sortNamespaces(all)
	return all, nil
}

// unmark removes the mark, if there is one. The token is held.
func (s *fileSpace) unmark() error {
	s.of.mu.Lock()
	_, marked := s.of.marks[s.ns]
	if marked {
		s.of.marks[s.ns] = false // until the directory is synced
	}
	s.of.mu.Unlock()
	if !marked {
		return nil
	}
	if err := s.of.files.Remove(markPath(s.ns)); err != nil && !isMissing(err) {
		return err
	}
	if err := s.of.files.SyncDir(s.dir()); err != nil && !isMissing(err) {
		return err
	}
	s.of.mu.Lock()
	delete(s.of.marks, s.ns)
	s.of.mu.Unlock()
	return nil
}

// scanMark notes a mark that is there when the store opens.
func (f *File) scanMark(dir, name string) {
	file := path.Join(dir, name)
	raw, err := f.files.ReadFile(file, maxMark)
	var h header
	if err == nil {
		err = json.Unmarshal(raw, &h)
	}
	if ns := Namespace(h); err == nil && markPath(ns) == file {
		f.mu.Lock()
		f.marks[ns] = true
		f.mu.Unlock()
	}
}

func isMark(name string) bool { return strings.HasSuffix(name, markExtension) }
