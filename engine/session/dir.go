package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/maphash"
	"io/fs"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

const (
	// DefaultMaxFileBytes bounds a file of a store in a directory.
	DefaultMaxFileBytes = 16 << 20

	suffix             = ".json"
	oldTemporaryPrefix = "_tmp-" // of older versions; no session's file is called so, see nameOf
	stripes            = 64
)

// DirConfig configures a [Dir].
type DirConfig struct {
	// MaxFileBytes is the largest file that is written or read; 0 means [DefaultMaxFileBytes].
	MaxFileBytes int
}

// Dir is a store in a directory, a file for each session. A file is written under a
// temporary name, synced and renamed, so that it is whole whenever the process ends; once
// Save has returned, it survives the loss of power too, as far as the disk keeps its word.
// A damaged file is recognised by its checksum.
// The directory is one process's: opening it takes a lock. Nothing outside it is touched,
// whatever links stand in it. Dir is safe for concurrent use.
type Dir struct {
	files storedir.FS
	limit int
	seed  maphash.Seed

	closing sync.RWMutex // held for reading while a file is worked on
	closed  bool         // guarded by closing
	stripes [stripes]stripe
}

// stripe guards the files of the ids that fall to it.
type stripe struct {
	sync.Mutex
	// unsynced says that a change was made and failed to be synced. Before anything is
	// told of these files it has to be, or what was told might be gone after a power cut.
	unsynced bool
}

var _ Store = (*Dir)(nil)

// file is the content of a session's file.
type file struct {
	ID       string          `json:"id"`
	Revision string          `json:"revision"`
	Session  json.RawMessage `json:"session"`
}

// OpenDir opens a store, and makes its directory where there is none. It fails with
// FAILED_PRECONDITION when another process has it open.
func OpenDir(path string, c DirConfig) (*Dir, error) {
	files, err := storedir.Open(path, "session store")
	if err != nil {
		return nil, err
	}
	return openFS(files, c)
}

func openFS(files storedir.FS, c DirConfig) (*Dir, error) {
	d := &Dir{files: files, limit: c.MaxFileBytes, seed: maphash.MakeSeed()}
	if d.limit <= 0 {
		d.limit = DefaultMaxFileBytes
	}
	if err := d.tidy(); err != nil {
		return nil, errors.Join(status.Errorf(status.FailedPrecondition, "tidy the session store: %w", err), d.Close())
	}
	return d, nil
}

// tidy removes files that a killed process left half written, and syncs those that it
// left unsynced, because they are read from now on.
func (d *Dir) tidy() error {
	entries, err := d.files.ReadDir(".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), oldTemporaryPrefix) || strings.HasPrefix(e.Name(), storedir.TemporaryPrefix) {
			if err := d.files.Remove(e.Name()); err != nil {
				return err
			}
		}
	}
	return d.files.SyncDir(".")
}

// Close waits for calls under way and unlocks the directory.
func (d *Dir) Close() error {
	d.closing.Lock()
	defer d.closing.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return d.files.Close()
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
	s := d.stripe(id)
	s.Lock()
	leave = func() {
		s.Unlock()
		d.closing.RUnlock()
	}
	if s.unsynced {
		if err := d.files.SyncDir("."); err != nil {
			leave()
			return nil, status.Errorf(status.Unavailable, "sync an earlier change of the session store: %w", err)
		}
		s.unsynced = false
	}
	return leave, nil
}

func (d *Dir) stripe(id string) *stripe { return &d.stripes[maphash.String(d.seed, id)%stripes] }

// Get returns a session and its revision; NOT_FOUND when there is none, DATA_LOSS when its
// file is damaged.
func (d *Dir) Get(ctx context.Context, id string) (json.RawMessage, string, error) {
	leave, err := d.enter(ctx, id)
	if err != nil {
		return nil, "", err
	}
	defer leave()
	f, _, err := d.read(id)
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
	stored, old, err := d.read(id)
	if err != nil {
		return "", err
	}
	if stored == nil && revision != "" || stored != nil && stored.Revision != revision {
		return "", aborted(id)
	}
	next := file{ID: id, Revision: rand.Text(), Session: doc}
	content, err := encodeFile(next)
	if err != nil {
		return "", status.Publicf(status.InvalidArgument, "session %q is no JSON: %w", id, err)
	}
	if len(content) > d.limit {
		return "", status.Publicf(status.ResourceExhausted, "session %q would take %d bytes, more than %d", id, len(content), d.limit)
	}
	if err := storedir.WriteFile(d.files, ".", nameOf(id), content); err != nil {
		if storedir.Unsettled(err) {
			d.restore(id, old)
		}
		return "", status.Errorf(status.Unavailable, "store session %q: %w", id, err)
	}
	return next.Revision, nil
}

// restore puts back the content that a failed change may have replaced, nil for none, so
// that a caller that got the error finds the old content. Where that fails as well,
// either of the two may be there until the file can be synced.
func (d *Dir) restore(id string, old []byte) {
	var err error
	if old == nil {
		err = d.remove(id)
	} else {
		err = storedir.WriteFile(d.files, ".", nameOf(id), old)
	}
	d.stripe(id).unsynced = err != nil
}

// Delete removes a session, also one whose file is damaged. After a failure it is not known
// to be gone; deleting it once more is no harm.
func (d *Dir) Delete(ctx context.Context, id string) error {
	leave, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer leave()
	if err := d.remove(id); err != nil {
		d.stripe(id).unsynced = true
		return status.Errorf(status.Unavailable, "delete session %q: %w", id, err)
	}
	return nil
}

func (d *Dir) remove(id string) error {
	err := d.files.Remove(nameOf(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.files.SyncDir(".")
}

// read returns a session's file, decoded and as it is; nil when there is none.
func (d *Dir) read(id string) (*file, []byte, error) {
	name := nameOf(id)
	content, err := d.files.ReadFile(name, int64(d.limit))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case errors.Is(err, storedir.ErrIrregular):
		return nil, nil, status.Publicf(status.DataLoss, "the file of session %q is damaged", id).WithCause(err)
	case err != nil:
		return nil, nil, status.Errorf(status.Unavailable, "read session %q: %w", id, err)
	}
	f, summed := decodeFile(content)
	if f == nil || f.ID != id || f.Revision == "" || len(f.Session) == 0 {
		return nil, nil, status.Publicf(status.DataLoss, "the file of session %q is damaged", id)
	}
	if !summed {
		d.addSum(*f)
	}
	return f, content, nil
}

// addSum writes a file of an older version, which had no checksum, once more with one. When
// it can't be written the old one still is what is stored.
func (d *Dir) addSum(f file) {
	content, err := encodeFile(f)
	if err != nil || len(content) > d.limit {
		return
	}
	if err := storedir.WriteFile(d.files, ".", nameOf(f.ID), content); storedir.Unsettled(err) {
		d.stripe(f.ID).unsynced = true
	}
}

// A file is a line with the checksum of what follows, and one of JSON. Those of older
// versions are the JSON alone.
const sumPrefix = "sha256:"

func encodeFile(f file) ([]byte, error) {
	body, err := rawjson.Encode(f)
	if err != nil {
		return nil, err
	}
	return append([]byte(sumOf(body)+"\n"), body...), nil
}

func sumOf(body []byte) string {
	sum := sha256.Sum256(body)
	return sumPrefix + hex.EncodeToString(sum[:])
}

// decodeFile returns nil for a damaged file, and whether there was a checksum.
func decodeFile(content []byte) (f *file, summed bool) {
	body := content
	if len(content) == 0 || content[0] != '{' {
		sum, rest, found := bytes.Cut(content, []byte("\n"))
		if !found || string(sum) != sumOf(rest) {
			return nil, false
		}
		body, summed = rest, true
	}
	f = &file{}
	if json.Unmarshal(body, f) != nil {
		return nil, false
	}
	return f, summed
}

// nameOf returns the name of a session's file.
func nameOf(id string) string { return storedir.FileName("", id, suffix) }
