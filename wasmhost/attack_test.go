package wasmhost_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
)

// attack is a host with default quotas in which four tenants make calls that wait, as many
// as they may and in every way there is, and a fifth one makes short calls.
type attack struct {
	host       *wasmhost.Host
	registries map[string]*registry.Registry
	port       int
	wg         sync.WaitGroup
}

var attackers = []string{"a", "b", "c", "d"}

func newAttack(t *testing.T) *attack {
	t.Helper()
	hang := func(ctx context.Context) { <-ctx.Done() }
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hang(r.Context()) }))
	t.Cleanup(srv.Close)
	at := &attack{registries: map[string]*registry.Registry{}, port: srv.Listener.Addr().(*net.TCPAddr).Port}
	at.host = newHost(t, wasmhost.Config{
		Tenants: fiveTenants(), CacheDir: t.TempDir(),
		KV:       slowKV{kv.NewMemory(time.Now), hang},
		Egress:   egress.Config{Resolver: toLoopback{}, Reachable: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Registry: func(name string) (*registry.Registry, error) { return at.registries[name], nil },
	})
	for _, name := range append([]string{"new"}, attackers...) {
		reg := registry.New(nil)
		require.NoError(t, reg.AddProvider(at.host.Provider(name)))
		register(t, reg, action.Tool, "slow", func(ctx context.Context, _ json.RawMessage, _ action.Emit) (json.RawMessage, error) {
			hang(ctx)
			return nil, ctx.Err()
		})
		m, err := model.New("test/slow", model.Info{}, func(ctx context.Context, _ *model.Request, _ model.Send) (*model.Response, error) {
			hang(ctx)
			return nil, ctx.Err()
		})
		require.NoError(t, err)
		require.NoError(t, reg.Register(m))
		require.NoError(t, reg.Register(generate.Action(reg)))
		at.registries[name] = reg
	}
	grants := fmt.Sprintf(`{"grants":{"http":[{"host":"*.example.com","schemes":["http"],"ports":[%d],"methods":["*"]}],"kv":true,"clock":true,"generate":["test/*"],"actions":["tool/*"]},"limits":{"concurrency":64,"timeoutMs":3000}}`, at.port)
	for _, name := range attackers {
		for module, up := range map[string]wasmhost.Upload{
			"capabilities": {Wasm: guest(t, "capabilities.wasm"), Policy: []byte(grants)},
			"sleep":        {Wasm: sleeping(time.Hour), Descriptor: describing(`{"name":"f"}`)},
			"emit":         {Wasm: emitting(), Descriptor: describing(`{"name":"f"}`)},
			"kit":          {Wasm: hooksGuest(t), Descriptor: []byte(hooksDescriptor)},
		} {
			up.Name, up.Replace = module, true
			if up.Policy == nil {
				up.Policy = []byte(`{"limits":{"concurrency":64,"timeoutMs":3000}}`)
			}
			_, err := at.host.Load(t.Context(), name, up)
			require.NoError(t, err)
		}
	}
	_, err := at.host.Load(t.Context(), "new", wasmhost.Upload{Name: "calc", Wasm: calc(t)})
	require.NoError(t, err)
	return at
}

// call makes one of the calls that wait, of which there are as many kinds as this
// switch has.
func (at *attack) call(ctx context.Context, tenantName string, kind int) error {
	tool := func(name, in string, emit action.Emit) error {
		a, err := at.host.Provider(tenantName).Resolve(ctx, action.Key{Kind: action.Tool, Name: name})
		if err == nil {
			_, err = a.RunJSON(ctx, json.RawMessage(in), emit)
		}
		return err
	}
	const request = `{"model":"test/slow","messages":[{"role":"user","content":[{"text":"a=1"}]}]`
	switch kind % 8 {
	case 0:
		return tool("sleep/f", "{}", nil)
	case 1:
		return tool("emit/f", "{}", func(json.RawMessage) error { // a reader who does not read, until the write's deadline
			select {
			case <-ctx.Done():
			case <-time.After(3 * time.Second):
			}
			return status.Errorf(status.Cancelled, "write")
		})
	case 2:
		return tool("capabilities/http", fmt.Sprintf(`{"url":"http://api.example.com:%d/"}`, at.port), nil)
	case 3:
		return tool("capabilities/kv_get", `{"key":"a"}`, nil)
	case 4:
		return tool("capabilities/run", `{"key":"/tool/slow","input":{}}`, nil)
	case 5:
		return tool("capabilities/generate", request+`,"output":{"format":"kit/pairs"}}`, nil)
	case 6:
		return tool("capabilities/run", `{"key":"/tool/sleep/f","input":{}}`, nil)
	}
	opts := &model.GenerateOptions{Model: "test/slow", Messages: []content.Message{content.NewUserTextMessage("x")}, Use: []model.MiddlewareRef{{Name: "kit/steps", Config: json.RawMessage(`{"steps":[{}]}`)}}}
	_, err := generate.Run(ctx, at.registries[tenantName], opts, nil)
	return err
}

// start has each of the four tenants make 200 calls at a time, over and over.
func (at *attack) start(ctx context.Context) {
	for _, name := range attackers {
		for i := range 200 {
			at.wg.Go(func() {
				for ctx.Err() == nil {
					if status.Of(at.call(ctx, name, i)) == status.ResourceExhausted {
						select { // it is told to come back later
						case <-ctx.Done():
						case <-time.After(100 * time.Millisecond):
						}
					}
				}
			})
		}
	}
}

// p99 is the 99th percentile of the fifth tenant's calls, one each millisecond.
func (at *attack) p99(t *testing.T, calls int) time.Duration {
	t.Helper()
	a, err := at.host.Provider("new").Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "calc/add"})
	require.NoError(t, err)
	took := make([]time.Duration, calls)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range took {
		<-tick.C
		start := time.Now()
		_, err := a.RunJSON(t.Context(), json.RawMessage(`{"a":1,"b":2}`), nil)
		require.NoError(t, err)
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return took[calls*99/100]
}

// noise is the time that a busy machine may add to a call: where guests
// that wait hold slots, the fifth tenant waits for seconds.
const noise = 50 * time.Millisecond

// TestFourTenantsInEveryWaitLeaveAFifthItsTime runs the attack, until a round shows that
// the fifth tenant's 99th percentile is at most 3 times what it is alone.
func TestFourTenantsInEveryWaitLeaveAFifthItsTime(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes several seconds")
	}
	at := newAttack(t)
	at.p99(t, 200)
	best := 1e9
	for round := 0; round < 3 && best > 3; round++ {
		alone := at.p99(t, 1000)
		ctx, stop := context.WithCancel(t.Context())
		at.start(ctx)
		require.Eventually(t, func() bool {
			waiting := 0
			for _, name := range attackers {
				u, err := at.host.Usage(name)
				require.NoError(t, err)
				waiting += u.Suspended
			}
			return waiting > 4*64 // more than there are slots
		}, 60*time.Second, 10*time.Millisecond)
		beside := at.p99(t, 1000)
		stop()
		at.wg.Wait()
		ratio := float64(beside) / float64(max(alone, noise))
		t.Logf("99th percentile of the fifth tenant: %v alone, %v beside", alone, beside)
		best = min(best, ratio)
	}
	assert.LessOrEqual(t, best, 3.0)
	for _, name := range attackers {
		u, err := at.host.Usage(name)
		require.NoError(t, err)
		assert.Zero(t, u.Running+u.Suspended+u.Waiting, name)
	}
}
