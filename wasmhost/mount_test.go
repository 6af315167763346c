package wasmhost_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// buildGo builds a guest of the Go conformance module.
func buildGo(t *testing.T, folder string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, "./"+folder)
	cmd.Dir = filepath.Join("..", "pdk", "conformance", "go")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
	wasm, err := os.ReadFile(out)
	require.NoError(t, err)
	return wasm
}

func steps(t *testing.T, h *wasmhost.Host, module, list string) []string {
	t.Helper()
	out, err := call(t, h, module+"/steps", list)
	require.NoError(t, err, list)
	var said []string
	require.NoError(t, json.Unmarshal([]byte(out), &said), out)
	return said
}

// A real guest, with Go's os package, against a directory that holds traps.
func TestAGuestSeesADirectoryAndNothingElse(t *testing.T) {
	top := t.TempDir()
	docs, data := filepath.Join(top, "docs"), filepath.Join(top, "data")
	for _, dir := range []string{docs, data} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("hello"), 0o644))
		require.NoError(t, os.Symlink("../secret.txt", filepath.Join(dir, "leak")))
		require.NoError(t, os.Symlink(filepath.Join(top, "secret.txt"), filepath.Join(dir, "abs")))
	}
	require.NoError(t, os.WriteFile(filepath.Join(top, "secret.txt"), []byte("top secret"), 0o644))
	mounts := map[string]*vfs.Mount{}
	for name, o := range map[string]vfs.Options{"docs": {}, "data": {Writable: true, MaxBytes: 10_000, MaxEntries: 10}} {
		m, err := vfs.Open(filepath.Join(top, name), o)
		require.NoError(t, err)
		mounts[name] = m
		t.Cleanup(func() { require.NoError(t, m.Close()) })
	}
	wasm := buildGo(t, "files")
	h := newHost(t, wasmhost.Config{Mounts: mounts, Grants: &policy.Grants{Files: []policy.FileGrant{{Mount: "docs"}, {Mount: "data", Write: true}, {Mount: "gone"}}}})
	load := func(name, grants string) error {
		_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Name: name, Wasm: wasm, Policy: []byte(`{"grants":{"files":` + grants + `}}`)})
		return err
	}
	require.NoError(t, load("none", `[]`))
	require.NoError(t, load("reader", `[{"mount":"docs","path":"/docs"}]`))
	require.NoError(t, load("writer", `[{"mount":"docs","path":"/docs"},{"mount":"data","path":"/data","write":true}]`))
	require.ErrorIs(t, load("x", `[{"mount":"docs","path":"/docs","write":true}]`), status.ErrPermissionDenied)
	require.ErrorIs(t, load("x", `[{"mount":"other","path":"/docs"}]`), status.ErrPermissionDenied)
	require.ErrorIs(t, load("x", `[{"mount":"gone","path":"/docs"}]`), status.ErrFailedPrecondition)

	for _, said := range steps(t, h, "none", `[{"op":"read","path":"/docs/a.txt"},{"op":"list","path":"/"},{"op":"read","path":"a.txt"},{"op":"write","path":"/tmp/x","size":1}]`) {
		assert.Equal(t, "!", said[:1], said)
	}
	said := steps(t, h, "reader", `[{"op":"read","path":"/docs/a.txt"},{"op":"list","path":"/docs"},{"op":"walk","path":"/docs/sub"},{"op":"stat","path":"/docs/sub"}]`)
	assert.Equal(t, []string{"hello", "a.txt abs leak sub", ".", "d--------- sub"}, said)
	for _, said := range steps(t, h, "reader", `[{"op":"read","path":"/docs/leak"},{"op":"read","path":"/docs/abs"},{"op":"read","path":"/docs/../secret.txt"},
		{"op":"read","path":"/docs/sub/../../secret.txt"},{"op":"read","path":"/etc/passwd"},{"op":"read","path":"/data/a.txt"},{"op":"readlink","path":"/docs/abs"},
		{"op":"write","path":"/docs/a.txt","size":1},{"op":"append","path":"/docs/a.txt","size":1},{"op":"truncate","path":"/docs/a.txt"},{"op":"remove","path":"/docs/a.txt"},
		{"op":"mkdir","path":"/docs/new"},{"op":"rename","path":"/docs/a.txt","to":"/docs/b.txt"},{"op":"symlink","path":"/docs/s","to":"../secret.txt"}]`) {
		assert.Equal(t, "!", said[:1], said)
	}
	said = steps(t, h, "writer", `[{"op":"write","path":"/data/b","size":3},{"op":"append","path":"/data/b","size":2},{"op":"read","path":"/data/b"},{"op":"mkdir","path":"/data/d"},
		{"op":"rename","path":"/data/b","to":"/data/d/b"},{"op":"list","path":"/data/d"},{"op":"remove","path":"/data/d/b"},{"op":"remove","path":"/data/d"}]`)
	assert.Equal(t, []string{"ok", "ok", "xxxyy", "ok", "ok", "b", "ok", "ok"}, said)
	for _, said := range steps(t, h, "writer", `[{"op":"symlink","path":"/data/s","to":"../secret.txt"},{"op":"symlink","path":"/data/s","to":"/etc"},{"op":"link","path":"/data/h","to":"/data/a.txt"},
		{"op":"write","path":"/data/leak","size":1},{"op":"write","path":"/data/abs","size":1},{"op":"rename","path":"/data/a.txt","to":"/data/../x"},
		{"op":"rename","path":"/data/a.txt","to":"/docs/x"},{"op":"write","path":"/data/big","size":20000},{"op":"seek","path":"/data/hole","size":2000000000},{"op":"write","path":"/docs/x","size":1}]`) {
		assert.Equal(t, "!", said[:1], said)
	}
	// A disk is not filled, and files that were left open are gone with the call.
	for range 100 {
		steps(t, h, "writer", `[{"op":"keep","path":"/data/k1"},{"op":"append","path":"/data/k1","size":3000},{"op":"keep","path":"/data/k2"},{"op":"remove","path":"/data/k1"},{"op":"remove","path":"/data/k2"},{"op":"remove","path":"/data/big"},{"op":"remove","path":"/data/hole"}]`)
	}
	bytes, entries := mounts["data"].Used()
	assert.Equal(t, [2]int64{5, 4}, [2]int64{bytes, entries})
	b, err := os.ReadFile(filepath.Join(top, "secret.txt"))
	require.NoError(t, err)
	assert.Equal(t, "top secret", string(b))
}
