package datadir_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/datadir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// filled is a data directory with something in each store.
func filled(t *testing.T) string {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()

	log, err := audit.Open(filepath.Join(dir, datadir.Audit), audit.Config{})
	require.NoError(t, err)
	for range 3 {
		_, err = log.Append(audit.Entry{Who: "key:x", What: "putModule", On: "/x", Result: "OK"})
		require.NoError(t, err)
	}
	require.NoError(t, log.Close())

	store, err := access.OpenDir(filepath.Join(dir, datadir.Keys))
	require.NoError(t, err)
	keys, err := access.OpenKeys(ctx, access.KeysConfig{Store: store})
	require.NoError(t, err)
	_, _, err = keys.Create(ctx, access.KeySpec{Name: "a", Scopes: access.Scopes{Admin: true}})
	require.NoError(t, err)
	require.NoError(t, keys.Close())
	require.NoError(t, store.Close())

	values, err := kv.Open(filepath.Join(dir, "kv.db"), nil)
	require.NoError(t, err)
	require.NoError(t, values.Set(ctx, kv.Namespace{Tenant: "acme", Module: "m"}, "a", json.RawMessage("1"), kv.SetOptions{}, kv.Quota{Keys: 9, Bytes: 99, ValueBytes: 9}))
	require.NoError(t, values.Close())

	modules, err := module.OpenDir(filepath.Join(dir, datadir.Modules))
	require.NoError(t, err)
	for _, text := range []string{"one", "two"} {
		sum := sha256.Sum256([]byte(text))
		_, err = modules.Put(ctx, module.Record{Tenant: "acme", Name: "m", Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: len(text), Descriptor: json.RawMessage("{}")}, []byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, modules.Close())

	tenants, err := admin.OpenDir(filepath.Join(dir, datadir.Tenants))
	require.NoError(t, err)
	_, err = tenants.Put(ctx, admin.Document{Kind: admin.TenantKind, Name: "acme", Value: json.RawMessage(`{"name":"acme"}`)})
	require.NoError(t, err)
	require.NoError(t, tenants.Close())

	book, err := usage.Open(usage.Config{Dir: filepath.Join(dir, datadir.Usage)})
	require.NoError(t, err)
	book.Record(tenant.Event{Tenant: "acme", Module: "m", Tool: "m/t"})
	require.NoError(t, book.Close())
	require.NoError(t, os.Mkdir(filepath.Join(dir, datadir.Secrets), 0o700))
	return dir
}

func TestWhatIsThereIsTold(t *testing.T) {
	dir := filled(t)
	damage, found, err := datadir.Inspect(t.Context(), dir)
	require.NoError(t, err)
	assert.Empty(t, damage)
	assert.Equal(t, "3 entries of the audit log, 1 tenants, 1 keys, 1 modules, 1 values, 0 secrets, 1 calls in the accounts", strings.Join(found, ", "))
	damage, found, err = datadir.Inspect(t.Context(), t.TempDir())
	require.NoError(t, err)
	assert.Empty(t, damage)
	assert.Empty(t, found, "nothing is made by looking")

	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, n := range names {
		assert.Contains(t, datadir.Parts(), n.Name())
	}
	assert.NotContains(t, datadir.Parts(), datadir.Cache)
	for _, name := range datadir.LegacyValues() {
		assert.Contains(t, datadir.Parts(), name)
	}
}

// Whatever file of a part is damaged, it is told, and the other parts are looked at all the same.
func TestWhatIsDamagedIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		part, file string // the files of the part whose names have this
		damage     func(raw []byte) []byte
		says       string
		others     int // parts that are counted
	}{
		"the audit log's chain": {datadir.Audit, "", changed, "the audit log: ", 6},
		"a tenant's document":   {datadir.Tenants, "acme", cut, "acme", 7},
		"a key":                 {datadir.Keys, ".json", cut, "", 7},
		"a module's record":     {datadir.Modules, "2.record", cut, `module "m" of tenant "acme"`, 7},
		"an older record":       {datadir.Modules, "1.record", cut, `revision 1 of module "m" of tenant "acme"`, 7},
		"a module's bytes":      {datadir.Modules, ".wasm", changed, `of module "m" of tenant "acme"`, 7},
		"a call's line":         {datadir.Usage, "usage", cut, "1 lines of the usage", 7},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			touched, all := 0, []string{}
			require.NoError(t, filepath.WalkDir(filepath.Join(dir, test.part), func(path string, d fs.DirEntry, err error) error {
				all = append(all, path)
				if err != nil || d.IsDir() || !strings.Contains(path, test.file) || strings.Contains(path, "lock") {
					return err
				}
				raw, err := os.ReadFile(path)
				if err != nil || len(raw) == 0 {
					return err
				}
				touched++
				return os.WriteFile(path, test.damage(raw), 0o600)
			}))
			require.NotZero(t, touched, "%v", all)
			damage, found, err := datadir.Inspect(t.Context(), dir)
			require.NoError(t, err)
			require.NotEmpty(t, damage)
			assert.Contains(t, strings.Join(damage, "\n"), test.says)
			assert.Len(t, found, test.others, "%v", found)
		})
	}
}

// changed is a file with a bit turned over.
func changed(raw []byte) []byte {
	raw[len(raw)/2] ^= 1
	return raw
}

// cut is a file without its second half.
func cut(raw []byte) []byte { return raw[:len(raw)/2] }

func TestADirectoryInUseIsNotInspected(t *testing.T) {
	dir := filled(t)
	store, err := admin.OpenDir(filepath.Join(dir, datadir.Tenants))
	require.NoError(t, err)
	_, _, err = datadir.Inspect(context.Background(), dir)
	require.ErrorContains(t, err, "in use")
	require.NoError(t, store.Close())
	_, _, err = datadir.Inspect(context.Background(), dir)
	require.NoError(t, err)
}
