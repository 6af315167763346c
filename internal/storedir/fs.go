package storedir

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// FS is a directory and all below it, as a store uses it: names are relative to it, with
// slashes, and nothing leads out of it, whatever links stand there. Tests give stores one
// that fails and loses power; see the package faultfs.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// ReadFile returns the content of a regular file of at most limit bytes. It fails
	// with [ErrIrregular] for what is larger or no regular file, a link for example.
	ReadFile(name string, limit int64) ([]byte, error)
	Mkdir(name string, perm fs.FileMode) error
	// Rename renames a file, in the same directory, and replaces the file that had
	// that name.
	Rename(from, to string) error
	Remove(name string) error
	// ReadDir returns the entries of a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// SyncDir writes the entries of a directory to the disk: the names that were given,
	// changed and removed since.
	SyncDir(name string) error
	Close() error
}

// File is an open file, as far as a store needs it.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Writer
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
	Sync() error
	Close() error
}

// ErrIrregular says that a file is none that a store has written.
var ErrIrregular = errors.New("not a regular file of this store")

// Holder is an optional interface of an [FS] whose files can be kept from being changed, as a
// backup needs it.
type Holder interface {
	// Hold waits until the changes under way have been made, each one operation on a file, and
	// has further ones wait until release is called. What is on the disk meanwhile is what a
	// process that is killed leaves. Files can be read and synced.
	Hold() (release func())
}

// Hold calls [Holder.Hold]; an FS that has none lets changes through.
func Hold(fsys FS) (release func()) {
	if h, ok := fsys.(Holder); ok {
		return h.Hold()
	}
	return func() {}
}

// dir is a directory of the system.
type dir struct {
	root *os.Root
	lock *os.File
	// changing is held for reading while something is changed, and alone by Hold.
	changing sync.RWMutex
}

var _ Holder = (*dir)(nil)

// file is an open file of a dir.
type file struct {
	*os.File
	dir *dir
}

// syncs counts what stores have asked of the disk.
var syncs atomic.Int64

// Syncs returns how often stores of this process have had a file or a directory written to the disk: a path that
// is to wait for no disk is held to that by a test.
func Syncs() int64 { return syncs.Load() }

// Sync implements [File].
func (f *file) Sync() error {
	syncs.Add(1)
	return f.File.Sync()
}

func (f *file) WriteAt(p []byte, at int64) (int, error) {
	defer f.dir.change()()
	return f.File.WriteAt(p, at)
}

func (f *file) Write(p []byte) (int, error) {
	defer f.dir.change()()
	return f.File.Write(p)
}

func (f *file) Truncate(size int64) error {
	defer f.dir.change()()
	return f.File.Truncate(size)
}

// change begins a change, and returns what ends it.
func (d *dir) change() (done func()) {
	d.changing.RLock()
	return d.changing.RUnlock
}

func (d *dir) Hold() (release func()) {
	d.changing.Lock()
	return sync.OnceFunc(d.changing.Unlock)
}

// Open opens the directory path for one store alone, and makes it, on the disk, where it
// is not there. what names the store for messages ("session store"). It fails with
// FAILED_PRECONDITION when the directory can't be had or another process, or another store
// of this one, has it, and with UNIMPLEMENTED where there are no file locks.
func Open(path, what string) (FS, error) {
	if err := makeAll(path); err != nil {
		return nil, status.Errorf(status.FailedPrecondition, "make the %s: %w", what, err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, status.Errorf(status.FailedPrecondition, "open the %s: %w", what, err)
	}
	lock, err := Lock(root, path, what)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &dir{root: root, lock: lock}, nil
}

// makeAll makes a directory and those above it, and syncs the directory above each that
// it made: what a store acknowledges is lost when its own directory is.
func makeAll(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	var missing []string
	for at := path; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		missing = append(missing, at)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for _, made := range slices.Backward(missing) {
		above, err := os.OpenRoot(filepath.Dir(made))
		if err == nil {
			err = errors.Join(Sync(above, "."), above.Close())
		}
		// A directory in which names can be made may not be readable.
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

func (d *dir) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		defer d.change()()
	}
	f, err := d.root.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &file{f, d}, nil
}

func (d *dir) ReadFile(name string, limit int64) (content []byte, err error) {
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, ErrIrregular
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	now, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(info, now) { // a link was put in its place meanwhile
		return nil, ErrIrregular
	}
	content, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = ErrIrregular
	}
	return content, err
}

func (d *dir) Mkdir(name string, perm fs.FileMode) error {
	defer d.change()()
	return d.root.Mkdir(name, perm)
}

func (d *dir) Rename(from, to string) error {
	defer d.change()()
	return d.root.Rename(from, to)
}

func (d *dir) Remove(name string) error {
	defer d.change()()
	return d.root.Remove(name)
}

func (d *dir) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(d.root.FS(), name) }
func (d *dir) Close() error                               { return errors.Join(d.lock.Close(), d.root.Close()) }

func (d *dir) SyncDir(name string) error {
	syncs.Add(1)
	return Sync(d.root, name)
}
