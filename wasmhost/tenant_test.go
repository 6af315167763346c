package wasmhost_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// callAs calls a tool of a tenant.
func callAs(t *testing.T, h *wasmhost.Host, tenantName, tool, in string) (string, error) {
	t.Helper()
	a, err := h.Provider(tenantName).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: tool})
	if err != nil {
		return "", err
	}
	out, err := a.RunJSON(t.Context(), json.RawMessage(in), nil)
	return string(out), err
}

func TestTenantsComeChangeAndGoWhileTheHostRuns(t *testing.T) {
	h := newHost(t, wasmhost.Config{})
	ctx := t.Context()
	_, err := h.Load(ctx, "acme", wasmhost.Upload{Name: "calc", Wasm: calc(t)})
	require.ErrorIs(t, err, status.ErrNotFound)

	require.NoError(t, h.SetTenant(ctx, "acme", wasmhost.TenantConfig{}))
	assert.Equal(t, []string{"acme", tenant}, h.Tenants())
	_, err = h.Load(ctx, "acme", wasmhost.Upload{Name: "calc", Wasm: calc(t)})
	require.NoError(t, err)
	out, err := callAs(t, h, "acme", "calc/add", `{"a":40,"b":2}`)
	require.NoError(t, err)
	assert.Equal(t, `{"sum":42}`, out)

	// It may less now, and what was counted goes on.
	require.NoError(t, h.SetTenant(ctx, "acme", wasmhost.TenantConfig{Limits: policy.Limits{OutputBytes: 1}, Quota: tenants.Quota{Modules: 1, Concurrency: 3}}))
	_, err = callAs(t, h, "acme", "calc/add", `{"a":40,"b":2}`)
	require.ErrorIs(t, err, status.ErrResourceExhausted, "that is more than a byte")
	_, err = h.Load(ctx, "acme", wasmhost.Upload{Name: "other", Wasm: calc(t)})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	usage, err := h.Usage("acme")
	require.NoError(t, err)
	assert.EqualValues(t, 3, usage.Quota.Concurrency)
	assert.EqualValues(t, 2, usage.Total.Calls)
	assert.Equal(t, 1, usage.Revisions)

	require.NoError(t, h.RemoveTenant(ctx, "acme"))
	assert.Equal(t, []string{tenant}, h.Tenants())
	_, err = callAs(t, h, "acme", "calc/add", `{"a":40,"b":2}`)
	require.ErrorIs(t, err, status.ErrNotFound)
	_, err = h.Usage("acme")
	require.ErrorIs(t, err, status.ErrNotFound)
	require.ErrorIs(t, h.RemoveTenant(ctx, "acme"), status.ErrNotFound)

	// Its stored modules are served again.
	require.NoError(t, h.SetTenant(ctx, "acme", wasmhost.TenantConfig{}))
	out, err = callAs(t, h, "acme", "calc/add", `{"a":40,"b":2}`)
	require.NoError(t, err)
	assert.Equal(t, `{"sum":42}`, out)
}

func TestTheDefaultTenantIsChangedAndStays(t *testing.T) {
	h := newHost(t, wasmhost.Config{Tenants: map[string]wasmhost.TenantConfig{tenant: {Quota: tenants.Quota{Modules: 1}}}})
	require.ErrorIs(t, h.RemoveTenant(t.Context(), tenant), status.ErrFailedPrecondition)
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Name: "a", Wasm: calc(t)})
	require.NoError(t, err)
	_, err = h.Load(t.Context(), tenant, wasmhost.Upload{Name: "b", Wasm: calc(t)})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	require.NoError(t, h.SetTenant(t.Context(), tenant, wasmhost.TenantConfig{Quota: tenants.Quota{Modules: 2}}))
	_, err = h.Load(t.Context(), tenant, wasmhost.Upload{Name: "b", Wasm: calc(t)})
	require.NoError(t, err)
}

func TestATenantThatCanNotBeIsRefused(t *testing.T) {
	h := newHost(t, wasmhost.Config{Grants: &policy.Grants{KV: true}})
	for name, c := range map[string]wasmhost.TenantConfig{
		"no/name": {}, "": {},
		"negative": {Quota: tenants.Quota{Queue: -1}},
		"greedy":   {Grants: &policy.Grants{Clock: true}},
	} {
		require.ErrorIs(t, h.SetTenant(t.Context(), name, c), status.ErrInvalidArgument, name)
	}
	assert.Equal(t, []string{tenant}, h.Tenants())
}

// A module whose grants its tenant has lost is kept and not served, until they come back.
func TestAModuleThatMayNoLongerDoWhatItDoesIsNotServed(t *testing.T) {
	h := newHost(t, wasmhost.Config{Tenants: map[string]wasmhost.TenantConfig{"acme": {}}})
	_, err := h.Load(t.Context(), "acme", wasmhost.Upload{Name: "calc", Wasm: calc(t), Policy: []byte(`{"grants":{"clock":true}}`)})
	require.NoError(t, err)
	require.NoError(t, h.SetTenant(t.Context(), "acme", wasmhost.TenantConfig{Grants: &policy.Grants{}}))
	rec, err := h.Module("acme", "calc")
	require.NoError(t, err)
	assert.Contains(t, rec.Problem, "clock")
	_, err = callAs(t, h, "acme", "calc/add", `{"a":1,"b":2}`)
	require.ErrorIs(t, err, status.ErrNotFound)
	require.NoError(t, h.SetTenant(t.Context(), "acme", wasmhost.TenantConfig{}))
	_, err = callAs(t, h, "acme", "calc/add", `{"a":1,"b":2}`)
	require.NoError(t, err)
}

// While a tenant is changed over and over, its calls work, its uploads work or say that they
// are to be tried again, no upload that was answered is lost, and the other tenant notices
// nothing.
func TestATenantIsChangedUnderItsCallsAndUploads(t *testing.T) {
	h := newHost(t, wasmhost.Config{Tenants: map[string]wasmhost.TenantConfig{"acme": {}, "other": {}}})
	for _, name := range []string{"acme", "other"} {
		_, err := h.Load(t.Context(), name, wasmhost.Upload{Name: "calc", Wasm: calc(t)})
		require.NoError(t, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for _, name := range []string{"acme", "other"} {
		for range 2 {
			wg.Go(func() {
				for ctx.Err() == nil {
					out, err := callAs(t, h, name, "calc/add", `{"a":40,"b":2}`)
					if !assert.NoError(t, err) || !assert.Equal(t, `{"sum":42}`, out) {
						return
					}
				}
			})
		}
	}
	loaded := map[string]bool{}
	tried := make(chan struct{})
	wg.Go(func() {
		defer close(tried)
		for i := range 30 {
			if i > 0 {
				tried <- struct{}{} // a change begins, and so does the next upload
			}
			name := fmt.Sprintf("m%d", i)
			_, err := h.Load(t.Context(), "acme", wasmhost.Upload{Name: name, Wasm: answering(byte('0' + i%10))})
			if err != nil {
				assert.Contains(t, []status.Code{status.Unavailable, status.ResourceExhausted}, status.Of(err), "%v", err)
				continue
			}
			loaded[name] = true
		}
	})
	changes := 0
	for range tried {
		changes++
		err := h.SetTenant(t.Context(), "acme", wasmhost.TenantConfig{Quota: tenants.Quota{Concurrency: int64(8 + changes%8)}})
		if err != nil { // on a machine that is too busy
			assert.ErrorIs(t, err, status.ErrUnavailable)
		}
	}
	stop()
	wg.Wait()
	assert.NotEmpty(t, loaded)
	for name := range loaded {
		_, err := callAs(t, h, "acme", name+"/f", `{}`)
		assert.NoError(t, err, name)
	}
	usage, err := h.Usage("acme")
	require.NoError(t, err)
	assert.Zero(t, usage.Running)
	assert.Zero(t, usage.Waiting)
}
