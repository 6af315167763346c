package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func prices(t *testing.T) *usage.Prices {
	t.Helper()
	p, err := usage.ParsePrices([]byte(`{"currency":"USD","models":{"test/*":{"input":1,"output":"2.5","cached":0.1}}}`))
	require.NoError(t, err)
	return p
}

// world is a server on a real port with two tenants, "default" and "acme".
type world struct {
	*httptest.Server
	t    *testing.T
	host *wasmhost.Host
	// operation is the id of the last operation that an answer named in its Location.
	operation string
	api       *server.Server
	// secrets are those of the tenants, in the directory secretsAt.
	secrets   *secrets.Store
	secretsAt string
	events    *captured
	// registry finds a tenant's registry.
	registry func(tenant string) (*registry.Registry, error)
	// waiting is closed when the flow waits has begun.
	waiting chan struct{}
	// running is closed when the tool native/slow has begun.
	running chan struct{}
	// left is closed when the tool native/slow sees its caller leave.
	left chan struct{}
}

func newWorld(t *testing.T, change func(*server.Config)) *world {
	t.Helper()
	return newWorldOf(t, wasmhost.Config{}, change)
}

func newWorldOf(t *testing.T, hosts wasmhost.Config, change func(*server.Config)) *world {
	t.Helper()
	var tenants *admin.Tenants
	var err error
	w := &world{t: t, left: make(chan struct{}), running: make(chan struct{}), waiting: make(chan struct{})}
	w.openSecrets(func(name string) (string, error) { return tenants.ID(name) })
	tenants, err = admin.Open(t.Context(), admin.Config{
		Store: admin.NewMemory(), Prices: prices(t), Initial: map[string]admin.Settings{"acme": {}},
		Erase: func(ctx context.Context, gone admin.Tenant) error { return w.secrets.Drop(ctx, gone.Name) },
	})
	require.NoError(t, err)
	events := &captured{}
	book, err := usage.Open(usage.Config{Prices: prices(t), Sinks: []usage.Target{{Name: "test", Sink: events}}})
	require.NoError(t, err)
	hosts.Usage = book
	host, err := tenants.Start(t.Context(), hosts)
	require.NoError(t, err)
	t.Cleanup(func() {
		tenants.Close()
		assert.NoError(t, host.Close(context.Background()))
		assert.NoError(t, book.Close())
	})
	w.host, w.events = host, events
	native, made := w.native(), sync.Map{}
	w.registry = func(tenant string) (*registry.Registry, error) {
		id, err := host.TenantID(tenant)
		if err != nil {
			return nil, err
		}
		r, old := made.LoadOrStore(id, registry.New(native))
		if reg := r.(*registry.Registry); !old {
			return reg, reg.AddProvider(host.Provider(tenant))
		}
		return r.(*registry.Registry), nil
	}
	config := server.Config{Host: host, Tenants: tenants, Secrets: w.secrets, Usage: book, Registry: w.registry}
	if change != nil {
		change(&config)
	}
	srv, err := server.New(config)
	require.NoError(t, err)
	w.api = srv
	w.Server = httptest.NewServer(srv.Handler())
	t.Cleanup(w.Close)
	return w
}

// native is a registry with actions that do on purpose what can go wrong.
func (w *world) native() *registry.Registry {
	r := registry.New(nil)
	for name, fn := range map[action.Key]action.Func{
		{Kind: action.Tool, Name: "native/slow"}: func(ctx context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			close(w.running)
			if emit != nil {
				if err := emit(json.RawMessage(`"started"`)); err != nil {
					return nil, err
				}
			}
			<-ctx.Done()
			close(w.left)
			return nil, ctx.Err()
		},
		{Kind: action.Tool, Name: "native/silent"}: func(ctx context.Context, _ json.RawMessage, _ action.Emit) (json.RawMessage, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		{Kind: action.Tool, Name: "native/flood"}: func(ctx context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			chunk := json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
			for {
				if err := emit(chunk); err != nil {
					close(w.left)
					return nil, err
				}
			}
		},
		{Kind: action.Tool, Name: "native/private"}: func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
			return nil, status.Errorf(status.Internal, "the secret is 42")
		},
		{Kind: action.Tool, Name: "native/panics"}: func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
			panic("the secret is 42")
		},
		{Kind: action.Tool, Name: "native/busy"}: func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
			return nil, status.Publicf(status.ResourceExhausted, "too much").WithRetryAfter(1500 * time.Millisecond).WithDetails(map[string]int{"limit": 3})
		},
		{Kind: action.Tool, Name: "native/asks"}: func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
			return nil, tool.Interrupt(nil)
		},
		{Kind: action.Tool, Name: "native/pretty"}: func(_ context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			if emit != nil {
				_ = emit(json.RawMessage("{\r\n\"a\": \"<1>\"\n}"))
			}
			return json.RawMessage("[\n1.0,\n2e400]"), nil
		},
		{Kind: action.Flow, Name: "menu/suggest"}: func(_ context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			for range 2 {
				if emit != nil {
					if err := emit(json.RawMessage(`{"count":1}`)); err != nil {
						return nil, err
					}
				}
			}
			if in == nil {
				in = json.RawMessage(`"nothing"`)
			}
			return in, nil
		},
		{Kind: action.Flow, Name: "waits"}: func(ctx context.Context, _ json.RawMessage, _ action.Emit) (json.RawMessage, error) {
			close(w.waiting)
			<-ctx.Done()
			return nil, ctx.Err()
		},
		{Kind: action.Flow, Name: "breaks"}: func(_ context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			if emit != nil {
				_ = emit(json.RawMessage(`1`))
			}
			return nil, status.Publicf(status.NotFound, "no <dish>").WithDetails([]int{1})
		},
		{Kind: action.Util, Name: "generate"}: func(_ context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			if emit != nil {
				_ = emit(json.RawMessage(`{"content":[]}`))
			}
			return in, nil
		},
	} {
		a, err := action.New(action.Desc{Kind: name.Kind, Name: name.Name}, fn)
		require.NoError(w.t, err)
		require.NoError(w.t, r.Register(a))
	}
	return r
}

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

func (r reply) problem(t *testing.T) server.Problem {
	t.Helper()
	assert.Equal(t, "application/problem+json", r.header.Get("Content-Type"), r.body)
	var p server.Problem
	require.NoError(t, json.Unmarshal([]byte(r.body), &p), r.body)
	assert.Equal(t, r.status, p.Status)
	assert.Equal(t, r.header.Get("X-Request-Id"), p.RequestID)
	assert.Equal(t, "about:blank", p.Type)
	assert.NotEmpty(t, p.Title)
	assert.NotEmpty(t, p.Detail)
	return p
}

// do sends a request; headers are given as "Name: value".
func (w *world) do(method, path string, body io.Reader, headers ...string) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.URL+path, body)
	require.NoError(w.t, err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	resp, err := w.Client().Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return reply{resp.StatusCode, resp.Header, string(raw)}
}

const (
	jsonType = "Content-Type: application/json"
	wasmType = "Content-Type: application/wasm"
	sse      = "Accept: text/event-stream"
	tenant   = "/v1/tenants/default"
)

func (w *world) post(path, body string, headers ...string) reply {
	w.t.Helper()
	return w.do(http.MethodPost, tenant+path, strings.NewReader(body), append([]string{jsonType}, headers...)...)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../" + path)
	require.NoError(t, err)
	return b
}

func calc(t *testing.T) []byte { return read(t, "examples/calc/calc.wasm") }

func (w *world) put(name string, wasm []byte, headers ...string) reply {
	w.t.Helper()
	return w.do(http.MethodPut, tenant+"/modules/"+name, bytes.NewReader(wasm), append([]string{wasmType}, headers...)...)
}

// form makes a multipart body of alternating names and contents.
func form(t *testing.T, parts ...string) (io.Reader, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		part, err := w.CreateFormFile(parts[i], parts[i])
		require.NoError(t, err)
		_, err = part.Write([]byte(parts[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return &b, "Content-Type: " + w.FormDataContentType()
}
