package worker

import (
	"context"
	"encoding/binary"
	"io/fs"
	"sync"
	"time"

	"github.com/tetratelabs/wazero/experimental/sys"
	wazerosys "github.com/tetratelabs/wazero/sys"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// Hooks are for tests of workers that misbehave.
type Hooks struct {
	// Before runs in the worker before each call, in the guest's place when it gives
	// an answer; nil does nothing.
	Before func(export string, input []byte) (answer []byte)
	// Without leaves out what would confine the worker, by the names of its report;
	// nil leaves out nothing.
	Without func(mechanism string) bool
}

// asking is a call's way to the server. It belongs to the goroutine that runs the guest.
type asking struct {
	serving *serving
	link    *link
	in      *inbox
	ctx     context.Context //nolint:containedctx // the call's own; asking lives no longer
	number  uint32
	account *share.Account // the module's; nil when it has none
	// writeBy is when the call is over, as far as the next chunk is concerned.
	writeBy time.Time
}

// serving is a worker's state.
type serving struct {
	hooks   Hooks
	ring    bool // it is connected by a ring
	link    *link
	sandbox *sandbox.Sandbox // set by the first order

	mu       sync.Mutex // guards the fields below
	modules  map[uint32]*sandbox.Module
	owners   map[uint32]*share.Account // of modules
	accounts map[uint32]*share.Account
	changed  map[*share.Account]bool // since the server was last told

	stir chan struct{} // has a token when something is in changed

	reporting sync.Mutex // guards reports, the number of the latest one
	reports   uint64
}

// A worker has no files: what its guests do with a mount, the server does, in the mount's
// own file system, which checks every path, the grant and the quota as it does for a guest
// in the server's process. The worker names a mount of the module by its number, and an
// open file by a number that the server has given.

// fileOp is an operation of a guest on a file, or on a name.
type fileOp byte

const (
	fileOpen fileOp = 1 + iota
	fileLstat
	fileStat
	fileMkdir
	fileChmod
	fileRename
	fileRmdir
	fileUnlink
	fileLink
	fileSymlink
	fileReadlink
	fileUtimens
	handleOps // those from here on are of an open file
	handleStat
	handleDev
	handleIno
	handleAppend
	handleRead
	handlePread
	handleSeek
	handleReaddir
	handleWrite
	handlePwrite
	handleTruncate
	handleSync
	handleDatasync
	handleUtimens
	fileOps
)

// fileRequest is the request of hostFile; the bytes of a write are the message's body.
type fileRequest struct {
	op       fileOp
	mount    uint32
	file     uint32
	flags    uint32
	a, b     int64
	name, to string
}

func (q *fileRequest) write(w *writer) {
	w.byte(byte(q.op))
	w.uint32(q.mount)
	w.uint32(q.file)
	w.uint32(q.flags)
	w.int64(q.a)
	w.int64(q.b)
	w.string(q.name)
	w.string(q.to)
}

func (q *fileRequest) decode(b []byte) error {
	r := reader{b: b}
	q.op, q.mount, q.file, q.flags, q.a, q.b = fileOp(r.byte()), r.uint32(), r.uint32(), r.uint32(), r.int64(), r.int64()
	q.name, q.to = r.string(), r.string()
	r.bad = r.bad || q.op == 0 || q.op == handleOps || q.op >= fileOps
	return r.end()
}

// changes tells whether something is left behind when the operation succeeds.
func (q *fileRequest) changes() bool {
	switch q.op {
	case fileOpen:
		return sys.Oflag(q.flags)&(sys.O_CREAT|sys.O_TRUNC) != 0
	case fileMkdir, fileChmod, fileRename, fileRmdir, fileUnlink, fileLink, fileSymlink, fileUtimens,
		handleWrite, handlePwrite, handleTruncate, handleUtimens:
		return true
	}
	return false
}

// fileReply is the value of the answer.
type fileReply struct {
	errno sys.Errno
	n     int64 // bytes, a position, or the number of a file
	dir   bool  // it is a directory
	stat  wazerosys.Stat_t
	names []sys.Dirent
	data  []byte // bytes of a file, or where a link leads
}

func (a *fileReply) write(w *writer) {
	w.uint32(uint32(a.errno))
	w.int64(a.n)
	w.bool(a.dir)
	s := &a.stat
	for _, v := range [...]int64{int64(s.Dev), int64(s.Ino), int64(s.Mode), int64(s.Nlink), s.Size, s.Atim, s.Mtim, s.Ctim} {
		w.int64(v)
	}
	w.uint32(uint32(len(a.names)))
	for _, e := range a.names {
		w.string(e.Name)
		w.int64(int64(e.Ino))
		w.uint32(uint32(e.Type))
	}
	w.bytes(a.data)
}

func (a *fileReply) decode(b []byte) error {
	r := reader{b: b}
	a.errno, a.n, a.dir = sys.Errno(r.uint32()), r.int64(), r.bool()
	a.stat = wazerosys.Stat_t{
		Dev: uint64(r.int64()), Ino: uint64(r.int64()), Mode: fs.FileMode(r.int64()), Nlink: uint64(r.int64()),
		Size: r.int64(), Atim: r.int64(), Mtim: r.int64(), Ctim: r.int64(),
	}
	for n := r.uint32(); n > 0 && !r.bad; n-- {
		a.names = append(a.names, sys.Dirent{Name: r.string(), Ino: uint64(r.int64()), Type: fs.FileMode(r.uint32())})
	}
	a.data = r.bytes()
	return r.end()
}

// add gives a file a number; false when there are too many, or the worker has ended.
func (t *fileTable) add(m *Module, file sys.File) (uint32, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.open) >= maxHandles {
		return 0, false
	}
	if t.open == nil {
		t.open = map[uint32]*openFile{}
	}
	for {
		t.last++
		if _, taken := t.open[t.last]; !taken && t.last != 0 {
			break
		}
	}
	t.open[t.last] = &openFile{module: m, file: file}
	return t.last, true
}

// find returns a module's file; nil when it has none under that number.
func (t *fileTable) find(m *Module, number uint32) *openFile {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.open[number]; f != nil && f.module == m {
		return f
	}
	return nil
}

func (t *fileTable) remove(number uint32) *openFile {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.open[number]
	delete(t.open, number)
	return f
}

// closeAll closes everything when the worker has ended.
func (t *fileTable) closeAll() {
	t.mu.Lock()
	open := t.open
	t.open, t.closed = nil, true
	t.mu.Unlock()
	for _, f := range open {
		f.close()
	}
}

func (f *openFile) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.file.Close() // a guest hears nothing of it in process either
}

// closeFile does a kindClose.
func (w *process) closeFile(body []byte) {
	if len(body) != closeBytes {
		return
	}
	if f := w.files.remove(binary.LittleEndian.Uint32(body)); f != nil {
		f.close()
	}
}

// closeLate does that for a call that has ended, for the receiving goroutine, which may
// not block.
func (w *process) closeLate(body []byte) {
	if len(body) != closeBytes {
		return
	}
	if f := w.files.remove(binary.LittleEndian.Uint32(body)); f != nil {
		w.pool.group.Go(f.close)
	}
}

// file performs a guest's operation on a file. Its only errors are those that the guest is
// told.
func (w *process) file(c *callState, m *hostMessage) *answerMessage {
	a := &answerMessage{number: m.number}
	var q fileRequest
	if err := q.decode(m.request); err != nil || len(m.body) > maxTransfer {
		a.err = status.Errorf(status.Internal, "a broken request for a file")
		return a
	}
	if q.changes() {
		c.effects.Store(true)
	}
	var reply fileReply
	if q.op > handleOps {
		reply.errno = sys.EBADF
		if f := w.files.find(c.module, q.file); f != nil {
			f.mu.Lock()
			f.do(&q, m.body, &reply)
			f.mu.Unlock()
		}
	} else {
		w.name(c.module, &q, &reply)
	}
	var out writer
	reply.write(&out)
	a.value = out.b
	return a
}

// name carries out an operation on a name.
func (w *process) name(m *Module, q *fileRequest, a *fileReply) {
	if int64(q.mount) >= int64(len(m.source.Mounts)) {
		a.errno = sys.EBADF
		return
	}
	system := m.source.Mounts[q.mount].FS
	switch q.op {
	case fileOpen:
		w.openFile(m, system, q, a)
	case fileLstat:
		a.stat, a.errno = system.Lstat(q.name)
	case fileStat:
		a.stat, a.errno = system.Stat(q.name)
	case fileMkdir:
		a.errno = system.Mkdir(q.name, fs.FileMode(q.flags)&fs.ModePerm)
	case fileChmod:
		a.errno = system.Chmod(q.name, fs.FileMode(q.flags)&fs.ModePerm)
	case fileRename:
		a.errno = system.Rename(q.name, q.to)
	case fileRmdir:
		a.errno = system.Rmdir(q.name)
	case fileUnlink:
		a.errno = system.Unlink(q.name)
	case fileLink:
		a.errno = system.Link(q.name, q.to)
	case fileSymlink:
		a.errno = system.Symlink(q.name, q.to)
	case fileReadlink:
		var target string
		target, a.errno = system.Readlink(q.name)
		a.data = []byte(target)
	case fileUtimens:
		a.errno = system.Utimens(q.name, q.a, q.b)
	}
}

func (w *process) openFile(m *Module, system sys.FS, q *fileRequest, a *fileReply) {
	file, errno := system.OpenFile(q.name, sys.Oflag(q.flags), fs.FileMode(q.a)&fs.ModePerm)
	if errno != 0 {
		a.errno = errno
		return
	}
	dir, errno := file.IsDir()
	if errno == 0 {
		if number, ok := w.files.add(m, file); ok {
			a.dir, a.n = dir, int64(number)
			return
		}
		errno = sys.EAGAIN
	}
	a.errno = errno
	_ = file.Close()
}

// do carries out an operation on an open file. It is called with mu held.
func (f *openFile) do(q *fileRequest, data []byte, a *fileReply) {
	a.errno = 0
	n := 0
	switch q.op {
	case handleStat:
		a.stat, a.errno = f.file.Stat()
	case handleDev:
		a.stat.Dev, a.errno = f.file.Dev()
	case handleIno:
		a.stat.Ino, a.errno = f.file.Ino()
	case handleAppend:
		a.errno = f.file.SetAppend(q.flags != 0)
	case handleRead:
		a.data = make([]byte, min(q.flags, maxTransfer))
		n, a.errno = f.file.Read(a.data)
		a.data = a.data[:max(0, n)]
	case handlePread:
		a.data = make([]byte, min(q.flags, maxTransfer))
		n, a.errno = f.file.Pread(a.data, q.a)
		a.data = a.data[:max(0, n)]
	case handleSeek:
		a.n, a.errno = f.file.Seek(q.a, int(int32(q.flags)))
		return
	case handleReaddir:
		if a.names, a.errno = f.file.Readdir(int(min(max(1, q.flags), maxNames))); len(a.names) > maxNames {
			a.names = a.names[:maxNames]
		}
	case handleWrite:
		n, a.errno = f.file.Write(data)
	case handlePwrite:
		n, a.errno = f.file.Pwrite(data, q.a)
	case handleTruncate:
		a.errno = f.file.Truncate(q.a)
	case handleSync:
		a.errno = f.file.Sync()
	case handleDatasync:
		a.errno = f.file.Datasync()
	case handleUtimens:
		a.errno = f.file.Utimens(q.a, q.b)
	}
	a.n = int64(n)
}

// mountFS is a mount, in a worker, of a module. It is bound to an instance before anything
// is done with it.
type mountFS struct {
	sys.UnimplementedFS
	mount uint32
}

var _ sandbox.Bound = (*mountFS)(nil)

// Bind implements [sandbox.Bound].
func (m *mountFS) Bind(call func() *sandbox.Call) sys.FS { return &guestFS{mount: m.mount, call: call} }

// guestFS is a mount as a guest in a worker has it.
type guestFS struct {
	mount uint32
	call  func() *sandbox.Call
	last  *asking // who asked last
}

var _ sys.FS = (*guestFS)(nil)

// ask has the server do something. While it does, the guest does not run.
func (f *guestFS) ask(q *fileRequest, data []byte) (a fileReply) {
	call := f.call()
	if call == nil {
		return fileReply{errno: sys.EBADF}
	}
	g, ok := call.Files.(*asking)
	if !ok {
		return fileReply{errno: sys.ENOSYS}
	}
	f.last = g
	q.mount = f.mount
	out := newWriter()
	defer out.free()
	q.write(out)
	answer, err := g.askAside(call, &hostMessage{op: hostFile, request: out.b, body: data})
	if err != nil || a.decode(answer.value) != nil {
		return fileReply{errno: sys.EIO} // the call has ended, or will at once
	}
	return a
}

func (f *guestFS) named(q fileRequest) sys.Errno { return f.ask(&q, nil).errno }

// OpenFile implements [sys.FS].
func (f *guestFS) OpenFile(name string, flag sys.Oflag, perm fs.FileMode) (sys.File, sys.Errno) {
	a := f.ask(&fileRequest{op: fileOpen, name: name, flags: uint32(flag), a: int64(perm)}, nil)
	if a.errno != 0 {
		return nil, a.errno
	}
	h := &guestFile{fs: f, number: uint32(a.n), appends: flag&sys.O_APPEND != 0 && !a.dir}
	if a.dir {
		return &guestDir{guestFile: h}, 0
	}
	return h, 0
}

// Lstat implements [sys.FS].
func (f *guestFS) Lstat(name string) (wazerosys.Stat_t, sys.Errno) {
	a := f.ask(&fileRequest{op: fileLstat, name: name}, nil)
	return a.stat, a.errno
}

// Stat implements [sys.FS].
func (f *guestFS) Stat(name string) (wazerosys.Stat_t, sys.Errno) {
	a := f.ask(&fileRequest{op: fileStat, name: name}, nil)
	return a.stat, a.errno
}

// Mkdir implements [sys.FS].
func (f *guestFS) Mkdir(name string, perm fs.FileMode) sys.Errno {
	return f.named(fileRequest{op: fileMkdir, name: name, flags: uint32(perm)})
}

// Chmod implements [sys.FS].
func (f *guestFS) Chmod(name string, perm fs.FileMode) sys.Errno {
	return f.named(fileRequest{op: fileChmod, name: name, flags: uint32(perm)})
}

// Rename implements [sys.FS].
func (f *guestFS) Rename(from, to string) sys.Errno {
	return f.named(fileRequest{op: fileRename, name: from, to: to})
}

// Rmdir implements [sys.FS].
func (f *guestFS) Rmdir(name string) sys.Errno {
	return f.named(fileRequest{op: fileRmdir, name: name})
}

// Unlink implements [sys.FS].
func (f *guestFS) Unlink(name string) sys.Errno {
	return f.named(fileRequest{op: fileUnlink, name: name})
}

// Link implements [sys.FS].
func (f *guestFS) Link(from, to string) sys.Errno {
	return f.named(fileRequest{op: fileLink, name: from, to: to})
}

// Symlink implements [sys.FS].
func (f *guestFS) Symlink(target, name string) sys.Errno {
	return f.named(fileRequest{op: fileSymlink, name: target, to: name})
}

// Readlink implements [sys.FS].
func (f *guestFS) Readlink(name string) (string, sys.Errno) {
	a := f.ask(&fileRequest{op: fileReadlink, name: name}, nil)
	return string(a.data), a.errno
}

// Utimens implements [sys.FS].
func (f *guestFS) Utimens(name string, atim, mtim int64) sys.Errno {
	return f.named(fileRequest{op: fileUtimens, name: name, a: atim, b: mtim})
}

// guestFile is an open file as a guest in a worker has it.
type guestFile struct {
	fs      *guestFS
	number  uint32
	appends bool
	closed  bool
}

var (
	_ sys.File = (*guestFile)(nil)
	_ sys.File = (*guestDir)(nil)
)

func (f *guestFile) ask(q fileRequest, data []byte) fileReply {
	if f.closed {
		return fileReply{errno: sys.EBADF}
	}
	q.file = f.number
	return f.fs.ask(&q, data)
}

// Dev implements [sys.File].
func (f *guestFile) Dev() (uint64, sys.Errno) {
	a := f.ask(fileRequest{op: handleDev}, nil)
	return a.stat.Dev, a.errno
}

// Ino implements [sys.File].
func (f *guestFile) Ino() (wazerosys.Inode, sys.Errno) {
	a := f.ask(fileRequest{op: handleIno}, nil)
	return a.stat.Ino, a.errno
}

// IsDir implements [sys.File].
func (f *guestFile) IsDir() (bool, sys.Errno) { return false, 0 }

// IsAppend implements [sys.File].
func (f *guestFile) IsAppend() bool { return f.appends }

// SetAppend implements [sys.File].
func (f *guestFile) SetAppend(enable bool) sys.Errno {
	q := fileRequest{op: handleAppend}
	if enable {
		q.flags = 1
	}
	errno := f.ask(q, nil).errno
	if errno == 0 {
		f.appends = enable
	}
	return errno
}

// Stat implements [sys.File].
func (f *guestFile) Stat() (wazerosys.Stat_t, sys.Errno) {
	a := f.ask(fileRequest{op: handleStat}, nil)
	return a.stat, a.errno
}

// read reads at most maxTransfer bytes, which is all that WASI asks for at a time.
func (f *guestFile) read(buf []byte, q fileRequest) (int, sys.Errno) {
	q.flags = uint32(min(len(buf), maxTransfer))
	a := f.ask(q, nil)
	return copy(buf, a.data), a.errno
}

// Read implements [sys.File].
func (f *guestFile) Read(buf []byte) (int, sys.Errno) {
	return f.read(buf, fileRequest{op: handleRead})
}

// Pread implements [sys.File].
func (f *guestFile) Pread(buf []byte, off int64) (int, sys.Errno) {
	return f.read(buf, fileRequest{op: handlePread, a: off})
}

// Seek implements [sys.File].
func (f *guestFile) Seek(offset position, whence int) (int64, sys.Errno) {
	a := f.ask(fileRequest{op: handleSeek, a: offset, flags: uint32(int32(whence))}, nil)
	return a.n, a.errno
}

// position is an int64 under a name that keeps go vet from taking wazero's Seek, which
// returns an Errno, for a mistyped io.Seeker.
type position = int64

// Readdir implements [sys.File].
func (f *guestFile) Readdir(n int) ([]sys.Dirent, sys.Errno) {
	if n <= 0 || n > maxNames {
		n = maxNames
	}
	a := f.ask(fileRequest{op: handleReaddir, flags: uint32(n)}, nil)
	return a.names, a.errno
}

// write writes at most maxTransfer bytes, as read does.
func (f *guestFile) write(buf []byte, q fileRequest) (int, sys.Errno) {
	a := f.ask(q, buf[:min(len(buf), maxTransfer)])
	return int(a.n), a.errno
}

// Write implements [sys.File].
func (f *guestFile) Write(buf []byte) (int, sys.Errno) {
	return f.write(buf, fileRequest{op: handleWrite})
}

// Pwrite implements [sys.File].
func (f *guestFile) Pwrite(buf []byte, off int64) (int, sys.Errno) {
	return f.write(buf, fileRequest{op: handlePwrite, a: off})
}

// Truncate implements [sys.File].
func (f *guestFile) Truncate(size int64) sys.Errno {
	return f.ask(fileRequest{op: handleTruncate, a: size}, nil).errno
}

// Sync implements [sys.File].
func (f *guestFile) Sync() sys.Errno { return f.ask(fileRequest{op: handleSync}, nil).errno }

// Datasync implements [sys.File].
func (f *guestFile) Datasync() sys.Errno { return f.ask(fileRequest{op: handleDatasync}, nil).errno }

// Utimens implements [sys.File].
func (f *guestFile) Utimens(atim, mtim int64) sys.Errno {
	return f.ask(fileRequest{op: handleUtimens, a: atim, b: mtim}, nil).errno
}

// Close implements [sys.File]. Nobody waits for the server, which closes the file before it
// does what this call asks for next, or hears that it has ended. It may come when the call
// has ended.
func (f *guestFile) Close() sys.Errno {
	if f.closed {
		return 0
	}
	f.closed = true
	g := f.fs.last
	if call := f.fs.call(); call != nil {
		if now, ok := call.Files.(*asking); ok {
			g = now
		}
	}
	_ = g.link.send(g.in, kindClose, binary.LittleEndian.AppendUint32(nil, f.number))
	return 0
}

// guestDir is an open directory.
type guestDir struct{ *guestFile }

// IsDir implements [sys.File].
func (d *guestDir) IsDir() (bool, sys.Errno) { return true, 0 }

// ask puts a question and waits for its answer.
func (g *asking) ask(ctx context.Context, m *hostMessage) (*answerMessage, error) {
	g.number++
	m.number = g.number
	if deadline, ok := ctx.Deadline(); ok {
		m.left = time.Until(deadline)
	}
	w := newWriter()
	m.write(w)
	err := g.link.send(g.in, kindHost, w.b)
	w.free()
	if err != nil {
		return nil, err
	}
	for {
		msg, err := g.link.await(ctx, g.in)
		if err != nil {
			return nil, err
		}
		a := &answerMessage{}
		if msg.kind != kindAnswer || a.decode(msg.body) != nil || a.number != m.number {
			continue // of a question that was given up
		}
		sandbox.Work(ctx, time.Duration(a.worked))
		if a.err != nil {
			return nil, &fromHostError{a.err}
		}
		return a, nil
	}
}

// askAside is ask for what the guest waits for without its host's waiting: meanwhile it does
// not count as one that does not come back.
func (g *asking) askAside(call *sandbox.Call, m *hostMessage) (*answerMessage, error) {
	if call.Beat != nil {
		call.Beat.Rest()
		defer func() { call.Beat.Run(time.Now()) }()
	}
	return g.ask(g.ctx, m)
}
