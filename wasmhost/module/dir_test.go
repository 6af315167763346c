package module_test

import (
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
		"the pointer names another revision": {func(t *testing.T, path string) {
			edit(t, filepath.Join(path, dir, "current"), func(b []byte) []byte {
				return []byte(strings.Replace(string(b), `"current":1`, `"current":2`, 1))
			})
		}, "pointer"},
		"the pointer hides a revision": {func(t *testing.T, path string) {
			edit(t, filepath.Join(path, dir, "current"), func(b []byte) []byte {
				return []byte(strings.Replace(string(b), `"latest":2`, `"latest":1`, 1))
			})
		}, "pointer"},
		"the pointer is another module's": {func(t *testing.T, path string) {
			b, err := os.ReadFile(filepath.Join(path, "tenants", "m-default", "m-other", "current"))
			require.NoError(t, err)
			edit(t, filepath.Join(path, dir, "current"), func([]byte) []byte { return b })
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

// TestLostBytesAreDataLoss takes bytes away that a record names: they are not "not found".
func TestLostBytesAreDataLoss(t *testing.T) {
	path := filled(t)
	given, _ := moduletest.Record("default", "textkit", "a")
	require.NoError(t, os.Remove(filepath.Join(path, "blobs", strings.TrimPrefix(given.Digest, "sha256:")+".wasm")))
	d := openDir(t, path)
	_, err := d.Wasm(t.Context(), given.Digest)
	require.ErrorIs(t, err, status.ErrDataLoss)
	require.NoError(t, os.Remove(filepath.Join(path, "tenants", "m-default", "m-textkit", "2.record")))
	_, err = d.SetCurrent(t.Context(), "default", "textkit", 2)
	require.ErrorIs(t, err, status.ErrDataLoss)
	require.ErrorContains(t, err, "the record of revision 2 is missing")
	require.NoError(t, os.RemoveAll(filepath.Join(path, "tenants", "m-default", "m-other")))
	require.NoError(t, os.WriteFile(filepath.Join(path, "tenants", "m-default", "m-other"), nil, 0o600))
	_, err = d.Versions(t.Context(), "default", "other")
	require.ErrorIs(t, err, status.ErrDataLoss)
	require.NoError(t, d.Delete(t.Context(), "default", "other"), "what is damaged can be removed")
	_, err = d.Versions(t.Context(), "default", "other")
	require.ErrorIs(t, err, status.ErrNotFound)
}

// TestADirectoryOfAnOlderVersionIsRead opens what was written before pointers had checksums.
func TestADirectoryOfAnOlderVersionIsRead(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, os.CopyFS(path, os.DirFS("testdata/dir-v1")))
	d, err := module.OpenDir(path)
	require.NoError(t, err)
	versions, err := d.Versions(t.Context(), "default", "textkit")
	require.NoError(t, err)
	require.Len(t, versions, 3)
	assert.True(t, versions[1].Current)
	for _, v := range versions {
		require.Empty(t, v.Problem)
		_, err := d.Wasm(t.Context(), v.Digest)
		require.NoError(t, err)
	}
	require.NoError(t, d.Close())
	// From then on the pointer has a checksum.
	edit(t, filepath.Join(path, "tenants", "m-default", "m-textkit", "current"), func(b []byte) []byte {
		require.Contains(t, string(b), `"sum"`)
		return []byte(strings.Replace(string(b), `"current":2`, `"current":3`, 1))
	})
	d = openDir(t, path)
	all, err := d.Current(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Contains(t, all[0].Problem, "pointer")
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

func requireTidy(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(path, func(p string, _ os.DirEntry, err error) error {
		assert.NotContains(t, filepath.Base(p), ".tmp-")
		return err
	}))
}
