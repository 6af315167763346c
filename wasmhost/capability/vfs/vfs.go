// Package vfs shows a guest a directory of the host, and nothing beside it.
//
// It owns the file system behind WASI's calls: paths are resolved below one directory
// handle (os.Root), so that neither "..", nor an absolute path, nor a symbolic link, nor
// a rename at the same moment leads out; only regular files and directories can be
// opened; links can't be made; what is written stays within a quota of bytes and
// entries. A mount is read-only unless it is opened for writing and granted so. Use:
//
//	m, err := vfs.Open("/srv/docs", vfs.Options{})
//	defer m.Close()
//	fsys := m.FS(false, nil) // for one module
//
// A *Mount and its file systems are safe for concurrent use. Changes by other processes
// in the directory are visible, and not counted.
package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero/experimental/sys"
	wasi "github.com/tetratelabs/wazero/sys"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// directory is an open directory.
type directory struct {
	sys.DirFile
	fs     *FS
	file   *os.File
	closed sync.Once
}

// regular is an open file. A guest uses it from one goroutine.
type regular struct {
	fs          *FS
	file        *os.File
	node        *node // nil where the mount is for reading
	read, write bool
	appends     bool
	closed      sync.Once
}

// Bounds.
const (
	DefaultBytes   = 16 << 20
	DefaultEntries = 1000
	// maxOpen is the most files that one module has open at a time.
	maxOpen = 128
	// maxWalk bounds the entries that are counted when a mount is opened.
	maxWalk = 100_000
	// maxPath bounds a path.
	maxPath = 4096
)

// Options say how a directory is shown.
type Options struct {
	// Writable lets guests change it that are granted to.
	Writable bool
	// MaxBytes and MaxEntries bound what the directory holds; what is there
	// counts. 0 takes the defaults.
	MaxBytes, MaxEntries int64
}

// Mount is a directory that guests may see.
type Mount struct {
	options Options
	root    *os.Root

	mu      sync.Mutex // guards the fields below; held while one change is made on disk
	bytes   int64
	entries int64
	open    []*node // regular files that are open, if the mount is writable
}

// node is a regular file that is open at least once.
type node struct {
	info fs.FileInfo
	refs int
	// orphan is set when the file has lost its name: its bytes go when the
	// last who has it open lets go.
	orphan bool
}

// Open opens a directory. It fails with INVALID_ARGUMENT when there is none, or when
// a writable one holds too much to be counted.
func Open(dir string, options Options) (*Mount, error) {
	if options.MaxBytes == 0 {
		options.MaxBytes = DefaultBytes
	}
	if options.MaxEntries == 0 {
		options.MaxEntries = DefaultEntries
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "mount %s: %w", dir, err)
	}
	m := &Mount{options: options, root: root}
	if options.Writable {
		if err := m.count(); err != nil {
			return nil, errors.Join(status.Publicf(status.InvalidArgument, "mount %s: %w", dir, err), root.Close())
		}
	}
	return m, nil
}

// Close lets the directory go. Files that guests have open stay open.
func (m *Mount) Close() error { return m.root.Close() }

// Used returns the bytes and entries that count against the quota.
func (m *Mount) Used() (bytes, entries int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes, m.entries
}

func (m *Mount) count() error {
	return fs.WalkDir(m.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if m.entries++; m.entries > maxWalk {
			return errors.New("it holds too many entries to be written to")
		}
		if d.Type().IsRegular() {
			info, err := d.Info()
			if err != nil {
				return err
			}
			m.bytes += info.Size()
		}
		return nil
	})
}

// take reserves room, and reports false when there is none. Giving back is always
// possible.
func (m *Mount) take(bytes, entries int64) bool {
	if (bytes > 0 && m.bytes+bytes > m.options.MaxBytes) || (entries > 0 && m.entries+entries > m.options.MaxEntries) {
		return false
	}
	m.bytes, m.entries = max(0, m.bytes+bytes), max(0, m.entries+entries)
	return true
}

// lost gives back what a name held that is gone.
func (m *Mount) lost(info fs.FileInfo) {
	m.take(0, -1)
	if !info.Mode().IsRegular() || links(info) > 1 {
		return
	}
	for _, n := range m.open {
		if os.SameFile(n.info, info) {
			n.orphan = true
			return
		}
	}
	m.take(-info.Size(), 0)
}

// Places counts what is open at a time, for several file systems together. It is called
// with no lock held that its own methods could want.
type Places interface {
	Take(n int64) error
	Give(n int64)
}

// FS returns the directory as one module sees it. write counts only where the mount
// is writable. places counts what the module has open; nil counts nothing.
func (m *Mount) FS(write bool, places Places) *FS {
	return &FS{mount: m, write: write && m.options.Writable, places: places}
}

// FS is a module's view of a mount.
type FS struct {
	sys.UnimplementedFS
	mount  *Mount
	write  bool
	places Places // nil: nobody counts

	mu   sync.Mutex // guards open
	open int
}

var _ sys.FS = (*FS)(nil)

// local brings a path to the form that os.Root takes. dir is set when the path says
// that it names a directory.
func local(name string) (clean string, dir bool, errno sys.Errno) {
	if len(name) > maxPath {
		return "", false, sys.ENAMETOOLONG
	}
	if strings.ContainsAny(name, "\x00\\") {
		return "", false, sys.EINVAL
	}
	clean, dir = path.Clean(name), strings.HasSuffix(name, "/")
	if name == "" {
		clean = "."
	}
	clean = filepath.FromSlash(clean)
	if !filepath.IsLocal(clean) {
		return "", dir, sys.EPERM
	}
	return clean, dir, 0
}

// errnoOf keeps the kind of an error; an escape is refused as such.
func errnoOf(err error) sys.Errno {
	if err == nil {
		return 0
	}
	if strings.Contains(err.Error(), "path escapes from parent") {
		return sys.EPERM
	}
	return sys.UnwrapOSError(err)
}

func usable(mode fs.FileMode) bool { return mode.IsRegular() || mode.IsDir() }

// OpenFile implements [sys.FS].
func (f *FS) OpenFile(name string, flag sys.Oflag, _ fs.FileMode) (sys.File, sys.Errno) {
	clean, dir, errno := local(name)
	if errno != 0 {
		return nil, errno
	}
	// The two lowest bits say how a file is opened.
	writes := flag&(sys.O_RDWR|sys.O_WRONLY) != 0
	if (writes || flag&(sys.O_CREAT|sys.O_TRUNC) != 0) && !f.write {
		return nil, sys.EROFS
	}
	if flag&sys.O_NOFOLLOW != 0 {
		if info, err := f.mount.root.Lstat(clean); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil, sys.ELOOP
		}
	}
	if !f.enter() {
		return nil, sys.EAGAIN
	}
	opened, errno := f.openHere(clean, flag, writes)
	if errno == 0 && (dir || flag&sys.O_DIRECTORY != 0) {
		if is, _ := opened.IsDir(); !is {
			_ = opened.Close()
			return nil, sys.ENOTDIR
		}
	}
	if errno != 0 {
		f.leave()
		return nil, errno
	}
	return opened, 0
}

func (f *FS) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open >= maxOpen || f.places != nil && f.places.Take(1) != nil {
		return false
	}
	f.open++
	return true
}

func (f *FS) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	if f.places != nil {
		f.places.Give(1)
	}
}

// openHere opens what is there, or makes a file.
func (f *FS) openHere(clean string, flag sys.Oflag, writes bool) (sys.File, sys.Errno) {
	m := f.mount
	m.mu.Lock()
	defer m.mu.Unlock()
	info, err := m.root.Stat(clean)
	made := false
	switch {
	case err == nil && flag&sys.O_CREAT != 0 && flag&sys.O_EXCL != 0:
		return nil, sys.EEXIST
	case err == nil && !usable(info.Mode()):
		return nil, sys.EPERM // a pipe, a device, a socket
	case err == nil && writes && info.Mode().IsRegular() && links(info) > 1:
		return nil, sys.EPERM // it has another name, which may lie outside
	case err == nil && info.IsDir() && writes:
		return nil, sys.EISDIR
	case errors.Is(err, fs.ErrNotExist) && flag&sys.O_CREAT != 0:
		if !m.take(0, 1) {
			return nil, sys.EIO
		}
		made = true
	case err != nil:
		return nil, errnoOf(err)
	}
	mode := os.O_RDONLY
	if writes || made {
		mode = os.O_RDWR
	}
	if made {
		mode |= os.O_CREATE | os.O_EXCL
	}
	file, err := m.root.OpenFile(clean, mode|nonblock, 0o600) // a pipe that comes about meanwhile must not hold us
	if err != nil {
		if made {
			m.take(0, -1)
		}
		return nil, errnoOf(err)
	}
	if info, err = file.Stat(); err != nil || !usable(info.Mode()) || (writes && info.Mode().IsRegular() && links(info) > 1) {
		_ = file.Close()
		return nil, sys.EPERM
	}
	if info.IsDir() {
		return &directory{fs: f, file: file}, 0
	}
	r := &regular{fs: f, file: file, write: writes, read: flag&sys.O_WRONLY == 0, appends: flag&sys.O_APPEND != 0}
	if m.options.Writable { // also where this module only reads: it keeps what another one removes
		r.node = m.hold(info)
	}
	if flag&sys.O_TRUNC != 0 && writes {
		if errno := r.resize(0); errno != 0 {
			r.drop()
			return nil, errno
		}
	}
	return r, 0
}

// hold notes that a file is open. m.mu is held.
func (m *Mount) hold(info fs.FileInfo) *node {
	for _, n := range m.open {
		if os.SameFile(n.info, info) {
			n.refs++
			return n
		}
	}
	n := &node{info: info, refs: 1}
	m.open = append(m.open, n)
	return n
}

// Stat implements [sys.FS].
func (f *FS) Stat(name string) (wasi.Stat_t, sys.Errno) { return f.stat(name, f.mount.root.Stat) }

// Lstat implements [sys.FS].
func (f *FS) Lstat(name string) (wasi.Stat_t, sys.Errno) { return f.stat(name, f.mount.root.Lstat) }

func (f *FS) stat(name string, look func(string) (fs.FileInfo, error)) (wasi.Stat_t, sys.Errno) {
	clean, dir, errno := local(name)
	if errno != 0 {
		return wasi.Stat_t{}, errno
	}
	info, err := look(clean)
	if err != nil {
		return wasi.Stat_t{}, errnoOf(err)
	}
	if dir && !info.IsDir() {
		return wasi.Stat_t{}, sys.ENOTDIR
	}
	return wasi.NewStat_t(info), 0
}

// Mkdir implements [sys.FS].
func (f *FS) Mkdir(name string, _ fs.FileMode) sys.Errno {
	return f.change(name, func(clean string) sys.Errno {
		if !f.mount.take(0, 1) {
			return sys.EIO
		}
		if err := f.mount.root.Mkdir(clean, 0o700); err != nil {
			f.mount.take(0, -1)
			return errnoOf(err)
		}
		return 0
	})
}

// change runs functions that change the directory, one at a time.
func (f *FS) change(name string, work func(clean string) sys.Errno) sys.Errno {
	clean, _, errno := local(name)
	switch {
	case errno != 0:
		return errno
	case !f.write:
		return sys.EROFS
	case clean == ".":
		return sys.EPERM
	}
	f.mount.mu.Lock()
	defer f.mount.mu.Unlock()
	return work(clean)
}

// Rmdir implements [sys.FS].
func (f *FS) Rmdir(name string) sys.Errno { return f.remove(name, true) }

// Unlink implements [sys.FS].
func (f *FS) Unlink(name string) sys.Errno { return f.remove(name, false) }

func (f *FS) remove(name string, dir bool) sys.Errno {
	return f.change(name, func(clean string) sys.Errno {
		info, err := f.mount.root.Lstat(clean)
		switch {
		case err != nil:
			return errnoOf(err)
		case info.IsDir() && !dir:
			return sys.EISDIR
		case !info.IsDir() && (dir || strings.HasSuffix(name, "/")):
			return sys.ENOTDIR
		}
		if err := f.mount.root.Remove(clean); err != nil {
			return errnoOf(err)
		}
		f.mount.lost(info)
		return 0
	})
}

// Rename implements [sys.FS].
func (f *FS) Rename(from, to string) sys.Errno {
	target, _, errno := local(to)
	if errno != 0 {
		return errno
	}
	if target == "." {
		return sys.EPERM
	}
	return f.change(from, func(clean string) sys.Errno {
		moved, err := f.mount.root.Lstat(clean)
		if err != nil {
			return errnoOf(err)
		}
		replaced, err := f.mount.root.Lstat(target)
		if err != nil {
			replaced = nil
		}
		if replaced != nil && replaced.IsDir() {
			if os.SameFile(moved, replaced) {
				return 0
			}
			if !moved.IsDir() {
				return sys.EISDIR
			}
			// Go does not rename to the name of a directory, not even of an empty one.
			if err := f.mount.root.Remove(target); err != nil {
				return errnoOf(err)
			}
			f.mount.lost(replaced)
		}
		if err := f.mount.root.Rename(clean, target); err != nil {
			if replaced != nil && replaced.IsDir() && f.mount.root.Mkdir(target, replaced.Mode().Perm()) == nil {
				f.mount.take(0, 1) // it stands where it stood
			}
			return errnoOf(err)
		}
		if replaced != nil && !replaced.IsDir() && !os.SameFile(moved, replaced) {
			f.mount.lost(replaced)
		}
		return 0
	})
}

// Link is refused: a guest makes no links.
func (f *FS) Link(string, string) sys.Errno { return sys.EPERM }

// Symlink is refused: a guest makes no links.
func (f *FS) Symlink(string, string) sys.Errno { return sys.EPERM }

// Readlink is refused: where a link leads is the host's to know.
func (f *FS) Readlink(string) (string, sys.Errno) { return "", sys.EPERM }

// Chmod is refused.
func (f *FS) Chmod(string, fs.FileMode) sys.Errno { return sys.EPERM }

// Utimens is refused.
func (f *FS) Utimens(string, int64, int64) sys.Errno { return sys.EPERM }

// drop closes the file; the mount's lock is held.
func (r *regular) drop() {
	if n := r.node; n != nil {
		if n.refs--; n.refs == 0 {
			m := r.fs.mount
			m.open = slices.DeleteFunc(m.open, func(o *node) bool { return o == n })
			if size, errno := r.size(); n.orphan && errno == 0 {
				m.take(-size, 0)
			}
		}
	}
	_ = r.file.Close() // the system has the written bytes
}

// resize is Truncate; the mount's lock is held.
func (r *regular) resize(size int64) sys.Errno {
	was, errno := r.size()
	if errno != 0 {
		return errno
	}
	if !r.fs.mount.take(size-was, 0) {
		return sys.EIO
	}
	if err := r.file.Truncate(size); err != nil {
		r.fs.mount.take(was-size, 0)
		return errnoOf(err)
	}
	return 0
}

func (r *regular) size() (int64, sys.Errno) {
	info, err := r.file.Stat()
	if err != nil {
		return 0, errnoOf(err)
	}
	return info.Size(), 0
}
