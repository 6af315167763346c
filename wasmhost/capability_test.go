package wasmhost_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

const token = "tok-0123456789abcdef"

// toLoopback answers every name with this machine.
type toLoopback struct{}

func (toLoopback) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func guest(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "pdk", "conformance", "c", file))
	require.NoError(t, err)
	return b
}

// everything is a policy of all grants, with the server's port.
func everything(port int) string {
	return fmt.Sprintf(`{"http":[{"host":"*.example.com","ports":[%d],"methods":["*"]}],"kv":true,"clock":true,"secrets":{"TOKEN":["api.example.com:%d"]},"generate":["test/*"],"actions":["tool/*"]}`, port, port)
}

func grantsOf(t testing.TB, text string) *policy.Grants {
	t.Helper()
	p, err := policy.Parse([]byte(`{"grants":` + text + `}`))
	require.NoError(t, err)
	return &p.Grants
}

// reach is a host whose guests reach a server of this test.
type reach struct {
	host *wasmhost.Host
	port int
	log  *bytes.Buffer
	reg  *registry.Registry
}

type lockedWriter struct {
	mu sync.Mutex // guards b
	b  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func newReach(t *testing.T, handler http.HandlerFunc, more func(*wasmhost.Config)) *reach {
	t.Helper()
	srv := httptest.NewTLSServer(handler)
	t.Cleanup(srv.Close)
	r := &reach{port: srv.Listener.Addr().(*net.TCPAddr).Port, log: &bytes.Buffer{}, reg: registry.New(nil)}
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	config := wasmhost.Config{
		Grants:  grantsOf(t, everything(r.port)),
		Secrets: secret.Static{tenant: {"TOKEN": secret.New(token)}, "other": {"TOKEN": secret.New("another-tenants-token")}},
		Egress:  egress.Config{Resolver: toLoopback{}, Reachable: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: pool},
		Registry: func(name string) (*registry.Registry, error) {
			if name != tenant {
				return nil, status.Publicf(status.NotFound, "no such tenant")
			}
			return r.reg, nil
		},
		Logger: slog.New(slog.NewJSONHandler(&lockedWriter{b: r.log}, &slog.HandlerOptions{Level: wasmhost.LevelTrace})),
	}
	if more != nil {
		more(&config)
	}
	r.host = newHost(t, config)
	require.NoError(t, r.reg.AddProvider(r.host.Provider(tenant)))
	return r
}

func (r *reach) load(t *testing.T, limits string) {
	t.Helper()
	if limits == "" {
		limits = "{}"
	}
	_, err := r.host.Load(t.Context(), tenant, wasmhost.Upload{Wasm: guest(t, "capabilities.wasm"), Policy: []byte(`{"grants":` + everything(r.port) + `,"limits":` + limits + `}`)})
	require.NoError(t, err)
}

// ask has the guest ask the host and returns the reply.
func (r *reach) ask(t *testing.T, capability, request string) string {
	t.Helper()
	out, err := call(t, r.host, "capabilities/"+capability, request)
	require.NoError(t, err, "%s %s", capability, request)
	return out
}

func TestAGuestFetchesWithASecretThatItNeverSees(t *testing.T) {
	r := newReach(t, func(rw http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/binary" {
			_, _ = rw.Write([]byte{0xff, 0, 0xfe})
			return
		}
		assert.Equal(t, "Bearer "+token, req.Header.Get("Authorization"))
		rw.Header().Set("X-Echo", req.Header.Get("Authorization"))
		rw.WriteHeader(http.StatusCreated)
		fmt.Fprintf(rw, `you are %q`, req.Header.Get("Authorization"))
	}, nil)
	r.load(t, "")
	url := fmt.Sprintf("https://api.example.com:%d", r.port)
	reply := r.ask(t, "http", `{"url":"`+url+`/","headers":{"Authorization":"Bearer {{secret:TOKEN}}"}}`)
	var got struct {
		OK struct {
			Status  int
			Headers map[string]string
			Body    string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(reply), &got), reply)
	assert.Equal(t, http.StatusCreated, got.OK.Status)
	assert.Equal(t, `you are "Bearer [secret:TOKEN]"`, got.OK.Body)
	assert.Equal(t, "Bearer [secret:TOKEN]", got.OK.Headers["x-echo"])
	assert.Contains(t, r.ask(t, "http", `{"url":"`+url+`/binary"}`), `"bodyBase64":"/wD+"`)

	for request, want := range map[string]string{
		`{"url":"https://elsewhere.test/"}`:    `"PERMISSION_DENIED"`,
		`{"url":"https://api.example.com/"}`:   `"PERMISSION_DENIED"`,
		`{"url":"http://169.254.169.254/"}`:    `"PERMISSION_DENIED"`,
		`{"url":"` + url + `/","follow":true}`: `is not known here`,
		`{"url":7}`:                            `want a string`,
		`{`:                                    `"INVALID_ARGUMENT"`,
		`{"url":"` + url + `/","method":"POST","body":"a","bodyBase64":"YQ=="}`:                       `not both`,
		`{"url":"` + url + `/","method":"POST","bodyBase64":"?"}`:                                     `not base64`,
		fmt.Sprintf(`{"url":"https://b.example.com:%d/","headers":{"A":"{{secret:TOKEN}}"}}`, r.port): `the secret \"TOKEN\" is not granted`,
	} {
		out, err := call(t, r.host, "capabilities/http", request)
		if err != nil { // the input itself is no JSON
			require.ErrorIs(t, err, status.ErrInvalidArgument)
			continue
		}
		assert.Contains(t, out, want, request)
		assert.True(t, strings.HasPrefix(out, `{"error":`), out)
	}
	assert.NotContains(t, r.log.String(), token)
}

func TestAGuestKeepsValues(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kv.db")
	for round := range 2 {
		store, err := kv.Open(file, nil)
		require.NoError(t, err)
		r := newReach(t, http.NotFound, func(c *wasmhost.Config) { c.KV = store; c.Tenants = map[string]wasmhost.TenantConfig{"other": {}} })
		r.load(t, `{"kvKeys":3,"kvValueBytes":20}`)
		if round == 0 {
			assert.Equal(t, `{"ok":null}`, r.ask(t, "kv_get", `{"key":"a"}`))
			assert.Equal(t, `{"ok":null}`, r.ask(t, "kv_set", `{"key":"a","value":{"n":1.10}}`))
			for request, want := range map[string]string{
				`{"key":"a","value":2,"if":1}`:               `"ABORTED"`,
				`{"key":"a","value":2,"if":null}`:            `"ABORTED"`,
				`{"key":"a"}`:                                `\"value\" is missing`,
				`{"key":"","value":1}`:                       `a key is`,
				`{"key":"b","value":1,"ttlSeconds":0}`:       `ttlSeconds`,
				`{"key":"b","value":1,"ttlSeconds":1.5}`:     `ttlSeconds`,
				`{"key":"b","value":1,"iff":1}`:              `is not known here`,
				`{"key":"b","value":"12345678901234567890"}`: `"RESOURCE_EXHAUSTED"`,
			} {
				assert.Contains(t, r.ask(t, "kv_set", request), want, request)
			}
			assert.Equal(t, `{"ok":null}`, r.ask(t, "kv_set", `{"key":"b","value":1,"if":null,"ttlSeconds":3600}`))
			assert.Equal(t, `{"ok":null}`, r.ask(t, "kv_set", `{"key":"c","value":1}`))
			assert.Contains(t, r.ask(t, "kv_set", `{"key":"d","value":1}`), `"RESOURCE_EXHAUSTED"`)
			assert.Equal(t, `{"ok":null}`, r.ask(t, "kv_delete", `{"key":"c"}`))
		}
		assert.Equal(t, `{"ok":{"n":1.10}}`, r.ask(t, "kv_get", `{"key":"a"}`), "round %d", round)
		first := r.ask(t, "kv_list", `{"limit":1}`)
		assert.Contains(t, first, `"keys":["a"],"cursor":"`)
		var page struct{ OK struct{ Cursor string } }
		require.NoError(t, json.Unmarshal([]byte(first), &page))
		assert.Equal(t, `{"ok":{"keys":["b"]}}`, r.ask(t, "kv_list", `{"cursor":"`+page.OK.Cursor+`"}`))
		assert.Contains(t, r.ask(t, "kv_list", `{"cursor":"?"}`), "INVALID_ARGUMENT")
		if round == 1 {
			// Another module, another tenant: another store.
			up := wasmhost.Upload{Name: "second", Wasm: guest(t, "capabilities.wasm"), Policy: []byte(`{"grants":` + everything(r.port) + `}`)}
			_, err := r.host.Load(t.Context(), tenant, up)
			require.NoError(t, err)
			out, err := call(t, r.host, "second/kv_list", `{}`)
			require.NoError(t, err)
			assert.Equal(t, `{"ok":{"keys":[]}}`, out)
			up.Name = "capabilities"
			_, err = r.host.Load(t.Context(), "other", up)
			require.NoError(t, err)
			a, err := r.host.Provider("other").Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "capabilities/kv_list"})
			require.NoError(t, err)
			raw, err := a.RunJSON(t.Context(), json.RawMessage(`{}`), nil)
			require.NoError(t, err)
			assert.Equal(t, `{"ok":{"keys":[]}}`, string(raw))
			// A module that is removed leaves nothing to the next of its name.
			require.NoError(t, r.host.Remove(t.Context(), tenant, "capabilities"))
			r.load(t, "")
			assert.Equal(t, `{"ok":null}`, r.ask(t, "kv_get", `{"key":"a"}`))
		}
		require.NoError(t, r.host.Close(context.Background()))
		require.NoError(t, store.Close())
	}
}

// buildC builds a guest with the C PDK.
func buildC(t *testing.T, source string) []byte {
	t.Helper()
	pdk, err := filepath.Abs("../pdk/c")
	require.NoError(t, err)
	return w.BuildC(t, "#include \"genkit.h\"\n"+source, "-I"+pdk, "-ffreestanding")
}

// WASI's clock stands still, unless the clock is granted.
func TestWASIsClockIsGranted(t *testing.T) {
	wasm := buildC(t, `
		__attribute__((import_module("wasi_snapshot_preview1"), import_name("clock_time_get"))) int clock(int id, uint64_t precision, uint64_t *out);
		GENKIT_TOOL(f) {
			uint64_t first = 0, second = 0;
			char text[20];
			if (clock(0, 0, &first)) return genkit_fail(GENKIT_STRING("no clock"));
			for (volatile int i = 0; i < 1000000; i++);
			if (clock(0, 0, &second)) return genkit_fail(GENKIT_STRING("no clock"));
			for (int i = 19; i >= 0; i--, first /= 10) text[i] = (char)('0' + first % 10);
			int start = 0;
			while (start < 19 && text[start] == '0') start++;
			genkit_output(genkit_buffer_of(text + start, (uint32_t)(20 - start)));
			return 0;
		}`)
	h := newHost(t, wasmhost.Config{})
	read := func(name, policy string) time.Time {
		_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Name: name, Wasm: wasm, Descriptor: describing(`{"name":"f"}`), Policy: []byte(policy)})
		require.NoError(t, err)
		out, err := call(t, h, name+"/f", `null`)
		require.NoError(t, err)
		ns, err := strconv.ParseInt(out, 10, 64)
		require.NoError(t, err)
		return time.Unix(0, ns)
	}
	still := read("still", "")
	assert.Greater(t, time.Since(still), 365*24*time.Hour, "it tells nothing of the time: %v", still)
	assert.WithinDuration(t, time.Now(), read("real", `{"grants":{"clock":true}}`), time.Minute)
}

// A call that outlives its module keeps nothing for the next of its name.
func TestARemovedModuleKeepsNothing(t *testing.T) {
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
			genkit_buffer key = GENKIT_STRING("a");
			if (genkit_kv_set(key, GENKIT_STRING("1"))) return genkit_fail(GENKIT_STRING("not kept"));
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
	require.NoError(t, r.host.Remove(t.Context(), tenant, "capabilities"))
	close(release)
	require.ErrorContains(t, <-done, "not kept")
	r.load(t, "")
	assert.Equal(t, `{"ok":null}`, r.ask(t, "kv_get", `{"key":"a"}`))
}

func TestNowIsTheTime(t *testing.T) {
	r := newReach(t, http.NotFound, nil)
	r.load(t, "")
	var got struct{ OK time.Time }
	require.NoError(t, json.Unmarshal([]byte(r.ask(t, "now", `null`)), &got))
	assert.WithinDuration(t, time.Now(), got.OK, time.Minute)
}

// A request that hangs ends with the call, and so does one that is under way when the
// caller leaves or the host closes.
func TestARequestEndsWithItsCall(t *testing.T) {
	started := make(chan struct{}, 10)
	release := make(chan struct{})
	r := newReach(t, func(_ http.ResponseWriter, req *http.Request) {
		started <- struct{}{}
		select {
		case <-req.Context().Done():
		case <-release:
		}
	}, func(c *wasmhost.Config) { c.Limits.TimeoutMS = 60_000 })
	defer close(release)
	request := fmt.Sprintf(`{"url":"https://api.example.com:%d/"}`, r.port)
	r.load(t, `{"timeoutMs":150}`)
	begin := time.Now()
	_, err := call(t, r.host, "capabilities/http", request)
	require.ErrorIs(t, err, status.ErrDeadlineExceeded)
	assert.Less(t, time.Since(begin), 4*time.Second)
	<-started

	r.load(t, `{"timeoutMs":60000}`)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	a, err := r.host.Provider(tenant).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "capabilities/http"})
	require.NoError(t, err)
	_, err = a.RunJSON(ctx, json.RawMessage(request), nil)
	require.ErrorIs(t, err, status.ErrCancelled)

	ended := make(chan error, 1)
	go func() { _, err := a.RunJSON(context.Background(), json.RawMessage(request), nil); ended <- err }()
	<-started
	begin = time.Now()
	require.NoError(t, r.host.Close(t.Context()))
	require.ErrorIs(t, <-ended, status.ErrUnavailable)
	assert.Less(t, time.Since(begin), 30*time.Second, "long before its own deadline")
}

func TestHostCallsAreCounted(t *testing.T) {
	hits := 0
	r := newReach(t, func(rw http.ResponseWriter, req *http.Request) {
		hits++
		http.Redirect(rw, req, "/again", http.StatusFound)
	}, nil)
	r.load(t, `{"httpRequests":3}`)
	assert.Contains(t, r.ask(t, "http", fmt.Sprintf(`{"url":"https://api.example.com:%d/"}`, r.port)), "has sent its 3 requests")
	assert.Equal(t, 3, hits)

	// Each costs fuel, whatever the guest itself does.
	spans := &telemetrytest.Spans{}
	a, err := r.host.Provider(tenant).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "capabilities/now"})
	require.NoError(t, err)
	_, err = a.RunJSON(telemetry.WithTracerProvider(t.Context(), spans), json.RawMessage(`null`), nil)
	require.NoError(t, err)
	require.Len(t, spans.Ended(), 1)
	fuel, err := strconv.Atoi(spans.Ended()[0]["wasm.fuel.consumed"])
	require.NoError(t, err, "%v", spans.Ended())
	assert.Greater(t, fuel, 5000)
	assert.Equal(t, "1", spans.Ended()[0]["wasm.host.calls"])
	assert.Equal(t, "capability=now status=OK\n", spans.Ended()[0]["event:guest.capability"])
	// A guest that does nothing but ask is ended by its fuel.
	_, err = r.host.Load(t.Context(), tenant, wasmhost.Upload{
		Name: "asker", Wasm: asker("now"), Descriptor: describing(`{"name":"f"}`), Policy: []byte(`{"grants":{"clock":true},"limits":{"fuel":1000000,"hostCalls":100000}}`),
	})
	require.NoError(t, err)
	spans = &telemetrytest.Spans{}
	a, err = r.host.Provider(tenant).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "asker/f"})
	require.NoError(t, err)
	_, err = a.RunJSON(telemetry.WithTracerProvider(t.Context(), spans), json.RawMessage(`{}`), nil)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	require.ErrorContains(t, err, "fuel")
	fuel, err = strconv.Atoi(spans.Ended()[0]["wasm.fuel.consumed"])
	require.NoError(t, err, "what a call used is on its span whatever it came to")
	assert.GreaterOrEqual(t, fuel, 1000000)
}

// asker calls a capability without end.
func asker(capability string) []byte {
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("ii", "i")),
		w.Imports(w.ImportFunc("genkit_v1", capability, 1)),
		w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 1), w.Export("memory", 2, 0)),
		w.Code(w.Body("", 0x03, 0x40, 0x41, 0, 0x41, 0, 0x10, 0, 0x1a, 0x0c, 0, 0x0b, 0x00)))
}

func TestAGuestRunsWhatItIsGranted(t *testing.T) {
	r := newReach(t, http.NotFound, nil)
	r.load(t, "")
	register(t, r.reg, action.Tool, "echo", func(ctx context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
		return json.RawMessage(fmt.Sprintf(`{"in":%s,"context":%s}`, in, action.Context(ctx))), nil
	})
	register(t, r.reg, action.Tool, "broken", func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return nil, errors.New("the password is hunter2")
	})
	register(t, r.reg, action.Flow, "private", func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		t.Error("it was run")
		return nil, nil
	})
	a, err := r.host.Provider(tenant).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "capabilities/run"})
	require.NoError(t, err)
	ctx := action.WithContext(t.Context(), json.RawMessage(`{"auth":{"uid":"u"}}`))
	out, err := a.RunJSON(ctx, json.RawMessage(`{"key":"/tool/echo","input":{"n":1}}`), nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"ok":{"in":{"n":1},"context":{"auth":{"uid":"u"}}}}`, string(out))

	for request, want := range map[string]string{
		`{"key":"/flow/private","input":1}`:   `"PERMISSION_DENIED"`,
		`{"key":"echo"}`:                      `no action's key`,
		`{"key":"/tool/none"}`:                `"NOT_FOUND"`,
		`{"key":"/tool/broken"}`:              `"INTERNAL"`,
		`{"key":"/util/generate","input":{}}`: `"PERMISSION_DENIED"`,
		`{"key":"/tool/../flow/private"}`:     `"error"`,
	} {
		reply := r.ask(t, "run", request)
		assert.Contains(t, reply, want, request)
		assert.NotContains(t, reply, "hunter2")
	}
	assert.Equal(t, `{"ok":{"ok":null}}`, r.ask(t, "run", `{"key":"/tool/capabilities/kv_get","input":{"key":"a"}}`), "another instance of itself")
}

func register(t *testing.T, reg *registry.Registry, kind action.Kind, name string, fn action.Func) {
	t.Helper()
	a, err := action.New(action.Desc{Kind: kind, Name: name}, fn)
	require.NoError(t, err)
	require.NoError(t, reg.Register(a))
}

// The depth and the number of a guest's calls of itself are limited.
func TestGuestsDoNotRunEachOtherForEver(t *testing.T) {
	r := newReach(t, http.NotFound, nil)
	r.load(t, "")
	request := `{"key":"/tool/capabilities/now","input":null}`
	for range 10 {
		request = `{"key":"/tool/capabilities/run","input":` + request + `}`
	}
	reply := r.ask(t, "run", request)
	assert.Contains(t, reply, "deep")
	assert.Equal(t, 4, strings.Count(reply, `"ok":`), "each of those that ran answers: %s", reply)

	var runs int
	register(t, r.reg, action.Tool, "fork", func(ctx context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
		runs++
		a, err := r.reg.Lookup(ctx, action.Key{Kind: action.Tool, Name: "capabilities/run"})
		if err != nil {
			return nil, err
		}
		for range 10 {
			if out, err := a.RunJSON(ctx, json.RawMessage(`{"key":"/tool/fork","input":0}`), nil); err != nil {
				return nil, err
			} else if strings.Contains(string(out), "more than 64 runs") {
				break
			}
		}
		return in, nil
	})
	r.ask(t, "run", `{"key":"/tool/fork","input":0}`)
	assert.LessOrEqual(t, runs, 64)
	assert.Greater(t, runs, 10)
}

func TestAGuestAsksAModel(t *testing.T) {
	r := newReach(t, http.NotFound, nil)
	r.load(t, "")
	var got json.RawMessage
	register(t, r.reg, action.Util, "generate", func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
		got = in
		return json.RawMessage(`{"finishReason":"stop"}`), nil
	})
	register(t, r.reg, action.Model, "test/m", func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) { return nil, nil })
	register(t, r.reg, action.Model, "paid/m", func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) { return nil, nil })
	assert.Equal(t, `{"ok":{"finishReason":"stop"}}`, r.ask(t, "generate", `{"model":"test/m","messages":[],"tools":["capabilities/now"]}`))
	assert.JSONEq(t, `{"model":"/model/test/m","messages":[],"tools":["/tool/capabilities/now"]}`, string(got))
	for request, want := range map[string]string{
		`{"model":"paid/m","messages":[]}`:                 `"PERMISSION_DENIED"`,
		`{"model":"/model/paid/m","messages":[]}`:          `"PERMISSION_DENIED"`,
		`{"model":"test/none","messages":[]}`:              `"NOT_FOUND"`,
		`{"messages":[]}`:                                  `\"model\" is missing`,
		`{"model":"test/m","use":[{"name":"filesystem"}]}`: `gives no \"use\"`,
		`{"model":"test/m","resources":["x"]}`:             `gives no \"resources\"`,
		`{"model":"test/m","resume":{}}`:                   `gives no \"resume\"`,
		`{"model":"test/m","tools":["capabilities/*"]}`:    `pattern`,
		`{"model":"test/m","tools":[{"name":"x"}]}`:        `list of names`,
		`{"model":"test/m","tools":["none"]}`:              `"NOT_FOUND"`,
	} {
		assert.Contains(t, r.ask(t, "generate", request), want, request)
	}
}

// payer notes which models are paid for.
type payer struct{ models []string }

func (p *payer) Reserve(_ context.Context, name string) (func(allowance.Use), error) {
	p.models = append(p.models, name)
	return func(allowance.Use) {}, nil
}

// A grant of one model is none of another that "config.version" asks the provider for, and a model that is run
// as an action is paid for like any.
func TestAGuestsModelsAreGrantedAndPaid(t *testing.T) {
	r := newReach(t, http.NotFound, func(c *wasmhost.Config) { c.Grants = nil })
	_, err := r.host.Load(t.Context(), tenant, wasmhost.Upload{
		Wasm:   guest(t, "capabilities.wasm"),
		Policy: []byte(`{"grants":{"kv":true,"clock":true,"http":[{"host":"none.example.com"}],"generate":["test/small"],"actions":["model/test/small"]}}`),
	})
	require.NoError(t, err)
	register(t, r.reg, action.Util, "generate", func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return json.RawMessage(`{"finishReason":"stop"}`), nil
	})
	register(t, r.reg, action.Model, "test/small", func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return json.RawMessage(`{"message":{"role":"model","content":[{"text":"hi"}]},"finishReason":"stop"}`), nil
	})
	p := &payer{}
	ask := func(name, input string) string {
		a, err := r.host.Provider(tenant).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "capabilities/" + name})
		require.NoError(t, err)
		out, err := a.RunJSON(allowance.WithPayer(t.Context(), p), json.RawMessage(input), nil)
		require.NoError(t, err)
		return string(out)
	}
	assert.Contains(t, ask("generate", `{"model":"test/small","messages":[]}`), `"ok"`)
	assert.Contains(t, ask("generate", `{"model":"test/small","messages":[],"config":{"version":"small"}}`), `"ok"`)
	assert.Contains(t, ask("generate", `{"model":"test/small","messages":[],"config":{"version":"large"}}`), `"PERMISSION_DENIED"`)
	const messages = `"messages":[{"role":"user","content":[{"text":"x"}]}]`
	assert.Empty(t, p.models)
	assert.Contains(t, ask("run", `{"key":"/model/test/small","input":{`+messages+`}}`), `"text":"hi"`)
	assert.Equal(t, []string{"test/small"}, p.models)
	assert.Contains(t, ask("run", `{"key":"/model/test/small","input":{`+messages+`,"config":{"version":"large"}}}`), `"PERMISSION_DENIED"`)
	assert.Contains(t, ask("run", `{"key":"/model/test/small","input":7}`), `"INVALID_ARGUMENT"`)
	assert.Len(t, p.models, 1)
}

func TestWithoutARegistryNothingIsRun(t *testing.T) {
	r := newReach(t, http.NotFound, func(c *wasmhost.Config) { c.Registry = nil })
	_, err := r.host.Load(t.Context(), tenant, wasmhost.Upload{Wasm: guest(t, "capabilities.wasm"), Policy: []byte(`{"grants":` + everything(r.port) + `}`)})
	require.ErrorIs(t, err, status.ErrUnimplemented)
	require.ErrorContains(t, err, `"generate", "run"`)
}

// The server's grants bound those of a module, and a server that grants less no longer
// serves the module.
func TestGrantsStayWithinTheServersAndTheTenants(t *testing.T) {
	up := wasmhost.Upload{Wasm: guest(t, "capabilities.wasm"), Policy: []byte(`{"grants":` + everything(1) + `}`)}
	_, err := newHost(t, wasmhost.Config{Grants: &policy.Grants{KV: true, Clock: true}}).Load(t.Context(), tenant, up)
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	for _, want := range []string{"http *.example.com", "secret TOKEN to api.example.com:1", "generate test/*", "actions tool/*"} {
		require.ErrorContains(t, err, want)
	}
	h := newHost(t, wasmhost.Config{
		Grants: grantsOf(t, everything(1)), Tenants: map[string]wasmhost.TenantConfig{"poor": {Grants: &policy.Grants{KV: true}}},
		Registry: func(string) (*registry.Registry, error) { return registry.New(nil), nil },
	})
	_, err = h.Load(t.Context(), tenant, up)
	require.NoError(t, err)
	_, err = h.Load(t.Context(), "poor", up)
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	registryOf := func(string) (*registry.Registry, error) { return registry.New(nil), nil }
	_, err = newHost(t, wasmhost.Config{Registry: registryOf}).Load(t.Context(), tenant, up)
	require.NoError(t, err, "where nothing is laid down, the policy counts")
	_, err = newHost(t, wasmhost.Config{Registry: registryOf}).Load(t.Context(), tenant, wasmhost.Upload{Wasm: up.Wasm})
	require.ErrorIs(t, err, status.ErrPermissionDenied, "without a policy nothing is granted")
	_, err = wasmhost.New(t.Context(), wasmhost.Config{Grants: &policy.Grants{}, Tenants: map[string]wasmhost.TenantConfig{"rich": {Grants: &policy.Grants{HTTP: []policy.HTTPGrant{{Host: "*"}}}}}})
	require.ErrorIs(t, err, status.ErrInvalidArgument, "a tenant has no more than the server")
}

// A guest's results, chunks and requests keep their values and hide nothing.
func TestResultsHideNothing(t *testing.T) {
	h := newHost(t, wasmhost.Config{})
	_, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: guest(t, "conformance.wasm")})
	require.NoError(t, err)
	hiding := "{\"a\u202e\":\"\u200b\U000E0041 é 👩‍👧\"}"
	want := `{"a\u202e":"\u200b\udb40\udc41 é 👩‍👧"}`
	out, err := call(t, h, "conformance/echo", hiding)
	require.NoError(t, err)
	assert.Equal(t, want, out)
	_, err = call(t, h, "conformance/interrupt", hiding)
	interrupt, ok := tool.AsInterrupt(err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, want, string(interrupt.Metadata))
	out, err = call(t, h, "conformance/upper", "\"a\u2066\"")
	require.NoError(t, err)
	assert.Equal(t, `"A\u2066"`, out)
}

// Nothing that is written about a call holds a secret: no span, no log line, no error.
func TestNoRecordHoldsASecret(t *testing.T) {
	r := newReach(t, func(rw http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/away" {
			http.Redirect(rw, req, "https://"+strings.TrimPrefix(req.Header.Get("X-Key"), "k ")+".example.com/", http.StatusFound)
			return
		}
		rw.Header().Set(req.Header.Get("X-Key"), "as a name")
		fmt.Fprint(rw, req.Header)
	}, nil)
	r.load(t, "")
	spans := &telemetrytest.Spans{}
	a, err := r.host.Provider(tenant).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "capabilities/http"})
	require.NoError(t, err)
	for _, path := range []string{"/", "/away", "/%zz"} {
		ctx := telemetry.WithTracerProvider(t.Context(), spans)
		out, err := a.RunJSON(ctx, json.RawMessage(fmt.Sprintf(`{"url":"https://api.example.com:%d%s","headers":{"X-Key":"{{secret:TOKEN}}"}}`, r.port, path)), nil)
		assert.NotContains(t, fmt.Sprintf("%s %v", out, err), token)
	}
	recorded := spans.Ended()
	require.NotEmpty(t, recorded)
	assert.NotContains(t, fmt.Sprintf("%+v", recorded), token)
	assert.NotContains(t, r.log.String(), token)
}

// For any input of a guest to a capability, the reply has its form and there is no
// other effect.
func FuzzRequests(f *testing.F) {
	h := newHost(f, wasmhost.Config{
		Grants: &policy.Grants{KV: true, Clock: true, HTTP: []policy.HTTPGrant{{Host: "none.example.com"}}, Generate: []string{"*"}, Actions: []string{"*"}},
		Egress: egress.Config{Resolver: nobody{}}, Registry: func(string) (*registry.Registry, error) { return registry.New(nil), nil },
	})
	var tools []string
	for _, name := range []string{"http", "kv_get", "kv_set", "kv_delete", "kv_list", "now", "run", "generate"} {
		tools = append(tools, fmt.Sprintf(`{"name":%q,"io":"text"}`, name))
	}
	_, err := h.Load(f.Context(), tenant, wasmhost.Upload{
		Wasm: guest(f, "capabilities.wasm"), Descriptor: describing(strings.Join(tools, ",")),
		Policy: []byte(`{"grants":{"kv":true,"clock":true,"http":[{"host":"none.example.com"}],"generate":["*"],"actions":["*"]}}`),
	})
	require.NoError(f, err)
	for i, seed := range []string{
		`{"url":"https://none.example.com/","headers":{"A":"{{secret:B}}"},"body":"x"}`, `{"key":"a"}`, `{"key":"a","value":{"b":1},"if":null,"ttlSeconds":5}`, `{"key":"a"}`,
		`{"prefix":"a","cursor":"YQ","limit":5}`, `null`, `{"key":"/tool/x","input":{}}`, `{"model":"a/b","messages":[],"tools":["x"]}`,
	} {
		f.Add(i, seed)
	}
	f.Add(2, `{"key":"a","value":`+strings.Repeat("[", 20_000))
	f.Fuzz(func(t *testing.T, which int, request string) {
		names := []string{"http", "kv_get", "kv_set", "kv_delete", "kv_list", "now", "run", "generate"}
		input, err := json.Marshal(request)
		require.NoError(t, err)
		out, err := call(t, h, "m/"+names[uint(which)%uint(len(names))], string(input))
		if errors.Is(err, status.ErrResourceExhausted) || errors.Is(err, status.ErrInvalidArgument) {
			return // too big to be handed in
		}
		require.NoError(t, err)
		var reply string
		require.NoError(t, json.Unmarshal([]byte(out), &reply))
		require.True(t, json.Valid([]byte(reply)), reply)
		require.True(t, strings.HasPrefix(reply, `{"ok":`) || strings.HasPrefix(reply, `{"error":`), reply)
		require.NotContains(t, reply, "goroutine ")
		if strings.HasPrefix(reply, `{"error":`) {
			require.NotContains(t, reply, `"INTERNAL"`, "%q", request)
		}
	})
}

// nobody has no address.
type nobody struct{}

func (nobody) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return nil, nil }
