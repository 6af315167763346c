package wasmhost_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// answering is a module whose tool "f" outputs one digit.
func answering(digit byte) []byte {
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("ii", "")),
		w.Imports(w.ImportFunc("genkit_v1", "output", 1)),
		w.Funcs(0), w.Memories(w.Limits(1, 1)), w.Exports(w.Export("f", 0, 1)),
		w.Code(w.Body("", 0x41, 0, 0x41, 1, 0x10, 0, 0x41, 0)),
		w.Data(w.Cat([]byte{0, 0x41, 0, 0x0b}, w.Vec([]byte{digit}))),
		w.Custom("genkit.module", []byte(`{"abi":"genkit/1","name":"m","version":"`+string(digit)+`","tools":[{"name":"f","description":"answers"}]}`)),
	)
}

func TestAnUploadIsAToolAtOnceAndListingStartsNoGuest(t *testing.T) {
	h := newHost(t, wasmhost.Config{})
	reg := registry.New(nil)
	require.NoError(t, reg.AddProvider(h.Provider(tenant)))
	_, err := reg.Resolve(t.Context(), "f", action.Tool)
	require.ErrorIs(t, err, status.ErrNotFound)

	rec, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering('1')})
	require.NoError(t, err)
	assert.Equal(t, "m", rec.Name)
	assert.Equal(t, "section", rec.DescriptorSource)
	assert.Equal(t, "genkit_v1", rec.Convention)
	assert.Equal(t, []string{"/tool/m/f"}, rec.Actions)
	assert.True(t, rec.Current)

	descs, err := reg.List(t.Context())
	require.NoError(t, err)
	require.Len(t, descs, 2, "a plain tool has two forms")
	assert.Equal(t, "answers", descs[0].Description)
	for _, name := range []string{"f", "m/f", "/tool/m/f"} {
		a, err := reg.Resolve(t.Context(), name, action.Tool)
		require.NoError(t, err, name)
		out, err := a.RunJSON(t.Context(), nil, nil)
		require.NoError(t, err, name)
		assert.JSONEq(t, "1", string(out))
	}
}

func TestAModuleIsSwappedRolledBackAndRemoved(t *testing.T) {
	h := newHost(t, wasmhost.Config{})
	for i, digit := range []byte("123") {
		rec, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering(digit)})
		require.NoError(t, err)
		assert.Equal(t, i+1, rec.Revision)
		out, err := call(t, h, "m/f", `{}`)
		require.NoError(t, err)
		assert.JSONEq(t, string(digit), out)
	}
	again, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering('3')})
	require.NoError(t, err)
	assert.Equal(t, 3, again.Revision, "an upload that changes nothing makes no revision")

	rec, err := h.Rollback(t.Context(), tenant, "m", 0)
	require.NoError(t, err)
	assert.Equal(t, 2, rec.Revision)
	out, err := call(t, h, "m/f", `{}`)
	require.NoError(t, err)
	assert.JSONEq(t, "2", out)
	_, err = h.Rollback(t.Context(), tenant, "m", 1)
	require.NoError(t, err)
	_, err = h.Rollback(t.Context(), tenant, "m", 0)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	_, err = h.Rollback(t.Context(), tenant, "m", 9)
	require.ErrorIs(t, err, status.ErrNotFound)

	versions, err := h.Versions(t.Context(), tenant, "m")
	require.NoError(t, err)
	require.Len(t, versions, 3)
	assert.Equal(t, []int{3, 2, 1}, []int{versions[0].Revision, versions[1].Revision, versions[2].Revision})
	assert.True(t, versions[2].Current)

	loaded, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering('4')})
	require.NoError(t, err)
	assert.Equal(t, 4, loaded.Revision, "numbers are not used twice")
	assert.True(t, loaded.Changed)
	loaded, err = h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering('4')})
	require.NoError(t, err)
	assert.Equal(t, 4, loaded.Revision)
	assert.False(t, loaded.Changed)

	require.NoError(t, h.Remove(t.Context(), tenant, "m"))
	_, err = call(t, h, "m/f", `{}`)
	require.ErrorIs(t, err, status.ErrNotFound)
	require.ErrorIs(t, h.Remove(t.Context(), tenant, "m"), status.ErrNotFound)
	_, err = h.Versions(t.Context(), tenant, "m")
	require.ErrorIs(t, err, status.ErrNotFound)
}

func TestModulesAreBackAfterARestart(t *testing.T) {
	dir := t.TempDir()
	open := func() (*wasmhost.Host, *module.Dir) {
		store, err := module.OpenDir(dir)
		require.NoError(t, err)
		h, err := wasmhost.New(t.Context(), inMode(wasmhost.Config{Store: store}))
		require.NoError(t, err)
		return h, store
	}
	h, store := open()
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering('1'), Policy: []byte(`{"limits":{"fuel":1000}}`)})
	require.NoError(t, err)
	want, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering('2')})
	require.NoError(t, err)
	require.NoError(t, h.Close(t.Context()))
	require.NoError(t, store.Close())

	h, store = open()
	got, err := h.Module(tenant, "m")
	require.NoError(t, err)
	assert.Equal(t, want.Record, got)
	out, err := call(t, h, "m/f", `{}`)
	require.NoError(t, err)
	assert.JSONEq(t, "2", out)
	_, err = h.Rollback(t.Context(), tenant, "m", 1)
	require.NoError(t, err)
	require.NoError(t, h.Close(t.Context()))
	require.NoError(t, store.Close())

	h, store = open()
	out, err = call(t, h, "m/f", `{}`)
	require.NoError(t, err)
	assert.JSONEq(t, "1", out)
	require.NoError(t, h.Close(t.Context()))
	require.NoError(t, store.Close())
}

// Calls go on while versions change: each sees one whole version, none fails.
func TestASwapUnderLoadDropsNoCall(t *testing.T) {
	h := newHost(t, wasmhost.Config{})
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering('1')})
	require.NoError(t, err)
	var stop atomic.Bool
	var calls atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				out, err := call(t, h, "m/f", `{}`)
				if err != nil {
					t.Error(err)
					return
				}
				if !assert.Contains(t, []string{"1", "2"}, out) {
					return
				}
				calls.Add(1)
			}
		})
	}
	for i := range 30 {
		_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering("12"[i%2])})
		require.NoError(t, err)
	}
	stop.Store(true)
	wg.Wait()
	assert.Positive(t, calls.Load())
}

func TestTenantsSeeOnlyTheirOwn(t *testing.T) {
	h := newHost(t, wasmhost.Config{Tenants: map[string]wasmhost.TenantConfig{"acme": {Limits: policy.Limits{OutputBytes: 1}}, "other": {}}})
	assert.Equal(t, []string{"acme", "default", "other"}, h.Tenants())
	_, err := h.Load(t.Context(), "acme", wasmhost.Upload{Wasm: answering('7')})
	require.NoError(t, err)
	key := action.Key{Kind: action.Tool, Name: "m/f"}
	_, err = h.Provider("acme").Resolve(t.Context(), key)
	require.NoError(t, err)
	for _, name := range []string{"default", "other", "nobody"} {
		_, err = h.Provider(name).Resolve(t.Context(), key)
		require.ErrorIs(t, err, status.ErrNotFound, name)
		require.Error(t, h.Remove(t.Context(), name, "m"), name)
	}
	_, err = h.Modules("nobody")
	require.ErrorIs(t, err, status.ErrNotFound)
}

// A lower layer can only tighten.
func TestLimitsAreTheTightestOfServerTenantAndModule(t *testing.T) {
	server := policy.Limits{TimeoutMS: 100, Fuel: 1000}
	tenantLimits := policy.Limits{TimeoutMS: 500, Fuel: 10}
	moduleLimits := policy.Limits{TimeoutMS: 50, Fuel: 10_000}
	assert.Equal(t, policy.Limits{TimeoutMS: 50, Fuel: 10}, moduleLimits.Within(tenantLimits.Within(server)))

	h := newHost(t, wasmhost.Config{Limits: policy.Limits{Fuel: 1}})
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: describedLoop(), Policy: []byte(`{"limits":{"fuel":1000000000}}`)})
	require.NoError(t, err)
	_, err = call(t, h, "m/f", `{}`)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	require.ErrorContains(t, err, "fuel of 1 units")
}

func describedLoop() []byte {
	return w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(w.Export("f", 0, 0)),
		w.Code(w.Body("", 0x03, 0x40, 0x0c, 0, 0x0b, 0x00)),
		w.Custom("genkit.module", []byte(`{"abi":"genkit/1","name":"m","tools":[{"name":"f"}]}`)))
}

func TestAClosedHostSaysSo(t *testing.T) {
	h, err := wasmhost.New(t.Context(), inMode(wasmhost.Config{}))
	require.NoError(t, err)
	_, err = h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering('1')})
	require.NoError(t, err)
	a, err := h.Provider(tenant).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "m/f"})
	require.NoError(t, err)
	require.NoError(t, h.Close(t.Context()))
	require.NoError(t, h.Close(t.Context()))
	_, err = a.RunJSON(t.Context(), json.RawMessage(`{}`), nil)
	require.ErrorIs(t, err, status.ErrUnavailable)
	_, err = h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering('2')})
	require.ErrorIs(t, err, status.ErrUnavailable)
}

// A damaged module is not "not found": callers are told that it is damaged.
func TestADamagedModuleAnswersDataLoss(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"the record": func(t *testing.T, dir string) {
			flip(t, filepath.Join(dir, "tenants", "m-"+tenant, "m-m", "2.record"))
		},
		"the pointer": func(t *testing.T, dir string) {
			flip(t, filepath.Join(dir, "tenants", "m-"+tenant, "m-m", "current"))
		},
		"the bytes": func(t *testing.T, dir string) {
			flip(t, filepath.Join(dir, "blobs", strings.TrimPrefix(module.Digest(answering('2')), "sha256:")+".wasm"))
		},
		"the bytes, lost": func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "blobs", strings.TrimPrefix(module.Digest(answering('2')), "sha256:")+".wasm")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			restart := func(check func(h *wasmhost.Host)) {
				store, err := module.OpenDir(dir)
				require.NoError(t, err)
				h, err := wasmhost.New(t.Context(), wasmhost.Config{Store: store})
				require.NoError(t, err)
				check(h)
				require.NoError(t, h.Close(t.Context()))
				require.NoError(t, store.Close())
			}
			restart(func(h *wasmhost.Host) {
				for _, digit := range []byte("12") {
					_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: answering(digit)})
					require.NoError(t, err)
				}
			})
			damage(t, dir)
			restart(func(h *wasmhost.Host) {
				reg := registry.New(nil)
				require.NoError(t, reg.AddProvider(h.Provider(tenant)))
				_, err := reg.Resolve(t.Context(), "m/f", action.Tool)
				require.ErrorIs(t, err, status.ErrDataLoss)
				assert.True(t, status.Convert(err).Public())
				_, err = reg.Resolve(t.Context(), "other/f", action.Tool)
				require.ErrorIs(t, err, status.ErrNotFound)
				if name != "the pointer" {
					_, err = h.Rollback(t.Context(), tenant, "m", 2)
					require.ErrorIs(t, err, status.ErrDataLoss)
				}
				_, err = h.Rollback(t.Context(), tenant, "m", 1)
				require.NoError(t, err, "an earlier revision is whole")
				out, err := call(t, h, "m/f", `{}`)
				require.NoError(t, err)
				assert.JSONEq(t, "1", out)
			})
		})
	}
}

func flip(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	b[len(b)/2] ^= 1
	require.NoError(t, os.WriteFile(file, b, 0o600))
}
