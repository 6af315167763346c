package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// kept is a server with everything that it can keep in a data directory, and a key for its tenant acme.
type kept struct {
	config  server.Config
	handler http.Handler
	host    *wasmhost.Host
	book    *usage.Book
	token   string
}

func newKept(tb testing.TB, native *registry.Registry) *kept {
	tb.Helper()
	dir, ctx := tb.TempDir(), tb.Context()
	end := func(what func() error) { tb.Cleanup(func() { assert.NoError(tb, what()) }) }
	changes, err := audit.Open(filepath.Join(dir, "audit"), audit.Config{})
	require.NoError(tb, err)
	end(changes.Close)
	store, err := access.OpenDir(filepath.Join(dir, "keys"))
	require.NoError(tb, err)
	end(store.Close)
	keys, err := access.OpenKeys(ctx, access.KeysConfig{Store: store})
	require.NoError(tb, err)
	end(keys.Close)
	k := &kept{}
	events, err := usage.NewFile(usage.FileConfig{Path: filepath.Join(dir, "usage.jsonl")})
	require.NoError(tb, err)
	modules, err := module.OpenDir(filepath.Join(dir, "modules"))
	require.NoError(tb, err)
	end(modules.Close)
	stored, err := admin.OpenDir(filepath.Join(dir, "tenants"))
	require.NoError(tb, err)
	end(stored.Close)
	k.book, err = usage.Open(usage.Config{Dir: filepath.Join(dir, "usage"), Sinks: []usage.Target{{Name: "file", Sink: events}}})
	require.NoError(tb, err)
	end(k.book.Close)
	settings, err := admin.ParseSettings([]byte(`{"budget":{"tokensPerDay":1000000}}`))
	require.NoError(tb, err)
	tenants, err := admin.Open(ctx, admin.Config{Store: stored, Usage: k.book, Initial: map[string]admin.Settings{"acme": settings}})
	require.NoError(tb, err)
	k.host, err = tenants.Start(ctx, wasmhost.Config{Store: modules, Usage: k.book})
	require.NoError(tb, err)
	end(func() error { return k.host.Close(context.Background()) })
	end(func() error { tenants.Close(); return nil })
	scopes, err := access.ParseScopes([]string{"acme:invoke"})
	require.NoError(tb, err)
	_, k.token, err = keys.Create(ctx, access.KeySpec{Name: "test", Scopes: scopes, ExpiresAt: time.Now().Add(time.Hour)})
	require.NoError(tb, err)
	if native == nil {
		native = registry.New(nil)
		require.NoError(tb, native.AddProvider(k.host.Provider("acme")))
	}
	k.config = server.Config{
		Host: k.host, Tenants: tenants, Usage: k.book, Keys: keys, Audit: changes,
		Auth:     access.NewThrottle(access.ThrottleConfig{Next: access.Chain{keys}}),
		Registry: func(string) (*registry.Registry, error) { return native, nil },
	}
	k.serve(tb, func(*server.Config) {})
	return k
}

// serve makes the server anew, with its settings changed.
func (k *kept) serve(tb testing.TB, change func(*server.Config)) {
	tb.Helper()
	change(&k.config)
	srv, err := server.New(k.config)
	require.NoError(tb, err)
	k.handler = srv.Handler()
}

// call calls a tool of acme and returns the status code.
func (k *kept) call(ctx context.Context, tool, body string) int {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/tenants/acme/tools/"+tool, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+k.token)
	w := httptest.NewRecorder()
	k.handler.ServeHTTP(w, r)
	return w.Code
}

// Calls wait for no disk, whatever the server keeps of them: what is written is written in the background, for all
// of them together.
func TestACallSyncsNothing(t *testing.T) {
	k := newKept(t, nil)
	wasm, err := os.ReadFile("../../examples/calc/calc.wasm")
	require.NoError(t, err)
	_, err = k.host.Load(t.Context(), "acme", wasmhost.Upload{Name: "calc", Wasm: wasm})
	require.NoError(t, err)
	require.Positive(t, storedir.Syncs(), "an upload is synced, and counted")
	require.Equal(t, http.StatusOK, k.call(t.Context(), "calc/add", `{"input":{"a":1,"b":2}}`))
	const calls = 500
	before, began := storedir.Syncs(), time.Now()
	for range calls {
		require.Equal(t, http.StatusOK, k.call(t.Context(), "calc/add", `{"input":{"a":1,"b":2}}`))
	}
	// However slow the machine is: the background has its turns, every two seconds for the sums and every ten
	// milliseconds for the queue of a sink, and a call has none.
	took, synced := time.Since(began), storedir.Syncs()-before
	t.Logf("%d syncs during %d calls, which took %v", synced, calls, took)
	assert.LessOrEqual(t, synced, 16*(1+int64(took/(2*time.Second)))+int64(took/(10*time.Millisecond)))
	report, err := k.book.Report(t.Context(), usage.Query{})
	require.NoError(t, err)
	assert.EqualValues(t, calls+1, report.Total.Calls, "and all of them are counted")
}
