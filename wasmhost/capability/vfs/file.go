package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/tetratelabs/wazero/experimental/sys"
	wasi "github.com/tetratelabs/wazero/sys"
)

var _ sys.File = (*regular)(nil)

// position is an int64 under a name that keeps go vet from taking wazero's Seek, which
// returns an Errno, for a mistyped io.Seeker.
type position = int64

func stat(file *os.File) (wasi.Stat_t, sys.Errno) {
	info, err := file.Stat()
	if err != nil {
		return wasi.Stat_t{}, errnoOf(err)
	}
	return wasi.NewStat_t(info), 0
}

// Dev implements [sys.File].
func (r *regular) Dev() (uint64, sys.Errno) { st, errno := stat(r.file); return st.Dev, errno }

// Ino implements [sys.File].
func (r *regular) Ino() (wasi.Inode, sys.Errno) { st, errno := stat(r.file); return st.Ino, errno }

// IsDir implements [sys.File].
func (r *regular) IsDir() (bool, sys.Errno) { return false, 0 }

// IsAppend implements [sys.File].
func (r *regular) IsAppend() bool { return r.appends }

// SetAppend implements [sys.File].
func (r *regular) SetAppend(enable bool) sys.Errno { r.appends = enable; return 0 }

// Stat implements [sys.File].
func (r *regular) Stat() (wasi.Stat_t, sys.Errno) { return stat(r.file) }

// Read implements [sys.File].
func (r *regular) Read(buf []byte) (int, sys.Errno) {
	if !r.read {
		return 0, sys.EBADF
	}
	return counted(r.file.Read(buf))
}

// Pread implements [sys.File].
func (r *regular) Pread(buf []byte, off int64) (int, sys.Errno) {
	switch {
	case !r.read:
		return 0, sys.EBADF
	case off < 0:
		return 0, sys.EINVAL
	}
	return counted(r.file.ReadAt(buf, off))
}

// counted takes the end of a file for no error.
func counted(n int, err error) (int, sys.Errno) {
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, errnoOf(err)
}

// Seek implements [sys.File].
func (r *regular) Seek(offset position, whence int) (int64, sys.Errno) {
	if whence < io.SeekStart || whence > io.SeekEnd {
		return 0, sys.EINVAL
	}
	n, err := r.file.Seek(offset, whence)
	return n, errnoOf(err)
}

// Readdir implements [sys.File].
func (r *regular) Readdir(int) ([]sys.Dirent, sys.Errno) { return nil, sys.ENOTDIR }

// Write implements [sys.File].
func (r *regular) Write(buf []byte) (int, sys.Errno) {
	return r.put(buf, func(size int64) (int64, error) {
		if r.appends {
			return r.file.Seek(0, io.SeekEnd)
		}
		return r.file.Seek(0, io.SeekCurrent)
	}, r.file.Write)
}

// Pwrite implements [sys.File].
func (r *regular) Pwrite(buf []byte, off int64) (int, sys.Errno) {
	if off < 0 {
		return 0, sys.EINVAL
	}
	return r.put(buf, func(int64) (int64, error) { return off, nil }, func(p []byte) (int, error) { return r.file.WriteAt(p, off) })
}

// put writes, if what it adds has room.
func (r *regular) put(buf []byte, at func(size int64) (int64, error), write func([]byte) (int, error)) (int, sys.Errno) {
	if !r.write {
		return 0, sys.EBADF
	}
	if len(buf) == 0 {
		return 0, 0
	}
	m := r.fs.mount
	m.mu.Lock()
	defer m.mu.Unlock()
	size, errno := r.size()
	if errno != 0 {
		return 0, errno
	}
	off, err := at(size)
	if err != nil {
		return 0, errnoOf(err)
	}
	end := off + int64(len(buf))
	if end < off || !m.take(max(0, end-size), 0) {
		return 0, sys.EIO
	}
	n, err := write(buf)
	if after, errno := r.size(); errno == 0 { // less than was asked may have been written
		m.take(after-max(end, size), 0)
	}
	return n, errnoOf(err)
}

// Truncate implements [sys.File].
func (r *regular) Truncate(size int64) sys.Errno {
	switch {
	case !r.write:
		return sys.EBADF
	case size < 0:
		return sys.EINVAL
	}
	r.fs.mount.mu.Lock()
	defer r.fs.mount.mu.Unlock()
	return r.resize(size)
}

// Sync does nothing: a guest can't keep the disk busy.
func (r *regular) Sync() sys.Errno { return 0 }

// Datasync does nothing.
func (r *regular) Datasync() sys.Errno { return 0 }

// Utimens is refused.
func (r *regular) Utimens(int64, int64) sys.Errno { return sys.EPERM }

// Close implements [sys.File].
func (r *regular) Close() sys.Errno {
	r.closed.Do(func() {
		r.fs.mount.mu.Lock()
		defer r.fs.mount.mu.Unlock()
		r.drop()
		r.fs.leave()
	})
	return 0
}

var _ sys.File = (*directory)(nil)

// Dev implements [sys.File].
func (d *directory) Dev() (uint64, sys.Errno) { st, errno := stat(d.file); return st.Dev, errno }

// Ino implements [sys.File].
func (d *directory) Ino() (wasi.Inode, sys.Errno) { st, errno := stat(d.file); return st.Ino, errno }

// Stat implements [sys.File].
func (d *directory) Stat() (wasi.Stat_t, sys.Errno) { return stat(d.file) }

// Seek goes back to the first entry; nothing else is possible.
func (d *directory) Seek(offset position, whence int) (int64, sys.Errno) {
	if offset != 0 || whence != io.SeekStart {
		return 0, sys.EINVAL
	}
	n, err := d.file.Seek(0, io.SeekStart)
	return n, errnoOf(err)
}

// maxBatch bounds the entries that are read at a time.
const maxBatch = 4096

// Readdir implements [sys.File].
func (d *directory) Readdir(n int) ([]sys.Dirent, sys.Errno) {
	if n <= 0 || n > maxBatch {
		n = maxBatch
	}
	entries, err := d.file.ReadDir(n)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errnoOf(err)
	}
	list := make([]sys.Dirent, 0, len(entries))
	for _, e := range entries {
		list = append(list, sys.Dirent{Name: e.Name(), Type: e.Type() & fs.ModeType})
	}
	return list, 0
}

// Sync does nothing.
func (d *directory) Sync() sys.Errno { return 0 }

// Datasync does nothing.
func (d *directory) Datasync() sys.Errno { return 0 }

// Utimens is refused.
func (d *directory) Utimens(int64, int64) sys.Errno { return sys.EPERM }

// Close implements [sys.File].
func (d *directory) Close() sys.Errno {
	d.closed.Do(func() {
		_ = d.file.Close()
		d.fs.leave()
	})
	return 0
}
