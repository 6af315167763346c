package worker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// testWriter logs into a test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// newPool makes a pool whose workers are this test.
func newPool(t testing.TB, change func(*Config)) *Pool {
	t.Helper()
	sb, err := sandbox.New(t.Context(), sandbox.Config{CacheDir: t.TempDir(), Compiler: program})
	require.NoError(t, err)
	config := Config{Command: program, Sandbox: sb, MemoryBytes: 256 << 20, Spare: true, Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil))}
	if change != nil {
		change(&config)
	}
	p, err := New(config)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, p.Close(context.Background()))
		require.NoError(t, sb.Close(context.Background()))
	})
	return p
}

func testLimits() sandbox.Limits {
	return sandbox.Limits{
		Timeout: 5 * time.Second, Fuel: 2_000_000_000, MemoryBytes: 32 << 20, TableElements: 10_000,
		InputBytes: 1 << 20, OutputBytes: 1 << 20, Concurrency: 64,
	}
}

// counter is the conformance module, whose function "counter" gives {"count":1} from a
// fresh state.
func counter(t testing.TB, p *Pool, class string) *Module {
	t.Helper()
	return compiled(t, p, class, "conformance.wasm")
}

// capabilities is the module whose functions ask the host for what they are called.
func capabilities(t testing.TB, p *Pool, class string) *Module {
	t.Helper()
	return compiled(t, p, class, "capabilities.wasm")
}

func compiled(t testing.TB, p *Pool, class, file string, account ...*share.Account) *Module {
	t.Helper()
	wasm, err := os.ReadFile("../../../pdk/conformance/c/" + file)
	require.NoError(t, err)
	parsed, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err)
	src := sandbox.Source{
		Wasm: wasm, Module: parsed, Limits: testLimits(),
		Original: func(context.Context) ([]byte, error) { return wasm, nil },
	}
	if len(account) > 0 {
		src.Account = account[0]
	}
	m, err := p.Compile(t.Context(), class, src)
	require.NoError(t, err)
	return m
}

func ask(ctx context.Context, m *Module, input string) (string, error) {
	res, err := m.Call(ctx, sandbox.Call{Export: "counter", Input: []byte(input)})
	if err != nil {
		return "", err
	}
	return string(res.Output), nil
}

func TestACallRunsInAWorker(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream=%v", stream), func(t *testing.T) {
			p := newPool(t, func(c *Config) { c.Stream = stream })
			m := counter(t, p, "a")
			for range 3 {
				out, err := ask(t.Context(), m, `{}`)
				require.NoError(t, err)
				require.JSONEq(t, `{"count":1}`, out)
			}
			require.Equal(t, 1, p.Workers())
		})
	}
}

// Memory that a worker frees without a call, and memory of a worker that has ended, no
// longer counts for its account.
func TestTheServerLearnsWhatAnAccountHolds(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream=%v", stream), func(t *testing.T) {
			p := newPool(t, func(c *Config) { c.Stream = stream })
			a := p.config.Sandbox.NewAccount(share.AccountLimits{MemoryBytes: 64 << 20})
			m := compiled(t, p, "a", "conformance.wasm", a)
			held := func() int64 { now, _ := a.MemoryBytes(); return now }
			call := func() {
				_, err := ask(t.Context(), m, `{}`)
				require.NoError(t, err)
				require.Positive(t, held(), "an instance waits for the next call")
			}
			comesTo := func(why string) {
				require.Eventually(t, func() bool { return held() == 0 }, 10*time.Second, time.Millisecond, why)
			}
			call()
			p.Evict(0)
			comesTo("evicted")
			call()
			p.mu.Lock()
			workers := slices.Collect(maps.Keys(p.workers))
			p.mu.Unlock()
			for _, w := range workers {
				w.kill("a test")
			}
			comesTo("the worker has ended")
			call()
			m.Close()
			comesTo("the module has been closed")
			p.DropAccount(a)
			require.Empty(t, p.accounts)
		})
	}
}

// The pool's lock is taken before a worker's: one that ends, and waits for the pool, holds
// nothing that somebody with the pool's lock may want.
func TestAWorkerThatEndsWaitsForThePoolWithoutItsLock(t *testing.T) {
	p := newPool(t, nil)
	a := p.config.Sandbox.NewAccount(share.AccountLimits{MemoryBytes: 64 << 20})
	m := compiled(t, p, "a", "conformance.wasm", a)
	_, err := ask(t.Context(), m, `{}`)
	require.NoError(t, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.classes["a"].worker
	w.kill("a test")
	<-w.exited
	require.Eventually(t, func() bool { now, _ := a.MemoryBytes(); return now == 0 }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool {
		free := w.mu.TryLock()
		if free {
			w.mu.Unlock()
		}
		return free
	}, 10*time.Second, time.Millisecond)
}
