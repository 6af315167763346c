package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// resident returns this process's memory in bytes, 0 where it can't be told.
func resident(tb testing.TB) float64 {
	tb.Helper()
	runtime.GC() // twice, for what has a finaliser: code is one
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			require.NoError(tb, err)
			return kib * 1024
		}
	}
	return 0
}

// distinct returns a module that differs from every other of its kind in what is
// compiled, not just in a section that is dropped.
func distinct(tb testing.TB, wasm []byte, i int) []byte {
	tb.Helper()
	old := []byte("the input is not JSON")
	require.Equal(tb, 1, bytes.Count(wasm, old))
	return bytes.Replace(wasm, old, fmt.Appendf(nil, "the input is no %05d", i), 1)
}

func tenantNames(n int) ([]string, map[string]wasmhost.TenantConfig) {
	names, limits := make([]string, n), map[string]wasmhost.TenantConfig{}
	for i := range names {
		names[i] = fmt.Sprintf("tenant%d", i)
		limits[names[i]] = wasmhost.TenantConfig{}
	}
	return names, limits
}

// BenchmarkTenants calls the tools of a thousand tenants, each of which has a module of
// its own: every call on a fresh state, metered, with a deadline, in its tenant's turn. It
// reports what the process holds and how long calls take.
func BenchmarkTenants(b *testing.B) {
	tenants := few(1000, 20)
	names, limits := tenantNames(tenants)
	before := resident(b)
	host, err := wasmhost.New(b.Context(), wasmhost.Config{CacheDir: b.TempDir(), Tenants: limits, Compiler: compiler})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, host.Close(context.Background())) })
	wasm := guest(b, "../examples/calc/calc.wasm", "")
	start := time.Now()
	inParallel(b, names, func(i int, name string) error {
		_, err := host.Load(b.Context(), name, wasmhost.Upload{Wasm: distinct(b, wasm, i)})
		return err
	})
	loaded := time.Since(start)
	for _, tool := range []string{"echo", "add"} {
		actions := make([]action.Action, tenants)
		for i, name := range names {
			actions[i], err = host.Provider(name).Resolve(b.Context(), action.Key{Kind: action.Tool, Name: "calc/" + tool})
			require.NoError(b, err)
			_, err = actions[i].RunJSON(b.Context(), request(1<<10), nil)
			require.NoError(b, err)
		}
		held := resident(b)
		b.Run("tool="+tool+"/size=1KB", func(b *testing.B) {
			var next atomic.Int64
			var mu sync.Mutex
			var all []time.Duration
			in := json.RawMessage(request(1 << 10))
			cpu := processorTime()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var took []time.Duration
				for pb.Next() {
					n := next.Add(1)
					from := time.Now()
					if _, err := actions[n*7919%int64(tenants)].RunJSON(context.Background(), in, nil); err != nil {
						b.Error(err)
						return
					}
					if n%16 == 0 {
						took = append(took, time.Since(from))
					}
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, took...)
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			// On a machine that is busy with other things, what counts is the processor time.
			b.ReportMetric((processorTime()-cpu).Seconds()*1e6/float64(b.N), "cpu-µs/call")
			b.ReportMetric(held/(1<<20), "MiB")
			b.ReportMetric((held-before)/float64(tenants)/1024, "KiB/tenant")
			b.ReportMetric(float64(loaded.Milliseconds())/float64(tenants), "ms/load")
			if slices.Sort(all); len(all) > 0 {
				b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
			}
		})
	}
}

func inParallel(tb testing.TB, names []string, do func(i int, name string) error) {
	tb.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, name := range names {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := do(i, name); err != nil {
				tb.Error(err)
			}
		})
	}
	wg.Wait()
}

// BenchmarkIdleGoTenants loads the Go guest for many tenants, calls it, and lets them
// fall idle. It reports what each still holds, and what the first call after that costs,
// beside a call that finds its instance.
func BenchmarkIdleGoTenants(b *testing.B) {
	tenants := few(100, 4)
	cache := b.TempDir()
	if testing.Short() {
		cache = cacheDir(b) // what other benchmarks have compiled
	}
	names, limits := tenantNames(tenants)
	wasm := guest(b, "guests/gocalc", "")
	sidecar := []byte(`{"abi":"genkit/1","name":"calc","tools":[{"name":"add","inputSchema":` + inputSchema + `,"outputSchema":` + outputSchema + `}]}`)
	before, n := resident(b), float64(tenants)
	host, err := wasmhost.New(b.Context(), wasmhost.Config{CacheDir: cache, Tenants: limits, Compiler: compiler})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, host.Close(context.Background())) })
	empty := resident(b)
	actions := make([]action.Action, tenants)
	start := time.Now()
	for i, name := range names {
		_, err := host.Load(b.Context(), name, wasmhost.Upload{Wasm: wasm, Descriptor: sidecar})
		require.NoError(b, err)
		if i == 0 {
			b.Logf("compiled in %v", time.Since(start))
		}
		actions[i], err = host.Provider(name).Resolve(b.Context(), action.Key{Kind: action.Tool, Name: "calc/add"})
		require.NoError(b, err)
	}
	call := func(b *testing.B, i int) {
		_, err := actions[i%tenants].RunJSON(context.Background(), request(1<<10), nil)
		require.NoError(b, err)
	}
	for i := range tenants {
		call(b, i)
	}
	warm := resident(b)
	host.Evict(0)
	idle := resident(b)
	b.Logf("%d tenants: %.0f KiB each warm, %.0f KiB each once evicted; the host without them %.1f MiB, the process %.1f MiB",
		tenants, (warm-empty)/n/1024, (idle-empty)/n/1024, (empty-before)/(1<<20), idle/(1<<20))
	b.Run("call=first_after_eviction", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			host.Evict(0)
			b.StartTimer()
			call(b, 0)
		}
		b.ReportMetric((idle-empty)/n/1024, "KiB/idle-tenant")
	})
	b.Run("call=warm", func(b *testing.B) {
		call(b, 0)
		for b.Loop() {
			call(b, 0)
		}
		b.ReportMetric((warm-empty)/n/1024, "KiB/warm-tenant")
	})
}

// BenchmarkLoad measures bringing a module into service: compiled in a process
// of its own, or read from the authenticated cache after a restart.
func BenchmarkLoad(b *testing.B) {
	for _, v := range []struct{ name, source, sidecar string }{
		{"c", "../examples/calc/calc.wasm", ""},
		{"go", "guests/gocalc", `{"abi":"genkit/1","name":"calc","tools":[{"name":"add"}]}`},
	}[:few(2, 1)] { // the Go guest is compiled in each case, for half a minute on a busy machine
		up := wasmhost.Upload{Wasm: guest(b, v.source, ""), Descriptor: []byte(v.sidecar)}
		for _, how := range []string{"child", "in_process", "cached"} {
			b.Run("guest="+v.name+"/code="+how, func(b *testing.B) {
				config := wasmhost.Config{CacheDir: b.TempDir(), Compiler: compiler}
				if how == "in_process" {
					config.Compiler = nil
				}
				if how == "cached" {
					load(b, config, up)
				}
				for b.Loop() {
					if how != "cached" {
						b.StopTimer()
						config.CacheDir = b.TempDir()
						b.StartTimer()
					}
					load(b, config, up)
				}
			})
		}
	}
}

func load(b *testing.B, config wasmhost.Config, up wasmhost.Upload) {
	b.Helper()
	host, err := wasmhost.New(b.Context(), config)
	require.NoError(b, err)
	_, err = host.Load(b.Context(), wasmhost.DefaultTenant, up)
	require.NoError(b, err)
	require.NoError(b, host.Close(b.Context()))
}

// The modules of the thousand tenants are modules, each another.
func TestDistinctModulesDiffer(t *testing.T) {
	wasm := guest(t, "../examples/calc/calc.wasm", "")
	host, err := wasmhost.New(t.Context(), wasmhost.Config{ReplaceVersions: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, host.Close(t.Context())) }()
	seen := map[string]bool{}
	for i := range 3 {
		rec, err := host.Load(t.Context(), wasmhost.DefaultTenant, wasmhost.Upload{Wasm: distinct(t, wasm, i)})
		require.NoError(t, err)
		seen[rec.Digest] = true
	}
	require.Len(t, seen, 3)
}
