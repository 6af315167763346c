package logins_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/logins"
)

func TestAKeyIsForItsServer(t *testing.T) {
	p := logins.Profile{Server: "https://tools.example.com:8443/base", Key: "k", CA: "pem"}
	for server, own := range map[string]bool{
		"https://tools.example.com:8443": true, "https://TOOLS.example.com:8443/other": true, "http://tools.example.com:8443": false, "https://tools.example.com": false,
		"https://tools.example.com.evil.example:8443": false, "tools.example.com:8443": false, "https://evil@tools.example.com:8443": true, "": false, "https://%zz": false,
	} {
		assert.Equal(t, own, p.KeyFor(server) == "k", server)
		assert.Equal(t, own, p.CAFor(server) == "pem", server)
	}
	assert.Empty(t, logins.Profile{Key: "k"}.KeyFor(""), "no server is no profile's")
}

func TestProfilesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "profiles.json")
	f, err := logins.Read(path)
	require.NoError(t, err)
	_, ok := f.Get("")
	assert.False(t, ok)
	f.Put("one", logins.Profile{Server: "https://one", Key: "1"})
	f.Put("two", logins.Profile{Server: "https://two", Key: "2", Tenant: "acme"})
	require.NoError(t, f.Write(path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}

	f, err = logins.Read(path)
	require.NoError(t, err)
	last, ok := f.Get("")
	assert.True(t, ok)
	assert.Equal(t, logins.Profile{Server: "https://two", Key: "2", Tenant: "acme"}, last)
	first, ok := f.Get("one")
	assert.True(t, ok)
	assert.Equal(t, "https://one", first.Server)
	f.Forget("one")
	_, ok = f.Get("one")
	assert.False(t, ok)
	assert.Equal(t, "two", f.Current)
	f.Forget("two")
	assert.Empty(t, f.Current)
	require.NoError(t, f.Write(path))
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.JSONEq(t, `{"profiles":{}}`, string(raw))
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, left, 1)
}

func TestAFileThatIsNotInOrderIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "profiles.json")
	write := func(text string, mode os.FileMode) {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chmod(path, mode))
	}
	for text, says := range map[string]string{"{": "holds no profiles", "[]": "holds no profiles", strings.Repeat(" ", 1<<20) + "{}": "is longer than 1048576 bytes"} {
		write(text, 0o600)
		_, err := logins.Read(path)
		assert.ErrorContains(t, err, says)
	}
	write("{}", 0o400)
	f, err := logins.Read(path)
	require.NoError(t, err)
	f.Put("a", logins.Profile{}) // which needs a map
	if runtime.GOOS != "windows" {
		for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
			write("{}", mode)
			_, err := logins.Read(path)
			exposed, ok := errors.AsType[*logins.ExposedError](err)
			require.True(t, ok, "%o: %v", mode, err)
			assert.Equal(t, path, exposed.Path)
		}
	}
	_, err = logins.Read(filepath.Join(path, "below"))
	assert.Error(t, err)
	assert.Error(t, f.Write(filepath.Join(path, "below")))
	dir := filepath.Join(t.TempDir(), "profiles.json")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "full"), 0o700))
	assert.Error(t, f.Write(dir), "a directory in its place")
	left, err := os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	assert.Len(t, left, 1, "nothing is left of the attempt")
}

func TestTheFileIsTheUsers(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(t.TempDir(), "config"))
	path, err := logins.Path()
	require.NoError(t, err)
	assert.True(t, strings.HasSuffix(filepath.ToSlash(path), "/genkit-wasm/profiles.json"), path)
	if runtime.GOOS == "linux" {
		t.Setenv("XDG_CONFIG_HOME", "")
		t.Setenv("HOME", "")
		_, err = logins.Path()
		assert.Error(t, err)
	}
}
