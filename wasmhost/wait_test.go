package wasmhost_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// sleeping sleeps for so long, and then ends.
func sleeping(d time.Duration) []byte {
	subscription := make([]byte, 48) // of clock 0; the timeout is at 24
	for i := range 8 {
		subscription[24+i] = byte(d >> (8 * i))
	}
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("iiii", "i")),
		w.Imports(w.ImportFunc("wasi_snapshot_preview1", "poll_oneoff", 1)),
		w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 1), w.Export("memory", 2, 0)),
		w.Code(w.Body("", 0x41, 0, 0x41, 0xc0, 0, 0x41, 1, 0x41, 0xe0, 0, 0x10, 0)),
		w.Section(w.SecData, w.Vec(append([]byte{0, 0x41, 0, 0x0b, 48}, subscription...))))
}

// emitting emits 1, once.
func emitting() []byte {
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("ii", "i")),
		w.Imports(w.ImportFunc("genkit_v1", "emit", 1)),
		w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 1), w.Export("memory", 2, 0)),
		w.Code(w.Body("", 0x41, 0, 0x41, 1, 0x10, 0, 0x1a, 0x41, 0)),
		w.Section(w.SecData, w.Vec([]byte{0, 0x41, 0, 0x0b, 1, '1'})))
}

// slowKV keeps those who read waiting.
type slowKV struct {
	kv.Store
	hold func(context.Context)
}

func (s slowKV) Get(ctx context.Context, ns kv.Namespace, key string) (json.RawMessage, error) {
	s.hold(ctx)
	return s.Store.Get(ctx, ns, key)
}

// waits is a host in which one call runs at a time, of all, of the tenant and of each
// module, and everything that a guest can wait for lasts until release is closed.
type waits struct {
	*reach
	release chan struct{}
}

func newWaits(t *testing.T) *waits {
	t.Helper()
	ws := &waits{release: make(chan struct{})}
	ws.reach = newReach(t, func(_ http.ResponseWriter, req *http.Request) { ws.hold(req.Context()) }, func(c *wasmhost.Config) {
		c.Slots, c.Quota = 1, tenants.Quota{Concurrency: 1}
		c.Limits.TimeoutMS = 60_000
		c.KV = slowKV{kv.NewMemory(time.Now), ws.hold}
	})
	ws.load(t, `{"concurrency":1}`)
	for name, up := range map[string]wasmhost.Upload{
		"sleep": {Wasm: sleeping(time.Hour), Descriptor: describing(`{"name":"f"}`)},
		"emit":  {Wasm: emitting(), Descriptor: describing(`{"name":"f"}`)},
		"kit":   {Wasm: hooksGuest(t), Descriptor: []byte(hooksDescriptor)},
		"calc":  {Wasm: calc(t)},
	} {
		up.Name, up.Policy = name, []byte(`{"limits":{"concurrency":1}}`)
		_, err := ws.host.Load(t.Context(), tenant, up)
		require.NoError(t, err)
	}
	register(t, ws.reg, action.Tool, "slow", func(ctx context.Context, _ json.RawMessage, _ action.Emit) (json.RawMessage, error) {
		ws.hold(ctx)
		return json.RawMessage("1"), nil
	})
	m, err := model.New("test/slow", model.Info{}, func(ctx context.Context, _ *model.Request, _ model.Send) (*model.Response, error) {
		ws.hold(ctx)
		return &model.Response{Message: new(content.NewModelTextMessage("a=1"))}, nil
	})
	require.NoError(t, err)
	require.NoError(t, ws.reg.Register(m))
	require.NoError(t, ws.reg.Register(generate.Action(ws.reg)))
	return ws
}

func (ws *waits) hold(ctx context.Context) {
	select {
	case <-ws.release:
	case <-ctx.Done():
	}
}

// kinds are the ways to wait; each returns when the guest has ended.
func (ws *waits) kinds() map[string]func(ctx context.Context) error {
	tool := func(name, in string, emit action.Emit) func(context.Context) error {
		return func(ctx context.Context) error {
			a, err := ws.host.Provider(tenant).Resolve(ctx, action.Key{Kind: action.Tool, Name: name})
			if err != nil {
				return err
			}
			_, err = a.RunJSON(ctx, json.RawMessage(in), emit)
			return err
		}
	}
	const request = `{"model":"test/slow","messages":[{"role":"user","content":[{"text":"a=1"}]}]`
	return map[string]func(context.Context) error{
		"sleep":    tool("sleep/f", "{}", nil),
		"emit":     tool("emit/f", "{}", func(json.RawMessage) error { ws.hold(context.Background()); return nil }),
		"http":     tool("capabilities/http", fmt.Sprintf(`{"url":"https://api.example.com:%d/"}`, ws.port), nil),
		"kv":       tool("capabilities/kv_get", `{"key":"a"}`, nil),
		"run":      tool("capabilities/run", `{"key":"/tool/slow","input":{}}`, nil),
		"nested":   tool("capabilities/run", `{"key":"/tool/sleep/f","input":{}}`, nil),
		"generate": tool("capabilities/generate", request+`}`, nil),
		"next": func(ctx context.Context) error {
			opts := &model.GenerateOptions{Model: "test/slow", Messages: []content.Message{content.NewUserTextMessage("x")}, Use: []model.MiddlewareRef{{Name: "kit/steps", Config: json.RawMessage(`{"steps":[{}]}`)}}}
			_, err := generate.Run(ctx, ws.reg, opts, nil)
			return err
		},
		"format": tool("capabilities/generate", request+`,"output":{"format":"kit/pairs"}}`, nil),
	}
}

// idle waits until no call has a slot and so many are suspended.
func (ws *waits) idle(t *testing.T, suspended int, kind string) wasmhost.Usage {
	t.Helper()
	var u wasmhost.Usage
	require.Eventually(t, func() bool {
		var err error
		u, err = ws.host.Usage(tenant)
		return err == nil && u.Running == 0 && u.Suspended == suspended
	}, 20*time.Second, time.Millisecond, "%s: %d running, %d suspended", kind, u.Running, u.Suspended)
	return u
}

func TestAGuestThatWaitsHoldsNothing(t *testing.T) {
	ws := newWaits(t)
	t.Run("others run", ws.othersRun)
	t.Run("it ends with its call", ws.endsWithItsCall)
	t.Run("it ends with the host", ws.endsWithTheHost)
}

// othersRun has another call of the same tenant run while a guest waits, whatever for,
// where one call may run at a time; the memory of the one that waits stays counted.
func (ws *waits) othersRun(t *testing.T) {
	for kind, start := range ws.kinds() {
		if kind == "sleep" || kind == "nested" {
			continue // nothing but its end ends it
		}
		t.Run(kind, func(t *testing.T) {
			ws.release = make(chan struct{})
			ended := make(chan error, 1)
			go func() { ended <- start(t.Context()) }()
			suspended := 1
			if kind == "next" {
				suspended = 2 // the hooks generate and model, one in the other
			}
			before := ws.idle(t, suspended, kind)
			assert.GreaterOrEqual(t, before.MemoryBytes, int64(64<<10), "its memory stays counted")
			out, err := call(t, ws.host, "calc/add", `{"a":1,"b":2}`)
			require.NoError(t, err)
			assert.JSONEq(t, `{"sum":3}`, out)
			close(ws.release)
			require.NoError(t, <-ended, "it comes back when it may go on")
			ws.idle(t, 0, kind)
		})
	}
}

// endsWithItsCall: a guest that waits ends with its caller and with its time limit, and
// nothing that it held is lost.
func (ws *waits) endsWithItsCall(t *testing.T) {
	ws.release = make(chan struct{})
	defer close(ws.release)
	for kind, start := range ws.kinds() {
		if kind == "emit" {
			continue // the reader ends it
		}
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- start(ctx) }()
			require.Eventually(t, func() bool {
				u, err := ws.host.Usage(tenant)
				return err == nil && u.Running == 0 && u.Suspended > 0
			}, 20*time.Second, time.Millisecond)
			cancel()
			require.ErrorIs(t, <-ended, status.ErrCancelled)
			ws.idle(t, 0, kind)
			_, err := call(t, ws.host, "calc/add", `{"a":1,"b":2}`)
			require.NoError(t, err)
		})
	}
	_, err := ws.host.Load(t.Context(), tenant, wasmhost.Upload{Name: "sleep", Wasm: sleeping(time.Hour), Descriptor: describing(`{"name":"f"}`), Policy: []byte(`{"limits":{"timeoutMs":50}}`)})
	require.NoError(t, err)
	_, err = call(t, ws.host, "sleep/f", "{}")
	require.ErrorIs(t, err, status.ErrDeadlineExceeded)
	ws.idle(t, 0, "deadline")
}

func (ws *waits) endsWithTheHost(t *testing.T) {
	_, err := ws.host.Load(t.Context(), tenant, wasmhost.Upload{Name: "sleep", Wasm: sleeping(time.Hour), Descriptor: describing(`{"name":"f"}`)})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- ws.kinds()["sleep"](t.Context()) }()
	ws.idle(t, 1, "sleep")
	require.NoError(t, ws.host.Close(t.Context()))
	require.ErrorIs(t, <-ended, status.ErrUnavailable)
}
