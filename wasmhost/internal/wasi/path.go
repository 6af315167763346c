package wasi

import (
	"path"
	"strings"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/experimental/sys"
	wazerosys "github.com/tetratelabs/wazero/sys"
)

// place is where a path leads: a name of a file system.
type place struct {
	fs   sys.FS
	name string // clean; with a slash at its end where the path had one
}

// at resolves a path of the guest's below an open directory, by its text alone: a path
// that is absolute or leads above the directory is refused. Links are the file system's.
func (p *Process) at(mem memory, fd, ptr, length uint64) (at place, errno Errno) {
	if uint32(length) > MaxPath {
		return at, ENAMETOOLONG
	}
	raw, ok := mem.view(ptr, length)
	if !ok {
		return at, EFAULT
	}
	d, errno := p.lookup(fd)
	switch {
	case errno != 0:
		return at, errno
	case d.kind != directory:
		return at, ENOTDIR
	}
	name, errno := clean(string(raw))
	if errno != 0 {
		return at, errno
	}
	if d.path != "." {
		name = d.path + "/" + name
	}
	if len(name) > MaxPath {
		return at, ENAMETOOLONG
	}
	for range strings.Count(name, "/") + 1 {
		p.work()
	}
	return place{d.fs, name}, 0
}

func clean(text string) (string, Errno) {
	switch {
	case text == "":
		return "", ENOENT
	case strings.IndexByte(text, 0) >= 0:
		return "", EINVAL
	case !utf8.ValidString(text):
		return "", EILSEQ
	}
	name := path.Clean(text)
	if name[0] == '/' || name == ".." || strings.HasPrefix(name, "../") {
		return "", EPERM
	}
	if strings.HasSuffix(text, "/") {
		name += "/"
	}
	return name, 0
}

// Flags of path_open, beside those of a descriptor.
const (
	followLinks   = 1
	openCreate    = 1
	openDirectory = 2
	openExclusive = 4
	openTruncate  = 8
	openKnown     = 15
)

func pathOpen(p *Process, mem memory, a []uint64) Errno {
	follow, how, rights, flags := uint32(a[1]), uint16(a[4]), a[5], uint16(a[7])
	result, ok := mem.view(a[8], 4)
	if !ok {
		return EFAULT
	}
	at, errno := p.at(mem, a[0], a[2], a[3])
	switch {
	case errno != 0:
		return errno
	case how&^openKnown != 0 || flags&^flagsKnown != 0 || how&(openCreate|openDirectory) == openCreate|openDirectory:
		return EINVAL
	}
	fd, errno := p.free()
	if errno != 0 {
		return errno
	}
	d := descriptor{kind: regular, fs: at.fs, path: strings.TrimSuffix(at.name, "/"), flags: flags}
	flag := d.access(how, flags, rights)
	if follow&followLinks == 0 {
		flag |= sys.O_NOFOLLOW
	}
	file, failed := at.fs.OpenFile(at.name, flag, 0o600)
	if failed != 0 {
		return errnoOf(failed)
	}
	d.file = file
	if dir, failed := file.IsDir(); failed != 0 || (!dir && how&openDirectory != 0) {
		d.close()
		if failed != 0 {
			return errnoOf(failed)
		}
		return ENOTDIR
	} else if dir {
		d.kind = directory
	}
	p.insert(fd, d)
	little.PutUint32(result, fd)
	return 0
}

// access says how a file is opened: by the rights that are asked for, or, when neither
// reading nor writing is among them, by what else is.
func (d *descriptor) access(how, flags uint16, rights uint64) sys.Oflag {
	d.read, d.write = rights&rightRead != 0, rights&rightWrite != 0
	if !d.read && !d.write {
		d.read, d.write = true, how&(openCreate|openTruncate) != 0 || flags&flagAppend != 0
	}
	flag := sys.O_RDONLY
	switch {
	case d.read && d.write:
		flag = sys.O_RDWR
	case d.write:
		flag = sys.O_WRONLY
	}
	for _, f := range []struct {
		set  bool
		flag sys.Oflag
	}{
		{how&openCreate != 0, sys.O_CREAT},
		{how&openDirectory != 0, sys.O_DIRECTORY},
		{how&openExclusive != 0 && how&openDirectory == 0, sys.O_EXCL},
		{how&openTruncate != 0, sys.O_TRUNC},
		{flags&flagAppend != 0, sys.O_APPEND},
	} {
		if f.set {
			flag |= f.flag
		}
	}
	return flag
}

func pathCreateDirectory(p *Process, mem memory, a []uint64) Errno {
	at, errno := p.at(mem, a[0], a[1], a[2])
	if errno != 0 {
		return errno
	}
	return errnoOf(at.fs.Mkdir(at.name, 0o700))
}

func pathRemoveDirectory(p *Process, mem memory, a []uint64) Errno {
	at, errno := p.at(mem, a[0], a[1], a[2])
	if errno != 0 {
		return errno
	}
	return errnoOf(at.fs.Rmdir(at.name))
}

func pathUnlinkFile(p *Process, mem memory, a []uint64) Errno {
	at, errno := p.at(mem, a[0], a[1], a[2])
	if errno != 0 {
		return errno
	}
	return errnoOf(at.fs.Unlink(at.name))
}

func pathFilestatGet(p *Process, mem memory, a []uint64) Errno {
	buf, ok := mem.view(a[4], 64)
	if !ok {
		return EFAULT
	}
	at, errno := p.at(mem, a[0], a[2], a[3])
	if errno != 0 {
		return errno
	}
	var st wazerosys.Stat_t
	var failed sys.Errno
	if uint32(a[1])&followLinks != 0 {
		st, failed = at.fs.Stat(at.name)
	} else {
		st, failed = at.fs.Lstat(at.name)
	}
	if failed != 0 {
		return errnoOf(failed)
	}
	putFilestat(buf, &st, typeOf(st.Mode))
	return 0
}

// pathFilestatSetTimes sets times of what a path leads to; those of a link itself can't be
// set.
func pathFilestatSetTimes(p *Process, mem memory, a []uint64) Errno {
	atim, mtim, errno := p.times(a[4], a[5], a[6])
	if errno != 0 {
		return errno
	}
	at, errno := p.at(mem, a[0], a[2], a[3])
	if errno != 0 {
		return errno
	}
	if uint32(a[1])&followLinks == 0 {
		st, failed := at.fs.Lstat(at.name)
		switch {
		case failed != 0:
			return errnoOf(failed)
		case typeOf(st.Mode) == typeSymlink:
			return ENOTSUP
		}
	}
	return errnoOf(at.fs.Utimens(at.name, atim, mtim))
}

// two resolves the two paths of a rename or link, which must lie in one mount.
func (p *Process) two(mem memory, from, to []uint64) (old, new place, errno Errno) {
	if old, errno = p.at(mem, from[0], from[1], from[2]); errno != 0 {
		return old, new, errno
	}
	if new, errno = p.at(mem, to[0], to[1], to[2]); errno != 0 {
		return old, new, errno
	}
	if old.fs != new.fs {
		return old, new, EXDEV
	}
	return old, new, 0
}

func pathRename(p *Process, mem memory, a []uint64) Errno {
	old, new, errno := p.two(mem, a[0:3], a[3:6])
	if errno != 0 {
		return errno
	}
	return errnoOf(old.fs.Rename(old.name, new.name))
}

func pathLink(p *Process, mem memory, a []uint64) Errno {
	if a[1] != 0 { // to the target of a link: as other hosts have it
		return EINVAL
	}
	old, new, errno := p.two(mem, []uint64{a[0], a[2], a[3]}, a[4:7])
	switch {
	case errno != 0:
		return errno
	case strings.HasSuffix(new.name, "/"):
		return ENOENT
	}
	return errnoOf(old.fs.Link(old.name, new.name))
}

func pathSymlink(p *Process, mem memory, a []uint64) Errno {
	if uint32(a[1]) > MaxPath {
		return ENAMETOOLONG
	}
	target, ok := mem.view(a[0], a[1])
	if !ok {
		return EFAULT
	}
	at, errno := p.at(mem, a[2], a[3], a[4])
	switch {
	case errno != 0:
		return errno
	case len(target) == 0:
		return ENOENT
	case target[0] == '/':
		return EPERM
	}
	return errnoOf(at.fs.Symlink(string(target), at.name))
}

// pathReadlink writes as much of a link's target as the buffer takes.
func pathReadlink(p *Process, mem memory, a []uint64) Errno {
	buf, ok1 := mem.view(a[3], a[4])
	used, ok2 := mem.view(a[5], 4)
	if !ok1 || !ok2 {
		return EFAULT
	}
	at, errno := p.at(mem, a[0], a[1], a[2])
	if errno != 0 {
		return errno
	}
	target, failed := at.fs.Readlink(at.name)
	if failed != 0 {
		return errnoOf(failed)
	}
	little.PutUint32(used, uint32(copy(buf, target)))
	return 0
}
