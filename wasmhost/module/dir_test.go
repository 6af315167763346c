package module_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module/moduletest"
)

// filled returns a directory with two revisions of "default textkit", the first of
// them current, and one module beside it.
func filled(t *testing.T) string {
	t.Helper()
	path := t.TempDir()
	d, err := module.OpenDir(path)
	require.NoError(t, err)
	for _, seed := range []string{"a", "b"} {
		rec, wasm := moduletest.Record("default", "textkit", seed)
		_, err = d.Put(t.Context(), rec, wasm)
		require.NoError(t, err)
	}
	rec, wasm := moduletest.Record("default", "other", "c")
	_, err = d.Put(t.Context(), rec, wasm)
	require.NoError(t, err)
	_, err = d.SetCurrent(t.Context(), "default", "textkit", 1)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	return path
}

func TestDirComesBackAsItWasClosed(t *testing.T) {
	path := filled(t)
	d := openDir(t, path)
	all, err := d.Current(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2)
	assert.Equal(t, "other", all[0].Name)
	assert.Equal(t, 1, all[1].Revision)
	versions, err := d.Versions(t.Context(), "default", "textkit")
	require.NoError(t, err)
	require.Len(t, versions, 2)
	for _, v := range versions {
		_, err := d.Wasm(t.Context(), v.Digest)
		require.NoError(t, err)
	}
}

func TestDirIsOpenOnce(t *testing.T) {
	path := filled(t)
	d := openDir(t, path)
	_, err := module.OpenDir(path)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.ErrorContains(t, err, "in use by another process")
	require.NoError(t, d.Close())
	_, err = d.Current(t.Context())
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	openDir(t, path)
}

func TestDirReportsDamageAndServesTheRest(t *testing.T) {
	dir := filepath.Join("tenants", "m-default", "m-textkit")
	for name, test := range map[string]struct {
		harm func(t *testing.T, path string)
		want string // in the problem of the current record
	}{
		"a bit of the current record flipped": {func(t *testing.T, path string) {
			edit(t, filepath.Join(path, dir, "1.record"), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}, "record is damaged"},
		"the current record is cut": {func(t *testing.T, path string) {
			edit(t, filepath.Join(path, dir, "1.record"), func(b []byte) []byte { return b[:len(b)/2] })
		}, "record is damaged"},
		"the current record is missing": {func(t *testing.T, path string) {
			require.NoError(t, os.Remove(filepath.Join(path, dir, "1.record")))
		}, "record of revision 1 is missing"},
		"the record is another module's": {func(t *testing.T, path string) {
			b, err := os.ReadFile(filepath.Join(path, "tenants", "m-default", "m-other", "1.record"))
			require.NoError(t, err)
			edit(t, filepath.Join(path, dir, "1.record"), func([]byte) []byte { return b })
		}, "record is damaged"},
		"the pointer is empty": {func(t *testing.T, path string) {
			edit(t, filepath.Join(path, dir, "current"), func([]byte) []byte { return nil })
		}, "pointer"},
		"the pointer is missing": {func(t *testing.T, path string) {
			require.NoError(t, os.Remove(filepath.Join(path, dir, "current")))
		}, "pointer"},
		"the module's directory is a file": {func(t *testing.T, path string) {
			require.NoError(t, os.RemoveAll(filepath.Join(path, dir)))
			require.NoError(t, os.WriteFile(filepath.Join(path, dir), nil, 0o600))
		}, "can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			test.harm(t, path)
			d := openDir(t, path)
			all, err := d.Current(t.Context())
			require.NoError(t, err)
			require.Len(t, all, 2)
			assert.Empty(t, all[0].Problem)
			assert.Equal(t, "textkit", all[1].Name)
			assert.True(t, all[1].Current)
			assert.Contains(t, all[1].Problem, test.want)
			_, second := moduletest.Record("default", "textkit", "b")
			_, err = d.Wasm(t.Context(), module.Digest(second))
			require.NoError(t, err, "bytes are kept while a record that may name them can't be read")
		})
	}
}

func edit(t *testing.T, file string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, change(b), 0o600))
}

func TestDirHealsByRollbackAndByUpload(t *testing.T) {
	path := filled(t)
	edit(t, filepath.Join(path, "tenants", "m-default", "m-textkit", "1.record"), func(b []byte) []byte { return b[1:] })
	d := openDir(t, path)
	_, err := d.SetCurrent(t.Context(), "default", "textkit", 1)
	require.ErrorIs(t, err, status.ErrDataLoss)
	rec, err := d.SetCurrent(t.Context(), "default", "textkit", 2)
	require.NoError(t, err)
	assert.Equal(t, 2, rec.Revision)
	given, wasm := moduletest.Record("default", "textkit", "d")
	rec, err = d.Put(t.Context(), given, wasm)
	require.NoError(t, err)
	assert.Equal(t, 3, rec.Revision)
	versions, err := d.Versions(t.Context(), "default", "textkit")
	require.NoError(t, err)
	require.Len(t, versions, 3)
	assert.NotEmpty(t, versions[2].Problem)
	require.NoError(t, d.Delete(t.Context(), "default", "textkit"))
}

func TestDirFindsDamagedBytesAndHealsThem(t *testing.T) {
	path := filled(t)
	given, wasm := moduletest.Record("default", "textkit", "a")
	blob := filepath.Join(path, "blobs", strings.TrimPrefix(given.Digest, "sha256:")+".wasm")
	edit(t, blob, func(b []byte) []byte { b[0] ^= 1; return b })
	d := openDir(t, path)
	_, err := d.Wasm(t.Context(), given.Digest)
	require.ErrorIs(t, err, status.ErrDataLoss)
	_, err = d.Put(t.Context(), given, wasm)
	require.NoError(t, err)
	_, err = d.Wasm(t.Context(), given.Digest)
	require.NoError(t, err)
}

func TestDirFollowsNothingOutOfItself(t *testing.T) {
	outside, path := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(path, "tenants")); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	_, err := module.OpenDir(path)
	require.Error(t, err)
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

func TestDirRemovesWhatWasLeftOver(t *testing.T) {
	path := filled(t)
	left := []string{".tmp-X", "blobs/.tmp-X", "blobs/" + strings.Repeat("00", 32) + ".wasm", "tenants/m-default/.tmp-X", "tenants/m-default/m-textkit/.tmp-X"}
	for _, name := range left {
		require.NoError(t, os.WriteFile(filepath.Join(path, name), []byte("x"), 0o600))
	}
	openDir(t, path)
	for _, name := range left {
		assert.NoFileExists(t, filepath.Join(path, name))
	}
}

func TestNamesSurviveAsFiles(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"a", "A", "aB.c", "con", "a.", "A.", "a..", "x-y_z", "0", "Nul.txt"} {
		file := module.EncodeName(name)
		got, ok := module.DecodeName(file)
		assert.True(t, ok, name)
		assert.Equal(t, name, got)
		folded := strings.ToLower(file)
		assert.Equal(t, file, folded, "a file's name has no upper case")
		assert.Empty(t, seen[folded], name)
		assert.False(t, strings.HasSuffix(file, "."), file)
		seen[folded] = name
	}
	for _, file := range []string{"", "a", "m-", "m-A", "m-!", "m-!!", "m-!.!x", ".tmp-m-a", "m-a.", "M-a"} {
		_, ok := module.DecodeName(file)
		assert.False(t, ok, file)
	}
}

// TestDirSurvivesAnEndAtEveryPoint ends an upload, a first upload, a rollback and a
// deletion before every single change to the disk, and once more with everything
// after it failing as well; whatever comes back is the old state or the new.
func TestDirSurvivesAnEndAtEveryPoint(t *testing.T) {
	for name, test := range map[string]struct {
		work     func(d *module.Dir) error
		old, new map[string]int // module → current revision
	}{
		"an upload": {func(d *module.Dir) error {
			rec, wasm := moduletest.Record("default", "textkit", "new")
			_, err := d.Put(t.Context(), rec, wasm)
			return err
		}, map[string]int{"textkit": 1, "other": 1}, map[string]int{"textkit": 3, "other": 1}},
		"the first upload of a tenant": {func(d *module.Dir) error {
			rec, wasm := moduletest.Record("acme", "first", "new")
			_, err := d.Put(t.Context(), rec, wasm)
			return err
		}, map[string]int{"textkit": 1, "other": 1}, map[string]int{"textkit": 1, "other": 1, "first": 1}},
		"a rollback": {func(d *module.Dir) error {
			_, err := d.SetCurrent(t.Context(), "default", "textkit", 2)
			return err
		}, map[string]int{"textkit": 1, "other": 1}, map[string]int{"textkit": 2, "other": 1}},
		"a deletion": {func(d *module.Dir) error {
			return d.Delete(t.Context(), "default", "textkit")
		}, map[string]int{"textkit": 1, "other": 1}, map[string]int{"other": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			for point := 1; ; point++ {
				path := filled(t)
				finished := endAt(t, path, point, test.work)
				got := state(t, path)
				if finished {
					require.Equal(t, test.new, got)
					require.Greater(t, point, 3, "the work has more steps than that")
					return
				}
				if !mapsEqual(got, test.old) && !mapsEqual(got, test.new) {
					t.Fatalf("ended at point %d: got %v, want %v or %v", point, got, test.old, test.new)
				}
			}
		})
	}
}

var errEnd = errors.New("the machine stopped")

// endAt does the work with everything failing from the given change on, and
// reports whether that point was never reached.
func endAt(t *testing.T, path string, point int, work func(*module.Dir) error) bool {
	t.Helper()
	d, err := module.OpenDir(path)
	require.NoError(t, err)
	defer d.Close()
	n := 0
	module.SetStep(d, func() error {
		if n++; n >= point {
			return errEnd
		}
		return nil
	})
	_ = work(d)
	return n < point
}

// state opens the directory and returns each module's current revision, after a
// look at every record and its bytes.
func state(t *testing.T, path string) map[string]int {
	t.Helper()
	d, err := module.OpenDir(path)
	require.NoError(t, err)
	defer d.Close()
	all, err := d.Current(t.Context())
	require.NoError(t, err)
	got := map[string]int{}
	for _, rec := range all {
		require.Empty(t, rec.Problem)
		got[rec.Name] = rec.Revision
		versions, err := d.Versions(t.Context(), rec.Tenant, rec.Name)
		require.NoError(t, err)
		for _, v := range versions {
			require.Empty(t, v.Problem)
			_, err := d.Wasm(t.Context(), v.Digest)
			require.NoError(t, err)
		}
	}
	requireTidy(t, path)
	return got
}

func requireTidy(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(path, func(p string, _ os.DirEntry, err error) error {
		assert.NotContains(t, filepath.Base(p), ".tmp-")
		return err
	}))
}

func mapsEqual(a, b map[string]int) bool { return assert.ObjectsAreEqual(a, b) }
