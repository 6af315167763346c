package module

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Dir keeps modules in a local directory, which one process at a time may use. See
// [OpenDir].
//
// Its files, all of them readable by their owner alone:
//
//	lock                            held while the directory is open
//	blobs/<hex of the SHA-256>.wasm the bytes, once for each digest
//	tenants/<tenant>/<module>/      the module's revisions
//	    1.record, 2.record, …       one immutable record each
//	    current                     which of them is served, the newest, and those pruned
//
// Every file is written under a temporary name, synced, renamed and its directory
// synced. A revision exists once the pointer file current names it, and a module once
// its directory has its final name. OpenDir removes files that a crash left before that
// point. Every file has a checksum, to detect damage. Upper-case letters in names are
// written as "!" and the lower-case letter, because some file systems ignore case.
//
// A failed change is undone. If undoing fails as well, calls for the module, and Current
// for all modules, fail with UNAVAILABLE until it succeeds.
type Dir struct {
	files storedir.FS

	mu           sync.RWMutex   // guards the fields below, and orders what is written
	refs         map[string]int // digest → records that name it
	refsComplete bool           // all records could be read, so bytes without a reference may be removed
	undos        map[moduleID]undoStep
	closed       bool

	damaged map[string]error // by tenant; set when the directory is opened
}

var (
	_ Store          = (*Dir)(nil)
	_ Switcher       = (*Dir)(nil)
	_ Deleter        = (*Dir)(nil)
	_ Pruner         = (*Dir)(nil)
	_ DamageReporter = (*Dir)(nil)

	_ TenantReader = (*Dir)(nil)
)

const (
	blobsDir    = "blobs"
	tenantsDir  = "tenants"
	pointerFile = "current"
	recordExt   = ".record"
	blobExt     = ".wasm"
)

// OpenDir opens the store in the directory path and creates the directory if needed. It
// removes files that an earlier crash left behind. It fails with FAILED_PRECONDITION
// when another process (or another Dir of this one) has the directory open. Symbolic
// links that lead out of path are not followed.
func OpenDir(path string) (*Dir, error) {
	files, err := storedir.Open(path, "module store")
	if err != nil {
		return nil, err
	}
	return openFS(files)
}

func openFS(files storedir.FS) (*Dir, error) {
	d := &Dir{files: files, refs: map[string]int{}, undos: map[moduleID]undoStep{}, damaged: map[string]error{}}
	if err := d.recover(); err != nil {
		return nil, errors.Join(status.Errorf(status.Internal, "open module store: %w", err), d.Close())
	}
	return d, nil
}

// Close releases the directory, so that another process can open it. Later calls fail
// with FAILED_PRECONDITION.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	for id := range d.undos {
		_ = d.finishUndo(id) // best effort: if this fails, the next OpenDir finds either the old or the new state
	}
	d.closed = true
	return d.files.Close()
}

// Hold has changes wait until release is called, so that all files can be copied as they are at
// one moment. Reading goes on. It is meant for backups, and short.
func (d *Dir) Hold() (release func()) { return storedir.Hold(d.files) }

func (d *Dir) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return status.Convert(err)
	}
	if d.closed {
		return status.Errorf(status.FailedPrecondition, "the module store is closed")
	}
	return nil
}

// read takes the lock for reading. Before that it tries to undo changes that failed.
func (d *Dir) read(ctx context.Context) (unlock func(), err error) {
	d.mu.RLock()
	if len(d.undos) > 0 && !d.closed {
		d.mu.RUnlock()
		d.mu.Lock()
		for id := range d.undos {
			_ = d.finishUndo(id)
		}
		d.mu.Unlock()
		d.mu.RLock()
	}
	if err := d.usable(ctx); err != nil {
		d.mu.RUnlock()
		return nil, err
	}
	return d.mu.RUnlock, nil
}

// recover prepares the directory: it creates missing directories, removes temporary
// files and unreferenced bytes, counts references, and syncs everything, because a
// process that was killed may not have.
func (d *Dir) recover() error {
	for _, dir := range []string{blobsDir, tenantsDir} {
		if err := storedir.Mkdir(d.files, ".", dir); err != nil {
			return err
		}
	}
	if err := storedir.RemoveTemporary(d.files, ".", blobsDir, tenantsDir); err != nil {
		return err
	}
	d.refsComplete = true
	tenants, err := d.tenants()
	if err != nil {
		return err
	}
	for _, tenant := range tenants {
		if err := d.recoverTenant(tenant); err != nil {
			return err
		}
	}
	for _, dir := range []string{blobsDir, tenantsDir} {
		if err := d.files.SyncDir(dir); err != nil {
			return err
		}
	}
	return d.sweep()
}

// recoverTenant recovers the modules of one tenant. If the tenant's directory can't be
// read, it records the tenant in damaged and returns nil, so that the other tenants are
// still served.
func (d *Dir) recoverTenant(tenant string) error {
	if _, err := d.modules(tenant); err != nil {
		if storedir.Exhausted(err) {
			return err
		}
		d.refsComplete = false
		d.damaged[tenant] = fmt.Errorf("read the modules of tenant %q: %w", tenant, err)
		return nil
	}
	if err := storedir.RemoveTemporary(d.files, tenantDir(tenant)); err != nil {
		return err
	}
	names, err := d.modules(tenant)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.recoverModule(tenant, name); err != nil {
			return fmt.Errorf("module %q of tenant %q: %w", name, tenant, err)
		}
	}
	return d.files.SyncDir(tenantDir(tenant))
}

func (d *Dir) recoverModule(tenant, name string) error {
	dir := moduleDir(tenant, name)
	h, err := d.history(tenant, name)
	if err != nil {
		d.refsComplete = false // Current reports it
		return nil
	}
	if err := storedir.RemoveTemporary(d.files, dir); err != nil {
		return err
	}
	if h.unsummed { // written by a version whose pointers had no checksum
		if err := d.point(dir, tenant, name, h.pointer); err != nil {
			return err
		}
	}
	for _, rec := range h.records {
		d.refs[rec.Digest]++
		d.refsComplete = d.refsComplete && rec.Problem == ""
	}
	d.refsComplete = d.refsComplete && h.problem == ""
	d.dropRecords(dir, h.leftover)
	return d.files.SyncDir(dir)
}

// sweep drops the blobs that no record refers to. If any record can't be read, it
// removes nothing.
func (d *Dir) sweep() error {
	if !d.refsComplete {
		return nil
	}
	blobs, err := d.files.ReadDir(blobsDir)
	if err != nil {
		return err
	}
	for _, blob := range blobs {
		hex, isBlob := strings.CutSuffix(blob.Name(), blobExt)
		if isBlob && d.refs[digestPrefix+hex] == 0 {
			if err := d.files.Remove(blobsDir + "/" + blob.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// tenants returns the tenants that have a directory; foreign names are passed over.
func (d *Dir) tenants() ([]string, error) { return d.names(tenantsDir) }

func (d *Dir) modules(tenant string) ([]string, error) { return d.names(tenantDir(tenant)) }

func (d *Dir) names(dir string) ([]string, error) {
	entries, err := d.files.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, ok := decodeName(e.Name()); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// Damaged implements [DamageReporter].
func (d *Dir) Damaged() map[string]error { return maps.Clone(d.damaged) }

// Current implements [Store]. For a module whose record or pointer is damaged, the
// result has only Tenant, Name, Problem and, if known, Revision.
func (d *Dir) Current(ctx context.Context) ([]Record, error) {
	return d.current(ctx, d.tenants)
}

// CurrentOf implements [TenantReader].
func (d *Dir) CurrentOf(ctx context.Context, tenant string) ([]Record, error) {
	if abi.CheckModuleName(tenant) != nil {
		return []Record{}, nil
	}
	return d.current(ctx, func() ([]string, error) { return []string{tenant}, nil })
}

// current returns the current records of the tenants; one that has no directory has none.
func (d *Dir) current(ctx context.Context, tenants func() ([]string, error)) ([]Record, error) {
	unlock, err := d.read(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for id := range d.undos {
		return nil, d.undoPending(id.tenant, id.name)
	}
	all := []Record{}
	of, err := tenants()
	if err != nil {
		return nil, storedir.Problem("read the module store", err)
	}
	for _, tenant := range of {
		if d.damaged[tenant] != nil {
			continue
		}
		names, err := d.modules(tenant)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, storedir.Problem("read the module store", err)
		}
		for _, name := range names {
			h, err := d.history(tenant, name)
			if err != nil {
				h = &stored{problem: "the module's directory can't be read"}
			}
			all = append(all, h.currentRecord(tenant, name))
		}
	}
	sortRecords(all)
	return all, nil
}

// Versions implements [Store]. Damaged records come with Problem set.
func (d *Dir) Versions(ctx context.Context, tenant, name string) ([]Record, error) {
	unlock, err := d.read(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	h, err := d.existing(tenant, name)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(h.records)
	slices.Reverse(all)
	return all, nil
}

// existing returns the history of a module; NOT_FOUND when there is none, DATA_LOSS if
// the path is not a module directory.
func (d *Dir) existing(tenant, name string) (*stored, error) {
	if checkNames(tenant, name) != nil {
		return nil, errNoModule(tenant, name)
	}
	if err := d.undoPending(tenant, name); err != nil {
		return nil, err
	}
	h, err := d.history(tenant, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errNoModule(tenant, name)
	case errors.Is(err, storedir.ErrIrregular):
		return nil, status.Publicf(status.DataLoss, "the stored data of module %q of tenant %q is damaged", name, tenant).WithCause(err)
	case err != nil:
		return nil, storedir.Problem(fmt.Sprintf("read module %q of tenant %q", name, tenant), err)
	}
	return h, nil
}

// Wasm implements [Store]. Bytes that a record names and that are not there are DATA_LOSS.
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
	wasm, err := d.files.ReadFile(path, math.MaxInt64-1)
	if errors.Is(err, fs.ErrNotExist) && d.refs[digest] == 0 {
		return nil, errNoBytes(digest)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, storedir.ErrIrregular) || err == nil && Digest(wasm) != digest {
		return nil, status.Publicf(status.DataLoss, "the stored bytes of %s are damaged or lost; upload the module again", digest)
	}
	if err != nil {
		return nil, storedir.Problem("read "+digest, err)
	}
	return wasm, nil
}
