package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// isolatedTools makes the same tool in a host of each mode.
func isolatedTools(b *testing.B, wasm []byte, raw, name string) (tools map[wasmhost.Isolation]action.Action) {
	b.Helper()
	p, err := policy.Parse([]byte(raw))
	require.NoError(b, err)
	tools = map[wasmhost.Isolation]action.Action{}
	for _, mode := range []wasmhost.Isolation{wasmhost.InProcess, wasmhost.Process} {
		host, err := wasmhost.New(b.Context(), wasmhost.Config{
			CacheDir: b.TempDir(), Compiler: compiler, Isolation: mode, Grants: &p.Grants,
			Registry: func(string) (*registry.Registry, error) { return registry.New(nil), nil },
		})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, host.Close(context.Background())) })
		_, err = host.Load(b.Context(), wasmhost.DefaultTenant, wasmhost.Upload{Name: "m", Wasm: wasm, Policy: []byte(raw)})
		require.NoError(b, err)
		if tools[mode], err = host.Provider(wasmhost.DefaultTenant).Resolve(b.Context(), action.Key{Kind: action.Tool, Name: name}); err != nil {
			b.Fatal(err)
		}
	}
	return tools
}

// turn calls a tool from so many callers for a while and returns the time of a call.
func turn(b *testing.B, tool action.Action, input json.RawMessage, callers int, d time.Duration) time.Duration {
	b.Helper()
	var wg sync.WaitGroup
	counts := make([]int, callers)
	begin := time.Now()
	for i := range callers {
		wg.Go(func() {
			for time.Since(begin) < d {
				for range 8 {
					if _, err := tool.RunJSON(context.Background(), input, nil); err != nil {
						b.Error(err)
						return
					}
					counts[i]++
				}
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return time.Since(begin) / time.Duration(max(1, total))
}

// medians takes turns of both modes and returns the median of each, and of their ratio.
func medians(b *testing.B, tools map[wasmhost.Isolation]action.Action, input json.RawMessage, callers int) (here, there time.Duration, ratio float64) {
	b.Helper()
	var hs, ts []time.Duration
	var ratios []float64
	for range 15 {
		h := turn(b, tools[wasmhost.InProcess], input, callers, 30*time.Millisecond)
		t := turn(b, tools[wasmhost.Process], input, callers, 30*time.Millisecond)
		hs, ts, ratios = append(hs, h), append(ts, t), append(ratios, float64(t)/float64(h))
	}
	slices.Sort(hs)
	slices.Sort(ts)
	slices.Sort(ratios)
	return hs[len(hs)/2], ts[len(ts)/2], ratios[len(ratios)/2]
}

// BenchmarkIsolation compares whole tool calls of 1 KB in worker processes with the same in
// this process, in turns of one run; ratio is the median of the turns.
func BenchmarkIsolation(b *testing.B) {
	wasm, err := os.ReadFile("../pdk/conformance/c/conformance.wasm")
	require.NoError(b, err)
	tools := isolatedTools(b, wasm, `{}`, "m/echo")
	input := json.RawMessage(`{"text":"` + strings.Repeat("x", 1000) + `"}`)
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			for b.Loop() {
				here, there, ratio := medians(b, tools, input, callers)
				b.ReportMetric(ratio, "ratio")
				b.ReportMetric(float64(here.Nanoseconds())/1e3, "µs/in-process")
				b.ReportMetric(float64(there.Nanoseconds())/1e3, "µs/process")
			}
		})
	}
}

// BenchmarkIsolationNested measures what a host call adds to a tool call, in each mode.
func BenchmarkIsolationNested(b *testing.B) {
	wasm, err := os.ReadFile("../pdk/conformance/c/capabilities.wasm")
	require.NoError(b, err)
	tools := isolatedTools(b, wasm, `{"grants":{"kv":true,"clock":true,"actions":["tool/*"],"generate":["*"],"http":[{"host":"127.0.0.1"}]}}`, "m/now")
	quiet := isolatedTools(b, mustRead(b, "../pdk/conformance/c/conformance.wasm"), `{}`, "m/echo")
	for b.Loop() {
		nestedHere, nestedThere, _ := medians(b, tools, json.RawMessage(`null`), 1)
		here, there, _ := medians(b, quiet, json.RawMessage(`null`), 1)
		b.ReportMetric(float64((nestedHere-here).Nanoseconds())/1e3, "µs-added/in-process")
		b.ReportMetric(float64((nestedThere-there).Nanoseconds())/1e3, "µs-added/process")
	}
}

func mustRead(b *testing.B, file string) []byte {
	b.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(b, err)
	return raw
}

// BenchmarkIsolationTenants has 1,000 tenants call a tool of their own, one after the
// other, each in a worker process, and reports what all processes hold in the end.
func BenchmarkIsolationTenants(b *testing.B) {
	tenants := few(1000, 10)
	wasm := mustRead(b, "../pdk/conformance/c/conformance.wasm")
	for b.Loop() {
		names := map[string]wasmhost.TenantConfig{}
		for i := range tenants {
			names[fmt.Sprintf("t%d", i)] = wasmhost.TenantConfig{}
		}
		host, err := wasmhost.New(b.Context(), wasmhost.Config{CacheDir: b.TempDir(), Compiler: compiler, Isolation: wasmhost.Process, Tenants: names})
		require.NoError(b, err)
		before := heldBy(b, os.Getpid())
		begin := time.Now()
		for i := range tenants {
			name := fmt.Sprintf("t%d", i)
			_, err := host.Load(b.Context(), name, wasmhost.Upload{Name: "m", Wasm: wasm})
			require.NoError(b, err)
			tool, err := host.Provider(name).Resolve(b.Context(), action.Key{Kind: action.Tool, Name: "m/echo"})
			require.NoError(b, err)
			_, err = tool.RunJSON(b.Context(), json.RawMessage(`{}`), nil)
			require.NoError(b, err)
		}
		b.ReportMetric(float64(time.Since(begin).Milliseconds())/float64(tenants), "ms/upload+call")
		own := heldBy(b, os.Getpid())
		workers := 0
		for _, pid := range children(b) {
			own += heldBy(b, pid)
			workers++
		}
		b.ReportMetric(float64(own)/(1<<20), "MiB")
		b.ReportMetric(float64(before)/(1<<20), "MiB-before")
		b.ReportMetric(float64(workers), "workers")
		require.NoError(b, host.Close(context.Background()))
	}
}

// heldBy is the memory of a process that it shares with no other: its proportional set
// size would count the program for each in part, and is not told everywhere.
func heldBy(b *testing.B, pid int) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0 // it has ended, or there is no /proc
	}
	var size, rss, shared int64
	_, _ = fmt.Sscan(string(text), &size, &rss, &shared)
	return (rss - shared) * int64(os.Getpagesize())
}

// children are the processes that this one has started.
func children(b *testing.B) (pids []int) {
	b.Helper()
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		var pid, parent int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, found := strings.Cut(string(stat), ") ")
		var state string
		if _, err := fmt.Sscan(rest, &state, &parent); found && err == nil && parent == os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
