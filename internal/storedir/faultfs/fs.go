package faultfs

import (
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// FS returns the disk as a process sees it, until [Disk.Restart].
func (d *Disk) FS() storedir.FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &view{disk: d, boot: d.boot}
}

type view struct {
	disk *Disk
	boot int
}

// do runs one operation.
func (v *view) do(op, name string, run func() error) error {
	v.disk.mu.Lock()
	defer v.disk.mu.Unlock()
	happens, fail := v.disk.begin(v.boot, op+" "+name)
	var err error
	if happens {
		err = run()
	}
	if fail != nil {
		return fail
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func (v *view) OpenFile(name string, flag int, _ fs.FileMode) (storedir.File, error) {
	f := &file{view: v, name: name, appends: flag&os.O_APPEND != 0}
	err := v.do("open", name, func() error {
		dir, base, err := v.disk.parent(name)
		if err != nil {
			return err
		}
		n, ok := dir.entries[base]
		switch {
		case ok && flag&os.O_EXCL != 0:
			return fs.ErrExist
		case ok && n.isDir:
			return syscall.EISDIR
		case !ok && flag&os.O_CREATE == 0:
			return fs.ErrNotExist
		case !ok:
			n = &node{}
			dir.change(change{add: base, node: n})
		}
		if flag&os.O_TRUNC != 0 && len(n.data) > 0 {
			n.write(write{truncate: true})
		}
		f.node = n
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (n *node) write(w write) {
	n.data = w.on(n.data)
	n.pending = append(n.pending, w)
}

func (v *view) ReadFile(name string, limit int64) (content []byte, err error) {
	err = v.do("read", name, func() error {
		n, err := v.disk.root.find(name)
		if err != nil {
			return err
		}
		if n.isDir || int64(len(n.data)) > limit {
			return storedir.ErrIrregular
		}
		content = slices.Clone(n.data)
		return nil
	})
	return content, err
}

func (v *view) Mkdir(name string, _ fs.FileMode) error {
	return v.do("mkdir", name, func() error {
		dir, base, err := v.disk.parent(name)
		if err != nil {
			return err
		}
		if _, ok := dir.entries[base]; ok {
			return fs.ErrExist
		}
		dir.change(change{add: base, node: newDir()})
		return nil
	})
}

func (v *view) Rename(from, to string) error {
	return v.do("rename", to, func() error {
		dir, oldName, err := v.disk.parent(from)
		if err != nil {
			return err
		}
		if path.Dir(to) != path.Dir(from) {
			panic("faultfs: a rename into another directory is not modelled")
		}
		n, ok := dir.entries[oldName]
		if !ok {
			return fs.ErrNotExist
		}
		if there, ok := dir.entries[path.Base(to)]; ok && there.isDir && len(there.entries) > 0 {
			return syscall.ENOTEMPTY
		}
		dir.change(change{remove: oldName, add: path.Base(to), node: n})
		return nil
	})
}

func (v *view) Remove(name string) error {
	return v.do("remove", name, func() error {
		dir, base, err := v.disk.parent(name)
		if err != nil {
			return err
		}
		n, ok := dir.entries[base]
		if !ok {
			return fs.ErrNotExist
		}
		if n.isDir && len(n.entries) > 0 {
			return syscall.ENOTEMPTY
		}
		dir.change(change{remove: base})
		return nil
	})
}

func (v *view) ReadDir(name string) (all []fs.DirEntry, err error) {
	err = v.do("readdir", name, func() error {
		n, err := v.disk.root.find(name)
		if err != nil {
			return err
		}
		if !n.isDir {
			return syscall.ENOTDIR
		}
		for name, child := range n.entries {
			all = append(all, fs.FileInfoToDirEntry(info{name, child.isDir, int64(len(child.data))}))
		}
		slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		return nil
	})
	return all, err
}

func (v *view) SyncDir(name string) error {
	return v.do("syncdir", name, func() error {
		n, err := v.disk.root.find(name)
		if err != nil {
			return err
		}
		for _, c := range n.changes {
			n.apply(c)
		}
		n.changes = nil
		return nil
	})
}

func (v *view) Close() error { return nil }

type info struct {
	name string
	dir  bool
	size int64
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}

type file struct {
	view *view
	node *node
	name string
	at   int64
	// appends has each Write go to the end of the file.
	appends bool
	closed  bool
}

func (f *file) do(op string, run func() error) error {
	return f.view.do(op, f.name, func() error {
		if f.closed || f.node == nil {
			return fs.ErrClosed
		}
		return run()
	})
}

func (f *file) ReadAt(p []byte, at int64) (n int, err error) {
	err = f.do("readat", func() error {
		if at < int64(len(f.node.data)) {
			n = copy(p, f.node.data[at:])
		}
		return nil
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (f *file) WriteAt(p []byte, at int64) (n int, err error) {
	return f.write(p, func() int64 { return at })
}

func (f *file) write(p []byte, where func() int64) (n int, err error) {
	d := f.view.disk
	err = f.do("write", func() error {
		n = len(p)
		if d.fault.At > 0 && (d.ops == d.fault.At || d.ops > d.fault.At && d.fault.Sticky) {
			n /= 2 // it fails in the middle
		}
		f.node.write(write{at: where(), b: slices.Clone(p[:n])})
		return nil
	})
	return n, err
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.write(p, func() int64 {
		if f.appends {
			f.at = int64(len(f.node.data))
		}
		return f.at
	})
	f.at += int64(n)
	return n, err
}

func (f *file) Truncate(size int64) error {
	return f.do("truncate", func() error {
		f.node.write(write{at: size, truncate: true})
		return nil
	})
}

func (f *file) Stat() (i fs.FileInfo, err error) {
	err = f.do("stat", func() error {
		i = info{path.Base(f.name), false, int64(len(f.node.data))}
		return nil
	})
	return i, err
}

// Sync fails in one of two ways: what was written has reached the disk, or some of it has
// and the rest never will.
func (f *file) Sync() error {
	synced := false
	err := f.do("sync", func() error {
		f.node.sync(false, nil)
		synced = true
		return nil
	})
	d := f.view.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if !synced && !f.closed && !d.dead && d.boot == f.view.boot {
		f.node.sync(true, d.rand)
	}
	return err
}

func (f *file) Close() error {
	f.closed = true
	return nil
}
