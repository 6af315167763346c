package wasmhost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

func numbers(t *testing.T, h *wasmhost.Host, name string) (revisions []int) {
	t.Helper()
	versions, err := h.Versions(t.Context(), tenant, name)
	require.NoError(t, err)
	for _, v := range versions {
		revisions = append(revisions, v.Revision)
	}
	return revisions
}

func loadAs(t *testing.T, h *wasmhost.Host, name string, digit byte) error {
	t.Helper()
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Name: name, Wasm: answering(digit)})
	return err
}

// ownBytes is the size of a revision beside its module.
func ownBytes(t *testing.T, h *wasmhost.Host, name string) int64 {
	t.Helper()
	rec, err := h.Module(tenant, name)
	require.NoError(t, err)
	require.NotEmpty(t, rec.Descriptor)
	return int64(len(rec.Descriptor) + len(rec.Policy))
}

func storedOf(t *testing.T, h *wasmhost.Host) (revisions int, bytes int64) {
	t.Helper()
	u, err := h.Usage(tenant)
	require.NoError(t, err)
	return u.Revisions, u.StoredBytes
}

func TestOldRevisionsMakeRoomForNewOnes(t *testing.T) {
	size := int64(len(answering('0')))
	dir := t.TempDir()
	store, err := module.OpenDir(dir)
	require.NoError(t, err)
	start := func() *wasmhost.Host {
		h, err := wasmhost.New(t.Context(), wasmhost.Config{Store: store, Quota: tenants.Quota{Revisions: 3}})
		require.NoError(t, err)
		return h
	}
	h := start()
	for _, digit := range []byte("123456") {
		require.NoError(t, loadAs(t, h, "m", digit))
	}
	assert.Equal(t, []int{6, 5, 4}, numbers(t, h, "m"))
	_, err = store.Wasm(t.Context(), module.Digest(answering('3')))
	require.ErrorIs(t, err, status.ErrNotFound, "the bytes are gone as well")
	_, err = h.Rollback(t.Context(), tenant, "m", 3)
	require.ErrorIs(t, err, status.ErrNotFound)
	_, err = h.Rollback(t.Context(), tenant, "m", 4)
	require.NoError(t, err)
	require.NoError(t, h.Close(t.Context()))

	h = start()
	defer h.Close(context.Background())
	revisions, stored := storedOf(t, h)
	assert.Equal(t, 3, revisions)
	assert.Equal(t, 3*(size+ownBytes(t, h, "m")), stored)
	require.NoError(t, loadAs(t, h, "m", '7'))
	assert.Equal(t, []int{7, 6, 5}, numbers(t, h, "m"))
	out, err := call(t, h, "m/f", `{}`)
	require.NoError(t, err)
	assert.Equal(t, "7", out)
	require.NoError(t, h.Remove(t.Context(), tenant, "m"))
	revisions, stored = storedOf(t, h)
	assert.Zero(t, revisions)
	assert.Zero(t, stored)
}

func TestATenantStoresNoMoreThanItMay(t *testing.T) {
	size := int64(len(answering('0')))
	probe := newHost(t, wasmhost.Config{})
	require.NoError(t, loadAs(t, probe, "m", '0'))
	own := ownBytes(t, probe, "m")
	h := newHost(t, wasmhost.Config{Quota: tenants.Quota{StoredBytes: 4*size + 5*own}, Tenants: map[string]wasmhost.TenantConfig{"other": {}}})
	for _, digit := range []byte("123456") {
		require.NoError(t, loadAs(t, h, "m", digit), "its own old revisions make room")
	}
	assert.Equal(t, []int{6, 5, 4, 3}, numbers(t, h, "m"))
	revisions, stored := storedOf(t, h)
	assert.Equal(t, 4, revisions)
	assert.Equal(t, 4*(size+own), stored)

	err := loadAs(t, h, "second", '7')
	require.ErrorIs(t, err, status.ErrResourceExhausted, "another module's don't")
	require.ErrorContains(t, err, "remove a module first")
	require.NoError(t, loadAs(t, h, "second", '6'), "bytes that are stored already take no room")
	assert.Equal(t, []int{6, 5, 4, 3}, numbers(t, h, "m"))
	_, err = h.Load(t.Context(), "other", wasmhost.Upload{Name: "m", Wasm: answering('7')})
	require.NoError(t, err, "a tenant has its own")

	// The revision that serves is kept: it is what a new one is rolled back to.
	_, err = h.Rollback(t.Context(), tenant, "m", 3)
	require.NoError(t, err)
	require.ErrorIs(t, loadAs(t, h, "m", '8'), status.ErrResourceExhausted)
	out, err := call(t, h, "m/f", `{}`)
	require.NoError(t, err)
	assert.Equal(t, "3", out)
	require.NoError(t, h.Remove(t.Context(), tenant, "m"))
	require.NoError(t, loadAs(t, h, "m", '8'))
}

// TestDescriptorsCountAsStored uploads the same module beside long descriptors.
func TestDescriptorsCountAsStored(t *testing.T) {
	const most = 300_000
	h := newHost(t, wasmhost.Config{Quota: tenants.Quota{StoredBytes: most}})
	load := func(name string, version int) error {
		descriptor := fmt.Sprintf(`{"abi":"genkit/1","name":%q,"version":"%d","tools":[{"name":"f","inputSchema":{"description":%q}}]}`, name, version, strings.Repeat("x", 100_000))
		_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Name: name, Wasm: answering('1'), Descriptor: []byte(descriptor)})
		return err
	}
	for version := range 6 {
		require.NoError(t, load("m", version))
		_, stored := storedOf(t, h)
		require.LessOrEqual(t, stored, int64(most))
	}
	assert.Equal(t, []int{6, 5}, numbers(t, h, "m"))
	err := load("second", 0)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.ErrorContains(t, err, "and its descriptor")
}

// plain is a store with nothing optional; stuck one of which the pruning fails.
type plain struct{ module.Store }

type stuck struct{ *module.Memory }

func (stuck) Prune(context.Context, string, string, int) error { return errors.New("the disk is full") }

// A store need not roll back or delete; then nothing changes, and the caller is told.
func TestAStoreThatOnlyKeepsModulesServesThem(t *testing.T) {
	h := newHost(t, wasmhost.Config{Store: plain{module.NewMemory()}})
	require.NoError(t, loadAs(t, h, "m", '1'))
	require.NoError(t, loadAs(t, h, "m", '2'))
	_, err := h.Rollback(t.Context(), tenant, "m", 1)
	require.ErrorIs(t, err, status.ErrUnimplemented)
	require.ErrorIs(t, h.Remove(t.Context(), tenant, "m"), status.ErrUnimplemented)
	rec, err := h.Module(tenant, "m")
	require.NoError(t, err)
	assert.Equal(t, 2, rec.Revision, "it is served as before")
}

func TestWhereNothingCanBePrunedTheBoundHolds(t *testing.T) {
	h := newHost(t, wasmhost.Config{Store: plain{module.NewMemory()}, Quota: tenants.Quota{Revisions: 2}})
	require.NoError(t, loadAs(t, h, "m", '1'))
	require.NoError(t, loadAs(t, h, "m", '2'))
	require.ErrorIs(t, loadAs(t, h, "m", '3'), status.ErrResourceExhausted)

	var log bytes.Buffer
	h = newHost(t, wasmhost.Config{Store: stuck{module.NewMemory()}, Quota: tenants.Quota{Revisions: 2}, Logger: slog.New(slog.NewTextHandler(&lockedWriter{b: &log}, nil))})
	for _, digit := range []byte("123") {
		require.NoError(t, loadAs(t, h, "m", digit), "the upload is done")
	}
	assert.Contains(t, log.String(), "old revisions can't be pruned yet")
	revisions, _ := storedOf(t, h)
	assert.Equal(t, 3, revisions, "what is there is counted")
}
