package wasmhost_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// spinning never ends.
func spinning() []byte {
	return w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(w.Export("f", 0, 0)),
		w.Code(w.Body("", 0x03, 0x40, 0x0c, 0, 0x0b, 0x00)))
}

func callOf(t testing.TB, h *wasmhost.Host, tenantName, tool string) error {
	t.Helper()
	a, err := h.Provider(tenantName).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: tool})
	require.NoError(t, err)
	_, err = a.RunJSON(t.Context(), json.RawMessage(`{"a":1,"b":2}`), nil)
	return err
}

// events is a sink that a test reads.
type events struct {
	mu   sync.Mutex
	list []tenants.Event
}

func (e *events) Record(ev tenants.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

func (e *events) take() []tenants.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	return list
}

// By default the time limit ends a call: what a tight loop uses of the fuel in that time
// is a small part of it. (A tenth of the time is run, and has to need a twentieth.)
func TestTheTimeLimitBindsByDefault(t *testing.T) {
	sink := &events{}
	h := newHost(t, wasmhost.Config{Usage: sink})
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Name: "spin", Wasm: spinning(), Descriptor: describing(`{"name":"f"}`), Policy: []byte(`{"limits":{"timeoutMs":500}}`)})
	require.NoError(t, err)
	require.ErrorIs(t, callOf(t, h, tenant, "spin/f"), status.ErrDeadlineExceeded)
	used := sink.take()[0].Fuel
	assert.Less(t, used, policy.Defaults().Fuel/20, "%d units in 500 ms of the default 5 s", used)
}

func TestEveryCallIsBilledAlsoWhenItFails(t *testing.T) {
	sink := &events{}
	h := newHost(t, wasmhost.Config{Usage: sink, Tenants: map[string]wasmhost.TenantConfig{"acme": {}}})
	rec, err := h.Load(t.Context(), "acme", wasmhost.Upload{Wasm: calc(t)})
	require.NoError(t, err)
	_, err = h.Load(t.Context(), "acme", wasmhost.Upload{Name: "spin", Wasm: spinning(), Descriptor: describing(`{"name":"f"}`), Policy: []byte(`{"limits":{"fuel":500000}}`)})
	require.NoError(t, err)
	require.NoError(t, callOf(t, h, "acme", "calc/add"))
	require.NoError(t, callOf(t, h, "acme", "calc/add"))
	require.ErrorIs(t, callOf(t, h, "acme", "spin/f"), status.ErrResourceExhausted)
	list := sink.take()
	require.Len(t, list, 3)
	first := list[0]
	assert.Equal(t, []any{"acme", "calc", "calc/add", rec.Revision, rec.Digest, status.OK}, []any{first.Tenant, first.Module, first.Tool, first.Revision, first.Digest, first.Code})
	assert.Positive(t, first.Fuel)
	assert.Positive(t, first.WallNS)
	assert.Positive(t, first.MemoryBytes)
	assert.Positive(t, first.InputBytes)
	assert.Positive(t, first.OutputBytes)
	assert.Equal(t, first.Fuel, list[1].Fuel, "the same costs the same")
	assert.Equal(t, status.ResourceExhausted, list[2].Code)
	assert.GreaterOrEqual(t, list[2].Fuel, int64(500_000))

	u, err := h.Usage("acme")
	require.NoError(t, err)
	assert.Equal(t, int64(3), u.Total.Calls)
	assert.Equal(t, int64(1), u.Total.Failures)
	assert.Equal(t, first.Fuel*2+list[2].Fuel, u.Total.Fuel)
	assert.Equal(t, int64(2), u.Modules["calc"].Calls)
	assert.Positive(t, u.MemoryBytes)
	other, err := h.Usage(tenant)
	require.NoError(t, err)
	assert.Zero(t, other.Total.Calls)
	_, err = h.Usage("nobody")
	require.ErrorIs(t, err, status.ErrNotFound)
}

func TestAFloodingTenantIsAnsweredAndTheOthersAreServed(t *testing.T) {
	h := newHost(t, wasmhost.Config{
		Tenants: map[string]wasmhost.TenantConfig{"loud": {Limits: policy.Limits{TimeoutMS: 2000}, Quota: tenants.Quota{Concurrency: 4, Queue: 8}}, "quiet": {}},
	})
	for _, name := range []string{"loud", "quiet"} {
		_, err := h.Load(t.Context(), name, wasmhost.Upload{Wasm: calc(t)})
		require.NoError(t, err)
	}
	_, err := h.Load(t.Context(), "loud", wasmhost.Upload{Name: "spin", Wasm: spinning(), Descriptor: describing(`{"name":"f"}`), Policy: []byte(`{"limits":{"fuel":1000000000000}}`)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	spin, err := h.Provider("loud").Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "spin/f"})
	require.NoError(t, err)
	for range 12 { // four run, eight wait
		wg.Go(func() { _, _ = spin.RunJSON(ctx, json.RawMessage(`{}`), nil) })
	}
	require.Eventually(t, func() bool {
		u, err := h.Usage("loud")
		return err == nil && u.Running == 4 && u.Waiting == 8
	}, 30*time.Second, time.Millisecond)
	err = callOf(t, h, "loud", "calc/add")
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.GreaterOrEqual(t, status.Convert(err).RetryAfter, time.Second)
	for range 20 {
		require.NoError(t, callOf(t, h, "quiet", "calc/add"))
	}
	cancel()
	wg.Wait()
	require.NoError(t, callOf(t, h, "loud", "calc/add"))
	u, err := h.Usage("loud")
	require.NoError(t, err)
	assert.Zero(t, u.Running+u.Waiting)
	assert.GreaterOrEqual(t, u.Total.Refused, int64(1))
}

func TestATenantsFuelIsSpentByAllItsModules(t *testing.T) {
	h := newHost(t, wasmhost.Config{Quota: tenants.Quota{FuelPerMinute: 1_000_000}, Tenants: map[string]wasmhost.TenantConfig{"other": {}}})
	for _, name := range []string{tenant, "other"} {
		_, err := h.Load(t.Context(), name, wasmhost.Upload{Wasm: calc(t)})
		require.NoError(t, err)
	}
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Name: "spin", Wasm: spinning(), Descriptor: describing(`{"name":"f"}`)})
	require.NoError(t, err)
	require.ErrorContains(t, callOf(t, h, tenant, "spin/f"), "the tenant has used up its fuel")
	err = callOf(t, h, tenant, "calc/add")
	require.ErrorContains(t, err, "the tenant has used up its fuel")
	assert.Positive(t, status.Convert(err).RetryAfter)
	require.NoError(t, callOf(t, h, "other", "calc/add"))
}

func TestATenantHasNoMoreModulesThanItMay(t *testing.T) {
	h := newHost(t, wasmhost.Config{Quota: tenants.Quota{Modules: 2}})
	for i := range 3 {
		_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Name: fmt.Sprintf("m%d", i), Wasm: calc(t)})
		if i < 2 {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, status.ErrResourceExhausted)
	}
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Name: "m1", Wasm: calc(t), Policy: []byte(`{"limits":{"fuel":100000}}`)})
	require.NoError(t, err, "a module may be replaced")
	require.NoError(t, h.Remove(t.Context(), tenant, "m0"))
	_, err = h.Load(t.Context(), tenant, wasmhost.Upload{Name: "m2", Wasm: calc(t)})
	require.NoError(t, err)
}

func TestAVersionNamesItsBytes(t *testing.T) {
	other := append(calc(t), w.Custom("more", []byte("x"))...)
	h := newHost(t, wasmhost.Config{})
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: calc(t)})
	require.NoError(t, err)
	_, err = h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: other})
	require.ErrorIs(t, err, status.ErrAlreadyExists)
	require.ErrorContains(t, err, `version "1.0.0" of module "calc" is revision 1 already, with other bytes`)
	rec, err := h.Module(tenant, "calc")
	require.NoError(t, err)
	assert.Equal(t, 1, rec.Revision)
	// The same bytes under another policy, and other bytes under another name, are fine.
	_, err = h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: calc(t), Policy: []byte(`{"limits":{"fuel":100000}}`)})
	require.NoError(t, err)
	_, err = h.Load(t.Context(), tenant, wasmhost.Upload{Name: "sums", Wasm: other})
	require.NoError(t, err)
	// Where it is asked for, a version may be replaced.
	_, err = h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: other, Replace: true})
	require.NoError(t, err)
	dev := newHost(t, wasmhost.Config{ReplaceVersions: true})
	for _, wasm := range [][]byte{calc(t), other} {
		_, err = dev.Load(t.Context(), tenant, wasmhost.Upload{Wasm: wasm})
		require.NoError(t, err)
	}
}

func TestAModuleCanBeInterpreted(t *testing.T) {
	dir := t.TempDir()
	h := newHost(t, wasmhost.Config{CacheDir: dir})
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: calc(t), Policy: []byte(`{"interpreter":true}`)})
	require.NoError(t, err)
	require.NoError(t, callOf(t, h, tenant, "calc/add"))
	files, err := filepath.Glob(filepath.Join(dir, "*.code"))
	require.NoError(t, err)
	assert.Empty(t, files, "machine code was made of it")
}

// A restart reads code from the cache when it is called for, and makes it anew when
// the cache is gone or damaged.
func TestARestartTakesCodeFromTheCache(t *testing.T) {
	data, cache := t.TempDir(), t.TempDir()
	restart := func(check func(h *wasmhost.Host)) {
		store, err := module.OpenDir(data)
		require.NoError(t, err)
		h, err := wasmhost.New(t.Context(), inMode(wasmhost.Config{Store: store, CacheDir: cache}))
		require.NoError(t, err)
		check(h)
		require.NoError(t, h.Close(t.Context()))
		require.NoError(t, store.Close())
	}
	code := func() []string {
		files, err := filepath.Glob(filepath.Join(cache, "*.code"))
		require.NoError(t, err)
		return files
	}
	restart(func(h *wasmhost.Host) {
		_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: calc(t)})
		require.NoError(t, err)
		require.NoError(t, callOf(t, h, tenant, "calc/add"))
	})
	require.Len(t, code(), 1)
	restart(func(h *wasmhost.Host) {
		u, err := h.Usage(tenant)
		require.NoError(t, err)
		assert.Zero(t, u.MemoryBytes, "nothing runs before it is called")
		require.NoError(t, callOf(t, h, tenant, "calc/add"))
	})
	for name, damage := range map[string]func(file string) error{
		"cut short": func(file string) error { return os.Truncate(file, 500) },
		"gone":      os.Remove,
	} {
		require.NoError(t, damage(code()[0]), name)
		restart(func(h *wasmhost.Host) { require.NoError(t, callOf(t, h, tenant, "calc/add"), name) })
		require.Len(t, code(), 1, name)
	}
}

func TestAQuotaOutOfRangeIsRefused(t *testing.T) {
	for _, config := range []wasmhost.Config{
		{Quota: tenants.Quota{Queue: -1}},
		{Tenants: map[string]wasmhost.TenantConfig{"acme": {Quota: tenants.Quota{Concurrency: -1}}}},
	} {
		_, err := wasmhost.New(t.Context(), config)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
}
