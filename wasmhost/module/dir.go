package module

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// Dir keeps modules in a local directory, which one process at a time may use. See
// [OpenDir].
//
// What it writes, all of it readable by its owner alone:
//
//	lock                            held while the directory is open
//	blobs/<hex of the SHA-256>.wasm the bytes, once for each digest
//	tenants/<tenant>/<module>/      the module's revisions
//	    1.record, 2.record, …       one immutable record each
//	    current                     which of them is served, and the newest
//
// Every file is written under a temporary name, synced, renamed and its directory
// synced. A revision counts from the moment at which the pointer file current names
// it, and a module from the moment at which its directory has its name; what a crash
// left behind before that is removed when the directory is opened again. Upper case
// letters of names are written as "!" and the lower case letter, so that names keep
// apart on file systems that fold case.
type Dir struct {
	files files
	lock  *os.File

	mu     sync.RWMutex   // guards what follows, and orders what is written
	refs   map[string]int // digest → records that name it
	sweeps bool           // no record is damaged, so that refs is complete
	closed bool
}

var _ Store = (*Dir)(nil)

const (
	blobsDir    = "blobs"
	tenantsDir  = "tenants"
	pointerFile = "current"
	recordExt   = ".record"
	blobExt     = ".wasm"
)

// OpenDir opens the store in the directory path and makes it when it is not there.
// It removes what an earlier crash left behind. It fails with FAILED_PRECONDITION
// when another process (or another Dir of this one) has the directory open; nothing
// below path is followed out of it.
func OpenDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, status.Errorf(status.FailedPrecondition, "open module store: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, status.Errorf(status.FailedPrecondition, "open module store: %w", err)
	}
	d := &Dir{files: files{root: root}, refs: map[string]int{}}
	if d.lock, err = storedir.Lock(root, path, "module store"); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	if err := d.recover(); err != nil {
		return nil, errors.Join(status.Errorf(status.Internal, "open module store: %w", err), d.Close())
	}
	return d, nil
}

// Close gives the directory free for others. A closed Dir fails with
// FAILED_PRECONDITION.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return errors.Join(d.lock.Close(), d.files.root.Close())
}

func (d *Dir) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return status.Convert(err)
	}
	if d.closed {
		return status.Errorf(status.FailedPrecondition, "the module store is closed")
	}
	return nil
}

// recover brings the directory into shape: it makes what is missing, removes
// temporary names, counts references and drops bytes that nothing refers to.
func (d *Dir) recover() error {
	for _, dir := range []string{blobsDir, tenantsDir} {
		if err := d.files.mkdir(dir); err != nil {
			return err
		}
	}
	if err := d.files.sync("."); err != nil {
		return err
	}
	if err := d.files.removeTemporary(".", blobsDir, tenantsDir); err != nil {
		return err
	}
	d.sweeps = true
	err := d.eachModule(func(tenant, name string) error {
		h, err := d.history(tenant, name)
		if err != nil {
			d.sweeps = false // Current reports it
			return nil
		}
		if err := d.files.removeTemporary(moduleDir(tenant, name)); err != nil {
			return err
		}
		for _, rec := range h.records {
			d.refs[rec.Digest]++
			d.sweeps = d.sweeps && rec.Problem == ""
		}
		d.sweeps = d.sweeps && h.problem == ""
		return nil
	})
	if err != nil {
		return err
	}
	return d.sweep()
}

// sweep drops the blobs that no record refers to. While a record can't be read,
// all are kept.
func (d *Dir) sweep() error {
	if !d.sweeps {
		return nil
	}
	names, err := d.files.list(blobsDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		hex, isBlob := strings.CutSuffix(name, blobExt)
		if isBlob && d.refs[digestPrefix+hex] == 0 {
			if err := d.files.root.Remove(blobsDir + "/" + name); err != nil {
				return err
			}
		}
	}
	return nil
}

// eachModule calls fn for each module that is stored. A tenant's left-over
// temporary names are removed on the way; foreign names are passed over.
func (d *Dir) eachModule(fn func(tenant, name string) error) error {
	tenants, err := d.files.list(tenantsDir)
	if err != nil {
		return err
	}
	for _, t := range tenants {
		tenant, ok := decodeName(t)
		if !ok {
			continue
		}
		if err := d.files.removeTemporary(tenantsDir + "/" + t); err != nil {
			return err
		}
		modules, err := d.files.list(tenantsDir + "/" + t)
		if err != nil {
			return err
		}
		for _, m := range modules {
			name, ok := decodeName(m)
			if !ok {
				continue
			}
			if err := fn(tenant, name); err != nil {
				return fmt.Errorf("module %q of tenant %q: %w", name, tenant, err)
			}
		}
	}
	return nil
}

// Current implements [Store]. A module whose record or pointer is damaged comes
// with Problem set and, besides its tenant, its name and perhaps its revision,
// nothing else.
func (d *Dir) Current(ctx context.Context) ([]Record, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.usable(ctx); err != nil {
		return nil, err
	}
	all := []Record{}
	err := d.eachModule(func(tenant, name string) error {
		h, err := d.history(tenant, name)
		if err != nil {
			h = &stored{problem: "what is stored of the module can't be read"}
		}
		all = append(all, h.currentRecord(tenant, name))
		return nil
	})
	if err != nil {
		return nil, status.Errorf(status.Internal, "read module store: %w", err)
	}
	sortRecords(all)
	return all, nil
}

// Versions implements [Store]. Damaged records come with Problem set.
func (d *Dir) Versions(ctx context.Context, tenant, name string) ([]Record, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.usable(ctx); err != nil {
		return nil, err
	}
	h, err := d.existing(tenant, name)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(h.records)
	slices.Reverse(all)
	return all, nil
}

// existing returns the history of a module; NOT_FOUND when there is none.
func (d *Dir) existing(tenant, name string) (*stored, error) {
	if checkNames(tenant, name) != nil {
		return nil, errNoModule(tenant, name)
	}
	h, err := d.history(tenant, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoModule(tenant, name)
	}
	if err != nil {
		return nil, status.Errorf(status.Internal, "read module %q of tenant %q: %w", name, tenant, err)
	}
	return h, nil
}

// Wasm implements [Store].
func (d *Dir) Wasm(ctx context.Context, digest string) ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.usable(ctx); err != nil {
		return nil, err
	}
	path, ok := blobPath(digest)
	if !ok {
		return nil, errNoBytes(digest)
	}
	wasm, err := d.files.root.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoBytes(digest)
	}
	if err != nil {
		return nil, status.Errorf(status.Internal, "read %s: %w", digest, err)
	}
	if Digest(wasm) != digest {
		return nil, status.Publicf(status.DataLoss, "the stored bytes of %s are damaged", digest)
	}
	return wasm, nil
}
