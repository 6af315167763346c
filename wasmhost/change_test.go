package wasmhost

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

func plain(answer byte) []byte {
	return wasmtest.Module(
		wasmtest.Types(wasmtest.FuncType("", "i")), wasmtest.Funcs(0), wasmtest.Exports(wasmtest.Export("f", 0, 0)), wasmtest.Code(wasmtest.Body("", 0x41, answer)),
		wasmtest.Custom("genkit.module", []byte(`{"abi":"genkit/1","name":"m","tools":[{"name":"f","description":"f"}]}`)),
	)
}

// An upload without a policy has that of the module which it replaces: what was taken away
// while it was prepared does not come back with it.
func TestAnUploadBringsBackNoGrants(t *testing.T) {
	ctx := t.Context()
	h, err := New(ctx, Config{})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close(context.WithoutCancel(ctx))) }()
	load := func(answer byte, policy string) Loaded {
		up := Upload{Name: "m", Wasm: plain(answer)}
		if policy != "" {
			up.Policy = []byte(policy)
		}
		rec, err := h.Load(ctx, DefaultTenant, up)
		require.NoError(t, err)
		return rec
	}
	inner := h.guests
	var do func()
	h.guests = &compiling{inner, func() {
		if then := do; then != nil {
			do = nil
			then()
		}
	}}
	load(0, `{"grants":{"kv":true}}`)
	do = func() { load(1, `{}`) }
	assert.JSONEq(t, `{}`, string(load(2, "").Policy), "taken away meanwhile")
	load(0, `{"grants":{"kv":true}}`)
	do = func() { require.NoError(t, h.Remove(ctx, DefaultTenant, "m")) }
	assert.Empty(t, load(2, "").Policy, "of a module that was removed meanwhile")
	load(0, `{}`)
	do = func() { load(1, `{"grants":{"clock":true}}`) }
	assert.JSONEq(t, `{"grants":{"clock":true}}`, string(load(2, "").Policy))
	// One whose policy never holds still is given up.
	changes := 0
	var again func()
	again = func() {
		changes++
		load(1, fmt.Sprintf(`{"config":{"n":"%d"}}`, changes))
		do = again
	}
	do = again
	_, err = h.Load(ctx, DefaultTenant, Upload{Name: "m", Wasm: plain(3)})
	require.ErrorIs(t, err, status.ErrAborted)
	assert.Equal(t, maxPrepares, changes)
}

// compiling does something else before each module is compiled.
type compiling struct {
	runner
	before func()
}

func (c *compiling) Compile(ctx context.Context, class string, src sandbox.Source) (running, error) {
	c.before()
	return c.runner.Compile(ctx, class, src)
}

// A rollback initialises a module, and waits for it in the queue of uploads.
func TestARollbackQueuesWithUploads(t *testing.T) {
	h, err := New(t.Context(), Config{Loads: 1})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close(context.WithoutCancel(t.Context()))) }()
	for answer := range byte(2) {
		_, err := h.Load(t.Context(), DefaultTenant, Upload{Name: "m", Wasm: plain(answer)})
		require.NoError(t, err)
	}
	_, done, err := h.BeginLoad(t.Context(), DefaultTenant)
	require.NoError(t, err)
	short, leave := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer leave()
	_, err = h.Rollback(short, DefaultTenant, "m", 0)
	require.Error(t, err)
	done()
	rec, err := h.Rollback(t.Context(), DefaultTenant, "m", 0)
	require.NoError(t, err)
	assert.Equal(t, 1, rec.Revision)
}

// What a tenant's calls take together counts on when its settings change, whatever is changed.
func TestAChangeOfSettingsForgetsNothingInUse(t *testing.T) {
	ctx := t.Context()
	h, err := New(ctx, Config{})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close(context.WithoutCancel(ctx))) }()
	quota := tenants.Quota{Generates: 2, CallsPerMinute: 3, Concurrency: 1, FuelPerMinute: 1_000_000, EgressBytesPerMinute: 1_000_000, RequestBytes: 100}
	set := func(change func(*TenantConfig)) {
		t.Helper()
		c := TenantConfig{ID: "id", Quota: quota}
		change(&c)
		require.NoError(t, h.SetTenant(ctx, "acme", c))
	}
	tenant := func() *tenant {
		found, err := h.tenant("acme")
		require.NoError(t, err)
		return found
	}
	set(func(*TenantConfig) {})
	for range 2 {
		_, err := h.BeginGenerate("acme")
		require.NoError(t, err)
	}
	for range 2 {
		_, done, err := tenant().calls.Enter(ctx)
		require.NoError(t, err)
		done()
	}
	_, leave, err := tenant().calls.Enter(ctx) // runs on
	require.NoError(t, err)
	require.NoError(t, tenant().requests.Take(100))
	for _, a := range []func(int64){tenant().account.Spend, tenant().account.SpendEgress} {
		a(3_000_000) // two minutes more than there is
	}
	inUse := func(name string) {
		t.Helper()
		_, err := h.BeginGenerate("acme")
		require.ErrorIs(t, err, status.ErrResourceExhausted, name)
		_, _, err = tenant().calls.Enter(ctx)
		require.ErrorIs(t, err, status.ErrResourceExhausted, name)
		assert.Equal(t, 1, tenant().calls.Load().Running, name)
		require.ErrorIs(t, tenant().requests.Take(1), status.ErrResourceExhausted, name)
		assert.Positive(t, tenant().account.FuelWait(), name)
		assert.Positive(t, tenant().account.EgressWait(), name)
	}
	inUse("at first")
	for i := range int64(3) {
		set(func(c *TenantConfig) { c.Limits.TimeoutMS = 500 + i })
		inUse("after a change of limits")
	}
	set(func(c *TenantConfig) { c.Quota.Modules = 8 })
	inUse("after a change of the quota")
	set(func(c *TenantConfig) { c.Quota.FuelPerMinute, c.Quota.EgressBytesPerMinute = 2_000_000, 2_000_000 })
	inUse("after a change of what is in use")
	set(func(c *TenantConfig) { c.Quota.Generates, c.Quota.CallsPerMinute, c.Quota.RequestBytes = 3, 5, 101 })
	_, err = h.BeginGenerate("acme")
	require.NoError(t, err, "one more")
	_, err = h.BeginGenerate("acme")
	require.Error(t, err)
	leave()
	for range 2 {
		_, done, err := tenant().calls.Enter(ctx)
		require.NoError(t, err, "two more")
		done()
	}
	_, _, err = tenant().calls.Enter(ctx)
	require.Error(t, err)
	require.NoError(t, tenant().requests.Take(1))
	require.Error(t, tenant().requests.Take(1))
}
