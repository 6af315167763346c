package vfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/experimental/sys"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree makes a directory to show, and a secret beside it.
func tree(t *testing.T) (dir, beside string) {
	t.Helper()
	top := t.TempDir()
	dir, beside = filepath.Join(top, "mount"), filepath.Join(top, "secret.txt")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("hello"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "b.txt"), []byte("world"), 0o644))
	require.NoError(t, os.WriteFile(beside, []byte("top secret"), 0o644))
	return dir, beside
}

func mount(t *testing.T, dir string, o vfs.Options) *vfs.Mount {
	t.Helper()
	m, err := vfs.Open(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func read(f *vfs.FS, name string) (string, sys.Errno) {
	file, errno := f.OpenFile(name, sys.O_RDONLY, 0)
	if errno != 0 {
		return "", errno
	}
	defer file.Close()
	buf := make([]byte, 100)
	n, errno := file.Read(buf)
	return string(buf[:n]), errno
}

func write(f *vfs.FS, name string, size int) sys.Errno {
	file, errno := f.OpenFile(name, sys.O_WRONLY|sys.O_CREAT|sys.O_TRUNC, 0o644)
	if errno != 0 {
		return errno
	}
	defer file.Close()
	_, errno = file.Write(make([]byte, size))
	return errno
}

func TestADirectoryIsReadAndNothingBesideIt(t *testing.T) {
	dir, beside := tree(t)
	for link, target := range map[string]string{"abs": beside, "rel": "../secret.txt", "up": "..", "sub/far": "../../secret.txt", "in": "a.txt", "loop": "loop", "root": "/", "proc": "/proc/self/environ"} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	for _, o := range []vfs.Options{{}, {Writable: true}} {
		m := mount(t, dir, o)
		f := m.FS(true, nil)
		text, errno := read(f, "sub/b.txt")
		require.Zero(t, errno)
		assert.Equal(t, "world", text)
		text, errno = read(f, "in")
		require.Zero(t, errno, "a link that stays inside is followed")
		assert.Equal(t, "hello", text)
		for _, name := range []string{
			"../secret.txt", "sub/../../secret.txt", "/etc/passwd", beside, "abs", "rel", "abs/", "rel/", "up/secret.txt", "up", "sub/far", "sub/../sub/far",
			"root/etc/passwd", "root", "proc", "loop", "a.txt/", "a.txt/x", "\x00", "..\\secret.txt", "sub/..\\..\\secret.txt", string(make([]byte, 5000)), "./../secret.txt",
		} {
			text, errno := read(f, name)
			assert.NotZero(t, errno, "%q gave %q", name, text)
			assert.NotContains(t, text, "secret")
			_, errno = f.Stat(name)
			assert.NotZero(t, errno, name)
		}
		_, errno = f.Readlink("abs")
		assert.Equal(t, sys.EPERM, errno)
		file, errno := f.OpenFile("in", sys.O_RDONLY|sys.O_NOFOLLOW, 0)
		assert.Equal(t, sys.ELOOP, errno, "%v", file)
	}
}

func TestAReadOnlyViewChangesNothing(t *testing.T) {
	dir, _ := tree(t)
	for says, f := range map[string]*vfs.FS{
		"mount": mount(t, dir, vfs.Options{}).FS(true, nil), "grant": mount(t, dir, vfs.Options{Writable: true}).FS(false, nil),
	} {
		for _, flag := range []sys.Oflag{sys.O_WRONLY, sys.O_RDWR, sys.O_RDONLY | sys.O_TRUNC, sys.O_RDONLY | sys.O_CREAT, sys.O_WRONLY | sys.O_APPEND} {
			_, errno := f.OpenFile("a.txt", flag, 0)
			assert.Equal(t, sys.EROFS, errno, says)
		}
		for what, errno := range map[string]sys.Errno{
			"mkdir": f.Mkdir("x", 0), "rmdir": f.Rmdir("sub"), "unlink": f.Unlink("a.txt"), "rename": f.Rename("a.txt", "b"),
			"link": f.Link("a.txt", "b"), "symlink": f.Symlink("a.txt", "b"), "chmod": f.Chmod("a.txt", 0), "utimens": f.Utimens("a.txt", 0, 0),
		} {
			assert.NotZero(t, errno, "%s: %s", says, what)
		}
		file, errno := f.OpenFile("a.txt", sys.O_RDONLY, 0)
		require.Zero(t, errno)
		_, errno = file.Write([]byte("x"))
		assert.Equal(t, sys.EBADF, errno)
		_, errno = file.Pwrite([]byte("x"), 0)
		assert.Equal(t, sys.EBADF, errno)
		assert.Equal(t, sys.EBADF, file.Truncate(0))
		assert.Zero(t, file.Close())
		assert.Zero(t, file.Close())
	}
	b, err := os.ReadFile(filepath.Join(dir, "a.txt"))
	require.NoError(t, err)
	assert.Equal(t, "hello", string(b))
}

func TestAFileHasItsSizeOnTheBill(t *testing.T) {
	dir, _ := tree(t)
	m := mount(t, dir, vfs.Options{Writable: true, MaxBytes: 100, MaxEntries: 5})
	f := m.FS(true, nil)
	used := func(bytes, entries int64) {
		t.Helper()
		b, e := m.Used()
		assert.Equal(t, [2]int64{bytes, entries}, [2]int64{b, e})
	}
	used(10, 3)
	require.Zero(t, write(f, "c", 50))
	used(60, 4)
	require.Zero(t, write(f, "c", 20))
	used(30, 4)
	assert.Equal(t, sys.EIO, write(f, "c", 91))
	used(10, 4)
	file, errno := f.OpenFile("c", sys.O_RDWR, 0)
	require.Zero(t, errno)
	_, errno = file.Pwrite([]byte("x"), 89)
	require.Zero(t, errno)
	used(100, 4) // a hole counts
	_, errno = file.Pwrite([]byte("x"), 90)
	assert.Equal(t, sys.EIO, errno)
	_, errno = file.Pwrite([]byte("x"), 1<<62)
	assert.Equal(t, sys.EIO, errno)
	_, errno = file.Pwrite([]byte("xy"), 1<<63-1)
	assert.Equal(t, sys.EIO, errno)
	_, errno = file.Pwrite([]byte("x"), -1)
	assert.Equal(t, sys.EINVAL, errno)
	assert.Equal(t, sys.EIO, file.Truncate(91))
	assert.Equal(t, sys.EINVAL, file.Truncate(-1))
	require.Zero(t, file.Truncate(10))
	used(20, 4)
	_, errno = file.Pwrite(make([]byte, 10), 0)
	require.Zero(t, errno, "writing over what is there takes no room")
	used(20, 4)
	// Without a name it still takes its room, until it is closed.
	require.Zero(t, f.Unlink("c"))
	used(20, 3)
	_, errno = file.Pwrite(make([]byte, 50), 10)
	require.Zero(t, errno)
	used(70, 3)
	other, errno := f.OpenFile("c", sys.O_RDWR|sys.O_CREAT, 0)
	require.Zero(t, errno)
	assert.Equal(t, sys.EIO, other.Truncate(40))
	require.Zero(t, other.Close())
	require.Zero(t, file.Close())
	used(10, 4)
	require.Zero(t, f.Mkdir("d", 0))
	assert.Equal(t, sys.EIO, f.Mkdir("e", 0))
	assert.Equal(t, sys.EIO, write(f, "e", 0))
	require.Zero(t, f.Rmdir("d"))
	// The file that a rename replaces is gone.
	require.Zero(t, write(f, "d", 7))
	used(17, 5)
	require.Zero(t, f.Rename("d", "c"))
	used(17, 4)
	require.Zero(t, f.Rename("c", "c"))
	used(17, 4)
	require.Zero(t, f.Rename("c", "a.txt"))
	used(12, 3)
	assert.Equal(t, sys.EISDIR, f.Unlink("sub"))
	assert.Equal(t, sys.ENOTDIR, f.Unlink("a.txt/"))
	// A directory takes the place of an empty one, and of nothing else.
	require.Zero(t, f.Mkdir("empty", 0))
	used(12, 4)
	assert.Equal(t, sys.EISDIR, f.Rename("a.txt", "empty"))
	assert.Equal(t, sys.ENOTEMPTY, f.Rename("empty", "sub"))
	assert.Equal(t, sys.ENOTDIR, f.Rename("empty", "a.txt"))
	require.Zero(t, f.Rename("sub", "empty"))
	used(12, 3)
	require.Zero(t, f.Rename("empty", "sub"))
	require.Zero(t, f.Rename("sub", "sub"))
	used(12, 3)
	assert.Equal(t, sys.ENOTDIR, f.Rmdir("a.txt"))
	assert.NotZero(t, f.Rmdir("sub"), "it is not empty")
	assert.Equal(t, sys.EPERM, f.Rmdir("."))
	assert.Equal(t, sys.EPERM, f.Rename(".", "x"))
	assert.Equal(t, sys.EPERM, f.Rename("a.txt", "../x"))
	assert.Equal(t, sys.EPERM, f.Rename("../secret.txt", "x"))
	used(12, 3)
}

func TestWhatIsOpenIsBounded(t *testing.T) {
	dir, _ := tree(t)
	f := mount(t, dir, vfs.Options{}).FS(false, nil)
	var open []sys.File
	for {
		file, errno := f.OpenFile([]string{"a.txt", "sub"}[len(open)%2], sys.O_RDONLY, 0)
		if errno != 0 {
			assert.Equal(t, sys.EAGAIN, errno)
			break
		}
		open = append(open, file)
	}
	assert.Len(t, open, 128)
	for _, file := range open {
		require.Zero(t, file.Close())
	}
	_, errno := read(f, "a.txt")
	assert.Zero(t, errno)
}

func TestADirectoryIsListedPieceByPiece(t *testing.T) {
	dir, _ := tree(t)
	for i := range 10 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", fmt.Sprint(i)), nil, 0o600))
	}
	file, errno := mount(t, dir, vfs.Options{}).FS(false, nil).OpenFile("sub", sys.O_RDONLY|sys.O_DIRECTORY, 0)
	require.Zero(t, errno)
	defer file.Close()
	for range 2 {
		names := map[string]bool{}
		for {
			list, errno := file.Readdir(3)
			require.Zero(t, errno)
			if len(list) == 0 {
				break
			}
			for _, d := range list {
				names[d.Name] = true
			}
		}
		assert.Len(t, names, 11)
		_, errno := file.Seek(0, 0)
		require.Zero(t, errno)
	}
	_, errno = file.Seek(1, 0)
	assert.Equal(t, sys.EINVAL, errno)
}

// A link that is swapped while a file is opened never leads out, and neither does a
// directory that is moved away.
func TestRacesLeadNowhere(t *testing.T) {
	dir, beside := tree(t)
	m := mount(t, dir, vfs.Options{Writable: true})
	f := m.FS(true, nil)
	inside, outside := filepath.Join(dir, "flip"), filepath.Dir(beside)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			_ = os.Remove(inside)
			_ = os.Symlink(outside, inside)
			_ = os.Remove(inside)
			_ = os.Mkdir(inside, 0o755)
			_ = os.WriteFile(filepath.Join(inside, "secret.txt"), []byte("inside"), 0o644)
			_ = os.RemoveAll(inside)
			_ = os.Rename(filepath.Join(dir, "sub"), filepath.Join(dir, "bus"))
			_ = os.Rename(filepath.Join(dir, "bus"), filepath.Join(dir, "sub"))
		}
	})
	for range 2000 {
		text, _ := read(f, "flip/secret.txt")
		assert.NotContains(t, text, "top")
		text, _ = read(f, "sub/../flip/secret.txt")
		assert.NotContains(t, text, "top")
		_ = write(f, "flip/secret.txt", 3)
		_ = f.Unlink("flip/secret.txt")
		_ = f.Rename("a.txt", "flip/a.txt")
		_ = f.Rename("flip/a.txt", "a.txt")
	}
	close(done)
	wg.Wait()
	b, err := os.ReadFile(beside)
	require.NoError(t, err)
	assert.Equal(t, "top secret", string(b))
	left, err := filepath.Glob(filepath.Join(outside, "*"))
	require.NoError(t, err)
	assert.Len(t, left, 2)
}

func TestGuestsAtOnceStayWithinTheQuota(t *testing.T) {
	dir := t.TempDir()
	m := mount(t, dir, vfs.Options{Writable: true, MaxBytes: 10_000, MaxEntries: 20})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			f := m.FS(true, nil)
			for n := range 100 {
				name := fmt.Sprint((i + n) % 30)
				_ = write(f, name, 1000+n)
				if n%3 == 0 {
					_ = f.Unlink(name)
				}
				_ = f.Rename(name, fmt.Sprint(n%30))
			}
		})
	}
	wg.Wait()
	var bytes, entries int64
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if name == "." || err != nil {
			return err
		}
		info, err := d.Info()
		entries++
		bytes += info.Size()
		return err
	}))
	b, e := m.Used()
	assert.Equal(t, [2]int64{bytes, entries}, [2]int64{b, e}, "the bill is what is on disk")
	assert.LessOrEqual(t, bytes, int64(10_000))
	assert.LessOrEqual(t, entries, int64(20))
}

func TestWhatCanNotBeMounted(t *testing.T) {
	dir, beside := tree(t)
	for _, name := range []string{filepath.Join(dir, "none"), beside} {
		_, err := vfs.Open(name, vfs.Options{})
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
}

// A module that may only read keeps a file's bytes on the disk as well as one that writes.
func TestAFileThatIsReadCountsWithoutItsName(t *testing.T) {
	m := mount(t, t.TempDir(), vfs.Options{Writable: true, MaxBytes: 100})
	writer, reader := m.FS(true, nil), m.FS(false, nil)
	require.Zero(t, write(writer, "big", 90))
	first, errno := reader.OpenFile("big", sys.O_RDONLY, 0)
	require.Zero(t, errno)
	second, errno := reader.OpenFile("big", sys.O_RDONLY, 0)
	require.Zero(t, errno)
	require.Zero(t, writer.Unlink("big"))
	assert.Equal(t, sys.EIO, write(writer, "big", 90), "its bytes are still there")
	require.Zero(t, writer.Unlink("big"))
	require.Zero(t, first.Close())
	bytes, entries := m.Used()
	assert.Equal(t, [2]int64{90, 0}, [2]int64{bytes, entries})
	require.Zero(t, second.Close())
	require.Zero(t, write(writer, "big", 90))
}

// A directory that can't be moved into the place of an empty one leaves that where it was.
func TestARenameThatFailsTakesNothingAway(t *testing.T) {
	dir := t.TempDir()
	m := mount(t, dir, vfs.Options{Writable: true})
	f := m.FS(true, nil)
	require.Zero(t, f.Mkdir("a", 0))
	require.Zero(t, f.Mkdir("a/b", 0))
	require.NoError(t, os.Symlink("a", filepath.Join(dir, "to-a")))
	_, before := m.Used()
	for _, target := range []string{"a/b", "to-a/b"} {
		assert.Equal(t, sys.EINVAL, f.Rename("a", target), target)
		st, errno := f.Stat("a/b")
		assert.Zero(t, errno, target)
		assert.True(t, st.Mode.IsDir(), target)
	}
	_, after := m.Used()
	assert.Equal(t, before, after)
}

// places counts for several file systems, up to three.
type places struct{ open int64 }

func (p *places) Take(n int64) error {
	if p.open+n > 3 {
		return errors.New("enough")
	}
	p.open += n
	return nil
}

func (p *places) Give(n int64) { p.open -= n }

func TestWhatSeveralHaveOpenIsCountedTogether(t *testing.T) {
	dir, _ := tree(t)
	m := mount(t, dir, vfs.Options{})
	p := &places{}
	var open []sys.File
	for _, name := range []string{"a.txt", "sub", "a.txt"} {
		file, errno := m.FS(false, p).OpenFile(name, sys.O_RDONLY, 0)
		require.Zero(t, errno)
		open = append(open, file)
	}
	f := m.FS(false, p)
	_, errno := f.OpenFile("a.txt", sys.O_RDONLY, 0)
	assert.Equal(t, sys.EAGAIN, errno)
	require.Zero(t, open[0].Close())
	require.Zero(t, open[0].Close())
	_, errno = f.OpenFile("none", sys.O_RDONLY, 0)
	assert.Equal(t, sys.ENOENT, errno)
	_, errno = f.OpenFile("a.txt", sys.O_RDONLY|sys.O_DIRECTORY, 0)
	assert.Equal(t, sys.ENOTDIR, errno)
	open[0], errno = f.OpenFile("a.txt", sys.O_RDONLY, 0)
	require.Zero(t, errno, "what was not opened has no place")
	for _, file := range open {
		require.Zero(t, file.Close())
	}
	assert.Zero(t, p.open)
}
