package worker

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/experimental/sys"
	wazerosys "github.com/tetratelabs/wazero/sys"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// connected are the two ends of a call with files: what the server has open, and the file
// system of the guest's only mount.
func connected(t *testing.T, system sys.FS) (*process, sys.FS, *callState) {
	t.Helper()
	toServer, fromWorker, err := os.Pipe()
	require.NoError(t, err)
	toWorker, fromServer, err := os.Pipe()
	require.NoError(t, err)
	m := &Module{source: sandbox.Source{Mounts: []sandbox.Mount{{Path: "/", FS: system}}}}
	w := &process{pool: &Pool{}}
	w.link, w.next = newLink(context.Background(), newStream(toServer, fromServer)), 2
	w.link.most, w.link.late = w.most, w.late
	c := &callState{module: m}
	c.in = &c.own
	c.in.slot, c.in.gen, c.in.want = 1, 1, maxTransfer+maxReply
	w.calls[1] = c
	w.link.inboxes[1].Store(c.in)
	far := newLink(context.Background(), newStream(toWorker, fromWorker))
	far.started = func(*inbox, message) task { return nil }
	in := &inbox{slot: 1, gen: 1}
	far.inboxes[1].Store(in)
	ended := make(chan struct{}, 3)
	for _, run := range []func(){w.link.run, far.run, func() {
		for {
			msg, err := w.link.await(context.Background(), c.in)
			if err != nil {
				return
			}
			if msg.kind == kindClose {
				w.closeFile(msg.body)
				continue
			}
			var q hostMessage
			if assert.NoError(t, q.decode(msg.body)) {
				_ = w.link.answer(c.in, w.file(c, &q))
			}
		}
	}} {
		go func() { run(); ended <- struct{}{} }()
	}
	t.Cleanup(func() {
		far.fail(nil)
		for range cap(ended) {
			<-ended
		}
		w.pool.group.Wait()
		w.files.closeAll()
	})
	call := &sandbox.Call{Files: &asking{link: far, in: in, ctx: context.Background()}}
	return w, (&mountFS{}).Bind(func() *sandbox.Call { return call }), c
}

// a tree to work on.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("hello"), 0o600))
	require.NoError(t, os.Symlink("../secret", filepath.Join(dir, "leak")))
	return dir
}

func mounted(t *testing.T, dir string) *vfs.Mount {
	t.Helper()
	m, err := vfs.Open(dir, vfs.Options{Writable: true, MaxBytes: 400 << 10, MaxEntries: 12})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// whatStat says of a file what does not depend on which directory it is in, and when.
func whatStat(st wazerosys.Stat_t, errno sys.Errno) string {
	return fmt.Sprint(st.Mode, st.Size, st.Nlink, st.Dev != 0, st.Mtim != 0, errno)
}

func names(list []sys.Dirent) string {
	var s []string
	for _, e := range list {
		s = append(s, e.Name+" "+e.Type.String())
	}
	slices.Sort(s)
	return strings.Join(s, ",")
}

// A guest's operations on a mount have the same results through a worker's connection
// as in the mount's own file system.
func TestFilesActAsInProcess(t *testing.T) {
	for _, write := range []bool{true, false} {
		t.Run(fmt.Sprintf("write=%v", write), func(t *testing.T) {
			here, there := tree(t), tree(t)
			mounts := [2]*vfs.Mount{mounted(t, here), mounted(t, there)}
			w, far, _ := connected(t, mounts[1].FS(write, nil))
			systems := [2]sys.FS{mounts[0].FS(write, nil), far}
			random := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // a choice of what to do
			open := [][2]sys.File{}
			said := map[string]int{}
			for i := range 6000 {
				what, do := step(random, &open)
				got := [2]string{}
				files := [2]sys.File{}
				for side, system := range systems {
					got[side], files[side] = do(system, side)
				}
				require.Equal(t, got[0], got[1], "step %d: %s", i, what)
				said[strings.Fields(what)[0]]++
				if files[0] != nil {
					open = append(open, files)
				}
			}
			for _, pair := range open {
				for _, f := range pair {
					require.Zero(t, f.Close())
				}
			}
			require.Len(t, said, 21, "each operation came: %v", said)
			require.Eventually(t, func() bool {
				w.files.mu.Lock()
				defer w.files.mu.Unlock()
				return len(w.files.open) == 0
			}, 10*time.Second, time.Millisecond, "all are closed")
			b0, e0 := mounts[0].Used()
			b1, e1 := mounts[1].Used()
			assert.Equal(t, [2]int64{b0, e0}, [2]int64{b1, e1})
			assert.Equal(t, listed(t, here), listed(t, there))
		})
	}
}

func listed(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			all[strings.TrimPrefix(name, dir)] = d.Type().String()
			return err
		}
		b, err := os.ReadFile(name)
		all[strings.TrimPrefix(name, dir)] = string(b)
		return err
	}))
	return all
}

// step chooses what to do next. It does the same on both sides, and says what came of it.
func step(random *rand.Rand, open *[][2]sys.File) (what string, do func(system sys.FS, side int) (string, sys.File)) {
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	name := pick("a", "b", "c", "d", "d/x", "d/y", "leak", "../secret", "/etc/passwd", ".", "d/", "gone/x", "x\x00y", strings.Repeat("n", 300))
	to := pick("a", "b", "d/x", "e", "..", "leak")
	at, size := random.Int64N(1<<18), random.IntN(1<<random.IntN(19)+1)
	plain := func(op string, do func(system sys.FS) string) (string, func(sys.FS, int) (string, sys.File)) {
		return fmt.Sprint(op, " ", name, " ", to), func(system sys.FS, _ int) (string, sys.File) { return do(system), nil }
	}
	if n := len(*open); n > 0 && random.IntN(3) > 0 {
		i := random.IntN(n)
		pair := (*open)[i]
		op := pick("stat", "read", "read", "pread", "seek", "readdir", "write", "write", "pwrite", "truncate", "sync", "append", "times", "ino", "close")
		if op == "close" || n > 20 {
			op = "close"
			*open = slices.Delete(*open, i, i+1)
		}
		data := []byte(strings.Repeat("z", size))
		at := pick2(random, at, -1, 3)
		whence, enable := random.IntN(4)-1, random.IntN(2) == 0
		return fmt.Sprint("file.", op, " ", at, " ", size), func(_ sys.FS, side int) (string, sys.File) {
			return onFile(pair[side], op, data, at, whence, enable), nil
		}
	}
	switch op := pick("open", "open", "open", "lstat", "stat", "mkdir", "rename", "rmdir", "unlink", "link"); op {
	case "open":
		flag := []sys.Oflag{sys.O_RDONLY, sys.O_RDWR, sys.O_WRONLY}[random.IntN(3)]
		for _, f := range []sys.Oflag{sys.O_CREAT, sys.O_EXCL, sys.O_TRUNC, sys.O_APPEND, sys.O_DIRECTORY, sys.O_NOFOLLOW} {
			if random.IntN(4) == 0 {
				flag |= f
			}
		}
		return fmt.Sprint("open ", name, " ", flag), func(system sys.FS, _ int) (string, sys.File) {
			f, errno := system.OpenFile(name, flag, 0o600)
			if errno != 0 {
				return fmt.Sprint(errno), nil
			}
			dir, errno := f.IsDir()
			return fmt.Sprint(dir, errno, f.IsAppend()), f
		}
	case "lstat":
		return plain(op, func(s sys.FS) string { return whatStat(s.Lstat(name)) })
	case "stat":
		return plain(op, func(s sys.FS) string { return whatStat(s.Stat(name)) })
	case "mkdir":
		return plain(op, func(s sys.FS) string { return fmt.Sprint(s.Mkdir(name, 0o700)) })
	case "rename":
		return plain(op, func(s sys.FS) string { return fmt.Sprint(s.Rename(name, to)) })
	case "rmdir":
		return plain(op, func(s sys.FS) string { return fmt.Sprint(s.Rmdir(name)) })
	case "unlink":
		return plain(op, func(s sys.FS) string { return fmt.Sprint(s.Unlink(name)) })
	}
	return plain("links", func(s sys.FS) string {
		target, errno := s.Readlink(name)
		return fmt.Sprint(s.Link(name, to), s.Symlink(name, to), target, errno, s.Chmod(name, 0o777), s.Utimens(name, 1, 1))
	})
}

func pick2(random *rand.Rand, list ...int64) int64 { return list[random.IntN(len(list))] }

func onFile(f sys.File, op string, data []byte, at int64, whence int, enable bool) string {
	buf := make([]byte, len(data))
	switch op {
	case "stat":
		return whatStat(f.Stat())
	case "read":
		n, errno := f.Read(buf)
		return fmt.Sprint(n, errno, string(buf[:max(0, n)]))
	case "pread":
		n, errno := f.Pread(buf, at)
		return fmt.Sprint(n, errno, string(buf[:max(0, n)]))
	case "seek":
		n, errno := f.Seek(at, whence)
		return fmt.Sprint(n, errno)
	case "readdir":
		list, errno := f.Readdir(-1)
		return fmt.Sprint(names(list), errno)
	case "write":
		return fmt.Sprint(f.Write(data))
	case "pwrite":
		return fmt.Sprint(f.Pwrite(data, at))
	case "truncate":
		return fmt.Sprint(f.Truncate(at))
	case "sync":
		return fmt.Sprint(f.Sync(), f.Datasync())
	case "append":
		return fmt.Sprint(f.SetAppend(enable), f.IsAppend())
	case "times":
		return fmt.Sprint(f.Utimens(1, 1))
	case "ino":
		ino, errno := f.Ino()
		dev, failed := f.Dev()
		return fmt.Sprint(ino != 0, errno, dev != 0, failed)
	}
	return fmt.Sprint(f.Close())
}

// A file that a call leaves open is closed with it, and one that is closed when the call has
// ended is, too.
func TestFilesAreClosedWithTheirCallAndAfterIt(t *testing.T) {
	for name, end := range map[string]func(w *process, c *callState){
		"during the call": func(*process, *callState) {},
		"after its slot was given back": func(w *process, _ *callState) {
			w.link.inboxes[1].Store(nil)
		},
		"while it is given back": func(_ *process, c *callState) { c.in.shut() },
	} {
		t.Run(name, func(t *testing.T) {
			m := mounted(t, tree(t))
			w, system, c := connected(t, m.FS(true, nil))
			f, errno := system.OpenFile("a", sys.O_RDONLY, 0)
			require.Zero(t, errno)
			end(w, c)
			require.Zero(t, f.Close())
			require.Zero(t, f.Close(), "again")
			_, errno = f.Read(make([]byte, 1))
			require.Equal(t, sys.EBADF, errno)
			require.Eventually(t, func() bool {
				w.files.mu.Lock()
				defer w.files.mu.Unlock()
				return len(w.files.open) == 0
			}, 10*time.Second, time.Millisecond)
		})
	}
}

// A worker that a guest has taken over may ask for anything.
func TestForgedRequestsForFilesReachNothing(t *testing.T) {
	m := mounted(t, tree(t))
	w, system, c := connected(t, m.FS(false, nil))
	f, errno := system.OpenFile("a", sys.O_RDONLY, 0)
	require.Zero(t, errno)
	number := f.(*guestFile).number //nolint:forcetypeassert // it is no directory
	ask := func(module *Module, q fileRequest, body int) (sys.Errno, error) {
		var out writer
		q.write(&out)
		a := w.file(&callState{module: module}, &hostMessage{op: hostFile, request: out.b, body: make([]byte, body)})
		var reply fileReply
		if a.err == nil {
			require.NoError(t, reply.decode(a.value))
		}
		return reply.errno, a.err
	}
	for name, q := range map[string]fileRequest{
		"another mount":                {op: fileStat, mount: 1, name: "a"},
		"no mount":                     {op: fileStat, mount: 1<<32 - 1, name: "a"},
		"a file that is not open":      {op: handleRead, file: number + 1, flags: 1},
		"write, without a grant":       {op: fileOpen, name: "new", flags: uint32(sys.O_RDWR | sys.O_CREAT)},
		"a path out":                   {op: fileOpen, name: "../secret"},
		"write to what is for reading": {op: handleWrite, file: number},
	} {
		errno, err := ask(c.module, q, 1)
		require.NoError(t, err, name)
		assert.NotZero(t, errno, name)
	}
	errno, err := ask(&Module{source: c.module.source}, fileRequest{op: handleRead, file: number, flags: 1}, 0)
	require.NoError(t, err)
	assert.Equal(t, sys.EBADF, errno, "a file of another module's")
	_, err = ask(c.module, fileRequest{op: fileOps}, 0)
	require.Error(t, err, "an operation that is none")
	_, err = ask(c.module, fileRequest{op: handleWrite, file: number}, maxTransfer+1)
	require.Error(t, err, "more than may be written at a time")
	for errno = 0; errno == 0; { // each module has a bound of its own, too
		other := &Module{source: sandbox.Source{Mounts: []sandbox.Mount{{Path: "/", FS: m.FS(false, nil)}}}}
		for range 100 {
			if errno, _ = ask(other, fileRequest{op: fileOpen, name: "a"}, 0); errno != 0 {
				break
			}
		}
		require.LessOrEqual(t, len(w.files.open), maxHandles, "files without end")
	}
	assert.Equal(t, sys.EAGAIN, errno)
	w.files.closeAll()
	if _, err := f.Seek(0, io.SeekStart); assert.NotZero(t, err) {
		assert.Equal(t, sys.EBADF, err, "the worker has ended")
	}
}
