package wasmhost_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

func TestNothingOfASuspendedTenantRuns(t *testing.T) {
	h := newHost(t, wasmhost.Config{Tenants: map[string]wasmhost.TenantConfig{"acme": {}}})
	ctx := t.Context()
	for range 2 {
		_, err := h.Load(ctx, "acme", wasmhost.Upload{Name: "calc", Wasm: calc(t)})
		require.NoError(t, err)
	}
	sum, err := h.Provider("acme").Resolve(ctx, action.Key{Kind: action.Tool, Name: "calc/add"})
	require.NoError(t, err)
	running, done, err := h.BeginRun(ctx, "acme")
	require.NoError(t, err)
	defer done()

	require.NoError(t, h.SetTenant(ctx, "acme", wasmhost.TenantConfig{Suspended: true}))
	<-running.Done()
	require.ErrorIs(t, context.Cause(running), status.ErrPermissionDenied, "a request under way ends")
	_, _, err = h.BeginRun(ctx, "acme")
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	assert.Equal(t, "the tenant is suspended", status.ToWire(err, false).Message)
	_, err = sum.RunJSON(ctx, json.RawMessage(`{"a":1,"b":2}`), nil)
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	_, err = h.Load(ctx, "acme", wasmhost.Upload{Name: "other", Wasm: calc(t)})
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	_, err = h.Rollback(ctx, "acme", "calc", 1)
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	_, err = h.BeginGenerate("acme")
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	modules, err := h.Modules("acme")
	require.NoError(t, err, "what is stored can be read")
	assert.Len(t, modules, 1)
	_, err = callAs(t, h, tenant, "none/f", `{}`)
	require.ErrorIs(t, err, status.ErrNotFound, "the others run")

	// It stays suspended when its settings change, and runs again.
	require.NoError(t, h.SetTenant(ctx, "acme", wasmhost.TenantConfig{Suspended: true, Quota: tenants.Quota{Concurrency: 1}}))
	_, err = callAs(t, h, "acme", "calc/add", `{"a":1,"b":2}`)
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	require.NoError(t, h.SetTenant(ctx, "acme", wasmhost.TenantConfig{Quota: tenants.Quota{Concurrency: 1}}))
	out, err := callAs(t, h, "acme", "calc/add", `{"a":1,"b":2}`)
	require.NoError(t, err)
	assert.Equal(t, `{"sum":3}`, out)
	_, done, err = h.BeginRun(ctx, "acme")
	require.NoError(t, err)
	done()
	require.NoError(t, h.Remove(ctx, "acme", "calc"))
}

// A request that began under settings that were changed since ends all the same.
func TestARequestOfEarlierSettingsEndsWithItsTenant(t *testing.T) {
	for name, end := range map[string]func(*wasmhost.Host) error{
		"suspended": func(h *wasmhost.Host) error {
			return h.SetTenant(t.Context(), "acme", wasmhost.TenantConfig{Suspended: true, Limits: policy.Limits{OutputBytes: 1}})
		},
		"erased": func(h *wasmhost.Host) error { return h.EraseTenant(t.Context(), "acme", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, wasmhost.Config{Tenants: map[string]wasmhost.TenantConfig{"acme": {}}})
			running, done, err := h.BeginRun(t.Context(), "acme")
			require.NoError(t, err)
			defer done()
			require.NoError(t, h.SetTenant(t.Context(), "acme", wasmhost.TenantConfig{Limits: policy.Limits{OutputBytes: 1}}))
			require.NoError(t, running.Err())
			require.NoError(t, end(h))
			<-running.Done()
			require.Error(t, context.Cause(running))
		})
	}
}

func TestASuspendedTenantIsSuspendedFromTheStart(t *testing.T) {
	store := module.NewMemory()
	h := newHost(t, wasmhost.Config{Store: store, Tenants: map[string]wasmhost.TenantConfig{"acme": {}}})
	_, err := h.Load(t.Context(), "acme", wasmhost.Upload{Name: "calc", Wasm: calc(t)})
	require.NoError(t, err)
	h = newHost(t, wasmhost.Config{Store: store, Tenants: map[string]wasmhost.TenantConfig{"acme": {Suspended: true}}})
	_, err = callAs(t, h, "acme", "calc/add", `{"a":1,"b":2}`)
	require.ErrorIs(t, err, status.ErrPermissionDenied)
}

// A tenant that is made anew after its erasure finds nothing of the old one.
func TestAnErasedTenantLeavesNothing(t *testing.T) {
	store, values := module.NewMemory(), kv.NewMemory(nil)
	h := newHost(t, wasmhost.Config{Store: store, KV: values, Tenants: map[string]wasmhost.TenantConfig{"acme": {ID: "1"}, "acm": {}}})
	ctx, quota := t.Context(), kv.Quota{Keys: 9, Bytes: 999, ValueBytes: 99}
	for _, owner := range []string{"acme", "acm"} {
		for _, name := range []string{"a", "b"} {
			_, err := h.Load(ctx, owner, wasmhost.Upload{Name: name, Wasm: calc(t)})
			require.NoError(t, err)
			require.NoError(t, values.Set(ctx, kv.Namespace{Tenant: owner, Module: name}, "k", json.RawMessage(`1`), kv.SetOptions{}, quota))
		}
		_, err := callAs(t, h, owner, "a/add", `{"a":1,"b":2}`)
		require.NoError(t, err)
	}
	require.NoError(t, values.Set(ctx, kv.Namespace{Tenant: "acme", Module: "gone"}, "k", json.RawMessage(`1`), kv.SetOptions{}, quota))
	require.ErrorIs(t, h.EraseTenant(ctx, tenant, nil), status.ErrFailedPrecondition)
	var steps [][2]int
	require.NoError(t, h.EraseTenant(ctx, "acme", func(done, total int) { steps = append(steps, [2]int{done, total}) }))
	assert.Equal(t, [][2]int{{0, 2}, {1, 2}, {2, 2}}, steps)
	_, err := h.TenantID("acme")
	require.ErrorIs(t, err, status.ErrNotFound)
	require.NoError(t, h.EraseTenant(ctx, "acme", nil), "once more is no harm")

	require.NoError(t, h.SetTenant(ctx, "acme", wasmhost.TenantConfig{ID: "2"}))
	id, err := h.TenantID("acme")
	require.NoError(t, err)
	assert.Equal(t, "2", id)
	modules, err := h.Modules("acme")
	require.NoError(t, err)
	assert.Empty(t, modules)
	usage, err := h.Usage("acme")
	require.NoError(t, err)
	assert.Zero(t, usage.Total.Calls)
	assert.Zero(t, usage.StoredBytes)
	spaces, err := values.Namespaces(ctx)
	require.NoError(t, err)
	assert.Equal(t, []kv.Namespace{{Tenant: "acm", Module: "a"}, {Tenant: "acm", Module: "b"}}, spaces, "the neighbour keeps its own")
	records, err := store.Current(ctx)
	require.NoError(t, err)
	assert.Len(t, records, 2)
}

// forgetful is a sink of usage that is told which tenants are gone.
type forgetful struct {
	tenants.Sink
	gone []string
}

func (f *forgetful) Record(tenants.Event) {}
func (f *forgetful) Forget(name string)   { f.gone = append(f.gone, name) }

func TestTheSinkOfUsageForgetsAnErasedTenant(t *testing.T) {
	sink := &forgetful{}
	h := newHost(t, wasmhost.Config{Usage: sink, Tenants: map[string]wasmhost.TenantConfig{"acme": {}}})
	require.NoError(t, h.EraseTenant(t.Context(), "acme", nil))
	assert.Equal(t, []string{"acme"}, sink.gone)
}

// BenchmarkBeginRun is what a request costs to be ended with its tenant.
func BenchmarkBeginRun(b *testing.B) {
	h, err := wasmhost.New(b.Context(), wasmhost.Config{})
	require.NoError(b, err)
	b.Cleanup(func() { _ = h.Close(context.Background()) })
	b.ReportAllocs()
	for b.Loop() {
		_, done, err := h.BeginRun(b.Context(), tenant)
		if err != nil {
			b.Fatal(err)
		}
		done()
	}
}

// failing is a store that fails to delete, as often as it is told to.
type failing struct {
	*module.Memory
	failures int
}

func (f *failing) Delete(ctx context.Context, tenantName, name string) error {
	if f.failures--; f.failures >= 0 {
		return errors.New("the disk is full")
	}
	return f.Memory.Delete(ctx, tenantName, name)
}

func TestAnErasureThatFailedGoesOn(t *testing.T) {
	store := &failing{module.NewMemory(), 1}
	h := newHost(t, wasmhost.Config{Store: store, Tenants: map[string]wasmhost.TenantConfig{"acme": {}}})
	for _, name := range []string{"a", "b"} {
		_, err := h.Load(t.Context(), "acme", wasmhost.Upload{Name: name, Wasm: calc(t)})
		require.NoError(t, err)
	}
	require.ErrorContains(t, h.EraseTenant(t.Context(), "acme", nil), "the disk is full")
	_, err := callAs(t, h, "acme", "a/add", `{"a":1,"b":2}`)
	require.ErrorIs(t, err, status.ErrNotFound, "it is out of service")
	require.NoError(t, h.EraseTenant(t.Context(), "acme", nil))
	records, err := store.Current(t.Context())
	require.NoError(t, err)
	assert.Empty(t, records)
}

// A call that was under way when its tenant was erased keeps nothing for the next tenant of
// that name.
func TestACallThatOutlivesItsTenantKeepsNothing(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	var values slowSet
	values.Store, values.hold = kv.NewMemory(nil), func() {
		close(started)
		<-release
	}
	h := newHost(t, wasmhost.Config{
		KV: &values, Tenants: map[string]wasmhost.TenantConfig{"acme": {}},
		Registry: func(string) (*registry.Registry, error) { return registry.New(nil), nil },
	})
	load := func() {
		_, err := h.Load(t.Context(), "acme", wasmhost.Upload{Name: "c", Wasm: guest(t, "capabilities.wasm"), Policy: []byte(`{"grants":{"kv":true,"clock":true,"http":[{"host":"*"}],"generate":["*"],"actions":["*"]},"limits":{"timeoutMs":60000}}`)})
		require.NoError(t, err)
	}
	load()
	called, erased := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := callAs(t, h, "acme", "c/kv_set", `{"key":"a","value":1}`)
		called <- err
	}()
	<-started
	go func() { erased <- h.EraseTenant(context.WithoutCancel(t.Context()), "acme", nil) }()
	require.Eventually(t, func() bool {
		_, err := h.TenantID("acme")
		return err != nil
	}, 10*time.Second, time.Millisecond)
	close(release)
	require.NoError(t, <-erased)
	<-called
	require.NoError(t, h.SetTenant(t.Context(), "acme", wasmhost.TenantConfig{}))
	load()
	out, err := callAs(t, h, "acme", "c/kv_get", `{"key":"a"}`)
	require.NoError(t, err)
	assert.Equal(t, `{"ok":null}`, out)
}

// slowSet holds the first value that is set.
type slowSet struct {
	kv.Store
	once sync.Once
	hold func()
}

func (s *slowSet) Set(ctx context.Context, ns kv.Namespace, key string, value json.RawMessage, o kv.SetOptions, q kv.Quota) error {
	s.once.Do(s.hold)
	return s.Store.Set(context.WithoutCancel(ctx), ns, key, value, o, q)
}

func (s *slowSet) Namespaces(ctx context.Context) ([]kv.Namespace, error) {
	return s.Store.(kv.Lister).Namespaces(ctx)
}

// A tenant is made, used, suspended, resumed and erased over and over under calls: each
// call works or says that the tenant is not there or suspended.
func TestATenantComesAndGoesUnderItsCalls(t *testing.T) {
	h := newHost(t, wasmhost.Config{})
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	var wg sync.WaitGroup
	var good int
	wg.Go(func() {
		defer stop()
		for i := 0; ctx.Err() == nil; i++ {
			must := func(err error) {
				assert.NoError(t, err)
			}
			must(h.SetTenant(t.Context(), "acme", wasmhost.TenantConfig{}))
			_, err := h.Load(t.Context(), "acme", wasmhost.Upload{Name: "calc", Wasm: calc(t)})
			must(err)
			must(h.SetTenant(t.Context(), "acme", wasmhost.TenantConfig{Suspended: true}))
			must(h.SetTenant(t.Context(), "acme", wasmhost.TenantConfig{}))
			out, err := callAs(t, h, "acme", "calc/add", `{"a":40,"b":2}`)
			must(err)
			assert.Equal(t, `{"sum":42}`, out)
			must(h.EraseTenant(t.Context(), "acme", nil))
			good++
		}
	})
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				run, done, err := h.BeginRun(ctx, "acme")
				if err != nil {
					assert.Contains(t, []status.Code{status.NotFound, status.PermissionDenied}, status.Of(err), "%v", err)
					continue
				}
				a, err := h.Provider("acme").Resolve(run, action.Key{Kind: action.Tool, Name: "calc/add"})
				if err == nil {
					_, err = a.RunJSON(run, json.RawMessage(`{"a":40,"b":2}`), nil)
				}
				if err != nil {
					assert.Contains(t, []status.Code{status.NotFound, status.PermissionDenied, status.Cancelled, status.Unavailable, status.ResourceExhausted}, status.Of(err), "%v", err)
				}
				done()
			}
		})
	}
	wg.Wait()
	assert.Positive(t, good)
}
