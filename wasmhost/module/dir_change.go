package module

import (
	"context"
	"errors"
	"io/fs"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Put implements [Store]. When it fails, the old revision is current, or, if only
// the last sync failed, the new one is.
func (d *Dir) Put(ctx context.Context, rec Record, wasm []byte) (Record, error) {
	rec, err := prepare(ctx, rec, wasm)
	if err != nil {
		return Record{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(ctx); err != nil {
		return Record{}, err
	}
	if err := d.put(&rec, wasm); err != nil {
		return Record{}, status.Errorf(status.Internal, "store module %q of tenant %q: %w", rec.Name, rec.Tenant, err)
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
	rec.Revision = h.latest + 1
	dir := moduleDir(rec.Tenant, rec.Name)
	if err := d.writeRecord(dir, *rec); err != nil {
		return err
	}
	return d.point(dir, pointer{Current: rec.Revision, Latest: rec.Revision})
}

// putFirst makes a module's directory under a temporary name, whole, and gives it
// its name.
func (d *Dir) putFirst(rec *Record) error {
	tenant := tenantsDir + "/" + encodeName(rec.Tenant)
	if err := d.files.mkdir(tenant); err != nil {
		return err
	}
	if err := d.files.sync(tenantsDir); err != nil {
		return err
	}
	temporary := tenant + "/" + temporaryName()
	if err := d.files.mkdir(temporary); err != nil {
		return err
	}
	rec.Revision = 1
	err := d.writeRecord(temporary, *rec)
	if err == nil {
		err = d.point(temporary, pointer{Current: 1, Latest: 1})
	}
	if err == nil {
		err = d.files.rename(temporary, moduleDir(rec.Tenant, rec.Name))
	}
	if err != nil {
		d.files.discard(temporary)
		return err
	}
	return d.files.sync(tenant)
}

func (d *Dir) writeRecord(dir string, rec Record) error {
	raw, err := encodeRecord(rec)
	if err != nil {
		return err
	}
	return d.files.write(dir, strconv.Itoa(rec.Revision)+recordExt, raw)
}

// putBlob stores bytes unless they are there and whole.
func (d *Dir) putBlob(digest string, wasm []byte) error {
	path, ok := blobPath(digest)
	if !ok {
		return errNoBytes(digest)
	}
	old, err := d.files.root.ReadFile(path)
	if err == nil && Digest(old) == digest {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.files.write(blobsDir, path[len(blobsDir)+1:], wasm)
}

func (d *Dir) point(dir string, p pointer) error {
	return d.files.write(dir, pointerFile, p.encode())
}

// SetCurrent implements [Store]. It fails with DATA_LOSS when that revision's
// record is damaged.
func (d *Dir) SetCurrent(ctx context.Context, tenant, name string, revision int) (Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(ctx); err != nil {
		return Record{}, err
	}
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
		if err := d.point(moduleDir(tenant, name), pointer{Current: revision, Latest: h.latest}); err != nil {
			return Record{}, status.Errorf(status.Internal, "point module %q of tenant %q to revision %d: %w", name, tenant, revision, err)
		}
		rec.Current = true
		return rec, nil
	}
	return Record{}, errNoRevision(name, revision)
}

// Delete implements [Store]. The module is gone from the moment at which its
// directory loses its name; its bytes follow, unless others share them.
func (d *Dir) Delete(ctx context.Context, tenant, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(ctx); err != nil {
		return err
	}
	h, err := d.existing(tenant, name)
	if err != nil {
		return err
	}
	parent := tenantsDir + "/" + encodeName(tenant)
	temporary := parent + "/" + temporaryName()
	err = d.files.rename(moduleDir(tenant, name), temporary)
	if err == nil {
		err = d.files.sync(parent)
	}
	if err != nil {
		return status.Errorf(status.Internal, "delete module %q of tenant %q: %w", name, tenant, err)
	}
	// What fails from here on is done again when the directory is opened.
	d.files.discard(temporary)
	for _, rec := range h.records {
		if rec.Problem != "" {
			continue
		}
		if d.refs[rec.Digest]--; d.refs[rec.Digest] > 0 {
			continue
		}
		delete(d.refs, rec.Digest)
		if path, ok := blobPath(rec.Digest); ok && d.sweeps {
			d.files.discard(path)
		}
	}
	return nil
}
