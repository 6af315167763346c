package wasi

import (
	"io"
	"io/fs"
	"strings"

	"github.com/tetratelabs/wazero/experimental/sys"
	wazerosys "github.com/tetratelabs/wazero/sys"
)

const (
	closed kind = iota
	stream      // standard input, output or error
	regular
	directory
)

// File types of WASI.
const (
	typeUnknown     = 0
	typeBlockDevice = 1
	typeCharDevice  = 2
	typeDirectory   = 3
	typeRegular     = 4
	typeSymlink     = 7
)

// open gives the descriptors of a new call, when they are first asked for.
func (p *Process) open() []descriptor {
	if len(p.files) > 0 {
		return p.files
	}
	for i := range int32(3) {
		p.files = append(p.files, descriptor{kind: stream, stream: i, read: i == 0, write: i != 0})
	}
	for i := range p.config.Mounts {
		m := &p.config.Mounts[i]
		p.files = append(p.files, descriptor{kind: directory, fs: p.fs(m), path: ".", mount: m})
	}
	return p.files
}

// lookup returns an open descriptor; it is valid until the next one is opened.
func (p *Process) lookup(fd uint64) (*descriptor, Errno) {
	files := p.open()
	if n := uint32(fd); n < uint32(len(files)) && files[n].kind != closed {
		return &files[n], 0
	}
	return nil, EBADF
}

// file is lookup for what only files and directories can do; a stream gives an error of
// its own.
func (p *Process) file(fd uint64, onStream Errno) (*descriptor, Errno) {
	d, errno := p.lookup(fd)
	switch {
	case errno != 0:
		return nil, errno
	case d.kind == stream:
		return nil, onStream
	}
	return d, p.work()
}

// work charges for a call into the file system.
func (p *Process) work() Errno {
	p.looked = true
	p.host.Charge(fileFuel)
	p.host.Worked(pieceBytes / 4)
	return 0
}

// free returns the lowest number that no descriptor has.
func (p *Process) free() (uint32, Errno) {
	for i := range p.open() {
		if p.files[i].kind == closed {
			return uint32(i), 0
		}
	}
	if len(p.files) >= MaxDescriptors {
		return 0, EMFILE
	}
	return uint32(len(p.files)), 0
}

// insert gives a descriptor a number that is free.
func (p *Process) insert(fd uint32, d descriptor) {
	if fd == uint32(len(p.files)) {
		p.files = append(p.files, d)
		return
	}
	p.files[fd] = d
}

// opened returns the file of a descriptor, which a mount's directory gets now.
func (d *descriptor) opened() (sys.File, Errno) {
	if d.file == nil {
		file, errno := d.fs.OpenFile(d.path, sys.O_RDONLY|sys.O_DIRECTORY, 0)
		if errno != 0 {
			return nil, errnoOf(errno)
		}
		d.file = file
	}
	return d.file, 0
}

func fdClose(p *Process, _ memory, a []uint64) Errno {
	d, errno := p.lookup(a[0])
	if errno != 0 {
		return errno
	}
	d.close()
	return 0
}

// fdRenumber moves a descriptor to the number of another one that is open, which it
// closes: there is no way to a number of the guest's choice.
func fdRenumber(p *Process, _ memory, a []uint64) Errno {
	from, errno := p.lookup(a[0])
	if errno != 0 {
		return errno
	}
	to, errno := p.lookup(a[1])
	if errno != 0 || from == to {
		return errno
	}
	to.close()
	*to, *from = *from, descriptor{}
	return 0
}

// Rights of WASI, of which a host tells and that it does not keep: they are those of the
// way in which something was opened.
const (
	rightDatasync = 1 << iota
	rightRead
	rightSeek
	rightSetFlags
	rightSync
	rightTell
	rightWrite
	rightAdvise
	rightAllocate
	rightCreateDirectory
	rightCreateFile
	rightLinkSource
	rightLinkTarget
	rightOpen
	rightReaddir
	rightReadlink
	rightRenameSource
	rightRenameTarget
	rightPathStat
	rightPathSetSize
	rightPathSetTimes
	rightStat
	rightSetSize
	rightSetTimes
	rightSymlink
	rightRemoveDirectory
	rightUnlink
	rightPoll

	rightsOfReading = rightRead
	rightsOfWriting = rightWrite | rightAllocate | rightSetSize
	rightsOfStreams = rightDatasync | rightSetFlags | rightSync | rightStat | rightPoll
	rightsOfFiles   = rightsOfStreams | rightSeek | rightTell | rightAdvise | rightSetTimes
	rightsOfFolders = rightDatasync | rightSetFlags | rightSync | rightCreateDirectory | rightCreateFile | rightLinkSource | rightLinkTarget |
		rightOpen | rightReaddir | rightReadlink | rightRenameSource | rightRenameTarget | rightPathStat | rightPathSetTimes | rightStat |
		rightSetTimes | rightSymlink | rightRemoveDirectory | rightUnlink
)

// rights returns the rights of a descriptor, and those of descriptors that are opened below it.
func (d *descriptor) rights() (base, inheriting uint64) {
	switch d.kind {
	case directory:
		return rightsOfFolders, rightsOfFolders | rightsOfFiles | rightsOfReading | rightsOfWriting
	case stream:
		base = rightsOfStreams
	default:
		base = rightsOfFiles
	}
	if d.read {
		base |= rightsOfReading
	}
	switch {
	case d.write && d.kind == stream:
		base |= rightWrite
	case d.write:
		base |= rightsOfWriting
	}
	return base, 0
}

// fileType is that of an open descriptor. A stream is a device, but no terminal.
func (d *descriptor) fileType() byte {
	switch d.kind {
	case directory:
		return typeDirectory
	case regular:
		return typeRegular
	}
	return typeBlockDevice
}

func typeOf(mode fs.FileMode) byte {
	switch {
	case mode.IsRegular():
		return typeRegular
	case mode.IsDir():
		return typeDirectory
	case mode&fs.ModeSymlink != 0:
		return typeSymlink
	case mode&fs.ModeCharDevice != 0:
		return typeCharDevice
	case mode&fs.ModeDevice != 0:
		return typeBlockDevice
	}
	return typeUnknown
}

func fdFdstatGet(p *Process, mem memory, a []uint64) Errno {
	buf, ok := mem.view(a[1], 24)
	if !ok {
		return EFAULT
	}
	d, errno := p.lookup(a[0])
	if errno != 0 {
		return errno
	}
	base, inheriting := d.rights()
	clear(buf)
	buf[0] = d.fileType()
	little.PutUint16(buf[2:], d.flags)
	little.PutUint64(buf[8:], base)
	little.PutUint64(buf[16:], inheriting)
	return 0
}

// Flags of a descriptor.
const (
	flagAppend   = 1 << 0
	flagNonblock = 1 << 2
	flagsKnown   = 1<<5 - 1
)

// fdFdstatSetFlags sets APPEND of files, and NONBLOCK, which changes nothing: no read or
// write waits. Those of synchronisation stay as they were when the file was opened.
func fdFdstatSetFlags(p *Process, _ memory, a []uint64) Errno {
	flags := uint16(a[1])
	d, errno := p.lookup(a[0])
	switch {
	case errno != 0:
		return errno
	case d.kind == directory:
		return EISDIR
	case (flags^d.flags)&^(flagAppend|flagNonblock) != 0:
		return EINVAL
	}
	if d.kind == regular && (flags^d.flags)&flagAppend != 0 {
		if errno := d.file.SetAppend(flags&flagAppend != 0); errno != 0 {
			return errnoOf(errno)
		}
	}
	d.flags = flags
	return 0
}

// fdFdstatSetRights is refused, as later versions of WASI have dropped it.
func fdFdstatSetRights(p *Process, _ memory, a []uint64) Errno {
	if _, errno := p.lookup(a[0]); errno != 0 {
		return errno
	}
	return ENOTSUP
}

func putFilestat(buf []byte, st *wazerosys.Stat_t, fileType byte) {
	clear(buf)
	little.PutUint64(buf, st.Dev)
	little.PutUint64(buf[8:], st.Ino)
	buf[16] = fileType
	little.PutUint64(buf[24:], st.Nlink)
	little.PutUint64(buf[32:], uint64(st.Size))
	little.PutUint64(buf[40:], uint64(st.Atim))
	little.PutUint64(buf[48:], uint64(st.Mtim))
	little.PutUint64(buf[56:], uint64(st.Ctim))
}

func fdFilestatGet(p *Process, mem memory, a []uint64) Errno {
	buf, ok := mem.view(a[1], 64)
	if !ok {
		return EFAULT
	}
	d, errno := p.lookup(a[0])
	switch {
	case errno != 0:
		return errno
	case d.kind == stream:
		putFilestat(buf, &wazerosys.Stat_t{Nlink: 1}, d.fileType())
		return 0
	}
	p.work()
	var st wazerosys.Stat_t
	var failed sys.Errno
	if d.file != nil {
		st, failed = d.file.Stat()
	} else {
		st, failed = d.fs.Stat(d.path)
	}
	if failed != 0 {
		return errnoOf(failed)
	}
	putFilestat(buf, &st, typeOf(st.Mode))
	return 0
}

func fdFilestatSetSize(p *Process, _ memory, a []uint64) Errno {
	d, errno := p.file(a[0], EINVAL)
	switch {
	case errno != 0:
		return errno
	case d.kind == directory:
		return EISDIR
	case int64(a[1]) < 0 || !d.write:
		return EINVAL
	}
	return errnoOf(d.file.Truncate(int64(a[1])))
}

func fdFilestatSetTimes(p *Process, _ memory, a []uint64) Errno {
	d, errno := p.file(a[0], ENOTSUP)
	if errno != 0 {
		return errno
	}
	atim, mtim, errno := p.times(a[1], a[2], a[3])
	switch {
	case errno != 0:
		return errno
	case d.file == nil:
		return errnoOf(d.fs.Utimens(d.path, atim, mtim))
	}
	failed := d.file.Utimens(atim, mtim)
	if failed == sys.EPERM || failed == sys.ENOSYS { // a file that was opened for reading
		failed = d.fs.Utimens(d.path, atim, mtim)
	}
	return errnoOf(failed)
}

// times reads the arguments of the two functions that set times.
func (p *Process) times(atim, mtim, flags uint64) (a, m int64, errno Errno) {
	pick := func(given uint64, set, now bool) int64 {
		switch {
		case set:
			return int64(given)
		case now:
			t, _ := p.now(clockRealtime)
			return t
		}
		return sys.UTIME_OMIT
	}
	const atimSet, atimNow, mtimSet, mtimNow = 1, 2, 4, 8
	if flags&(atimSet|atimNow) == atimSet|atimNow || flags&(mtimSet|mtimNow) == mtimSet|mtimNow || uint16(flags)&^15 != 0 {
		return 0, 0, EINVAL
	}
	return pick(atim, flags&atimSet != 0, flags&atimNow != 0), pick(mtim, flags&mtimSet != 0, flags&mtimNow != 0), 0
}

// preopen returns the pre-opened directory at a number.
func (p *Process) preopen(fd uint64) (*Mount, Errno) {
	d, errno := p.lookup(fd)
	switch {
	case errno != 0:
		return nil, errno
	case d.mount == nil:
		return nil, EBADF
	}
	return d.mount, 0
}

// guestPath is how a mount is called inside.
func (m *Mount) guestPath() string {
	if strings.Trim(m.Path, "/.") == "" {
		return "/"
	}
	return m.Path
}

func fdPrestatGet(p *Process, mem memory, a []uint64) Errno {
	m, errno := p.preopen(a[0])
	if errno != 0 {
		return errno
	}
	return mem.putUint64(a[1], uint64(len(m.guestPath()))<<32) // tag 0, a directory
}

func fdPrestatDirName(p *Process, mem memory, a []uint64) Errno {
	m, errno := p.preopen(a[0])
	if errno != 0 {
		return errno
	}
	name := m.guestPath()
	if uint32(a[2]) < uint32(len(name)) {
		return ENAMETOOLONG
	}
	buf, ok := mem.view(a[1], uint64(len(name)))
	if !ok {
		return EFAULT
	}
	copy(buf, name)
	return 0
}

func fdAdvise(p *Process, _ memory, a []uint64) Errno {
	d, errno := p.lookup(a[0])
	switch {
	case errno != 0:
		return errno
	case d.kind == stream:
		return ESPIPE
	case byte(a[3]) > 5: // the last of the six known
		return EINVAL
	}
	return 0
}

func fdAllocate(p *Process, _ memory, a []uint64) Errno {
	d, errno := p.file(a[0], ESPIPE)
	if errno != 0 {
		return errno
	}
	end := int64(a[1] + a[2])
	switch {
	case d.kind == directory || !d.write:
		return EBADF
	case int64(a[1]) < 0 || int64(a[2]) <= 0 || end < 0:
		return EINVAL
	}
	st, failed := d.file.Stat()
	if failed != 0 || st.Size >= end {
		return errnoOf(failed)
	}
	return errnoOf(d.file.Truncate(end))
}

// fdSync is fd_sync and fd_datasync.
func fdSync(p *Process, a []uint64, sync func(sys.File) sys.Errno) Errno {
	d, errno := p.file(a[0], 0)
	if errno != 0 || d == nil || d.file == nil {
		return errno
	}
	return errnoOf(sync(d.file))
}

func fdSeek(p *Process, mem memory, a []uint64) Errno {
	return p.seek(mem, a[0], int64(a[1]), uint32(a[2]), a[3])
}

func fdTell(p *Process, mem memory, a []uint64) Errno {
	return p.seek(mem, a[0], 0, io.SeekCurrent, a[1])
}

func (p *Process) seek(mem memory, fd uint64, offset int64, whence uint32, result uint64) Errno {
	d, errno := p.lookup(fd)
	switch {
	case errno != 0:
		return errno
	case d.kind == stream:
		return ESPIPE
	case d.kind == directory:
		return EISDIR
	case whence > io.SeekEnd:
		return EINVAL
	}
	buf, ok := mem.view(result, 8)
	if !ok {
		return EFAULT
	}
	p.work()
	at, failed := d.file.Seek(offset, int(whence))
	if failed != 0 {
		return errnoOf(failed)
	}
	little.PutUint64(buf, uint64(at))
	return 0
}

// noSocket is every function of sockets: a guest can have none.
func noSocket(p *Process, _ memory, a []uint64) Errno {
	if _, errno := p.lookup(a[0]); errno != 0 {
		return errno
	}
	return ENOTSOCK
}
