package wasmhost_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// A start compiles no schema of what is stored: it would keep every tenant waiting for the
// schemas of one. (A schema that does not compile shows when it is compiled.)
func TestAStartCompilesNoSchemas(t *testing.T) {
	store := module.NewMemory()
	for name, schema := range map[string]string{"broken": `{"type":"nonsense"}`, "whole": `{"type":"object","required":["a"]}`} {
		descriptor := `{"abi":"genkit/1","name":"` + name + `","tools":[{"name":"add","inputSchema":` + schema + `}],"middleware":[{"name":"m","hooks":["model"],"export":"add","configSchema":` + schema + `}]}`
		_, err := store.Put(t.Context(), module.Record{
			Tenant: tenant, Name: name, Digest: module.Digest(calc(t)), Size: len(calc(t)), Descriptor: json.RawMessage(descriptor),
		}, calc(t))
		require.NoError(t, err)
	}
	h := newHost(t, wasmhost.Config{Store: store})
	records, err := h.Modules(tenant)
	require.NoError(t, err)
	require.Len(t, records, 2)
	for _, rec := range records {
		assert.Empty(t, rec.Problem, rec.Name)
	}
	descs, err := h.Provider(tenant).List(t.Context())
	require.NoError(t, err)
	assert.Len(t, descs, 2)

	_, err = call(t, h, "broken/add", `{"a":1,"b":2}`)
	require.ErrorIs(t, err, status.ErrInternal)
	_, err = call(t, h, "whole/add", `{"b":2}`)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	out, err := call(t, h, "whole/add", `{"a":40,"b":2}`)
	require.NoError(t, err)
	assert.Equal(t, `{"sum":42}`, out)
}

// failsToCompile is a compiler that the system ends for as long as the returned file is there.
func failsToCompile(t *testing.T) (command []string, file string) {
	t.Helper()
	self, err := os.Executable() // the program's own path, /proc/self/exe, is the shell there
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "fails")
	return append([]string{"/bin/sh", "-c", `[ -e "$0" ] && kill -9 $$; exec "$@"`, file, self}, program[1:]...), file
}

// A module that could not be compiled when the host began, for a reason that passes, is served when
// it has passed. Until then its callers are told to come again.
func TestAModuleThatCouldNotBeRestoredIsTriedAgain(t *testing.T) {
	if isolated {
		t.Skip("workers are started by the command that fails here")
	}
	command, fails := failsToCompile(t)
	store := module.NewMemory()
	for _, name := range []string{tenant, "acme"} {
		_, err := store.Put(t.Context(), module.Record{
			Tenant: name, Name: "calc", Digest: module.Digest(calc(t)), Size: len(calc(t)),
			Descriptor: json.RawMessage(`{"abi":"genkit/1","name":"calc","tools":[{"name":"add"}]}`),
		}, calc(t))
		require.NoError(t, err)
	}
	require.NoError(t, os.WriteFile(fails, nil, 0o600))
	h := newHost(t, wasmhost.Config{Store: store, CacheDir: t.TempDir(), Compiler: command})
	require.NoError(t, h.SetTenant(t.Context(), "acme", wasmhost.TenantConfig{}), "a tenant that is added")
	for _, name := range []string{tenant, "acme"} {
		_, err := callAs(t, h, name, "calc/add", `{"a":1,"b":2}`)
		require.ErrorIs(t, err, status.ErrUnavailable)
		assert.Positive(t, status.Convert(err).RetryAfter)
		rec, err := h.Module(name, "calc")
		require.NoError(t, err)
		assert.NotEmpty(t, rec.Problem)
	}

	require.NoError(t, os.Remove(fails))
	for _, name := range []string{tenant, "acme"} {
		require.Eventually(t, func() bool {
			out, err := callAs(t, h, name, "calc/add", `{"a":1,"b":2}`)
			return err == nil && out == `{"sum":3}`
		}, time.Minute, 5*time.Millisecond, name)
		rec, err := h.Module(name, "calc")
		require.NoError(t, err)
		assert.Empty(t, rec.Problem)
	}
}

// A module that was removed while it waited for its next attempt stays removed.
func TestARetryDoesNotUndoAChange(t *testing.T) {
	if isolated {
		t.Skip("workers are started by the command that fails here")
	}
	command, fails := failsToCompile(t)
	store := module.NewMemory()
	for _, name := range []string{"removed", "waits"} {
		_, err := store.Put(t.Context(), module.Record{
			Tenant: tenant, Name: name, Digest: module.Digest(calc(t)), Size: len(calc(t)),
			Descriptor: json.RawMessage(`{"abi":"genkit/1","name":"` + name + `","tools":[{"name":"add"}]}`),
		}, calc(t))
		require.NoError(t, err)
	}
	require.NoError(t, os.WriteFile(fails, nil, 0o600))
	h := newHost(t, wasmhost.Config{Store: store, Compiler: command})
	require.NoError(t, h.Remove(t.Context(), tenant, "removed"))
	require.NoError(t, os.Remove(fails))
	require.Eventually(t, func() bool {
		_, err := call(t, h, "waits/add", `{"a":1,"b":2}`)
		return err == nil
	}, time.Minute, 5*time.Millisecond)
	_, err := call(t, h, "removed/add", `{"a":1,"b":2}`)
	require.ErrorIs(t, err, status.ErrNotFound)
	require.NoError(t, os.WriteFile(fails, nil, 0o600))
}

// A change of a tenant that would cost it a module, for a reason that passes, changes nothing.
func TestATenantKeepsItsModulesWhenAChangeFails(t *testing.T) {
	if isolated {
		t.Skip("workers are started by the command that fails here")
	}
	command, fails := failsToCompile(t)
	h := newHost(t, wasmhost.Config{Compiler: command, Tenants: map[string]wasmhost.TenantConfig{"acme": {}}})
	_, err := h.Load(t.Context(), "acme", wasmhost.Upload{Name: "calc", Wasm: calc(t)})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(fails, nil, 0o600))
	stricter := wasmhost.TenantConfig{Limits: policy.Limits{TableElements: 77}} // other code, for which the compiler is needed
	err = h.SetTenant(t.Context(), "acme", stricter)
	require.ErrorIs(t, err, status.ErrUnavailable)
	out, err := callAs(t, h, "acme", "calc/add", `{"a":1,"b":2}`)
	require.NoError(t, err)
	assert.Equal(t, `{"sum":3}`, out)
	require.NoError(t, os.Remove(fails))
	require.NoError(t, h.SetTenant(t.Context(), "acme", stricter))
	_, err = callAs(t, h, "acme", "calc/add", `{"a":1,"b":2}`)
	require.NoError(t, err)
}
