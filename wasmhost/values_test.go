package wasmhost_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
)

// leaving is a store whose caller leaves as soon as a module is deleted.
type leaving struct {
	*module.Memory
	leave context.CancelFunc
}

func (l *leaving) Delete(ctx context.Context, tenantName, name string) error {
	err := l.Memory.Delete(ctx, tenantName, name)
	l.leave()
	return err
}

// careful is a store of values that heeds its context, and whose Drop fails as often as
// it is told to.
type careful struct {
	kv.Store
	failures int
}

func (c *careful) Drop(ctx context.Context, ns kv.Namespace) error {
	if err := ctx.Err(); err != nil {
		return status.Convert(err)
	}
	if c.failures > 0 {
		c.failures--
		return errors.New("the disk is full")
	}
	return c.Store.Drop(ctx, ns)
}

func TestTheValuesOfAModuleGoWithItAlsoWhenItsCallerHasLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newReach(t, http.NotFound, func(c *wasmhost.Config) {
		c.Store, c.KV = &leaving{module.NewMemory(), cancel}, &careful{Store: kv.NewMemory(nil)}
	})
	r.load(t, "")
	r.ask(t, "kv_set", `{"key":"a","value":1}`)
	require.NoError(t, r.host.Remove(ctx, tenant, "capabilities"))
	r.load(t, "")
	assert.Equal(t, `{"ok":null}`, r.ask(t, "kv_get", `{"key":"a"}`))
}

// Values that can't be dropped are dropped before the name is used again, or the name
// isn't used.
func TestAModuleIsNotLoadedOntoTheValuesOfAnEarlierOne(t *testing.T) {
	for name, store := range map[string]module.Store{"modules in memory": nil, "modules that last": module.NewMemory()} {
		t.Run(name, func(t *testing.T) {
			values := &careful{Store: kv.NewMemory(nil)}
			r := newReach(t, http.NotFound, func(c *wasmhost.Config) { c.Store, c.KV = store, values })
			r.load(t, "")
			r.ask(t, "kv_set", `{"key":"a","value":1}`)
			values.failures = 2
			require.NoError(t, r.host.Remove(t.Context(), tenant, "capabilities"), "the module is gone")
			_, err := r.host.Load(t.Context(), tenant, wasmhost.Upload{Wasm: guest(t, "capabilities.wasm"), Policy: []byte(`{"grants":` + everything(r.port) + `}`)})
			require.ErrorIs(t, err, status.ErrUnavailable)
			_, err = r.host.Module(tenant, "capabilities")
			require.ErrorIs(t, err, status.ErrNotFound)
			r.load(t, "")
			assert.Equal(t, `{"ok":null}`, r.ask(t, "kv_get", `{"key":"a"}`))
		})
	}
}

// undroppable is a store of values that can't drop any.
type undroppable struct{ *kv.Memory }

func (undroppable) Drop(context.Context, kv.Namespace) error { return errors.New("the disk is full") }

// The process ended after a module was deleted and before its values were. What nobody has removed stays,
// whether or not its module is found.
func TestValuesWithoutAModuleAreDroppedAtStart(t *testing.T) {
	values, store := kv.NewMemory(nil), module.NewMemory()
	var kept kv.Store
	start := func() *reach {
		// The server's port, which is in the policy, is another each time.
		return newReach(t, http.NotFound, func(c *wasmhost.Config) { c.Store, c.KV, c.Grants = store, kept, nil })
	}
	kept = values
	r := start()
	r.load(t, "")
	r.ask(t, "kv_set", `{"key":"a","value":1}`)
	other := kv.Namespace{Tenant: tenant, Module: "not found"}
	require.NoError(t, values.Set(t.Context(), other, "a", json.RawMessage(`1`), kv.SetOptions{}, kv.Quota{Keys: 1, Bytes: 100, ValueBytes: 10}))
	kept = undroppable{values}
	r = start()
	assert.Equal(t, `{"ok":1}`, r.ask(t, "kv_get", `{"key":"a"}`), "a module that is stored keeps its values")
	require.NoError(t, r.host.Remove(t.Context(), tenant, "capabilities"))
	start()
	spaces, err := values.Namespaces(t.Context())
	require.NoError(t, err)
	assert.Len(t, spaces, 2)
	kept = values
	r = start()
	spaces, err = values.Namespaces(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []kv.Namespace{other}, spaces)
	require.NoError(t, values.Set(t.Context(), kv.Namespace{Tenant: tenant, Module: "capabilities"}, "a", json.RawMessage(`1`), kv.SetOptions{}, kv.Quota{Keys: 1, Bytes: 100, ValueBytes: 10}))
	r.load(t, "")
	assert.Equal(t, `{"ok":null}`, r.ask(t, "kv_get", `{"key":"a"}`), "and the first upload starts empty")
}

// A module that was not removed after all is marked no longer, at once or at the next start.
func TestAModuleThatIsNotRemovedKeepsItsValues(t *testing.T) {
	values, store := kv.NewMemory(nil), module.NewMemory()
	start := func() *reach {
		return newReach(t, http.NotFound, func(c *wasmhost.Config) { c.Store, c.KV, c.Grants = unremovable{store}, values, nil })
	}
	r := start()
	r.load(t, "")
	r.ask(t, "kv_set", `{"key":"a","value":1}`)
	require.ErrorContains(t, r.host.Remove(t.Context(), tenant, "capabilities"), "the disk is full")
	marked, err := values.Marked(t.Context())
	require.NoError(t, err)
	assert.Empty(t, marked)
	require.NoError(t, values.Mark(t.Context(), kv.Namespace{Tenant: tenant, Module: "capabilities"}), "the process ends here")
	r = start()
	assert.Equal(t, `{"ok":1}`, r.ask(t, "kv_get", `{"key":"a"}`))
	marked, err = values.Marked(t.Context())
	require.NoError(t, err)
	assert.Empty(t, marked)
}

type unremovable struct{ *module.Memory }

func (unremovable) Delete(context.Context, string, string) error {
	return errors.New("the disk is full")
}

// A call of an older revision that outlives the module keeps nothing either.
func TestACallOfAnEarlierRevisionKeepsNothingAfterTheRemoval(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	r := newReach(t, http.NotFound, nil)
	register(t, r.reg, action.Tool, "wait", func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		started <- struct{}{}
		<-release
		return nil, nil
	})
	_, err := r.host.Load(t.Context(), tenant, wasmhost.Upload{
		Name: "capabilities", Descriptor: describing(`{"name":"f"}`), Policy: []byte(`{"grants":` + everything(r.port) + `,"limits":{"timeoutMs":60000}}`),
		Wasm: buildC(t, `GENKIT_TOOL(f) {
			genkit_run(GENKIT_STRING("/tool/wait"), GENKIT_STRING("null"));
			if (genkit_kv_set(GENKIT_STRING("a"), GENKIT_STRING("1"))) return genkit_fail(GENKIT_STRING("not kept"));
			return 0;
		}`),
	})
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := call(t, r.host, "capabilities/f", `null`)
		done <- err
	}()
	<-started
	r.load(t, "") // the next revision
	require.NoError(t, r.host.Remove(t.Context(), tenant, "capabilities"))
	r.load(t, "")
	close(release)
	require.ErrorContains(t, <-done, "not kept")
	assert.Equal(t, `{"ok":null}`, r.ask(t, "kv_get", `{"key":"a"}`))
}

// A damaged file keeps neither the server nor other modules down, and is told.
func TestDamagedValuesAreToldAndConcernOneModule(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kv.db")
	start := func(check func(r *reach)) {
		values, err := kv.Open(path, nil)
		require.NoError(t, err)
		r := newReach(t, http.NotFound, func(c *wasmhost.Config) { c.KV = values })
		r.load(t, "")
		_, err = r.host.Load(t.Context(), tenant, wasmhost.Upload{Name: "second", Wasm: guest(t, "capabilities.wasm"), Policy: []byte(`{"grants":` + everything(r.port) + `}`)})
		require.NoError(t, err)
		check(r)
		require.NoError(t, r.host.Close(context.Background()))
		require.NoError(t, values.Close())
	}
	start(func(r *reach) {
		r.ask(t, "kv_set", `{"key":"a","value":1}`)
		_, err := call(t, r.host, "second/kv_set", `{"key":"a","value":2}`)
		require.NoError(t, err)
	})
	flip(t, filepath.Join(dir, "kv", "t-"+tenant, "m-capabilities.kv"))
	start(func(r *reach) {
		assert.Contains(t, r.ask(t, "kv_get", `{"key":"a"}`), `"DATA_LOSS"`)
		assert.Contains(t, r.ask(t, "kv_get", `{"key":"none"}`), `"DATA_LOSS"`)
		out, err := call(t, r.host, "second/kv_get", `{"key":"a"}`)
		require.NoError(t, err)
		assert.Equal(t, `{"ok":2}`, out)
		u, err := r.host.Usage(tenant)
		require.NoError(t, err)
		assert.Equal(t, kv.Report{Keys: 1, Bytes: 34, Damaged: []string{"capabilities"}}, u.Values)
		assert.Contains(t, r.log.String(), "the values of a module are damaged")
		require.NoError(t, r.host.Remove(t.Context(), tenant, "capabilities"))
		r.load(t, "")
		assert.Equal(t, `{"ok":null}`, r.ask(t, "kv_get", `{"key":"a"}`))
	})
}
