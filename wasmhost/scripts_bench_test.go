package wasmhost_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

const counter = `
tool({ name: "tiny", run: ({ n }) => ({ n: n + 1 }) });
tool({ name: "words", run: ({ text }) => {
  const seen = new Map();
  for (const [word] of text.toLowerCase().matchAll(/[a-z]+/g)) seen.set(word, (seen.get(word) ?? 0) + 1);
  return [...seen].sort((a, b) => b[1] - a[1]).slice(0, 3);
} });`

// BenchmarkScript calls the tools of a script, each call on a fresh state, schemas checked.
func BenchmarkScript(b *testing.B) {
	h := scriptHost(b, nil)
	_, err := h.Load(b.Context(), tenant, scripted("m", counter))
	require.NoError(b, err)
	kilobyte := strings.Repeat("the quick brown fox jumps over the lazy dog ", 24)[:1024]
	for name, in := range map[string]string{"tiny": `{"n":1}`, "words": fmt.Sprintf(`{"text":%q}`, kilobyte)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, err := call(b, h, "m/"+name, in)
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkNewScript puts scripts into service, in memory: transforms each here or in a process of its own, evaluates it
// and asks it for its descriptor. It reports what a script that waits for calls holds, and of the process, where /proc tells, how many
// more files it has open, and its resident memory with an instance of each script and without: -benchtime 10000x is a server with ten thousand scripts.
func BenchmarkNewScript(b *testing.B) {
	for name, compiler := range map[string][]string{"here": nil, "process": program} {
		b.Run(name, func(b *testing.B) {
			h := scriptHost(b, func(c *wasmhost.Config) {
				c.Compiler, c.Quota = compiler, tenants.Quota{Modules: 1 << 20}
			})
			n := 0
			load := func() {
				n++
				_, err := h.Load(b.Context(), tenant, scripted(fmt.Sprintf("m%d", n), fmt.Sprintf("%s\n// %d", counter, n)))
				require.NoError(b, err)
			}
			load() // compiles the engine
			before, err := h.Usage(tenant)
			require.NoError(b, err)
			files := openFiles()
			for b.Loop() {
				load()
			}
			after, err := h.Usage(tenant)
			require.NoError(b, err)
			b.ReportMetric(float64(after.MemoryBytes-before.MemoryBytes)/float64(n-1)/1024, "KiB/script")
			b.ReportMetric(float64(openFiles()-files), "files-more")
			b.ReportMetric(float64(residentBytes())/(1<<20), "MiB-resident")
			h.Evict(0)
			b.ReportMetric(float64(residentBytes())/(1<<20), "MiB-resident-idle")
		})
	}
}

// openFiles is how many files the process has open; 0 where /proc does not tell.
func openFiles() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

// residentBytes is the memory of the process that is resident, without what it has given back; 0 where /proc does not tell.
func residentBytes() (bytes int64) {
	debug.FreeOSMemory()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var total, pages int64
	_, _ = fmt.Sscan(string(raw), &total, &pages) // it is the kernel's
	return pages * int64(os.Getpagesize())
}
