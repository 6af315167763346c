package sandbox_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// latencies calls a small tool for a while and returns its 50th and 99th percentile.
func latencies(t testing.TB, m *sandbox.Module, calls int) (p50, p99 time.Duration) {
	t.Helper()
	took := make([]time.Duration, calls)
	due := time.Now()
	for i := range took { // a call is due every millisecond; its lateness counts
		due = due.Add(time.Millisecond)
		time.Sleep(time.Until(due)) // the pace of the calls
		_, err := m.Call(t.Context(), sandbox.Call{Export: "counter"})
		require.NoError(t, err)
		took[i] = time.Since(due)
	}
	slices.Sort(took)
	return took[calls/2], took[calls*99/100]
}

// 64 guests that never return share what is left beside those that do.
func TestSpinningGuestsLeaveTheirNeighboursAlone(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	small := compile(t, sb, read(t, conformance), limits())
	lim := limits()
	lim.Timeout, lim.Fuel, lim.Concurrency = 3*time.Second, 1<<60, 64
	hostile := []*sandbox.Module{compile(t, sb, loopModule(), lim), compile(t, sb, callTree(45), lim), compile(t, sb, fills(), lim)}
	calm50, calm99 := latencies(t, small, 500)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var late time.Duration
	for i := range 64 {
		wg.Go(func() {
			start := time.Now()
			_, err := hostile[i%len(hostile)].Call(ctx, sandbox.Call{Export: "f"})
			over := time.Since(start) - lim.Timeout
			assert.Contains(t, []status.Code{status.DeadlineExceeded, status.Cancelled}, status.Of(err), "%v", err)
			mu.Lock()
			late = max(late, over)
			mu.Unlock()
		})
	}
	busy50, busy99 := latencies(t, small, 500)
	gc := time.Now()
	runtime.GC()
	collected := time.Since(gc)
	wg.Wait()
	t.Logf("p50 %v → %v, p99 %v → %v, GC %v, latest end %v after its deadline", calm50, busy50, calm99, busy99, collected, late)
	// Bounds that a loaded machine keeps; what is measured is logged.
	assert.Less(t, busy99, 3*time.Second)
	assert.Less(t, collected, 10*time.Second)
	assert.Less(t, late, 10*time.Second)
}
