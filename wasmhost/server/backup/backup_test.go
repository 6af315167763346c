package backup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/journal"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/backup"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var names = []string{"one", "two", "gone"}

// store is a directory with files, which holds as the stores do.
type store struct {
	storedir.FS
	held func() // called when a hold begins
}

func (s *store) Hold() (release func()) {
	release = storedir.Hold(s.FS)
	if s.held != nil {
		s.held()
	}
	return release
}

func openStore(t *testing.T, dir, name string) *store {
	t.Helper()
	fsys, err := storedir.Open(filepath.Join(dir, name), name)
	require.NoError(t, err)
	t.Cleanup(func() { _ = fsys.Close() })
	return &store{FS: fsys}
}

func (s *store) write(t *testing.T, name, content string) {
	t.Helper()
	require.NoError(t, storedir.WriteFile(s, filepath.Dir(name), filepath.Base(name), []byte(content)))
}

// world is a data directory with two stores, and its maker.
type world struct {
	dir      string
	one, two *store
	*backup.Maker
}

func newWorld(t *testing.T, change func(c *backup.Config)) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.one, w.two = openStore(t, w.dir, "one"), openStore(t, w.dir, "two")
	require.NoError(t, w.one.Mkdir("deep", 0o700))
	w.one.write(t, "deep/file", "first")
	w.two.write(t, "log", strings.Repeat("h", journal.MaxHead)+"tail")
	c := backup.Config{Dir: w.dir, Version: "v1", Parts: []backup.Part{{Name: "one", Store: w.one}, {Name: "two", Store: w.two, Journals: true}, {Name: "gone"}}}
	if change != nil {
		change(&c)
	}
	var err error
	w.Maker, err = backup.New(c)
	require.NoError(t, err)
	return w
}

// archive makes a backup; between is called once the moment is held and over.
func (w *world) archive(t *testing.T, between func()) []byte {
	t.Helper()
	s, err := w.Begin(t.Context())
	require.NoError(t, err)
	if between != nil {
		between()
	}
	var b bytes.Buffer
	require.NoError(t, s.WriteTo(t.Context(), &b))
	require.NoError(t, s.Close())
	left, err := filepath.Glob(filepath.Join(w.dir, storedir.TemporaryPrefix+"*"))
	require.NoError(t, err)
	assert.Empty(t, left)
	return b.Bytes()
}

// tree is all files below a directory, but locks.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == storedir.LockName {
			return err
		}
		raw, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[filepath.ToSlash(name)] = string(raw)
		return err
	})
	require.NoError(t, err)
	return all
}

func restoreInto(t *testing.T, raw []byte, target backup.Target) (string, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	target.Parts = names
	_, err := backup.Restore(t.Context(), bytes.NewReader(raw), dir, target)
	return dir, err
}

func TestABackupIsOneMoment(t *testing.T) {
	w := newWorld(t, nil)
	log, err := w.two.OpenFile("log", os.O_RDWR, 0)
	require.NoError(t, err)
	defer log.Close()
	before := tree(t, w.dir)
	raw := w.archive(t, func() { // each way in which stores change files
		w.one.write(t, "deep/file", "second")
		w.one.write(t, "new", "new")
		_, err := log.WriteAt([]byte("HEAD"), 0)
		require.NoError(t, err)
		_, err = log.WriteAt([]byte("appended"), journal.MaxHead+4)
		require.NoError(t, err)
		require.NoError(t, w.two.Mkdir("later", 0o700))
	})
	dir, err := restoreInto(t, raw, backup.Target{})
	require.NoError(t, err)
	assert.Equal(t, before, tree(t, dir))
	info, err := backup.Read(bytes.NewReader(raw), names, func(*backup.File) error { return nil })
	require.NoError(t, err)
	assert.Equal(t, 2, info.Files)
	assert.Equal(t, "v1", info.Server)
	removed := w.archive(t, func() { require.NoError(t, w.one.Remove("new")) })
	dir, err = restoreInto(t, removed, backup.Target{})
	require.NoError(t, err)
	assert.Contains(t, tree(t, dir), "one/new")
}

// TestTheStoresAreHeldTogether has a store change another, while the first is held already: the
// change of the one that is held later is in the backup, and the one after it is not.
func TestTheStoresAreHeldTogether(t *testing.T) {
	w := newWorld(t, nil)
	done := make(chan error, 1)
	w.one.held = func() { w.two.write(t, "between", "there") }
	w.two.held = func() {
		begun := make(chan struct{})
		go func() {
			close(begun)
			done <- storedir.WriteFile(w.one, ".", "late", nil)
		}()
		<-begun
	}
	raw := w.archive(t, nil)
	require.NoError(t, <-done)
	dir, err := restoreInto(t, raw, backup.Target{})
	require.NoError(t, err)
	assert.Contains(t, tree(t, dir), "two/between")
	assert.NotContains(t, tree(t, dir), "one/late")
}

func TestWhatIsNoFileOfAStoreIsSkipped(t *testing.T) {
	w := newWorld(t, nil)
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(w.dir, "one", "link")))
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "one", "odd name"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "one", storedir.TemporaryName()), nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(w.dir, "other"), 0o700))
	raw := w.archive(t, nil)
	info, err := backup.Read(bytes.NewReader(raw), names, func(*backup.File) error { return nil })
	require.NoError(t, err)
	assert.Equal(t, 2, info.Skipped)
	assert.Equal(t, 2, info.Files)
}

func TestOneBackupAtATime(t *testing.T) {
	w := newWorld(t, nil)
	s, err := w.Begin(t.Context())
	require.NoError(t, err)
	_, err = w.Begin(t.Context())
	require.ErrorIs(t, err, status.ErrUnavailable)
	require.NoError(t, s.Close())
	w.archive(t, nil)
	failed := errors.New("full")
	w = newWorld(t, func(c *backup.Config) { c.Flush = func(context.Context) error { return failed } })
	_, err = w.Begin(t.Context())
	require.ErrorIs(t, err, failed)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	w = newWorld(t, nil)
	_, err = w.Begin(gone)
	require.ErrorIs(t, err, status.ErrCancelled)
	w.one.write(t, "after", "the stores are let go")
	w.archive(t, nil)
}

func TestAStoppedServersDirectoryIsRead(t *testing.T) {
	w := newWorld(t, nil)
	still, err := backup.New(backup.Config{Dir: w.dir, Still: true, Parts: []backup.Part{{Name: "one"}, {Name: "two"}}})
	require.NoError(t, err)
	_, err = still.Begin(t.Context())
	require.ErrorIs(t, err, status.ErrFailedPrecondition, "it is in use")
	require.NoError(t, errors.Join(w.one.Close(), w.two.Close()))
	s, err := still.Begin(t.Context())
	require.NoError(t, err)
	_, err = storedir.Open(filepath.Join(w.dir, "one"), "store")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	var b bytes.Buffer
	require.NoError(t, s.WriteTo(t.Context(), &b))
	require.NoError(t, s.Close())
	dir, err := restoreInto(t, b.Bytes(), backup.Target{})
	require.NoError(t, err)
	assert.Equal(t, tree(t, w.dir), tree(t, dir))
}

// TestADamagedArchiveIsRefusedWhole changes bytes of an archive, and cuts it off there.
func TestADamagedArchiveIsRefusedWhole(t *testing.T) {
	w := newWorld(t, nil)
	raw, want := w.archive(t, nil), tree(t, w.dir)
	refused := func(what string, bad []byte) {
		t.Helper()
		got := map[string]string{}
		_, err := backup.Read(bytes.NewReader(bad), names, func(f *backup.File) error {
			content, err := io.ReadAll(f)
			got[f.Name] = string(content)
			return err
		})
		if err == nil { // in what a tar has and does not say: then all is there
			require.Equal(t, want, got, what)
			return
		}
		code := status.Of(err)
		require.True(t, code == status.DataLoss || code == status.InvalidArgument, "%s: %v", what, err)
	}
	stride := 3
	if testing.Short() {
		stride = 41
	}
	for at := 0; at < len(raw); at += stride {
		bad := bytes.Clone(raw)
		bad[at] ^= 0x11
		refused(fmt.Sprintf("byte %d changed", at), bad)
		refused(fmt.Sprintf("cut at %d", at), raw[:at])
	}
	refused("twice", append(bytes.Clone(raw[:len(raw)-1024]), raw...))
	target := t.TempDir()
	bad := bytes.Clone(raw)
	bad[bytes.Index(raw, []byte("first"))] ^= 1
	for what, bad := range map[string][]byte{"changed": bad, "cut": raw[:len(raw)-2048]} {
		_, err := backup.Restore(t.Context(), bytes.NewReader(bad), target, backup.Target{Parts: names})
		require.ErrorIs(t, err, status.ErrDataLoss, what)
		entries, err := os.ReadDir(target)
		require.NoError(t, err)
		require.Empty(t, entries, what)
	}
	_, err := backup.Restore(t.Context(), bytes.NewReader(bad), target, backup.Target{Parts: names})
	assert.Contains(t, err.Error(), "one/deep/file")
}

// forged makes an archive with the entries given, in the form of a backup.
func forged(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	info := fmt.Sprintf(`{"format":"genkit-wasm-backup","version":1,"files":%d}`, len(headers))
	require.NoError(t, out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "backup.json", Size: int64(len(info))}))
	_, err := io.WriteString(out, info)
	require.NoError(t, err)
	for _, h := range headers {
		require.NoError(t, out.WriteHeader(&h))
	}
	require.NoError(t, out.Close())
	return b.Bytes()
}

func TestNothingLeadsOutOfTheDirectory(t *testing.T) {
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeReg, Name: "one/../../out"},
		{Typeflag: tar.TypeReg, Name: "/one/out"},
		{Typeflag: tar.TypeReg, Name: "one/.hidden"},
		{Typeflag: tar.TypeReg, Name: "one//a"},
		{Typeflag: tar.TypeReg, Name: "cache/code"},
		{Typeflag: tar.TypeReg, Name: "one\\..\\a"},
		{Typeflag: tar.TypeReg, Name: "one/" + strings.Repeat("a/", 600) + "a"},
		{Typeflag: tar.TypeSymlink, Name: "one/link", Linkname: "/etc"},
		{Typeflag: tar.TypeLink, Name: "one/link", Linkname: "/etc/passwd"},
		{Typeflag: tar.TypeDir, Name: "one/dir"},
		{Typeflag: tar.TypeChar, Name: "one/null"},
	} {
		dir, err := restoreInto(t, forged(t, h), backup.Target{})
		require.ErrorIs(t, err, status.ErrDataLoss, h.Name)
		assert.NoDirExists(t, dir)
	}
	twice := tar.Header{Typeflag: tar.TypeReg, Name: "one/a"}
	_, err := restoreInto(t, forged(t, twice, twice), backup.Target{})
	require.ErrorIs(t, err, status.ErrDataLoss)
	for _, foreign := range []string{"", "PK\x03\x04", strings.Repeat("\x00", 2048)} {
		_, err = restoreInto(t, []byte(foreign), backup.Target{})
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
	later := bytes.Replace(forged(t), []byte(`"version":1`), []byte(`"version":2`), 1)
	_, err = restoreInto(t, later, backup.Target{})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Contains(t, err.Error(), "newer")
}

func TestARestoreIsWholeOrNot(t *testing.T) {
	w := newWorld(t, nil)
	raw := w.archive(t, nil)
	read := func(dir string, target backup.Target) error {
		target.Parts = names
		_, err := backup.Restore(t.Context(), bytes.NewReader(raw), dir, target)
		return err
	}
	dir := t.TempDir()
	refusal := status.Publicf(status.DataLoss, "no")
	during := func(_ context.Context, at string) error {
		require.ErrorIs(t, backup.CheckFinished(dir), status.ErrFailedPrecondition)
		assert.Equal(t, tree(t, w.dir), tree(t, at))
		return refusal
	}
	require.ErrorIs(t, read(dir, backup.Target{Check: during}), status.ErrDataLoss)
	assert.Empty(t, tree(t, dir))
	require.NoError(t, read(dir, backup.Target{DryRun: true}))
	assert.Empty(t, tree(t, dir))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "lost+found"), 0o700))
	require.NoError(t, read(dir, backup.Target{}))
	assert.Equal(t, tree(t, w.dir), tree(t, dir))
	require.NoError(t, backup.CheckFinished(dir))
	for _, dry := range []bool{false, true} {
		require.ErrorIs(t, read(dir, backup.Target{DryRun: dry}), status.ErrFailedPrecondition)
		assert.Equal(t, tree(t, w.dir), tree(t, dir))
	}
	half := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(half, backup.Unfinished), 0o700))
	require.ErrorIs(t, read(half, backup.Target{}), status.ErrFailedPrecondition)
	require.ErrorIs(t, read(half, backup.Target{DryRun: true}), status.ErrFailedPrecondition)
	require.ErrorIs(t, backup.CheckFinished(half), status.ErrFailedPrecondition)
}

// TestAFullReaderEndsABackup has the one who reads the archive fail at each place.
func TestAFullReaderEndsABackup(t *testing.T) {
	w := newWorld(t, nil)
	whole := len(w.archive(t, nil))
	for at := 0; at < whole; at += 997 {
		s, err := w.Begin(t.Context())
		require.NoError(t, err)
		require.Error(t, s.WriteTo(t.Context(), &limited{at}))
		require.NoError(t, s.Close())
	}
}

type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}
