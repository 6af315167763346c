package kv

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/journal"
)

// fileSpace is a namespace and its file, a journal of changes:
//
//	set     1  expires u64  key  value
//	delete  2  key
//
// key and value are a length (uvarint) and bytes; a payload of the journal is one or more
// changes.
type fileSpace struct {
	of    *File
	ns    Namespace
	token chan struct{} // held while the file is opened, closed or changed
	used  atomic.Uint64
	open  atomic.Bool // the fields that mu guards are loaded; changed with mu held
	// exists says that the namespace has a file, as far as is known.
	exists atomic.Bool

	// sums are the figures of [File.Report], also while the file is closed.
	sums atomic.Pointer[sums]

	mu      sync.RWMutex // guards the fields below; changed only with the token
	journal *journal.Journal
	entries map[string]place
	keys    []string // sorted
	usage   usage
	// unsynced says that a change of the directory has failed and may be undone by a
	// power cut: it is synced before anything is read. The token guards it.
	unsynced bool
}

type sums struct {
	usage   usage
	damaged bool
}

// place is where a value is.
type place struct {
	at      int64
	len     int
	sum     uint32 // of key and value
	expires int64
}

const (
	kind         = "gkwkv\x00"
	opSet        = 1
	opDelete     = 2
	tenantPrefix = "t-"
	modulePrefix = "m-"
	extension    = ".kv"
	// leastDead is how many bytes of no use make a file worth rewriting, if they are
	// more than the others.
	leastDead      = 64 << 10
	changeOverhead = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sumOf(key string, value []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, value)
}

type header struct {
	Tenant string `json:"tenant"`
	Module string `json:"module"`
}

func newSpace(f *File, ns Namespace) *fileSpace {
	s := &fileSpace{of: f, ns: ns, token: make(chan struct{}, 1)}
	s.sums.Store(&sums{})
	return s
}

func (s *fileSpace) dir() string { return storedir.FileName(tenantPrefix, s.ns.Tenant, "") }
func (s *fileSpace) path() string {
	return path.Join(s.dir(), storedir.FileName(modulePrefix, s.ns.Module, extension))
}

// namespaceOf reads names of files, which is not possible for long ones.
func namespaceOf(dir, file string) (ns Namespace, ok bool) {
	if ns.Tenant, ok = storedir.NamedBy(tenantPrefix, dir, ""); !ok {
		return ns, false
	}
	ns.Module, ok = storedir.NamedBy(modulePrefix, file, extension)
	return ns, ok
}

// namespaceIn reads the header of a file.
func (f *File) namespaceIn(name string) (ns Namespace, ok bool) {
	file, err := f.files.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return ns, false
	}
	defer func() { _ = file.Close() }()
	found := errors.New("found")
	_, err = journal.Open(kind, file, sizeOf(file), func(j *journal.Journal) error {
		var h header
		if json.Unmarshal(j.Header(), &h) != nil {
			return nil
		}
		ns = Namespace(h)
		return found
	}, nil)
	s := newSpace(f, ns)
	return ns, errors.Is(err, found) && s.path() == name
}

func sizeOf(f storedir.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

func (s *fileSpace) enter(ctx context.Context) error {
	select {
	case s.token <- struct{}{}:
		return nil
	case <-ctx.Done():
		return status.Publicf(status.Of(ctx.Err()), "kv: the store is busy").WithCause(ctx.Err())
	}
}

func (s *fileSpace) tryEnter() bool {
	select {
	case s.token <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *fileSpace) leave() { <-s.token }

func damaged(cause error) error {
	return status.Publicf(status.DataLoss, "kv: the stored values of this module are damaged; put their file back, or remove the module to begin without them").WithCause(cause)
}

// load opens the file, if it is not open, and reads its keys. The token is held.
func (s *fileSpace) load() error {
	if s.open.Load() {
		return nil
	}
	if s.unsynced {
		if err := s.of.files.SyncDir(s.dir()); err != nil && !isMissing(err) {
			return failed(err)
		}
		s.unsynced = false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries, s.keys, s.usage, s.journal = map[string]place{}, nil, usage{}, nil
	file, err := s.of.files.OpenFile(s.path(), os.O_RDWR, 0)
	switch {
	case isMissing(err):
		if s.of.unread != "" {
			return damaged(errors.New(s.of.unread))
		}
		s.exists.Store(false)
	case err != nil:
		return failed(err)
	default:
		s.exists.Store(true)
		if s.journal, err = s.replay(file); err != nil {
			_ = file.Close()
			return s.loaded(err)
		}
	}
	s.of.note(s, true)
	return s.loaded(nil)
}

// loaded notes the outcome of loading.
func (s *fileSpace) loaded(err error) error {
	if errors.Is(err, status.ErrDataLoss) {
		s.sums.Store(&sums{damaged: true})
		return damaged(err)
	}
	if err == nil {
		s.sums.Store(&sums{usage: s.usage})
	}
	return failed(err)
}

func (s *fileSpace) replay(file storedir.File) (*journal.Journal, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return journal.Open(kind, file, info.Size(), func(j *journal.Journal) error {
		var h header
		if err := json.Unmarshal(j.Header(), &h); err != nil || Namespace(h) != s.ns {
			return status.Errorf(status.DataLoss, "kv: the file is another namespace's")
		}
		return nil
	}, s.apply)
}

// unload closes the file. The token is held.
func (s *fileSpace) unload() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal != nil {
		_ = s.journal.Close() // all that counts is synced
	}
	s.of.note(s, false)
	s.journal, s.entries, s.keys = nil, nil, nil
}

// apply makes the changes of a payload, which begins at a place in the file.
func (s *fileSpace) apply(payload []byte, at int64) error {
	for rest := payload; len(rest) > 0; {
		c, after, ok := decodeChange(rest)
		if !ok {
			return status.Errorf(status.DataLoss, "kv: byte %d of a payload is no change", len(payload)-len(rest))
		}
		old, had := s.entries[c.key]
		if had {
			s.usage = s.usage.without(c.key, old.len)
		}
		i, found := slices.BinarySearch(s.keys, c.key)
		switch {
		case c.delete && found:
			s.keys = slices.Delete(s.keys, i, i+1)
			delete(s.entries, c.key)
		case !c.delete:
			if !found {
				s.keys = slices.Insert(s.keys, i, c.key)
			}
			// The value is the end of its change.
			s.entries[c.key] = place{at + int64(len(payload)-len(after)-len(c.value)), len(c.value), sumOf(c.key, c.value), c.expires}
			s.usage.keys++
			s.usage.bytes += costOf(c.key, len(c.value))
		}
		rest = after
	}
	return nil
}

type change struct {
	delete  bool
	key     string
	expires int64
	value   []byte
}

func appendSet(b []byte, key string, value []byte, expires int64) []byte {
	b = binary.LittleEndian.AppendUint64(append(b, opSet), uint64(expires)) //nolint:gosec // read back the same
	b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

func appendDelete(b []byte, key string) []byte {
	return append(binary.AppendUvarint(append(b, opDelete), uint64(len(key))), key...)
}

// decodeChange reads the first change of b and returns what follows it.
func decodeChange(b []byte) (c change, rest []byte, ok bool) {
	op, b := b[0], b[1:]
	if c.delete = op == opDelete; !c.delete {
		if op != opSet || len(b) < 8 {
			return c, nil, false
		}
		c.expires, b = int64(binary.LittleEndian.Uint64(b)), b[8:] //nolint:gosec // as it was written
	}
	key, b, ok := cut(b)
	if c.key = string(key); !ok || CheckKey(c.key) != nil {
		return c, nil, false
	}
	if !c.delete {
		c.value, b, ok = cut(b)
	}
	return c, b, ok
}

// cut reads a length and so many bytes.
func cut(b []byte) (head, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, false
	}
	b = b[used:]
	return b[:n], b[n:], true
}

// value reads a value from the file and holds it against its checksum.
func (s *fileSpace) value(key string, at place) ([]byte, error) {
	b := make([]byte, at.len)
	if err := s.journal.ReadAt(b, at.at); err != nil {
		return nil, err
	}
	if sumOf(key, b) != at.sum {
		return nil, damaged(errors.New("a value is not what was written"))
	}
	return b, nil
}

func (s *fileSpace) list(prefix, from string, limit int, now time.Time) (page Page) {
	i, _ := slices.BinarySearch(s.keys, max(prefix, from))
	for ; i < len(s.keys) && strings.HasPrefix(s.keys[i], prefix); i++ {
		if gone(s.entries[s.keys[i]].expires, now) {
			continue
		}
		if len(page.Keys) == limit {
			page.Next = s.keys[i]
			break
		}
		page.Keys = append(page.Keys, s.keys[i])
	}
	return page
}

// set carries out a planned change. The token is held and the file is loaded.
func (s *fileSpace) set(p *plan, q Quota, now time.Time) error {
	old, had := s.entries[p.key]
	if err := s.holds(p, old, had && !gone(old.expires, now)); err != nil {
		return err
	}
	var payload []byte
	if _, err := p.after(s.usage, without(s.usage, p.key, old, had), q); err != nil {
		swept, left := s.sweep(now)
		if len(swept) == 0 {
			return err
		}
		had = had && !gone(old.expires, now)
		if _, err := p.after(left, without(left, p.key, old, had), q); err != nil {
			return err
		}
		payload = swept
	}
	switch {
	case p.value != nil:
		payload = appendSet(payload, p.key, p.value, p.expire)
	case had:
		payload = appendDelete(payload, p.key)
	}
	return s.commit(payload)
}

func without(u usage, key string, old place, had bool) usage {
	if had {
		return u.without(key, old.len)
	}
	return u
}

// holds checks the condition of a plan against what is there.
func (s *fileSpace) holds(p *plan, old place, there bool) error {
	if p.cond == nil {
		return nil
	}
	var seen []byte
	if there {
		var err error
		if seen, err = s.value(p.key, old); err != nil {
			return err
		}
	}
	return p.holds(seen)
}

// sweep deletes what has expired.
func (s *fileSpace) sweep(now time.Time) (payload []byte, left usage) {
	left = s.usage
	for _, key := range s.keys {
		if e := s.entries[key]; gone(e.expires, now) {
			payload = appendDelete(payload, key)
			left = left.without(key, e.len)
		}
	}
	return payload, left
}

// commit has changes on the disk and then shows them.
func (s *fileSpace) commit(payload []byte) error {
	if len(payload) == 0 {
		return nil
	}
	if s.journal == nil {
		if err := s.create(nil); err != nil {
			return err
		}
		if err := s.load(); err != nil {
			return err
		}
	}
	places, err := s.journal.Commit([][]byte{payload})
	if err != nil {
		if s.journal.Settle() != nil {
			s.unload() // the file's content is read when it is opened again
		}
		return err
	}
	s.mu.Lock()
	err = s.apply(payload, places[0])
	s.sums.Store(&sums{usage: s.usage})
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.tidy()
	return nil
}

// create makes the file, or puts another in its place, with changes in it; the file is
// closed then.
func (s *fileSpace) create(payloads [][]byte) error {
	files := s.of.files
	if err := storedir.Mkdir(files, ".", s.dir()); err != nil {
		return err
	}
	head, err := json.Marshal(header(s.ns))
	if err != nil {
		return err
	}
	temporary := path.Join(s.dir(), storedir.TemporaryName())
	file, err := files.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = journal.Create(kind, file, head, payloads)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		storedir.Discard(files, temporary)
		return err
	}
	s.unload()
	s.unsynced = true
	if err := storedir.Rename(files, s.dir(), temporary, s.path()); err != nil {
		storedir.Discard(files, temporary)
		return err
	}
	s.unsynced = false
	s.exists.Store(true)
	return nil
}

// tidy rewrites the file when most of it is of no use. When that fails the file stays as it
// is, or is opened again by the next call.
func (s *fileSpace) tidy() {
	size := s.journal.Size()
	useful := s.usage.bytes + s.usage.keys*changeOverhead
	if size < leastDead+2*useful {
		return
	}
	now := s.of.now()
	var payloads [][]byte
	var payload []byte
	for _, key := range s.keys {
		e := s.entries[key]
		if gone(e.expires, now) {
			continue
		}
		value, err := s.value(key, e)
		if err != nil {
			return // a damaged file is left as it is
		}
		if len(payload) > 0 && len(payload)+len(value) > 1<<20 {
			payloads, payload = append(payloads, payload), nil
		}
		payload = appendSet(payload, key, value, e.expires)
	}
	if len(payload) > 0 {
		payloads = append(payloads, payload)
	}
	if s.create(payloads) == nil {
		_ = s.load()
	}
}

// drop removes the file. The token is held.
func (s *fileSpace) drop() error {
	if s.of.unread != "" {
		return s.create(nil) // a file of its own says that it holds nothing
	}
	s.unload()
	s.unsynced = true
	if err := s.of.files.Remove(s.path()); err != nil && !isMissing(err) {
		return err
	}
	if err := s.of.files.SyncDir(s.dir()); err != nil && !isMissing(err) {
		return err
	}
	s.unsynced = false
	s.exists.Store(false)
	s.sums.Store(&sums{})
	return nil
}

func (s *fileSpace) report(r *Report) {
	sums := s.sums.Load()
	if sums.damaged {
		r.Damaged = append(r.Damaged, s.ns.Module)
	}
	r.Keys += sums.usage.keys
	r.Bytes += sums.usage.bytes
}
