package wasi

import (
	"context"
	"io"
	"io/fs"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental/sys"
)

// batch is how many entries are read at a time.
const batch = 128

// direntBytes is the size of an entry without its name.
const direntBytes = 24

// fdReaddir fills a buffer with entries, the last of them cut off where it ends. Less than
// a full buffer says that there are no more.
func fdReaddir(p *Process, mem memory, a []uint64) Errno {
	buf, ok1 := mem.view(a[1], a[2])
	used, ok2 := mem.view(a[4], 4)
	if !ok1 || !ok2 {
		return EFAULT
	}
	d, errno := p.file(a[0], ENOTDIR)
	switch {
	case errno != 0:
		return errno
	case d.kind != directory:
		return ENOTDIR
	}
	if errno := p.find(d, a[3]); errno != 0 {
		return errno
	}
	n, errno := p.list(d, buf)
	if errno != 0 {
		return errno
	}
	little.PutUint32(used, uint32(n))
	return 0
}

// find moves the window to the entry that a cookie names. Back it goes by reading from the
// beginning again, which is what cookie 0 asks for.
func (p *Process) find(d *descriptor, cookie uint64) Errno {
	l := &d.list
	if !l.begun || cookie == 0 || cookie < l.first {
		if errno := p.rewind(d); errno != 0 {
			return errno
		}
	}
	for cookie-l.first > uint64(len(l.entries)) {
		if l.ended {
			return ENOENT
		}
		l.first, l.entries = l.first+uint64(len(l.entries)), l.entries[:0]
		if errno := p.more(d); errno != 0 {
			return errno
		}
	}
	l.entries = l.entries[cookie-l.first:]
	l.first = cookie
	return 0
}

// rewind begins a listing with the two entries that every directory has.
func (p *Process) rewind(d *descriptor) Errno {
	file, errno := d.opened()
	if errno != 0 {
		return errno
	}
	if d.list.begun {
		if _, failed := file.Seek(0, io.SeekStart); failed != 0 {
			return errnoOf(failed)
		}
	}
	ino, failed := file.Ino()
	if failed != 0 {
		return errnoOf(failed)
	}
	d.list = listing{begun: true, entries: []sys.Dirent{{Name: ".", Ino: ino, Type: fs.ModeDir}, {Name: "..", Type: fs.ModeDir}}}
	return 0
}

// more reads the next entries into the window.
func (p *Process) more(d *descriptor) Errno {
	p.host.Worked(pieceBytes / 4)
	list, failed := d.file.Readdir(batch)
	p.host.Charge(int64(len(list)+1) * entryFuel)
	if failed != 0 {
		return errnoOf(failed)
	}
	d.list.ended = len(list) == 0
	d.list.entries = append(d.list.entries, list...)
	return 0
}

// list writes entries from the beginning of the window. Those that are written whole and
// lie before the latest batch leave it.
func (p *Process) list(d *descriptor, buf []byte) (used int, errno Errno) {
	l := &d.list
	for next := 0; used < len(buf); next++ {
		if next == len(l.entries) {
			if l.ended {
				return used, 0
			}
			l.first, l.entries, next = l.first+uint64(next), l.entries[:0], 0
			if errno := p.more(d); errno != 0 {
				return 0, errno
			}
			if l.ended {
				return used, 0
			}
		}
		e := &l.entries[next]
		var head [direntBytes]byte
		little.PutUint64(head[:], l.first+uint64(next)+1)
		little.PutUint64(head[8:], e.Ino)
		little.PutUint32(head[16:], uint32(len(e.Name)))
		head[20] = typeOf(e.Type)
		used += copy(buf[used:], head[:])
		used += copy(buf[used:], e.Name)
	}
	return used, 0
}

// Module makes the host module. process gives the state of the guest that is calling; it
// may panic to end it.
func Module(r wazero.Runtime, process func(ctx context.Context) *Process) wazero.HostModuleBuilder {
	b := r.NewHostModuleBuilder(ModuleName)
	for _, f := range functions() {
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, mod api.Module, stack []uint64) {
			p := process(ctx)
			p.host.Charge(callFuel)
			stack[0] = uint64(f.do(p, memoryOf(mod), stack))
		}), types(f.params), []api.ValueType{api.ValueTypeI32}).Export(f.name)
	}
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, _ api.Module, stack []uint64) {
		process(ctx).host.Exit(uint32(stack[0]))
	}), types("i"), nil).Export("proc_exit")
	return b
}

// functions are all of preview 1.
func functions() []function {
	return []function{
		{"args_get", "ii", func(p *Process, mem memory, a []uint64) Errno { return mem.putStrings(p, p.config.Args, a) }},
		{"args_sizes_get", "ii", func(p *Process, mem memory, a []uint64) Errno { return mem.putSizes(p.config.Args, a) }},
		{"environ_get", "ii", func(p *Process, mem memory, a []uint64) Errno { return mem.putStrings(p, p.config.Env, a) }},
		{"environ_sizes_get", "ii", func(p *Process, mem memory, a []uint64) Errno { return mem.putSizes(p.config.Env, a) }},
		{"clock_res_get", "ii", clockResGet},
		{"clock_time_get", "iIi", clockTimeGet},
		{"fd_advise", "iIIi", fdAdvise},
		{"fd_allocate", "iII", fdAllocate},
		{"fd_close", "i", fdClose},
		{"fd_datasync", "i", func(p *Process, _ memory, a []uint64) Errno { return fdSync(p, a, sys.File.Datasync) }},
		{"fd_fdstat_get", "ii", fdFdstatGet},
		{"fd_fdstat_set_flags", "ii", fdFdstatSetFlags},
		{"fd_fdstat_set_rights", "iII", fdFdstatSetRights},
		{"fd_filestat_get", "ii", fdFilestatGet},
		{"fd_filestat_set_size", "iI", fdFilestatSetSize},
		{"fd_filestat_set_times", "iIIi", fdFilestatSetTimes},
		{"fd_pread", "iiiIi", fdPread},
		{"fd_prestat_get", "ii", fdPrestatGet},
		{"fd_prestat_dir_name", "iii", fdPrestatDirName},
		{"fd_pwrite", "iiiIi", fdPwrite},
		{"fd_read", "iiii", fdRead},
		{"fd_readdir", "iiiIi", fdReaddir},
		{"fd_renumber", "ii", fdRenumber},
		{"fd_seek", "iIii", fdSeek},
		{"fd_sync", "i", func(p *Process, _ memory, a []uint64) Errno { return fdSync(p, a, sys.File.Sync) }},
		{"fd_tell", "ii", fdTell},
		{"fd_write", "iiii", fdWrite},
		{"path_create_directory", "iii", pathCreateDirectory},
		{"path_filestat_get", "iiiii", pathFilestatGet},
		{"path_filestat_set_times", "iiiiIIi", pathFilestatSetTimes},
		{"path_link", "iiiiiii", pathLink},
		{"path_open", "iiiiiIIii", pathOpen},
		{"path_readlink", "iiiiii", pathReadlink},
		{"path_remove_directory", "iii", pathRemoveDirectory},
		{"path_rename", "iiiiii", pathRename},
		{"path_symlink", "iiiii", pathSymlink},
		{"path_unlink_file", "iii", pathUnlinkFile},
		{"poll_oneoff", "iiii", pollOneoff},
		{"proc_raise", "i", func(*Process, memory, []uint64) Errno { return ENOSYS }},
		{"random_get", "ii", randomGet},
		{"sched_yield", "", func(p *Process, _ memory, _ []uint64) Errno { p.host.Yield(); return 0 }},
		{"sock_accept", "iii", noSocket},
		{"sock_recv", "iiiiii", noSocket},
		{"sock_send", "iiiii", noSocket},
		{"sock_shutdown", "ii", noSocket},
	}
}
