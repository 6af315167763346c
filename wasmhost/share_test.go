package wasmhost_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// fiveTenants are a newcomer and four others.
func fiveTenants() map[string]wasmhost.TenantConfig {
	return map[string]wasmhost.TenantConfig{"a": {}, "b": {}, "c": {}, "d": {}, "new": {}}
}

// startsSlowly is a module whose initialisation does not end.
func startsSlowly(n byte) []byte {
	return w.Module(w.Types(w.FuncType("", "i"), w.FuncType("", "")), w.Funcs(0, 1), w.Exports(w.Export("f", 0, 0), w.Export("_initialize", 0, 1)),
		w.Code(w.Body("", 0x41, n), w.Body("", 0x03, 0x40, 0x0c, 0, 0x0b)))
}

// Four tenants whose uploads take as long as they may, as many as they may, do not hold
// another tenant's up.
func TestSlowUploadsOfFourTenantsLeaveRoomForAFifth(t *testing.T) {
	h := newHost(t, wasmhost.Config{Tenants: fiveTenants(), Limits: policy.Limits{TimeoutMS: 300_000}})
	ctx, stop := context.WithCancel(t.Context())
	var slow sync.WaitGroup
	began := make(chan struct{}, 32)
	for _, name := range []string{"a", "b", "c", "d"} {
		for i := range byte(8) {
			slow.Go(func() {
				began <- struct{}{}
				_, err := h.Load(ctx, name, wasmhost.Upload{Name: fmt.Sprint("m", i), Wasm: startsSlowly(i), Descriptor: describing(`{"name":"f"}`)})
				assert.Error(t, err)
			})
		}
	}
	for range 32 {
		<-began
	}
	_, err := h.Load(t.Context(), "new", wasmhost.Upload{Name: "m", Wasm: answering('1'), Descriptor: describing(`{"name":"f"}`)})
	require.NoError(t, err, "before any of the slow ones has ended")
	stop()
	slow.Wait()
}

// A module that a tenant has not uploaded is compiled for it, whether or not others have
// uploaded it, so the time tells nothing.
func TestAnUploadTellsNothingOfOthersModules(t *testing.T) {
	for name, dir := range map[string]string{"in memory": "", "on disk": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			if isolated && dir == "" {
				t.Skip("code is kept in the workers alone, where no other tenant is")
			}
			h := newHost(t, wasmhost.Config{Tenants: fiveTenants(), CacheDir: dir})
			load := func(tenantName, module string) int64 {
				before := wasmhost.Builds(h)
				_, err := h.Load(t.Context(), tenantName, wasmhost.Upload{Name: module, Wasm: calc(t)})
				require.NoError(t, err)
				return wasmhost.Builds(h) - before
			}
			assert.EqualValues(t, 1, load("a", "m"))
			assert.EqualValues(t, 1, load("b", "m"), "as long as for the first one")
			assert.EqualValues(t, 0, load("b", "m"), "its own bytes it knows")
			assert.EqualValues(t, 0, load("b", "n"))
			assert.EqualValues(t, 1, load("c", "m"))
			a, err := h.Provider("c").Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "m/add"})
			require.NoError(t, err)
			out, err := a.RunJSON(t.Context(), json.RawMessage(`{"a":1,"b":2}`), nil)
			require.NoError(t, err)
			assert.JSONEq(t, `{"sum":3}`, string(out))
		})
	}
}

// A guest's generate calls count with its tenant's.
func TestGuestsGenerateNoMoreThanTheirTenantMay(t *testing.T) {
	r := newReach(t, http.NotFound, func(c *wasmhost.Config) { c.Quota = tenants.Quota{Generates: 1} })
	r.load(t, "")
	register(t, r.reg, action.Util, "generate", func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return json.RawMessage(`{"finishReason":"stop"}`), nil
	})
	register(t, r.reg, action.Model, "test/m", func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) { return nil, nil })
	done, err := r.host.BeginGenerate(tenant)
	require.NoError(t, err)
	const request = `{"model":"test/m","messages":[]}`
	assert.Contains(t, r.ask(t, "generate", request), "RESOURCE_EXHAUSTED")
	_, err = r.host.BeginGenerate(tenant)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Positive(t, status.Convert(err).RetryAfter)
	done()
	done()
	assert.Contains(t, r.ask(t, "generate", request), `"ok"`)
}
