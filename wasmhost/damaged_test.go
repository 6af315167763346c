package wasmhost_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
)

// TestATenantThatCanNotBeReadKeepsNoOthersFromTheirs spoils the directories that belong to
// one tenant, as a mistake of an operator or a damaged file system would.
func TestATenantThatCanNotBeReadKeepsNoOthersFromTheirs(t *testing.T) {
	wasm, err := os.ReadFile("../examples/calc/calc.wasm")
	require.NoError(t, err)
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"a file in its place": func(t *testing.T, dir string) { require.NoError(t, os.WriteFile(dir, nil, 0o600)) },
		"a link": func(t *testing.T, dir string) {
			away := t.TempDir()
			require.NoError(t, os.Symlink(away, dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			open := func(log *strings.Builder) (*wasmhost.Host, func()) {
				store, err := module.OpenDir(filepath.Join(data, "modules"))
				require.NoError(t, err)
				values, err := kv.Open(filepath.Join(data, "kv"), nil)
				require.NoError(t, err)
				host, err := wasmhost.New(t.Context(), wasmhost.Config{
					Store: store, KV: values, Tenants: map[string]wasmhost.TenantConfig{"acme": {}, "globex": {}}, Logger: slog.New(slog.NewTextHandler(log, nil)),
				})
				require.NoError(t, err)
				return host, func() {
					require.NoError(t, host.Close(t.Context()))
					require.NoError(t, values.Close())
					require.NoError(t, store.Close())
				}
			}
			host, end := open(&strings.Builder{})
			for _, tenant := range []string{"acme", "globex"} {
				_, err := host.Load(t.Context(), tenant, wasmhost.Upload{Name: "calc", Wasm: wasm})
				require.NoError(t, err)
			}
			end()
			blobs, err := filepath.Glob(filepath.Join(data, "modules", "blobs", "*"))
			require.NoError(t, err)
			for _, dir := range []string{filepath.Join(data, "modules", "tenants", "m-acme"), filepath.Join(data, "kv", "t-acme")} {
				require.NoError(t, os.RemoveAll(dir))
				spoil(t, dir)
			}

			var log strings.Builder
			host, end = open(&log)
			assert.Contains(t, log.String(), `msg="the modules of a tenant can't be read`)
			assert.Contains(t, log.String(), `msg="values can't be read" tenant=acme`)
			key := action.Key{Kind: action.Tool, Name: "calc/add"}
			add, err := host.Provider("globex").Resolve(t.Context(), key)
			require.NoError(t, err)
			out, err := add.RunJSON(t.Context(), []byte(`{"a":1,"b":2}`), nil)
			require.NoError(t, err)
			assert.JSONEq(t, `{"sum":3}`, string(out))

			_, err = host.Provider("acme").Resolve(t.Context(), key)
			require.ErrorIs(t, err, status.ErrDataLoss)
			_, err = host.Modules("acme")
			require.ErrorIs(t, err, status.ErrDataLoss)
			_, err = host.Module("acme", "calc")
			require.ErrorIs(t, err, status.ErrDataLoss)
			_, err = host.Load(t.Context(), "acme", wasmhost.Upload{Name: "calc", Wasm: wasm})
			require.ErrorIs(t, err, status.ErrDataLoss)
			assert.Contains(t, status.Convert(err).Message, `the stored modules of tenant "acme" can't be read`)
			assert.NotContains(t, status.Convert(err).Message, data)
			end()
			after, err := filepath.Glob(filepath.Join(data, "modules", "blobs", "*"))
			require.NoError(t, err)
			assert.Equal(t, blobs, after, "the tenant's bytes are kept for when its directory is back")
		})
	}
}

// Values wait until it is known what their tenant's modules are, also those of a module that was being removed.
func TestValuesWaitForTheModulesOfTheirTenant(t *testing.T) {
	data, values := t.TempDir(), kv.NewMemory(nil)
	spaces := func() []kv.Namespace {
		all, err := values.Namespaces(t.Context())
		require.NoError(t, err)
		return all
	}
	start := func() {
		store, err := module.OpenDir(filepath.Join(data, "modules"))
		require.NoError(t, err)
		host, err := wasmhost.New(t.Context(), wasmhost.Config{Store: store, KV: values, Tenants: map[string]wasmhost.TenantConfig{"acme": {}, "globex": {}}})
		require.NoError(t, err)
		if len(spaces()) == 0 {
			for _, tenant := range []string{"acme", "globex"} {
				_, err := host.Load(t.Context(), tenant, wasmhost.Upload{Name: "calc", Wasm: calc(t)})
				require.NoError(t, err)
			}
		}
		require.NoError(t, host.Close(t.Context()))
		require.NoError(t, store.Close())
	}
	start()
	stays, goes := kv.Namespace{Tenant: "acme", Module: "calc"}, kv.Namespace{Tenant: "acme", Module: "removed"}
	for _, ns := range []kv.Namespace{stays, goes} {
		require.NoError(t, values.Set(t.Context(), ns, "k", []byte(`1`), kv.SetOptions{}, kv.Quota{Keys: 1, Bytes: 999, ValueBytes: 99}))
	}
	require.NoError(t, values.Mark(t.Context(), goes))
	dir := filepath.Join(data, "modules", "tenants", "m-acme")
	require.NoError(t, os.Rename(dir, dir+".aside"))
	require.NoError(t, os.WriteFile(dir, nil, 0o600))
	start()
	assert.Equal(t, []kv.Namespace{stays, goes}, spaces())
	require.NoError(t, os.Remove(dir))
	start() // as if the tenant had none
	assert.Equal(t, []kv.Namespace{stays}, spaces(), "what was not removed stays, what was goes")
	require.NoError(t, os.Rename(dir+".aside", dir))
	start()
	assert.Equal(t, []kv.Namespace{stays}, spaces())
}
