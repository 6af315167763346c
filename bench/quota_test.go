package bench_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/internal/ballast"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// BenchmarkTenfoldQuota sends requests of one tenant at a steady pace, beside another tenant that keeps to its
// quota of 12,000 calls a minute, one that sends ten times as many, and none, by turns; a
// round of each is 300 requests. The heap has the ballast that serve gives it. It reports the 99th percentile of the first one's requests in each case, and the ratios.
func BenchmarkTenfoldQuota(b *testing.B) {
	const perSecond = 200
	defer ballast.Keep(32 << 20)()
	quiet, noisy := "quiet", "noisy"
	host, err := wasmhost.New(b.Context(), wasmhost.Config{
		CacheDir: cacheDir(b),
		Tenants:  map[string]wasmhost.TenantConfig{quiet: {}, noisy: {Quota: tenants.Quota{CallsPerMinute: 60 * perSecond}}},
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, host.Close(context.Background())) })
	registries := map[string]*registry.Registry{}
	eng, err := engine.New(b.Context(), engine.Config{})
	require.NoError(b, err)
	for _, name := range []string{quiet, noisy} {
		_, err := host.Load(b.Context(), name, wasmhost.Upload{Wasm: guest(b, "../examples/calc/calc.wasm", "")})
		require.NoError(b, err)
		child := eng.Child()
		require.NoError(b, child.AddProvider(host.Provider(name)))
		registries[name] = child.Registry()
	}
	srv, err := server.New(server.Config{Host: host, Registry: func(name string) (*registry.Registry, error) { return registries[name], nil }})
	require.NoError(b, err)
	body := `{"input":` + string(request(1<<10)) + `}`
	send := func(ctx context.Context, tenant string) int {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/tenants/"+tenant+"/tools/calc/add", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, r)
		return w.Code
	}
	// crowd sends at a pace, from several senders, until it is ended; it returns how many were refused.
	crowd := func(pace int) (end func() (sent, refused int)) {
		if pace == 0 {
			return func() (int, int) { return 0, 0 }
		}
		const senders = 10
		ctx, cancel := context.WithCancel(b.Context())
		var mu sync.Mutex
		var wg sync.WaitGroup
		var sent, refused int
		for range senders {
			wg.Go(func() {
				tick := time.NewTicker(time.Second * senders / time.Duration(pace))
				defer tick.Stop()
				for {
					select {
					case <-ctx.Done():
						return
					case <-tick.C:
					}
					code := send(context.WithoutCancel(ctx), noisy)
					mu.Lock()
					sent++
					if code == http.StatusTooManyRequests {
						refused++
					}
					mu.Unlock()
				}
			})
		}
		return func() (int, int) {
			cancel()
			wg.Wait()
			return sent, refused
		}
	}
	cases := []struct {
		name string
		pace int
	}{{"alone", 0}, {"at_quota", perSecond}, {"tenfold", 10 * perSecond}}
	times := map[string][]time.Duration{}
	var refused int
	send(b.Context(), quiet)
	round := func() {
		for _, c := range cases {
			end := crowd(c.pace)
			due := time.Now()
			for range 300 {
				due = due.Add(time.Millisecond)
				time.Sleep(time.Until(due)) // the pace of the requests
				from := time.Now()
				require.Equal(b, http.StatusOK, send(b.Context(), quiet))
				times[c.name] = append(times[c.name], time.Since(from))
				if time.Since(due) > 10*time.Millisecond {
					due = time.Now() // the machine was away: nothing is to be made up for
				}
			}
			_, n := end()
			refused += n
		}
	}
	for send(b.Context(), noisy) == http.StatusOK { // a minute's calls are in hand at first
	}
	for b.Loop() {
		round()
	}
	p99 := map[string]float64{}
	for _, c := range cases {
		slices.Sort(times[c.name])
		p99[c.name] = quantile(times[c.name], 0.99)
		b.ReportMetric(p99[c.name], c.name+"-p99-µs")
	}
	require.Positive(b, refused, "what is above the quota is refused")
	b.ReportMetric(p99["tenfold"]/p99["at_quota"], "tenfold/at_quota")
	b.ReportMetric(p99["tenfold"]/p99["alone"], "tenfold/alone")
	b.ReportMetric(float64(refused)/float64(b.N), "refused/round")
	b.ReportMetric(0, "ns/op")
}
