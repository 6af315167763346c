package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

const (
	// DefaultMaxFileBytes bounds a file of a store in a directory.
	DefaultMaxFileBytes = 16 << 20

	suffix          = ".json"
	temporaryPrefix = "_tmp-" // no session's file is called so; see nameOf
	maxFileName     = 180
	stripes         = 64
)

// DirConfig configures a [Dir].
type DirConfig struct {
	// MaxFileBytes bounds what is written and read; 0 means [DefaultMaxFileBytes].
	MaxFileBytes int
}

// Dir is a store in a directory, a file for each session. A file is written under a
// temporary name, synced and renamed, so that it is whole whenever the process ends; once
// Save has returned, it survives the loss of power too, as far as the disk keeps its word.
// The directory is one process's: opening it takes a lock. Nothing outside it is touched,
// whatever links stand in it. Dir is safe for concurrent use.
type Dir struct {
	root  *os.Root
	lock  *os.File
	limit int
	seed  maphash.Seed

	closing sync.RWMutex        // held for reading while a file is worked on
	closed  bool                // guarded by closing
	mu      [stripes]sync.Mutex // each guards the files of the ids that fall to it
}

var _ Store = (*Dir)(nil)

// file is what a session's file holds.
type file struct {
	ID       string          `json:"id"`
	Revision string          `json:"revision"`
	Session  json.RawMessage `json:"session"`
}

// OpenDir opens a store, and makes its directory where there is none. It fails with
// FAILED_PRECONDITION when another process has it open.
func OpenDir(path string, c DirConfig) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, status.Errorf(status.FailedPrecondition, "make the session store: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, status.Errorf(status.FailedPrecondition, "open the session store: %w", err)
	}
	lock, err := storedir.Lock(root, path, "session store")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	d := &Dir{root: root, lock: lock, limit: c.MaxFileBytes, seed: maphash.MakeSeed()}
	if d.limit <= 0 {
		d.limit = DefaultMaxFileBytes
	}
	if err := d.tidy(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// tidy removes what a process that was ended left half written.
func (d *Dir) tidy() error {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return status.Errorf(status.FailedPrecondition, "read the session store: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporaryPrefix) {
			if err := d.root.Remove(e.Name()); err != nil {
				return status.Errorf(status.FailedPrecondition, "tidy the session store: %w", err)
			}
		}
	}
	return nil
}

// Close waits for what is under way and gives the directory free.
func (d *Dir) Close() error {
	d.closing.Lock()
	defer d.closing.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return errors.Join(d.lock.Close(), d.root.Close())
}

// enter takes the locks of an id: closing first.
func (d *Dir) enter(ctx context.Context, id string) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	if err := CheckID(id); err != nil {
		return nil, err
	}
	d.closing.RLock()
	if d.closed {
		d.closing.RUnlock()
		return nil, status.Errorf(status.FailedPrecondition, "the session store is closed")
	}
	mu := &d.mu[maphash.String(d.seed, id)%stripes]
	mu.Lock()
	return func() {
		mu.Unlock()
		d.closing.RUnlock()
	}, nil
}

// Get returns a session and its revision; NOT_FOUND when there is none, DATA_LOSS when its
// file is not what was written.
func (d *Dir) Get(ctx context.Context, id string) (json.RawMessage, string, error) {
	leave, err := d.enter(ctx, id)
	if err != nil {
		return nil, "", err
	}
	defer leave()
	f, err := d.read(id)
	if err != nil {
		return nil, "", err
	}
	if f == nil {
		return nil, "", status.Publicf(status.NotFound, "session %q not found", id)
	}
	return f.Session, f.Revision, nil
}

// Save stores a session in the place of a revision; ABORTED when the stored one has
// another, RESOURCE_EXHAUSTED when it is too large.
func (d *Dir) Save(ctx context.Context, id string, doc json.RawMessage, revision string) (string, error) {
	leave, err := d.enter(ctx, id)
	if err != nil {
		return "", err
	}
	defer leave()
	stored, err := d.read(id)
	if err != nil {
		return "", err
	}
	if stored == nil && revision != "" || stored != nil && stored.Revision != revision {
		return "", aborted(id)
	}
	next := file{ID: id, Revision: rand.Text(), Session: doc}
	content, err := rawjson.Encode(next)
	if err != nil {
		return "", status.Publicf(status.InvalidArgument, "session %q is no JSON: %w", id, err)
	}
	if len(content) > d.limit {
		return "", status.Publicf(status.ResourceExhausted, "session %q would take %d bytes, more than %d", id, len(content), d.limit)
	}
	if err := d.write(nameOf(id), content); err != nil {
		return "", status.Errorf(status.Unavailable, "store session %q: %w", id, err)
	}
	return next.Revision, nil
}

// Delete removes a session, also one whose file is damaged.
func (d *Dir) Delete(ctx context.Context, id string) error {
	leave, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer leave()
	err = d.root.Remove(nameOf(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = storedir.Sync(d.root, ".")
	}
	if err != nil {
		return status.Errorf(status.Unavailable, "delete session %q: %w", id, err)
	}
	return nil
}

// read returns a session's file, nil when there is none.
func (d *Dir) read(id string) (*file, error) {
	name := nameOf(id)
	info, err := d.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // absence is no error here
	}
	if err != nil {
		return nil, status.Errorf(status.Unavailable, "read session %q: %w", id, err)
	}
	if !info.Mode().IsRegular() || info.Size() > int64(d.limit) {
		return nil, status.Errorf(status.DataLoss, "the file of session %q is no file of this store", id)
	}
	content, err := d.content(name, info)
	if err != nil {
		return nil, status.Errorf(status.Unavailable, "read session %q: %w", id, err)
	}
	f := &file{}
	if err := json.Unmarshal(content, f); err != nil || f.ID != id || f.Revision == "" || len(f.Session) == 0 {
		return nil, status.Errorf(status.DataLoss, "the file of session %q is damaged", id)
	}
	return f, nil
}

var errSwapped = errors.New("the file was swapped for another")

// content reads the file that info describes, and no other that was put in its place.
func (d *Dir) content(name string, info fs.FileInfo) (b []byte, err error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	now, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(info, now) {
		return nil, errSwapped
	}
	return io.ReadAll(io.LimitReader(f, int64(d.limit)+1))
}

// write puts a file in the place of another, all or nothing.
func (d *Dir) write(name string, content []byte) error {
	temporary := temporaryPrefix + rand.Text()
	err := d.writeNew(temporary, content)
	if err == nil {
		err = d.root.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(d.root.Remove(temporary)))
	}
	return storedir.Sync(d.root, ".")
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *Dir) writeNew(name string, content []byte) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// nameOf returns the name of a session's file. Different ids have different names, also
// where the file system does not tell upper from lower case, and none is a path: what is
// not a small letter, a digit or a hyphen is written as "_" and two hex digits. A name
// that would be too long is "_-" and a hash.
func nameOf(id string) string {
	var b strings.Builder
	for i := range len(id) {
		c := id[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('_')
		b.WriteString(hex.EncodeToString([]byte{c}))
	}
	if b.Len() > maxFileName {
		sum := sha256.Sum256([]byte(id))
		return "_-" + hex.EncodeToString(sum[:]) + suffix
	}
	return b.String() + suffix
}
