package access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// Dir is a store in a directory, a file for each record: a line with the checksum of what
// follows, and the record. A file is written under a temporary name, synced and renamed, so
// that it is whole whenever the process ends. The directory is one process's: opening it
// takes a lock. Nothing outside it is touched, whatever links stand in it. Dir is safe for
// concurrent use; changes are made one at a time.
type Dir struct {
	files storedir.FS

	mu     sync.Mutex // guards the fields below, and is held while a file is worked on
	closed bool
	// unsynced says that a change was made and failed to be synced. Before anything is told
	// it has to be, or what was told might be gone after a power cut.
	unsynced bool
}

var _ Store = (*Dir)(nil)

const recordSuffix = ".json"

// OpenDir opens a store, and makes its directory where there is none. It fails with
// FAILED_PRECONDITION when another process has it open. Close it.
func OpenDir(path string) (*Dir, error) {
	files, err := storedir.Open(path, "key store")
	if err != nil {
		return nil, err
	}
	return openFS(files)
}

func openFS(files storedir.FS) (*Dir, error) {
	d := &Dir{files: files}
	err := storedir.RemoveTemporary(files, ".")
	if err == nil {
		err = files.SyncDir(".") // what was left unsynced will be read from now on
	}
	if err != nil {
		return nil, errors.Join(storedir.Problem("open the key store", err), d.Close())
	}
	return d, nil
}

// Close unlocks the directory.
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

func (d *Dir) enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, status.Errorf(status.FailedPrecondition, "the key store is closed")
	}
	if d.unsynced {
		if err := d.files.SyncDir("."); err != nil {
			d.mu.Unlock()
			return nil, storedir.Problem("sync an earlier change of the key store", err)
		}
		d.unsynced = false
	}
	return d.mu.Unlock, nil
}

// Load calls each with every record; what stands in the directory and is no record of the
// store is passed over.
func (d *Dir) Load(ctx context.Context, each func(string, []byte, error) error) error {
	type loaded struct {
		id     string
		record []byte
		damage error
	}
	var all []loaded
	read := func() error {
		leave, err := d.enter(ctx)
		if err != nil {
			return err
		}
		defer leave()
		entries, err := d.files.ReadDir(".")
		if err != nil {
			return storedir.Problem("read the key store", err)
		}
		for _, e := range entries {
			id, ok := strings.CutSuffix(e.Name(), recordSuffix)
			if !ok || checkRecord(id, nil) != nil {
				continue
			}
			record, err := d.read(id)
			if err != nil && !errors.Is(err, status.ErrDataLoss) {
				return err
			}
			all = append(all, loaded{id, record, err})
		}
		return nil
	}
	if err := read(); err != nil {
		return err
	}
	for _, l := range all {
		if err := each(l.id, l.record, l.damage); err != nil {
			return err
		}
	}
	return nil
}

// maxFileBytes bounds a file: a record and its checksum.
const maxFileBytes = MaxRecordBytes + 1<<10

func (d *Dir) read(id string) ([]byte, error) {
	content, err := d.files.ReadFile(id+recordSuffix, maxFileBytes)
	if err != nil && !errors.Is(err, storedir.ErrIrregular) {
		return nil, storedir.Problem("read the key store", err)
	}
	sum, record, found := bytes.Cut(content, []byte("\n"))
	if err != nil || !found || string(sum) != sumOf(record) {
		return nil, status.Errorf(status.DataLoss, "the file %s%s of the key store is damaged", id, recordSuffix)
	}
	return record, nil
}

func sumOf(record []byte) string {
	sum := sha256.Sum256(record)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Put stores a record.
func (d *Dir) Put(ctx context.Context, id string, record []byte) error {
	if err := checkRecord(id, record); err != nil {
		return err
	}
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	name := id + recordSuffix
	old, err := d.files.ReadFile(name, maxFileBytes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, storedir.ErrIrregular) {
		return storedir.Problem("store a key", err)
	}
	err = storedir.WriteFile(d.files, ".", name, append([]byte(sumOf(record)+"\n"), record...))
	if storedir.Unsettled(err) {
		d.restore(name, old)
	}
	if err != nil {
		return storedir.Problem("store a key", err)
	}
	return nil
}

// restore puts back what a change that has failed may have replaced, nil for nothing.
func (d *Dir) restore(name string, old []byte) {
	var err error
	if old == nil {
		err = d.remove(name)
	} else {
		err = storedir.WriteFile(d.files, ".", name, old)
	}
	d.unsynced = err != nil
}

// Delete removes a record, also one that is damaged. After a failure it is not known to be
// gone; deleting it once more is no harm.
func (d *Dir) Delete(ctx context.Context, id string) error {
	if err := checkRecord(id, nil); err != nil {
		return err
	}
	leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := d.remove(id + recordSuffix); err != nil {
		d.unsynced = true
		return storedir.Problem("remove a key", err)
	}
	return nil
}

// remove removes a file; a directory of that name, which the store has not made, goes with
// all in it.
func (d *Dir) remove(name string) error {
	if err := storedir.RemoveAll(d.files, name); err != nil {
		return err
	}
	return d.files.SyncDir(".")
}
