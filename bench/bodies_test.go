package bench_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
)

// BenchmarkNeighbourOfBodies is a tenant's small call over HTTP, made one at a time: alone, and beside
// 500 callers of another tenant whose bodies have 240 KB each, as fast as the server takes them. The
// callers run in this process, too: their work counts as the server's.
func BenchmarkNeighbourOfBodies(b *testing.B) {
	const loud = "loud"
	callers := few(500, 20)
	registries := map[string]*registry.Registry{}
	host, err := wasmhost.New(b.Context(), wasmhost.Config{
		CacheDir: cacheDir(b), Tenants: map[string]wasmhost.TenantConfig{loud: {}},
		Registry: func(tenant string) (*registry.Registry, error) { return registries[tenant], nil },
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, host.Close(context.Background())) })
	for _, tenant := range []string{wasmhost.DefaultTenant, loud} {
		reg := registry.New(nil)
		require.NoError(b, reg.AddProvider(host.Provider(tenant)))
		registries[tenant] = reg
		_, err := host.Load(b.Context(), tenant, wasmhost.Upload{Name: "calc", Wasm: guest(b, "../examples/calc/calc.wasm", "")})
		require.NoError(b, err)
	}
	srv, err := server.New(server.Config{Host: host, Registry: func(tenant string) (*registry.Registry, error) { return registries[tenant], nil }})
	require.NoError(b, err)
	ts := httptest.NewServer(srv.Handler())
	b.Cleanup(ts.Close)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	b.Cleanup(client.CloseIdleConnections)
	post := func(ctx context.Context, tenant, tool string, body []byte) int {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, ts.URL+"/v1/tenants/"+tenant+"/tools/"+tool, bytes.NewReader(body))
		if err != nil {
			return 0
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body) // its status says enough
		return resp.StatusCode
	}
	small := []byte(`{"input":{"a":1,"b":2}}`)
	big := []byte(`{"input":{"text":"` + strings.Repeat("a", 240_000) + `"}}`)
	p99 := func(b *testing.B) time.Duration {
		b.Helper()
		times := make([]time.Duration, few(100, 10))
		for i := range times {
			start := time.Now()
			require.Equal(b, http.StatusOK, post(b.Context(), wasmhost.DefaultTenant, "calc/add", small))
			times[i] = time.Since(start)
		}
		slices.Sort(times)
		return times[len(times)*99/100]
	}
	for b.Loop() {
		alone := p99(b)
		ctx, stop := context.WithCancel(b.Context())
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for ctx.Err() == nil {
					post(ctx, loud, "calc/echo", big)
				}
			})
		}
		beside := p99(b)
		stop()
		wg.Wait()
		b.ReportMetric(float64(alone.Nanoseconds()), "alone-p99-ns")
		b.ReportMetric(float64(beside.Nanoseconds()), "beside-p99-ns")
	}
}
