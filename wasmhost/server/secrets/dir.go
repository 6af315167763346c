package secrets

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// dir is a backend in a directory, which has a directory for each tenant, with a file for each value. A file is
// written under a temporary name, synced and renamed, and its directory synced, so that it is whole whenever the
// process ends.
type dir struct {
	files storedir.FS

	mu sync.Mutex // guards unsynced
	// unsynced are the directories of which a change was made and failed to be synced; "." is the one of the tenants.
	// Before anything is told of them they have to be, or what was told might be gone after a power cut.
	unsynced map[string]bool
}

var (
	_ Backend = (*dir)(nil)
	_ Dropper = (*dir)(nil)
)

// openDir removes what a process that was ended left half written, and has on the disk what it left unsynced.
func openDir(files storedir.FS) (*dir, error) {
	d := &dir{files: files, unsynced: map[string]bool{}}
	if err := storedir.RemoveTemporary(files, "."); err != nil {
		return nil, err
	}
	tenants, err := d.tenants()
	if err != nil {
		return nil, err
	}
	for _, name := range tenants {
		if err := storedir.RemoveTemporary(files, name); err != nil {
			return nil, err
		}
		if err := files.SyncDir(name); err != nil {
			return nil, err
		}
	}
	return d, files.SyncDir(".")
}

// tenants returns the directories of tenants.
func (d *dir) tenants() (names []string, err error) {
	entries, err := d.files.ReadDir(".")
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), tenantPrefix) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// List implements [Backend].
func (d *dir) List(_ context.Context, tenant string) (keys []Key, err error) {
	if tenant != "" {
		return d.keysIn(tenant, dirOf(tenant))
	}
	names, err := d.tenants()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		tenant, ok := storedir.NamedBy(tenantPrefix, name, "")
		if !ok && !isHashed(tenantPrefix, name, "") {
			continue // of another program
		}
		if !ok {
			tenant = name // until a file says which
		}
		more, err := d.keysIn(tenant, name)
		if err != nil {
			return nil, err
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

func (d *dir) keysIn(tenant, name string) (keys []Key, err error) {
	if err := d.settle(name); err != nil {
		return nil, err
	}
	entries, err := d.files.ReadDir(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if key, ok := d.keyOf(tenant, name, e.Name()); ok {
			keys = append(keys, key)
		}
	}
	return keys, err
}

// keyOf returns the key of a file of a tenant.
func (d *dir) keyOf(tenant, at, file string) (Key, bool) {
	for _, kind := range []Kind{Secret, Credential} {
		name, ok := storedir.NamedBy(prefixOf(kind), file, fileSuffix)
		if !ok && !isHashed(prefixOf(kind), file, fileSuffix) {
			continue
		}
		if ok && !isHashed(tenantPrefix, tenant, "") {
			return Key{tenant, kind, name}, true
		}
		raw, err := d.files.ReadFile(at+"/"+file, maxFileBytes) // which has the names
		if r, whole := decode(raw); whole && err == nil && dirOf(r.head.Tenant) == at && fileOf(r.head.Kind, r.head.Name) == file {
			return r.key(), true
		}
		if !ok {
			name = file
		}
		return Key{tenant, kind, name}, true
	}
	return Key{}, false
}

// Get implements [Backend].
func (d *dir) Get(_ context.Context, key Key) ([]byte, error) {
	at := dirOf(key.Tenant)
	if err := d.settle(at); err != nil {
		return nil, err
	}
	raw, err := d.files.ReadFile(at+"/"+fileOf(key.Kind, key.Name), maxFileBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, status.Errorf(status.NotFound, "no file of the %s %q", key.Kind, key.Name)
	case errors.Is(err, storedir.ErrIrregular):
		return nil, status.Errorf(status.DataLoss, "the file of the %s %q: %w", key.Kind, key.Name, err)
	}
	return raw, err
}

// Put implements [Backend].
func (d *dir) Put(_ context.Context, key Key, sealed []byte) error {
	at, file := dirOf(key.Tenant), fileOf(key.Kind, key.Name)
	if err := d.settle(at); err != nil {
		return err
	}
	old, err := d.files.ReadFile(at+"/"+file, maxFileBytes)
	there := !errors.Is(err, fs.ErrNotExist)
	if err != nil && there && !errors.Is(err, storedir.ErrIrregular) {
		return err
	}
	if err := d.makeDir(at); err != nil {
		return err
	}
	err = storedir.WriteFile(d.files, at, file, sealed)
	if storedir.Unsettled(err) {
		var undone error
		if there {
			undone = storedir.WriteFile(d.files, at, file, old)
		} else {
			undone = d.unlink(at, file)
		}
		if undone != nil {
			d.leaveUnsynced(at)
		}
	}
	return err
}

// Delete implements [Backend].
func (d *dir) Delete(_ context.Context, key Key) error {
	at := dirOf(key.Tenant)
	if err := d.settle(at); err != nil {
		return err
	}
	err := d.unlink(at, fileOf(key.Kind, key.Name))
	if errors.Is(err, fs.ErrNotExist) { // the tenant has no directory
		return nil
	}
	if err != nil {
		d.leaveUnsynced(at)
	}
	return err
}

func (d *dir) unlink(at, file string) error {
	if err := storedir.RemoveAll(d.files, at+"/"+file); err != nil {
		return err
	}
	return d.files.SyncDir(at)
}

// Drop implements [Dropper]: the directory of the tenant gets a temporary name, and is removed then.
func (d *dir) Drop(_ context.Context, tenant string) error {
	at, temporary := dirOf(tenant), storedir.TemporaryName()
	if err := d.settle(at); err != nil {
		return err
	}
	err := storedir.Rename(d.files, ".", at, temporary)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		d.leaveUnsynced(".")
		d.leaveUnsynced(at)
		return err
	}
	storedir.Discard(d.files, temporary)
	return nil
}

// makeDir makes a tenant's directory where it is not there.
func (d *dir) makeDir(at string) error {
	if _, err := d.files.ReadDir(at); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := storedir.Mkdir(d.files, ".", at); err != nil {
		d.leaveUnsynced(".")
		return err
	}
	return nil
}

func (d *dir) leaveUnsynced(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unsynced[name] = true
}

// settle has earlier changes of a tenant's directory on the disk.
func (d *dir) settle(at string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range []string{".", at} {
		if !d.unsynced[name] {
			continue
		}
		if err := d.files.SyncDir(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return status.Errorf(status.Unavailable, "sync an earlier change of the secrets: %w", err)
		}
		delete(d.unsynced, name)
	}
	return nil
}
