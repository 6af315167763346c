package wasmhost

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/experimental/sys"

	"github.com/genkit-wasm/genkit-wasm/internal/descriptors"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// A tenant's modules have a part of the server's descriptors together, however many they are.
func TestTheModulesOfATenantHaveSoManyFilesOpen(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), nil, 0o600))
	m, err := vfs.Open(dir, vfs.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()) }()
	h, err := New(t.Context(), Config{Mounts: map[string]*vfs.Mount{"m": m}, Tenants: map[string]TenantConfig{"other": {}}})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close(context.WithoutCancel(t.Context()))) }()
	var opened []sys.File
	defer func() {
		for _, f := range opened {
			f.Close()
		}
	}()
	open := func(tenant string) (n int64) {
		for range 100 { // as many modules, each of which may have more open than a module may
			mounts, err := h.files(h.tenants[tenant], policy.Grants{Files: []policy.FileGrant{{Mount: "m", Path: "/a"}, {Mount: "m", Path: "/b"}}})
			require.NoError(t, err)
			for _, mount := range mounts {
				for {
					f, errno := mount.FS.OpenFile("a", sys.O_RDONLY, 0)
					if errno != 0 {
						break
					}
					opened, n = append(opened, f), n+1
				}
			}
		}
		return n
	}
	assert.LessOrEqual(t, h.opens.Limit(), descriptors.Limit()/4)
	assert.Equal(t, h.opens.Limit()/4, open(DefaultTenant))
	assert.Positive(t, open("other"), "another tenant still opens some")
}
