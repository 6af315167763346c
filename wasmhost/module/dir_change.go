package module

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// change takes the lock for writing. It fails with UNAVAILABLE if an earlier, failed change
// of the module can't be undone.
func (d *Dir) change(ctx context.Context, id moduleID) (unlock func(), err error) {
	d.mu.Lock()
	err = d.usable(ctx)
	if err == nil && d.finishUndo(id) != nil {
		err = d.undoPending(id.tenant, id.name)
	}
	if err != nil {
		d.mu.Unlock()
		return nil, err
	}
	return d.mu.Unlock, nil
}

// Put implements [Store]. When it fails, the old revision is current.
func (d *Dir) Put(ctx context.Context, rec Record, wasm []byte) (Record, error) {
	rec, err := prepare(ctx, rec, wasm)
	if err != nil {
		return Record{}, err
	}
	unlock, err := d.change(ctx, moduleID{rec.Tenant, rec.Name})
	if err != nil {
		return Record{}, err
	}
	defer unlock()
	if err := d.put(&rec, wasm); err != nil {
		return Record{}, storedir.Problem(fmt.Sprintf("store module %q of tenant %q", rec.Name, rec.Tenant), err)
	}
	d.refs[rec.Digest]++
	rec.Current = true
	return rec, nil
}

func (d *Dir) put(rec *Record, wasm []byte) error {
	if err := d.putBlob(rec.Digest, wasm); err != nil {
		return err
	}
	h, err := d.history(rec.Tenant, rec.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return d.putFirst(rec)
	}
	if err != nil {
		return err
	}
	rec.Revision = h.Latest + 1
	if err := d.writeRecord(moduleDir(rec.Tenant, rec.Name), *rec); err != nil {
		return err
	}
	return d.repoint(rec.Tenant, rec.Name, h, pointer{Current: rec.Revision, Latest: rec.Revision, Pruned: h.Pruned})
}

// putFirst writes a new module's directory under a temporary name and then renames it.
func (d *Dir) putFirst(rec *Record) error {
	if err := storedir.Mkdir(d.files, tenantsDir, encodeName(rec.Tenant)); err != nil {
		return err
	}
	tenant := tenantDir(rec.Tenant)
	temporary := tenant + "/" + storedir.TemporaryName()
	err := d.files.Mkdir(temporary, 0o700)
	if err != nil {
		storedir.Discard(d.files, temporary)
		return err
	}
	rec.Revision = 1
	if err = d.writeRecord(temporary, *rec); err == nil {
		err = d.point(temporary, rec.Tenant, rec.Name, pointer{Current: 1, Latest: 1})
	}
	if err != nil {
		storedir.Discard(d.files, temporary)
		return err
	}
	if err = storedir.Rename(d.files, tenant, temporary, moduleDir(rec.Tenant, rec.Name)); err != nil {
		d.undo(moduleID{rec.Tenant, rec.Name}, undoStep{remove: true})
		storedir.Discard(d.files, temporary)
	}
	return err
}

func (d *Dir) writeRecord(dir string, rec Record) error {
	raw, err := encodeRecord(rec)
	if err != nil {
		return err
	}
	return storedir.WriteFile(d.files, dir, strconv.Itoa(rec.Revision)+recordExt, raw)
}

// putBlob writes the bytes, also where another module has the same: who uploads could tell by the time that it takes
// whether another tenant has them. A copy that is there is replaced as a whole, and stays where that fails.
func (d *Dir) putBlob(digest string, wasm []byte) error {
	path, ok := blobPath(digest)
	if !ok {
		return errNoBytes(digest)
	}
	return storedir.WriteFile(d.files, blobsDir, path[len(blobsDir)+1:], wasm)
}

func (d *Dir) point(dir, tenant, name string, p pointer) error {
	return storedir.WriteFile(d.files, dir, pointerFile, p.encode(tenant, name))
}

// repoint replaces the pointer file. If that fails, it restores the content in h.
func (d *Dir) repoint(tenant, name string, h *stored, p pointer) error {
	err := d.point(moduleDir(tenant, name), tenant, name, p)
	if storedir.Unsettled(err) {
		d.undo(moduleID{tenant, name}, undoStep{pointer: h.raw})
	}
	return err
}

// SetCurrent implements [Switcher]. It fails with DATA_LOSS when that revision's
// record is damaged.
func (d *Dir) SetCurrent(ctx context.Context, tenant, name string, revision int) (Record, error) {
	unlock, err := d.change(ctx, moduleID{tenant, name})
	if err != nil {
		return Record{}, err
	}
	defer unlock()
	h, err := d.existing(tenant, name)
	if err != nil {
		return Record{}, err
	}
	for _, rec := range h.records {
		if rec.Revision != revision {
			continue
		}
		if rec.Problem != "" {
			return Record{}, status.Publicf(status.DataLoss, "revision %d of module %q: %s", revision, name, rec.Problem)
		}
		if err := d.repoint(tenant, name, h, pointer{Current: revision, Latest: h.Latest, Pruned: h.Pruned}); err != nil {
			return Record{}, status.Errorf(status.Internal, "point module %q of tenant %q to revision %d: %w", name, tenant, revision, err)
		}
		rec.Current = true
		return rec, nil
	}
	return Record{}, errNoRevision(name, revision)
}

// Delete implements [Deleter]. The module is gone from the moment at which its
// directory loses its name; its bytes follow, unless others share them.
func (d *Dir) Delete(ctx context.Context, tenant, name string) error {
	unlock, err := d.change(ctx, moduleID{tenant, name})
	if err != nil {
		return err
	}
	defer unlock()
	h, err := d.existing(tenant, name)
	if errors.Is(err, status.ErrDataLoss) {
		h, err = &stored{}, nil // it can be removed
	}
	if err != nil {
		return err
	}
	temporary := tenantDir(tenant) + "/" + storedir.TemporaryName()
	if err := storedir.Rename(d.files, tenantDir(tenant), moduleDir(tenant, name), temporary); err != nil {
		d.undo(moduleID{tenant, name}, undoStep{moved: temporary})
		return storedir.Problem(fmt.Sprintf("delete module %q of tenant %q", name, tenant), err)
	}
	// The module is deleted at this point. Cleanup that fails below is finished by the
	// next OpenDir.
	storedir.Discard(d.files, temporary)
	d.unref(h.records)
	return nil
}

// Prune implements [Pruner].
func (d *Dir) Prune(ctx context.Context, tenant, name string, through int) error {
	unlock, err := d.change(ctx, moduleID{tenant, name})
	if err != nil {
		return err
	}
	defer unlock()
	h, err := d.existing(tenant, name)
	if err != nil {
		return err
	}
	if h.problem != "" {
		return status.Publicf(status.DataLoss, "module %q: %s", name, h.problem)
	}
	if through >= h.Current {
		return errPruneCurrent(name, through)
	}
	if through <= h.Pruned {
		return nil
	}
	if err := d.repoint(tenant, name, h, pointer{Current: h.Current, Latest: h.Latest, Pruned: through}); err != nil {
		return status.Errorf(status.Internal, "prune module %q of tenant %q: %w", name, tenant, err)
	}
	var gone []Record
	var revisions []int
	for _, rec := range h.records {
		if rec.Revision <= through {
			gone, revisions = append(gone, rec), append(revisions, rec.Revision)
		}
	}
	d.dropRecords(moduleDir(tenant, name), revisions)
	d.unref(gone)
	return nil
}

// dropRecords removes the files of pruned records. Files that can't be removed now are
// removed by the next OpenDir.
func (d *Dir) dropRecords(dir string, revisions []int) {
	for _, revision := range revisions {
		storedir.Discard(d.files, dir+"/"+strconv.Itoa(revision)+recordExt)
	}
}

// unref drops the bytes of removed records, unless another record refers to them. While
// a record is damaged or a failed change is not undone, it keeps all bytes, because the
// references are then not fully known.
func (d *Dir) unref(records []Record) {
	for _, rec := range records {
		if rec.Problem != "" {
			continue
		}
		if d.refs[rec.Digest]--; d.refs[rec.Digest] > 0 {
			continue
		}
		delete(d.refs, rec.Digest)
		if path, ok := blobPath(rec.Digest); ok && d.refsComplete && len(d.undos) == 0 {
			storedir.Discard(d.files, path)
		}
	}
}

// undoStep describes how to undo a failed change of a module: the change may have reached the
// disk although its caller got an error.
type undoStep struct {
	remove  bool   // the module did not exist before; remove it
	moved   string // temporary name that the directory may have now; "" if it was not renamed
	pointer []byte // previous content of the pointer file; nil if it was not changed
}

// undo undoes a change that has failed, or remembers that it has to be.
func (d *Dir) undo(id moduleID, u undoStep) {
	d.undos[id] = u
	_ = d.finishUndo(id) // if this fails, the next call tries again
}

// finishUndo undoes the failed change of a module that is remembered in undos, if there is one.
func (d *Dir) finishUndo(id moduleID) error {
	u, ok := d.undos[id]
	if !ok {
		return nil
	}
	if err := d.revert(id, u); err != nil {
		return err
	}
	delete(d.undos, id)
	return nil
}

func (d *Dir) revert(id moduleID, u undoStep) error {
	dir, tenant := moduleDir(id.tenant, id.name), tenantDir(id.tenant)
	_, err := d.files.ReadDir(dir)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !missing && u.moved == "":
		return err
	case u.remove && !missing:
		temporary := tenant + "/" + storedir.TemporaryName()
		if err := storedir.Rename(d.files, tenant, dir, temporary); err != nil {
			return err
		}
		storedir.Discard(d.files, temporary)
		return nil
	case u.moved != "" && missing:
		return storedir.Rename(d.files, tenant, u.moved, dir)
	case u.pointer != nil:
		return storedir.WriteFile(d.files, dir, pointerFile, u.pointer)
	}
	return d.files.SyncDir(tenant)
}

// undoPending returns an error while a change of the module that has failed is not undone.
func (d *Dir) undoPending(tenant, name string) error {
	if _, ok := d.undos[moduleID{tenant, name}]; ok {
		return status.Publicf(status.Unavailable, "an earlier change of module %q failed and can't be undone yet; try again later", name)
	}
	return nil
}
