package bench_test

import (
	"context"
	"encoding/json"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// spinners are three ways of never coming back: a loop, a tree of 2^45 calls without a
// loop, and filling 16 MiB over and over.
func spinners() map[string][]byte {
	one := func(pages uint32, bodies ...[]byte) []byte {
		sections := [][]byte{w.Types(w.FuncType("", "i")), w.Funcs(make([]uint32, len(bodies))...)}
		if pages > 0 {
			sections = append(sections, w.Memories(w.Limits(pages, pages)))
		}
		return w.Module(append(sections, w.Exports(w.Export("f", 0, 0)), w.Code(bodies...),
			w.Custom("genkit.module", []byte(`{"abi":"genkit/1","name":"spin","tools":[{"name":"f"}]}`)))...)
	}
	var tree [][]byte
	for i := range uint32(45) {
		tree = append(tree, w.Body("", w.Cat([]byte{0x10}, w.U32(i+1), []byte{0x1a, 0x10}, w.U32(i+1))...))
	}
	fill := w.Cat([]byte{0x41, 0, 0x41, 1, 0x41}, w.S64(16<<20), []byte{0xfc, 11, 0})
	return map[string][]byte{
		"loop": one(0, w.Body("", 0x03, 0x40, 0x0c, 0, 0x0b, 0x00)),
		"tree": one(0, append(tree, w.Body("", 0x41, 0))...),
		"fill": one(256, w.Body("", w.Cat([]byte{0x03, 0x40}, slices.Concat(slices.Repeat([][]byte{fill}, 100)...), []byte{0x0c, 0, 0x0b, 0x00})...)),
	}
}

// crowd is a host with a small tool, and 64 calls at a time of another tenant's tools that
// never return.
type crowd struct {
	small  action.Action
	spin   []action.Action
	mu     sync.Mutex
	late   time.Duration // guarded by mu: the latest end after a deadline
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

const (
	hostile      = "hostile" // the tenant of those
	crowdSize    = 64
	crowdTimeout = time.Second
)

func newCrowd(b *testing.B) *crowd {
	b.Helper()
	host, err := wasmhost.New(b.Context(), wasmhost.Config{
		CacheDir: cacheDir(b),
		Limits:   policy.Limits{TimeoutMS: crowdTimeout.Milliseconds(), Fuel: 1 << 50, Concurrency: crowdSize},
		Tenants:  map[string]wasmhost.TenantConfig{hostile: {}},
		Quota:    tenants.Quota{Concurrency: crowdSize}, // or half of them would only wait
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, host.Close(context.Background())) })
	load := func(tenant, name string, wasm []byte, tool string) action.Action {
		_, err := host.Load(b.Context(), tenant, wasmhost.Upload{Name: name, Wasm: wasm})
		require.NoError(b, err)
		a, err := host.Provider(tenant).Resolve(b.Context(), action.Key{Kind: action.Tool, Name: name + "/" + tool})
		require.NoError(b, err)
		return a
	}
	c := &crowd{small: load(wasmhost.DefaultTenant, "calc", guest(b, "../examples/calc/calc.wasm", ""), "add")}
	for name, wasm := range spinners() {
		c.spin = append(c.spin, load(hostile, name, wasm, "f"))
	}
	return c
}

// start lets 64 calls run over and over, each to its deadline.
func (c *crowd) start(b *testing.B) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	c.cancel, c.late = cancel, 0
	for i := range crowdSize {
		c.wg.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				_, err := c.spin[i%len(c.spin)].RunJSON(ctx, json.RawMessage(`{}`), nil)
				if status.Of(err) != status.DeadlineExceeded {
					return // the end
				}
				c.mu.Lock()
				c.late = max(c.late, time.Since(start)-crowdTimeout)
				c.mu.Unlock()
			}
		})
	}
}

func (c *crowd) stop() {
	c.cancel()
	c.wg.Wait()
}

// BenchmarkNeighbour calls a small tool once every millisecond: alone, beside one ordinary
// Go loop (which shows what the machine itself makes of a busy processor), and beside 64
// guests that never return. A call's lateness counts from when it was due.
func BenchmarkNeighbour(b *testing.B) {
	c := newCrowd(b)
	b.Run("beside=nobody", func(b *testing.B) { c.measure(b) })
	b.Run("beside=a_Go_loop", func(b *testing.B) {
		var stop atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			for !stop.Load() {
			}
		})
		c.measure(b)
		stop.Store(true)
		wg.Wait()
	})
	b.Run("beside=64_guests", func(b *testing.B) {
		c.start(b)
		c.measure(b)
		c.stop()
		c.mu.Lock()
		defer c.mu.Unlock()
		b.ReportMetric(float64(c.late.Nanoseconds()), "late-ns")
	})
}

// measure reports percentiles, and the time of a garbage collection in the middle.
func (c *crowd) measure(b *testing.B) {
	b.Helper()
	var took []time.Duration
	var gc time.Duration
	due := time.Now()
	for b.Loop() {
		due = due.Add(time.Millisecond)
		time.Sleep(time.Until(due)) // the pace of the calls
		if _, err := c.small.RunJSON(b.Context(), json.RawMessage(`{"a":40,"b":2}`), nil); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(due))
		if len(took)%500 == 250 {
			start := time.Now()
			runtime.GC()
			gc = max(gc, time.Since(start))
			due = time.Now()
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
	b.ReportMetric(float64(gc.Nanoseconds()), "gc-ns")
}
