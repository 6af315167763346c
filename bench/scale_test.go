package bench_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/metrics"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// household is all that a server with tenants as resources opens in its data directory.
type household struct {
	store   *module.Dir
	stored  *admin.Dir
	book    *usage.Book
	tenants *admin.Tenants
	host    *wasmhost.Host
	api     http.Handler
}

func openHousehold(b *testing.B, dir string) *household {
	b.Helper()
	h := &household{}
	var err error
	h.store, err = module.OpenDir(filepath.Join(dir, "modules"))
	require.NoError(b, err)
	h.stored, err = admin.OpenDir(filepath.Join(dir, "tenants"))
	require.NoError(b, err)
	h.book, err = usage.Open(usage.Config{Dir: filepath.Join(dir, "usage")})
	require.NoError(b, err)
	h.tenants, err = admin.Open(b.Context(), admin.Config{Store: h.stored, Usage: h.book})
	require.NoError(b, err)
	h.host, err = h.tenants.Start(b.Context(), wasmhost.Config{
		Store: h.store, CacheDir: filepath.Join(dir, "cache"), Usage: h.book, IdleTimeout: time.Hour, Compilers: runtime.GOMAXPROCS(0),
	})
	require.NoError(b, err)
	watched, err := metrics.New(metrics.Config{})
	require.NoError(b, err)
	require.NoError(b, watched.Watch(h.host))
	empty := registry.New(nil)
	srv, err := server.New(server.Config{
		Host: h.host, Tenants: h.tenants, Usage: h.book, Metrics: watched, Registry: func(string) (*registry.Registry, error) { return empty, nil },
	})
	require.NoError(b, err)
	h.api = srv.Handler()
	return h
}

func (h *household) close(b *testing.B) {
	b.Helper()
	h.tenants.Close()
	require.NoError(b, errors.Join(h.host.Close(context.Background()), h.book.Close(), h.stored.Close(), h.store.Close()))
}

// get returns how long a request took.
func (h *household) get(b *testing.B, path string) time.Duration {
	b.Helper()
	began := time.Now()
	answer := httptest.NewRecorder()
	h.api.ServeHTTP(answer, httptest.NewRequestWithContext(b.Context(), http.MethodGet, path, http.NoBody))
	require.Equal(b, http.StatusOK, answer.Code, path)
	return time.Since(began)
}

// quantile is of times that are sorted.
func quantile(sorted []time.Duration, q float64) float64 {
	return float64(sorted[min(len(sorted)-1, int(float64(len(sorted))*q))].Nanoseconds()) / 1000
}

// programs is how many different programs the tenants of BenchmarkTenantScale have. No two modules are alike, and
// those of one program share their machine code: to compile 10,000 would take a quarter of an hour before anything is
// measured. BenchmarkTenants says what programs of their own cost.
const programs = 100

// BenchmarkTenantScale starts a server whose data directory holds so many tenants with a module each, and calls
// them: how each figure grows is what it is for. With -short it has 20 tenants alone: to make 10,000
// takes minutes.
func BenchmarkTenantScale(b *testing.B) {
	sizes := []int{few(100, 20), 1_000, 10_000}[:few(3, 1)]
	wasm := guest(b, "../examples/calc/calc.wasm", "")
	for _, n := range sizes {
		b.Run(fmt.Sprintf("tenants=%d", n), func(b *testing.B) {
			dir := b.TempDir()
			names := make([]string, n)
			for i := range names {
				names[i] = fmt.Sprintf("tenant%05d", i)
			}
			names[0] = wasmhost.DefaultTenant
			populate(b, dir, names, wasm)
			for b.Loop() {
				measureScale(b, dir, names)
			}
		})
	}
}

func populate(b *testing.B, dir string, names []string, wasm []byte) {
	b.Helper()
	began := time.Now()
	h := openHousehold(b, dir)
	defer h.close(b)
	inParallel(b, names, func(i int, name string) error {
		if name != wasmhost.DefaultTenant {
			if _, err := h.tenants.Create(b.Context(), name, admin.Settings{Quota: tenants.Quota{Concurrency: 4}}, ""); err != nil {
				return err
			}
		}
		_, err := h.host.Load(b.Context(), name, wasmhost.Upload{Wasm: append(distinct(b, wasm, i%programs), w.Custom("tenant", []byte(name))...)})
		return err
	})
	b.Logf("%d tenants and modules made in %v", len(names), time.Since(began).Round(time.Millisecond))
}

func measureScale(b *testing.B, dir string, names []string) {
	b.Helper()
	n := float64(len(names))
	before, routines, files := resident(b), runtime.NumGoroutine(), descriptors()
	began, cpu := time.Now(), processorTime()
	h := openHousehold(b, dir)
	defer h.close(b)
	started, worked := time.Since(began), processorTime()-cpu
	b.ReportMetric(float64(started.Milliseconds()), "start-ms")
	b.ReportMetric(float64(worked.Microseconds())/n, "start-cpu-µs/tenant")
	b.ReportMetric((resident(b)-before)/n/1024, "idle-KiB/tenant")

	var listed, scraped []time.Duration
	for range 5 {
		listed = append(listed, h.list(b, len(names)))
		scraped = append(scraped, h.get(b, "/metrics"))
	}
	b.ReportMetric(float64(slices.Min(listed).Microseconds())/n, "list-µs/tenant")
	b.ReportMetric(float64(slices.Min(scraped).Microseconds())/n, "scrape-µs/tenant")

	actions := make([]action.Action, len(names))
	first := make([]time.Duration, len(names))
	in := request(1 << 10)
	cpu = processorTime()
	for i, name := range names {
		var err error
		began := time.Now()
		actions[i], err = h.host.Provider(name).Resolve(b.Context(), action.Key{Kind: action.Tool, Name: "calc/add"})
		require.NoError(b, err)
		_, err = actions[i].RunJSON(b.Context(), in, nil)
		require.NoError(b, err)
		first[i] = time.Since(began)
	}
	b.ReportMetric(float64((processorTime()-cpu).Microseconds())/n, "first-cpu-µs")
	slices.Sort(first)
	b.ReportMetric(quantile(first, 0.5), "first-p50-µs")
	b.ReportMetric(quantile(first, 0.99), "first-p99-µs")
	b.ReportMetric((resident(b)-before)/n/1024, "called-KiB/tenant")

	took := steady(b, actions, in)
	b.ReportMetric(quantile(took.each, 0.5), "steady-p50-µs")
	b.ReportMetric(quantile(took.each, 0.99), "steady-p99-µs")
	b.ReportMetric(float64(len(took.each))/took.all.Seconds(), "steady-calls/s")
	b.ReportMetric(took.cpu.Seconds()*1e6/float64(len(took.each)), "steady-cpu-µs/call")
	b.ReportMetric(float64(runtime.NumGoroutine()-routines), "goroutines")
	b.ReportMetric(float64(descriptors()-files), "descriptors")
	b.ReportMetric(0, "ns/op") // the sum of all of it says nothing
}

// list reads the list of tenants, page by page.
func (h *household) list(b *testing.B, want int) time.Duration {
	b.Helper()
	began := time.Now()
	got, after := 0, ""
	for more := true; more; {
		var page []admin.Tenant
		if page, more = h.tenants.List(after, 100); len(page) > 0 {
			after = page[len(page)-1].Name
		}
		got += len(page)
	}
	took := time.Since(began)
	require.Equal(b, want, got)
	return took
}

// steadily is what calls of many tenants took.
type steadily struct {
	each     []time.Duration // sorted
	all, cpu time.Duration
}

// steady calls the tools one after the other from a caller for each processor, no tenant twice in a row, 20,000
// times in all.
func steady(b *testing.B, actions []action.Action, in []byte) steadily {
	b.Helper()
	callers, calls := runtime.GOMAXPROCS(0), few(20_000, 500)
	var mu sync.Mutex
	var s steadily
	var wg sync.WaitGroup
	cpu, began := processorTime(), time.Now()
	for c := range callers {
		wg.Go(func() {
			took := make([]time.Duration, 0, calls/callers)
			for i := c; i < calls; i += callers {
				from := time.Now()
				if _, err := actions[i*7919%len(actions)].RunJSON(context.Background(), bytes.Clone(in), nil); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(from))
			}
			mu.Lock()
			defer mu.Unlock()
			s.each = append(s.each, took...)
		})
	}
	wg.Wait()
	s.all, s.cpu = time.Since(began), processorTime()-cpu
	slices.Sort(s.each)
	return s
}

// descriptors counts the open files of this process, 0 where that can't be told.
func descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}
