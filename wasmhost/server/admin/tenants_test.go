package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// world is the service with its host.
type world struct {
	*admin.Tenants
	t     *testing.T
	host  *wasmhost.Host
	store admin.Store
	log   *logged
	close func()
}

// logged is a log that a test reads while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func open(t *testing.T, c admin.Config, hosts wasmhost.Config) *world {
	t.Helper()
	w := &world{t: t, store: c.Store, log: &logged{}}
	if w.store == nil {
		w.store = admin.NewMemory()
	}
	c.Store, c.Logger = w.store, slog.New(slog.NewTextHandler(w.log, nil))
	var err error
	w.Tenants, err = admin.Open(t.Context(), c)
	require.NoError(t, err)
	w.Impatient()
	w.host, err = w.Start(t.Context(), hosts)
	require.NoError(t, err)
	w.close = sync.OnceFunc(func() {
		w.Close()
		assert.NoError(t, w.host.Close(context.Background()))
	})
	t.Cleanup(w.close)
	return w
}

func (w *world) create(name string, s admin.Settings) admin.Tenant {
	w.t.Helper()
	made, err := w.Create(w.t.Context(), name, s, "")
	require.NoError(w.t, err)
	return made
}

// gone waits for the end of a deletion.
func (w *world) gone(o admin.Operation) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		now, err := w.Operation(o.ID)
		return err == nil && now.State == admin.Succeeded
	}, 20*time.Second, time.Millisecond)
	_, err := w.Get(o.Tenant)
	require.ErrorIs(w.t, err, status.ErrNotFound)
}

func calc(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../../../examples/calc/calc.wasm")
	require.NoError(t, err)
	return b
}

func (w *world) load(tenantName string) {
	w.t.Helper()
	_, err := w.host.Load(w.t.Context(), tenantName, wasmhost.Upload{Name: "calc", Wasm: calc(w.t)})
	require.NoError(w.t, err)
}

func (w *world) add(tenantName string) error {
	a, err := w.host.Provider(tenantName).Resolve(w.t.Context(), action.Key{Kind: action.Tool, Name: "calc/add"})
	if err != nil {
		return err
	}
	_, err = a.RunJSON(w.t.Context(), json.RawMessage(`{"a":1,"b":2}`), nil)
	return err
}

func settings(t *testing.T, text string) admin.Settings {
	t.Helper()
	s, err := admin.ParseSettings([]byte(text))
	require.NoError(t, err)
	return s
}

func TestATenantIsMadeChangedAndKept(t *testing.T) {
	const text = `{"displayName":"Acme","limits":{"timeoutMs":700},"grants":{"kv":true},"quota":{"concurrency":3}}`
	store := admin.NewMemory()
	w := open(t, admin.Config{Store: store}, wasmhost.Config{})
	made := w.create("acme", settings(t, text))
	assert.Equal(t, admin.Active, made.State)
	assert.NotEmpty(t, made.ID)
	assert.NotEmpty(t, made.Revision)
	usage, err := w.host.Usage("acme")
	require.NoError(t, err, "the host serves it")
	assert.EqualValues(t, 3, usage.Quota.Concurrency)
	_, err = w.Create(t.Context(), "acme", admin.Settings{}, "")
	require.ErrorIs(t, err, status.ErrAlreadyExists)

	patch := func(revision, text string) (admin.Tenant, error) {
		return w.Change(t.Context(), "acme", revision, func(s admin.Settings) (admin.Settings, error) { return s.Merge([]byte(text)) })
	}
	changed, err := patch(made.Revision, `{"quota":{"queue":9,"concurrency":null},"displayName":"Acme 2"}`)
	require.NoError(t, err)
	assert.NotEqual(t, made.Revision, changed.Revision)
	assert.Equal(t, tenant.Quota{Queue: 9}, changed.Quota)
	assert.Equal(t, policy.Limits{TimeoutMS: 700}, changed.Limits, "the rest stays")
	usage, err = w.host.Usage("acme")
	require.NoError(t, err)
	assert.EqualValues(t, 9, usage.Quota.Queue)
	assert.EqualValues(t, 32, usage.Quota.Concurrency, "what is not set is the server's")
	_, err = patch(made.Revision, `{"displayName":"x"}`)
	require.ErrorIs(t, err, admin.ErrStale)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	same, err := patch("", `{"displayName":"Acme 2"}`)
	require.NoError(t, err)
	assert.Equal(t, changed, same, "a change that changes nothing leaves the revision")
	_, err = patch("", `{"displayname":"x"}`)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = w.Change(t.Context(), "none", "", func(s admin.Settings) (admin.Settings, error) { return s, nil })
	require.ErrorIs(t, err, status.ErrNotFound)

	w.close()
	w = open(t, admin.Config{Store: store}, wasmhost.Config{})
	kept, err := w.Get("acme")
	require.NoError(t, err)
	assert.Equal(t, changed, kept)
	usage, err = w.host.Usage("acme")
	require.NoError(t, err)
	assert.EqualValues(t, 9, usage.Quota.Queue)
	id, err := w.host.TenantID("acme")
	require.NoError(t, err)
	assert.Equal(t, made.ID, id)
}

func TestSettingsAreStrict(t *testing.T) {
	for text, says := range map[string]string{
		`{"displayname":"x"}`:                                   "displayname",
		`{"displayName":"x","displayName":"y"}`:                 "twice",
		`{"quota":{"concurency":1}}`:                            "concurency",
		`{"quota":{"concurrency":-1}}`:                          "concurrency",
		`{"limits":{"timeoutMs":-1}}`:                           "timeoutMs",
		`{"grants":{"http":[{"host":"*.com"}]}}`:                "top-level",
		`{"grants":{"Kv":true}}`:                                "Kv",
		`{"labels":{"":"x"}}`:                                   "label",
		`{"labels":{"a b":"x"}}`:                                "label",
		`{"labels":{"a":"x\ny"}}`:                               "label",
		`{"labels":{"a":"` + strings.Repeat("x", 129) + `"}}`:   "label",
		`{"displayName":"` + strings.Repeat("x", 201) + `"}`:    "displayName",
		`{"displayName":"a\nb"}`:                                "displayName",
		`{"group":"../x"}`:                                      "group",
		`{"state":"active"}`:                                    "state",
		`[]`:                                                    "array",
		`{"displayName":"` + strings.Repeat("x", 70_000) + `"}`: "limit",
		`{"labels":{` + manyLabels(33) + `}}`:                   "at most 32",
	} {
		_, err := admin.ParseSettings([]byte(text))
		require.ErrorIs(t, err, status.ErrInvalidArgument, text)
		assert.Contains(t, status.ToWire(err, false).Message, says)
		_, err = admin.Settings{}.Merge([]byte(text))
		require.ErrorIs(t, err, status.ErrInvalidArgument, "as a patch: %s", text)
	}
	settings(t, `{"labels":{`+manyLabels(32)+`}}`)
}

// A key that is pasted into the wrong argument would be stored in plain text, and shown to all who may read the tenant.
func TestSettingsHaveNoKeyInThem(t *testing.T) {
	const id = "abcdefghijklmnop"
	secret := strings.Repeat("a2b7", 13)
	token := "gwk_" + id + "_" + secret
	w := open(t, admin.Config{}, wasmhost.Config{})
	for _, text := range []string{
		`{"displayName":"` + token + `"}`,
		`{"displayName":"Acme ` + token + `x"}`,
		`{"displayName":"\u0067wk_` + id + `_` + secret + `"}`,
		`{"labels":{"x":"` + token + `"}}`,
		`{"labels":{"` + token + `":"x"}}`,
		`{"group":"` + token + `"}`,
		`{"grants":{"actions":["` + token + `"]}}`,
	} {
		refused := func(err error) {
			t.Helper()
			require.ErrorIs(t, err, status.ErrInvalidArgument, text)
			message := status.ToWire(err, false).Message
			assert.Contains(t, message, "token of an API key", text)
			assert.NotContains(t, message, secret)
		}
		_, err := admin.ParseSettings([]byte(text))
		refused(err)
		_, err = admin.Settings{}.Merge([]byte(text))
		refused(err)
	}
	given := admin.Settings{DisplayName: token}
	_, err := w.Create(t.Context(), "acme", given, "")
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = w.Create(t.Context(), "acme", admin.Settings{}, "")
	require.NoError(t, err)
	_, err = w.Change(t.Context(), "acme", "", func(admin.Settings) (admin.Settings, error) { return given, nil })
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	settings(t, `{"displayName":"gwk_`+id+`_old"}`) // a key's id is no secret
}

func TestAStoredTenantWithAKeyInItsNameIsServed(t *testing.T) {
	token := "gwk_abcdefghijklmnop_" + strings.Repeat("a2b7", 13)
	store := admin.NewMemory()
	_, err := store.Put(t.Context(), admin.Document{Kind: "tenant", Name: "acme", Value: json.RawMessage(`{"name":"acme","id":"ID7","state":"active","displayName":"` + token + `","createdAt":"2030-01-01T00:00:00Z","updatedAt":"2030-01-01T00:00:00Z"}`)})
	require.NoError(t, err)
	w := open(t, admin.Config{Store: store}, wasmhost.Config{})
	acme, err := w.Get("acme")
	require.NoError(t, err)
	assert.Equal(t, admin.Active, acme.State)
	acme, err = w.Change(t.Context(), "acme", "", func(s admin.Settings) (admin.Settings, error) { return s.Merge([]byte(`{"displayName":null}`)) })
	require.NoError(t, err, "it can be taken out")
	assert.Empty(t, acme.DisplayName)
}

func manyLabels(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(`"l%d":"x"`, i)
	}
	return strings.Join(parts, ",")
}

// The examples of RFC 7396's appendix that make sense for settings.
func TestAPatchIsMerged(t *testing.T) {
	for _, test := range [][3]string{
		{`{}`, `{"displayName":"a"}`, `{"displayName":"a"}`},
		{`{"displayName":"a"}`, `{"displayName":null}`, `{}`},
		{`{"displayName":"a","group":"g"}`, `{"displayName":null,"none":null}`, `{"group":"g"}`},
		{`{"labels":{"a":"1","b":"2"}}`, `{"labels":{"b":"3","a":null,"c":"4"}}`, `{"labels":{"b":"3","c":"4"}}`},
		{`{"labels":{"a":"1"}}`, `{"labels":null}`, `{}`},
		{`{"grants":{"kv":true,"actions":["a","b"]}}`, `{"grants":{"actions":["c"]}}`, `{"grants":{"kv":true,"actions":["c"]}}`},
		{`{}`, `{"quota":{"callsPerMinute":5,"queue":null}}`, `{"quota":{"callsPerMinute":5}}`},
		{`{"grants":{"kv":true}}`, `{"grants":{}}`, `{"grants":{"kv":true}}`},
		{`{}`, `{"grants":{}}`, `{"grants":{}}`},
		{`{"limits":{"fuel":9007199254740991}}`, ` { "group" : "g" }`, `{"limits":{"fuel":9007199254740991},"group":"g"}`},
	} {
		merged, err := settings(t, test[0]).Merge([]byte(test[1]))
		require.NoError(t, err, test)
		assert.Equal(t, settings(t, test[2]), merged, test)
	}
	for _, bad := range []string{"", "null", "1", "[]", `{"labels":"x"}`, `{"grants":[]}`, strings.Repeat(`{"a":`, 100_000)} {
		_, err := admin.Settings{}.Merge([]byte(bad))
		require.ErrorIs(t, err, status.ErrInvalidArgument, "%.40s", bad)
	}
}

func TestATenantIsSuspendedAndResumed(t *testing.T) {
	store, modules := admin.NewMemory(), module.NewMemory()
	w := open(t, admin.Config{Store: store}, wasmhost.Config{Store: modules})
	made := w.create("acme", admin.Settings{})
	w.load("acme")
	run, done, err := w.host.BeginRun(t.Context(), "acme")
	require.NoError(t, err)
	defer done()
	suspended, err := w.Suspend(t.Context(), "acme", made.Revision)
	require.NoError(t, err)
	assert.Equal(t, admin.Suspended, suspended.State)
	<-run.Done()
	require.ErrorIs(t, w.add("acme"), status.ErrPermissionDenied)
	again, err := w.Suspend(t.Context(), "acme", "")
	require.NoError(t, err)
	assert.Equal(t, suspended, again)
	w.close()
	w = open(t, admin.Config{Store: store}, wasmhost.Config{Store: modules})
	require.ErrorIs(t, w.add("acme"), status.ErrPermissionDenied, "also after a restart")
	_, err = w.Resume(t.Context(), "acme", made.Revision)
	require.ErrorIs(t, err, admin.ErrStale)
	resumed, err := w.Resume(t.Context(), "acme", "")
	require.NoError(t, err)
	assert.Equal(t, admin.Active, resumed.State)
	require.NoError(t, w.add("acme"))
}

// A tenant that is made anew finds nothing of the old one.
func TestADeletedTenantIsGoneWithAllThatBelongsToIt(t *testing.T) {
	modules, values := module.NewMemory(), kv.NewMemory(nil)
	var erased []string
	w := open(t, admin.Config{Erase: func(_ context.Context, gone admin.Tenant) error {
		erased = append(erased, gone.ID)
		return nil
	}}, wasmhost.Config{Store: modules, KV: values})
	made := w.create("acme", admin.Settings{})
	w.load("acme")
	require.NoError(t, w.add("acme"))
	require.NoError(t, values.Set(t.Context(), kv.Namespace{Tenant: "acme", Module: "calc"}, "a", json.RawMessage(`1`), kv.SetOptions{}, kv.Quota{Keys: 1, Bytes: 100, ValueBytes: 10}))
	_, err := w.Delete(t.Context(), wasmhost.DefaultTenant, "")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	_, err = w.Delete(t.Context(), "none", "")
	require.ErrorIs(t, err, status.ErrNotFound)
	_, err = w.Delete(t.Context(), "acme", "stale")
	require.ErrorIs(t, err, admin.ErrStale)
	o, err := w.Delete(t.Context(), "acme", made.Revision)
	require.NoError(t, err)
	assert.Equal(t, "deleteTenant", o.Kind)
	assert.Equal(t, "acme", o.Tenant)
	w.gone(o)
	now, err := w.Operation(o.ID)
	require.NoError(t, err)
	assert.Equal(t, &admin.Progress{Done: 1, Total: 1}, now.Progress)
	assert.Equal(t, []string{made.ID}, erased)
	list, more := w.Operations("", 10)
	assert.Equal(t, []admin.Operation{now}, list)
	assert.False(t, more)
	spaces, err := values.Namespaces(t.Context())
	require.NoError(t, err)
	assert.Empty(t, spaces)

	anew := w.create("acme", admin.Settings{})
	assert.NotEqual(t, made.ID, anew.ID)
	records, err := w.host.Modules("acme")
	require.NoError(t, err)
	assert.Empty(t, records)
	usage, err := w.host.Usage("acme")
	require.NoError(t, err)
	assert.Zero(t, usage.Total.Calls)
}

// While a tenant is being deleted it can't be changed, its name is taken, and asking again
// shows the same operation; a failure is told and tried again, also after a restart.
func TestADeletionGoesOnUntilItIsDone(t *testing.T) {
	store, modules := admin.NewMemory(), module.NewMemory()
	var allowed atomic.Bool
	config := admin.Config{Store: store, Erase: func(context.Context, admin.Tenant) error {
		if !allowed.Load() {
			return status.Publicf(status.Unavailable, "not now").WithCause(errors.New("secret"))
		}
		return nil
	}}
	w := open(t, config, wasmhost.Config{Store: modules})
	w.create("acme", admin.Settings{})
	w.load("acme")
	o, err := w.Delete(t.Context(), "acme", "")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		now, err := w.Operation(o.ID)
		return err == nil && now.Error != nil
	}, 10*time.Second, time.Millisecond)
	now, err := w.Operation(o.ID)
	require.NoError(t, err)
	assert.Equal(t, "not now", now.Error.Message)
	shown, err := w.Get("acme")
	require.NoError(t, err)
	assert.Equal(t, admin.Deleting, shown.State)
	assert.Equal(t, o.ID, shown.Operation)
	_, err = w.Create(t.Context(), "acme", admin.Settings{}, "")
	require.ErrorIs(t, err, status.ErrAlreadyExists)
	for _, change := range []func(context.Context, string, string) (admin.Tenant, error){w.Suspend, w.Resume} {
		_, err = change(t.Context(), "acme", "")
		require.ErrorIs(t, err, status.ErrAborted)
	}
	again, err := w.Delete(t.Context(), "acme", "")
	require.NoError(t, err)
	assert.Equal(t, o.ID, again.ID)
	require.ErrorIs(t, w.add("acme"), status.ErrNotFound)
	assert.Equal(t, 1, strings.Count(w.log.String(), "can't be deleted yet"), "a failure that repeats is one line")
	w.close()

	w = open(t, config, wasmhost.Config{Store: modules})
	shown, err = w.Get("acme")
	require.NoError(t, err)
	assert.Equal(t, admin.Deleting, shown.State)
	assert.Equal(t, []string{wasmhost.DefaultTenant}, w.host.Tenants())
	allowed.Store(true)
	w.gone(o)
	w.close()
	w = open(t, config, wasmhost.Config{Store: modules})
	now, err = w.Operation(o.ID)
	require.NoError(t, err, "it can be read for some time")
	assert.Equal(t, admin.Succeeded, now.State)
}

func TestTheTenantsOfTheStartAreMadeOnce(t *testing.T) {
	store := admin.NewMemory()
	initial := map[string]admin.Settings{"acme": settings(t, `{"quota":{"concurrency":3}}`), "plain": {}, wasmhost.DefaultTenant: settings(t, `{"quota":{"queue":5}}`)}
	w := open(t, admin.Config{Store: store, Initial: initial}, wasmhost.Config{})
	assert.Equal(t, []string{"acme", wasmhost.DefaultTenant, "plain"}, w.host.Tenants())
	usage, err := w.host.Usage(wasmhost.DefaultTenant)
	require.NoError(t, err)
	assert.EqualValues(t, 5, usage.Quota.Queue)
	for _, name := range []string{"acme", "plain"} {
		_, err := w.Change(t.Context(), name, "", func(s admin.Settings) (admin.Settings, error) { return s.Merge([]byte(`{"quota":{"concurrency":4}}`)) })
		require.NoError(t, err)
	}
	w.close()
	w = open(t, admin.Config{Store: store, Initial: initial}, wasmhost.Config{})
	usage, err = w.host.Usage("acme")
	require.NoError(t, err)
	assert.EqualValues(t, 4, usage.Quota.Concurrency, "the stored one counts")
	assert.Equal(t, 1, strings.Count(w.log.String(), "stored settings of a tenant count"), w.log.String())
	assert.Contains(t, w.log.String(), "tenant=acme")

	_, err = admin.Open(t.Context(), admin.Config{Store: admin.NewMemory(), Initial: map[string]admin.Settings{"a/b": {}}})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = admin.Open(t.Context(), admin.Config{Store: admin.NewMemory(), Initial: map[string]admin.Settings{"a": {Quota: tenant.Quota{Queue: -1}}}})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

// A tenant that the server does not allow any more, or can't read, does not run, and does not
// keep the server from starting.
func TestATenantThatCanNotBeServedIsReported(t *testing.T) {
	store := admin.NewMemory()
	w := open(t, admin.Config{Store: store}, wasmhost.Config{Grants: &policy.Grants{KV: true, Clock: true}})
	w.create("greedy", settings(t, `{"grants":{"clock":true}}`))
	w.create("other", admin.Settings{})
	_, err := w.Create(t.Context(), "more", settings(t, `{"grants":{"rewrite":true}}`), "")
	require.ErrorIs(t, err, status.ErrInvalidArgument, "a tenant has no more than the server")
	_, err = w.Get("more")
	require.ErrorIs(t, err, status.ErrNotFound)
	w.close()
	_, err = store.Put(t.Context(), admin.Document{Kind: "tenant", Name: "newer", Value: json.RawMessage(`{"name":"newer","state":"active","createdAt":"2030-01-01T00:00:00Z","updatedAt":"2030-01-01T00:00:00Z","newLimit":1}`)})
	require.NoError(t, err)

	w = open(t, admin.Config{Store: store}, wasmhost.Config{Grants: &policy.Grants{KV: true}})
	assert.Equal(t, []string{wasmhost.DefaultTenant, "greedy", "newer", "other"}, w.host.Tenants())
	greedy, err := w.Get("greedy")
	require.NoError(t, err)
	assert.Contains(t, greedy.Problem, "clock")
	_, _, err = w.host.BeginRun(t.Context(), "greedy")
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	newer, err := w.Get("newer")
	require.NoError(t, err)
	assert.Equal(t, admin.Damaged, newer.State)
	assert.Contains(t, newer.Problem, "newLimit")
	_, err = w.Suspend(t.Context(), "newer", "")
	require.ErrorIs(t, err, status.ErrDataLoss)

	mended, err := w.Change(t.Context(), "greedy", "", func(s admin.Settings) (admin.Settings, error) { return s.Merge([]byte(`{"grants":null}`)) })
	require.NoError(t, err)
	assert.Empty(t, mended.Problem)
	_, done, err := w.host.BeginRun(t.Context(), "greedy")
	require.NoError(t, err)
	done()
	o, err := w.Delete(t.Context(), "newer", "")
	require.NoError(t, err, "what is damaged can be deleted")
	w.gone(o)
}

// flaky is a store that fails as often as it is told to, before or after it has stored.
type flaky struct {
	admin.Store
	failures int
	after    bool
}

func (f *flaky) Put(ctx context.Context, d admin.Document) (admin.Document, error) {
	if f.failures == 0 {
		return f.Store.Put(ctx, d)
	}
	f.failures--
	if f.after {
		if _, err := f.Store.Put(ctx, d); err != nil {
			return d, err
		}
	}
	return admin.Document{}, status.Publicf(status.Unavailable, "the disk does not answer")
}

// After a failure the store says what there is, and the host follows it.
func TestAFailureOfTheStoreLeavesStoreAndHostInStep(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprint("stored ", after), func(t *testing.T) {
			store := &flaky{Store: admin.NewMemory(), after: after}
			w := open(t, admin.Config{Store: store}, wasmhost.Config{})
			w.create("acme", admin.Settings{})
			agree := func() {
				t.Helper()
				d, err := store.Get(t.Context(), "tenant", "acme")
				require.NoError(t, err)
				shown, err := w.Get("acme")
				require.NoError(t, err)
				assert.Equal(t, d.Revision, shown.Revision)
				_, done, err := w.host.BeginRun(t.Context(), "acme")
				assert.Equal(t, shown.State == admin.Active, err == nil)
				if err == nil {
					done()
				}
			}
			store.failures = 1
			_, err := w.Suspend(t.Context(), "acme", "")
			require.ErrorIs(t, err, status.ErrUnavailable)
			agree()
			_, err = w.Suspend(t.Context(), "acme", "")
			require.NoError(t, err)
			agree()
			store.failures = 1
			_, err = w.Create(t.Context(), "new", admin.Settings{}, "")
			require.ErrorIs(t, err, status.ErrUnavailable)
			_, err = w.Get("new")
			assert.Equal(t, after, err == nil)
			_, err = w.host.TenantID("new")
			assert.Equal(t, after, err == nil)
		})
	}
}

// A suspension that can't be stored holds all the same, and says so until it is.
func TestASuspensionHoldsWithoutItsStore(t *testing.T) {
	store := &flaky{Store: admin.NewMemory()}
	w := open(t, admin.Config{Store: store}, wasmhost.Config{})
	w.create("acme", admin.Settings{})
	runs := func() error {
		_, done, err := w.host.BeginRun(t.Context(), "acme")
		if err == nil {
			done()
		}
		return err
	}
	store.failures = 1
	_, err := w.Suspend(t.Context(), "acme", "")
	require.ErrorIs(t, err, status.ErrUnavailable)
	assert.ErrorContains(t, err, "suspended as long as this server runs")
	require.ErrorIs(t, runs(), status.ErrPermissionDenied)
	shown, err := w.Get("acme")
	require.NoError(t, err)
	assert.Equal(t, admin.Suspended, shown.State)
	assert.Contains(t, shown.Problem, "once more")
	again, err := w.Suspend(t.Context(), "acme", shown.Revision)
	require.NoError(t, err)
	assert.Empty(t, again.Problem)
	assert.NotEqual(t, shown.Revision, again.Revision)
	_, err = w.Resume(t.Context(), "acme", "")
	require.NoError(t, err)
	assert.NoError(t, runs())
}

func TestTenantsAreListedInPages(t *testing.T) {
	w := open(t, admin.Config{MaxTenants: 8}, wasmhost.Config{})
	for i := range 7 {
		w.create(fmt.Sprintf("t%d", i), admin.Settings{})
	}
	_, err := w.Create(t.Context(), "more", admin.Settings{}, "")
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	var names []string
	for after, more := "", true; more; {
		var page []admin.Tenant
		page, more = w.List(after, 3)
		require.NotEmpty(t, page)
		for _, p := range page {
			names = append(names, p.Name)
		}
		after = names[len(names)-1]
	}
	assert.Equal(t, []string{"default", "t0", "t1", "t2", "t3", "t4", "t5", "t6"}, names)
}

func TestARequestWithAKeyRunsOnce(t *testing.T) {
	store := admin.NewMemory()
	w := open(t, admin.Config{Store: store}, wasmhost.Config{})
	var ran atomic.Int64
	run := func() (admin.Answer, error) {
		if ran.Add(1) == 1 {
			select { // others come meanwhile
			case <-time.After(50 * time.Millisecond):
			case <-t.Context().Done():
			}
		}
		return admin.Answer{Status: 201, ETag: `"x"`, Body: json.RawMessage(`{"n":1.0}`)}, nil
	}
	_, replayed, err := w.Once(t.Context(), admin.Once{Key: "k", Request: "request"}, func() (admin.Answer, error) { return admin.Answer{}, status.ErrUnavailable })
	require.ErrorIs(t, err, status.ErrUnavailable)
	assert.False(t, replayed)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			a, _, err := w.Once(t.Context(), admin.Once{Key: "k", Request: "request"}, run)
			assert.NoError(t, err)
			assert.Equal(t, 201, a.Status)
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, ran.Load(), "a failure is not kept, and of those at the same time one runs")
	_, _, err = w.Once(t.Context(), admin.Once{Key: "k", Request: "another request"}, run)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	for _, bad := range []string{"", "a b", "é", strings.Repeat("x", 256)} {
		_, _, err = w.Once(t.Context(), admin.Once{Key: bad, Request: "request"}, run)
		require.ErrorIs(t, err, status.ErrInvalidArgument, bad)
	}
	w.close()
	w = open(t, admin.Config{Store: store}, wasmhost.Config{})
	a, replayed, err := w.Once(t.Context(), admin.Once{Key: "k", Request: "request"}, run)
	require.NoError(t, err)
	assert.True(t, replayed, "also after a restart")
	assert.Equal(t, `{"n":1.0}`, string(a.Body))
	assert.EqualValues(t, 1, ran.Load())

	// The process ended after the tenant was stored, and before the answer was.
	first, err := w.Create(t.Context(), "acme", admin.Settings{}, "hash")
	require.NoError(t, err)
	second, err := w.Create(t.Context(), "acme", admin.Settings{}, "hash")
	require.NoError(t, err)
	assert.Equal(t, first, second)
	_, err = w.Create(t.Context(), "acme", admin.Settings{}, "other")
	require.ErrorIs(t, err, status.ErrAlreadyExists)
}

// Callers share no keys, and nobody's requests drive out another's answers.
func TestAnswersAreOfTheirCallersAndOwners(t *testing.T) {
	w := open(t, admin.Config{}, wasmhost.Config{})
	w.KeepAnswers(10)
	answer := func(o admin.Once) (replayed bool) {
		_, replayed, err := w.Once(t.Context(), o, func() (admin.Answer, error) {
			return admin.Answer{Status: 201}, nil
		})
		require.NoError(t, err)
		return replayed
	}
	quiet := admin.Once{Key: "k", Caller: "key:a", Owner: "quiet", Request: "one"}
	assert.False(t, answer(quiet))
	assert.True(t, answer(quiet))
	other := admin.Once{Key: "k", Caller: "key:b", Owner: "loud", Request: "two"}
	assert.False(t, answer(other), "it is another caller's key")
	for i := range 30 {
		assert.False(t, answer(admin.Once{Key: strconv.Itoa(i), Caller: "key:b", Owner: "loud", Request: "two"}))
	}
	assert.True(t, answer(quiet), "older than all of them")
	assert.False(t, answer(other))
}

// Tenants are made, changed, suspended, used and deleted by many at once; in the end store,
// service and host tell the same.
func TestTenantsComeAndGoByManyAtOnce(t *testing.T) {
	store := admin.NewMemory()
	w := open(t, admin.Config{Store: store}, wasmhost.Config{})
	allowed := []status.Code{status.OK, status.NotFound, status.AlreadyExists, status.Aborted, status.PermissionDenied, status.Unavailable, status.Cancelled}
	check := func(err error) {
		assert.Contains(t, allowed, status.Of(err), "%v", err)
	}
	var wg sync.WaitGroup
	for hand := range 6 {
		wg.Go(func() {
			for i := range 60 {
				name := fmt.Sprintf("t%d", (hand+i)%3)
				switch (hand + i) % 6 {
				case 0, 1:
					_, err := w.Create(t.Context(), name, admin.Settings{}, "")
					check(err)
				case 2:
					_, err := w.Change(t.Context(), name, "", func(s admin.Settings) (admin.Settings, error) {
						s.DisplayName = fmt.Sprint(hand, " ", i)
						return s, nil
					})
					check(err)
				case 3:
					_, err := w.Suspend(t.Context(), name, "")
					check(err)
				case 4:
					_, err := w.Resume(t.Context(), name, "")
					check(err)
				case 5:
					_, err := w.Delete(t.Context(), name, "")
					check(err)
				}
				_, err := w.host.Load(t.Context(), name, wasmhost.Upload{Name: "calc", Wasm: calc(t)})
				check(err)
				check(w.add(name))
			}
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool {
		list, _ := w.Operations("", 1000)
		for _, o := range list {
			if o.State != admin.Succeeded {
				return false
			}
		}
		return true
	}, 20*time.Second, 5*time.Millisecond)
	docs, err := store.List(t.Context(), "tenant")
	require.NoError(t, err)
	var stored, served []string
	for _, d := range docs {
		stored = append(stored, d.Name)
		shown, err := w.Get(d.Name)
		require.NoError(t, err)
		assert.Equal(t, d.Revision, shown.Revision)
		id, err := w.host.TenantID(d.Name)
		require.NoError(t, err)
		assert.Equal(t, shown.ID, id)
		_, done, err := w.host.BeginRun(t.Context(), d.Name)
		assert.Equal(t, shown.State == admin.Active, err == nil)
		if err == nil {
			done()
		}
	}
	served = w.host.Tenants()
	assert.Equal(t, stored, served)
}
