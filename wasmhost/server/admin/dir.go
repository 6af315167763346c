package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// Dir keeps documents in a local directory, which one process at a time may use. See
// [OpenDir].
//
// Each kind is a directory, and each document a file in it, readable by its owner alone: a
// line with the SHA-256 of what follows, and a line of JSON with name, revision and value.
// A file is written under a temporary name, synced and renamed, and its directory synced, so
// that it is whole whenever the process ends. A change that fails is undone. Where the disk
// refuses that too, it stays open which of the two is there, until the directory can be
// synced.
type Dir struct {
	files storedir.FS

	mu     sync.Mutex // held while files are worked on; guards the fields below
	closed bool
	// kinds are those that have a directory. One that is true was changed and failed to be
	// synced: before anything is told of it, it has to be.
	kinds map[string]bool
}

var _ Store = (*Dir)(nil)

const (
	fileSuffix   = ".json"
	sumPrefix    = "sha256:"
	maxFileBytes = MaxValueBytes + 8<<10
)

// content is the JSON of a document's file.
type content struct {
	Name     string          `json:"name"`
	Revision string          `json:"revision"`
	Value    json.RawMessage `json:"value"`
}

// OpenDir opens the store in the directory path and makes it when it is not there. It removes
// files that an earlier crash left behind. It fails with FAILED_PRECONDITION when another
// process (or another Dir of this one) has the directory open; nothing below path is followed
// out of it.
func OpenDir(path string) (*Dir, error) {
	files, err := storedir.Open(path, "store of tenants")
	if err != nil {
		return nil, err
	}
	return openFS(files)
}

func openFS(files storedir.FS) (*Dir, error) {
	d := &Dir{files: files, kinds: map[string]bool{}}
	if err := d.recover(); err != nil {
		return nil, errors.Join(status.Errorf(status.FailedPrecondition, "open the store of tenants: %w", err), d.Close())
	}
	return d, nil
}

// recover removes what a process that was ended left half written, and has on the disk what
// it left unsynced: it will be read from now on.
func (d *Dir) recover() error {
	entries, err := d.files.ReadDir(".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !kindPattern.MatchString(e.Name()) {
			continue
		}
		if err := storedir.RemoveTemporary(d.files, e.Name()); err != nil {
			return err
		}
		if err := d.files.SyncDir(e.Name()); err != nil {
			return err
		}
		d.kinds[e.Name()] = false
	}
	return d.files.SyncDir(".")
}

// Close gives the directory free for others. A closed Dir fails with FAILED_PRECONDITION.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return d.files.Close()
}

// Hold has changes wait until release is called, so that all files can be copied as they are at
// one moment. Reading goes on. It is meant for backups, and short.
func (d *Dir) Hold() (release func()) { return storedir.Hold(d.files) }

// Kinds returns the kinds that have documents, or had some, in any order.
func (d *Dir) Kinds() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.kinds))
}

// enter takes the lock and has on the disk what may be told of the kind.
func (d *Dir) enter(ctx context.Context, kind, name string) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	if err := checkKey(kind, name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, status.Errorf(status.FailedPrecondition, "the store of tenants is closed")
	}
	if d.kinds[kind] {
		if err := d.files.SyncDir(kind); err != nil {
			d.mu.Unlock()
			return nil, storedir.Problem("sync an earlier change of a "+kind, unavailable(err))
		}
		d.kinds[kind] = false
	}
	return d.mu.Unlock, nil
}

// unavailable gives an error that says nothing else the code of what may work later.
func unavailable(err error) error {
	if e := status.Convert(storedir.Problem("", err)); e.Code != status.Internal {
		return err
	}
	return status.Errorf(status.Unavailable, "%w", err)
}

// List implements [Store].
func (d *Dir) List(ctx context.Context, kind string) ([]Document, error) {
	leave, err := d.enter(ctx, kind, "-")
	if err != nil {
		return nil, err
	}
	defer leave()
	all := []Document{}
	if _, ok := d.kinds[kind]; !ok {
		return all, nil
	}
	entries, err := d.files.ReadDir(kind)
	if err != nil {
		return nil, storedir.Problem("list what is stored of "+kind, unavailable(err))
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, fileSuffix) || strings.HasPrefix(name, storedir.TemporaryPrefix) {
			continue
		}
		doc, _, err := d.read(kind, name)
		if errors.Is(err, status.ErrDataLoss) {
			if id, ok := storedir.NamedBy("", name, fileSuffix); ok {
				name = id
			}
			doc, err = &Document{Kind: kind, Name: name, Problem: err}, nil
		}
		if err != nil {
			return nil, err
		}
		if doc != nil {
			all = append(all, *doc)
		}
	}
	sortDocuments(all)
	return all, nil
}

// Get implements [Store].
func (d *Dir) Get(ctx context.Context, kind, name string) (Document, error) {
	leave, err := d.enter(ctx, kind, name)
	if err != nil {
		return Document{}, err
	}
	defer leave()
	doc, _, err := d.named(kind, name)
	if err != nil {
		return Document{}, err
	}
	if doc == nil {
		return Document{}, noDocument(kind, name)
	}
	return *doc, nil
}

// Put implements [Store].
func (d *Dir) Put(ctx context.Context, doc Document) (Document, error) {
	return d.put(ctx, doc, false)
}

// Replace implements [Replacer].
func (d *Dir) Replace(ctx context.Context, doc Document) (Document, error) {
	return d.put(ctx, doc, true)
}

// put stores a document; where the one that is stored is damaged only if overDamage is set.
func (d *Dir) put(ctx context.Context, doc Document, overDamage bool) (Document, error) {
	leave, err := d.enter(ctx, doc.Kind, doc.Name)
	if err != nil {
		return Document{}, err
	}
	defer leave()
	if err := checkValue(doc); err != nil {
		return Document{}, err
	}
	stored, old, err := d.named(doc.Kind, doc.Name)
	damaged, irregular := overDamage && errors.Is(err, status.ErrDataLoss), errors.Is(err, storedir.ErrIrregular)
	if err != nil && !damaged {
		return Document{}, err
	}
	if damaged {
		doc.Revision = "" // the damaged one has none
	}
	if stored == nil && doc.Revision != "" || stored != nil && stored.Revision != doc.Revision {
		return Document{}, otherRevision(doc)
	}
	doc.Revision, doc.Problem = newRevision(), nil
	raw, err := encode(doc)
	if err != nil {
		return Document{}, err
	}
	doing := fmt.Sprintf("store the %s %q", doc.Kind, doc.Name)
	if _, ok := d.kinds[doc.Kind]; !ok {
		if err := storedir.Mkdir(d.files, ".", doc.Kind); err != nil {
			return Document{}, storedir.Problem(doing, unavailable(err))
		}
		d.kinds[doc.Kind] = false
	}
	if damaged && irregular { // a directory would not give way
		if err := storedir.RemoveAll(d.files, doc.Kind+"/"+fileOf(doc.Name)); err != nil {
			return Document{}, storedir.Problem(doing, unavailable(err))
		}
	}
	if err := storedir.WriteFile(d.files, doc.Kind, fileOf(doc.Name), raw); err != nil {
		if storedir.Unsettled(err) {
			d.restore(doc.Kind, doc.Name, old)
		}
		return Document{}, storedir.Problem(doing, unavailable(err))
	}
	return doc, nil
}

// restore puts back what a change that has failed may have replaced, nil for nothing, so
// that a caller that was told of the failure finds what was there.
func (d *Dir) restore(kind, name string, old []byte) {
	var err error
	if old == nil {
		err = d.remove(kind, name)
	} else {
		err = storedir.WriteFile(d.files, kind, fileOf(name), old)
	}
	d.kinds[kind] = err != nil
}

// Delete implements [Store].
func (d *Dir) Delete(ctx context.Context, kind, name string) error {
	leave, err := d.enter(ctx, kind, name)
	if err != nil {
		return err
	}
	defer leave()
	if _, ok := d.kinds[kind]; !ok {
		return nil
	}
	if err := d.remove(kind, name); err != nil {
		d.kinds[kind] = true
		return storedir.Problem(fmt.Sprintf("delete the %s %q", kind, name), unavailable(err))
	}
	return nil
}

func (d *Dir) remove(kind, name string) error {
	err := storedir.RemoveAll(d.files, kind+"/"+fileOf(name)) // what stands there may be no file
	if err != nil {
		return err
	}
	return d.files.SyncDir(kind)
}

// named reads the document of a name.
func (d *Dir) named(kind, name string) (*Document, []byte, error) {
	if _, ok := d.kinds[kind]; !ok {
		return nil, nil, nil
	}
	return d.read(kind, fileOf(name))
}

// read returns a document and its file as it is, also with an error that says that it is damaged; nil when there
// is none, or it is no file that can be read.
func (d *Dir) read(kind, file string) (*Document, []byte, error) {
	raw, err := d.files.ReadFile(kind+"/"+file, maxFileBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case err != nil && !errors.Is(err, storedir.ErrIrregular):
		return nil, nil, storedir.Problem("read what is stored of a "+kind, unavailable(err))
	}
	if c, ok := decode(raw); ok && err == nil && fileOf(c.Name) == file {
		return &Document{Kind: kind, Name: c.Name, Revision: c.Revision, Value: c.Value}, raw, nil
	}
	return nil, raw, status.Publicf(status.DataLoss, "what is stored of a %s in the file %q is damaged", kind, file).WithCause(err)
}

func fileOf(name string) string { return storedir.FileName("", name, fileSuffix) }

func encode(d Document) ([]byte, error) {
	body, err := rawjson.Encode(content{d.Name, d.Revision, d.Value})
	if err != nil {
		return nil, status.Errorf(status.InvalidArgument, "encode the %s %q: %w", d.Kind, d.Name, err)
	}
	return append([]byte(sumOf(body)+"\n"), body...), nil
}

func decode(raw []byte) (c content, ok bool) {
	sum, body, found := bytes.Cut(raw, []byte("\n"))
	if !found || string(sum) != sumOf(body) || json.Unmarshal(body, &c) != nil {
		return c, false
	}
	return c, c.Name != "" && c.Revision != "" && len(c.Value) > 0
}

func sumOf(body []byte) string {
	sum := sha256.Sum256(body)
	return sumPrefix + hex.EncodeToString(sum[:])
}
