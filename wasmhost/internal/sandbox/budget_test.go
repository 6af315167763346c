package sandbox_test

import (
	"context"
	"encoding/json"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// compileFor compiles a module of an account, whose code may be dropped.
func compileFor(t testing.TB, sb *sandbox.Sandbox, a *share.Account, wasm []byte, lim sandbox.Limits) *sandbox.Module {
	t.Helper()
	parsed, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err)
	m, err := sb.Compile(t.Context(), sandbox.Source{
		Wasm: wasm, Module: parsed, Limits: lim, Account: a,
		Original: func(context.Context) ([]byte, error) { return wasm, nil },
	})
	require.NoError(t, err)
	return m
}

// hold is a module with so many pages, of which f emits 1 and waits with it.
func hold(pages uint32) []byte {
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("ii", "i")),
		w.Imports(w.ImportFunc("genkit_v1", "emit", 1)),
		w.Funcs(0, 0), w.Memories(w.Limits(pages)), w.Exports(w.Export("f", 0, 1), w.Export("ok", 0, 2), w.Export("memory", 2, 0)),
		w.Code(
			w.Body("", opI32Const, 0, opI32Const, 1, opCall, 0, opDrop, opI32Const, 0),
			w.Body("", opI32Const, 0)),
		w.Data(w.Cat([]byte{0, opI32Const, 0, opEnd}, w.U32(1), []byte("1"))))
}

// during runs check while the module's f is under way.
func during(t *testing.T, m *sandbox.Module, check func()) {
	t.Helper()
	_, err := m.Call(t.Context(), sandbox.Call{Export: "f", Emit: func(json.RawMessage) error {
		check()
		return nil
	}})
	require.NoError(t, err)
}

func TestATenantsBudgetBoundsItsCallsTogether(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	mine, yours := sb.NewAccount(share.AccountLimits{MemoryBytes: 8 << 20}), sb.NewAccount(share.AccountLimits{MemoryBytes: 8 << 20})
	a, b := compileFor(t, sb, mine, hold(40), limits()), compileFor(t, sb, mine, hold(41), limits())
	other := compileFor(t, sb, yours, hold(40), limits())
	during(t, a, func() { // 2.5 MiB, and as much for the image
		_, err := b.Call(t.Context(), sandbox.Call{Export: "ok"})
		require.NoError(t, err)
		during(t, b, func() {
			_, err := b.Call(t.Context(), sandbox.Call{Export: "ok"})
			require.ErrorIs(t, err, status.ErrResourceExhausted)
			assert.Contains(t, err.Error(), "calls of the tenant have reached the memory limit of 8 MiB")
			assert.Positive(t, status.Convert(err).RetryAfter)
			_, err = other.Call(t.Context(), sandbox.Call{Export: "ok"})
			require.NoError(t, err, "a tenant pays for another's memory")
		})
	})
	_, err := b.Call(t.Context(), sandbox.Call{Export: "ok"})
	require.NoError(t, err)
	now, most := mine.MemoryBytes()
	assert.Positive(t, now)
	assert.LessOrEqual(t, most, int64(8<<20))
}

// Before a call is refused, what waits is dropped: of other tenants too, when the
// process has too little.
func TestWhatWaitsMakesRoom(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{MemoryBytes: 40 << 20})
	var modules []*sandbox.Module
	for i := range 12 { // 12 × (2.5 + 2.5) MiB
		m := compileFor(t, sb, sb.NewAccount(share.AccountLimits{}), hold(40+uint32(i%2)), limits())
		modules = append(modules, m)
		_, err := m.Call(t.Context(), sandbox.Call{Export: "ok"})
		require.NoError(t, err)
		assert.LessOrEqual(t, sb.MemoryBytes(), int64(40<<20))
	}
	assert.Zero(t, modules[0].Idle(), "the one that has waited longest")
	assert.Equal(t, 1, modules[11].Idle())
	_, err := modules[0].Call(t.Context(), sandbox.Call{Export: "ok"})
	require.NoError(t, err)
	for _, m := range modules {
		m.Close()
	}
	requireGone(t, sb.MemoryBytes)
}

func TestGrowthBeyondTheTenantsBudgetIsRefused(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	grow := func(pages int64) []byte {
		return withOK([][]byte{w.Body("", w.Cat([]byte{opI32Const}, w.S64(pages), []byte{0x40, 0, opI32Const}, w.S64(-1), []byte{0x46, opIf, void, opUnreachable, opEnd, opI32Const, 0})...)},
			w.Memories(w.Limits(1)))
	}
	a := sb.NewAccount(share.AccountLimits{MemoryBytes: 4 << 20})
	_, err := compileFor(t, sb, a, grow(32), limits()).Call(t.Context(), sandbox.Call{Export: "f"})
	require.NoError(t, err)
	_, err = compileFor(t, sb, a, grow(100), limits()).Call(t.Context(), sandbox.Call{Export: "f"})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Contains(t, err.Error(), "calls of the tenant")
	_, err = compileFor(t, sb, a, grow(10_000), limits()).Call(t.Context(), sandbox.Call{Export: "f"})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Contains(t, err.Error(), "more than its memory limit")
}

func TestAnIdleModuleIsDroppedAndComesBack(t *testing.T) {
	for name, config := range map[string]sandbox.Config{
		"from the cache": {CacheDir: t.TempDir(), Compiler: compiler},
		"compiled anew":  {},
		"interpreted":    {Interpreter: true},
	} {
		t.Run(name, func(t *testing.T) {
			sb := newSandbox(t, config)
			m := compileFor(t, sb, nil, read(t, conformance), limits())
			for range 3 {
				res, err := m.Call(t.Context(), sandbox.Call{Export: "counter"})
				require.NoError(t, err)
				assert.JSONEq(t, `{"count":1}`, string(res.Output))
				assert.Zero(t, sb.Evict(time.Hour), "it was used just now")
				assert.Positive(t, sb.MemoryBytes())
				assert.Positive(t, sb.Evict(0))
				assert.Zero(t, m.Idle())
				assert.Zero(t, sb.MemoryBytes())
			}
		})
	}
}

func TestTheJanitorEvicts(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{IdleTimeout: time.Millisecond})
	m := compileFor(t, sb, nil, read(t, conformance), limits())
	_, err := m.Call(t.Context(), sandbox.Call{Export: "counter"})
	require.NoError(t, err)
	requireGone(t, sb.MemoryBytes)
}

// Calls, evictions, compilations and closings at once: every call is right or says
// that the module is gone, and nothing stays counted.
func TestEvictionUnderLoad(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{CacheDir: t.TempDir(), MemoryBytes: 12 << 20})
	accounts := []*share.Account{sb.NewAccount(share.AccountLimits{MemoryBytes: 6 << 20}), sb.NewAccount(share.AccountLimits{})}
	stop := make(chan struct{})
	var evictor, wg sync.WaitGroup
	evictor.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				sb.Evict(0)
				runtime.Gosched()
			}
		}
	})
	for worker := range 4 {
		wg.Go(func() {
			for i := range 8 {
				m := compileFor(t, sb, accounts[worker%2], read(t, conformance), limits())
				big := compileFor(t, sb, accounts[worker%2], hold(16+uint32(i%3)), limits())
				for range 10 {
					res, err := m.Call(t.Context(), sandbox.Call{Export: "counter"})
					if assert.NoError(t, err) {
						assert.JSONEq(t, `{"count":1}`, string(res.Output))
					}
					if _, err := big.Call(t.Context(), sandbox.Call{Export: "ok"}); err != nil {
						assert.ErrorIs(t, err, status.ErrResourceExhausted)
					}
				}
				m.Close()
				big.Close()
			}
		})
	}
	wg.Wait()
	close(stop)
	evictor.Wait()
	requireGone(t, sb.MemoryBytes)
	for _, a := range accounts {
		now, _ := a.MemoryBytes()
		assert.Zero(t, now)
	}
}

// A guest that recurses holds no more native stack than it may, and none of it stays.
func TestTheNativeStackIsBoundedAndCounted(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	a := sb.NewAccount(share.AccountLimits{})
	m := compileFor(t, sb, a, recursion(), limits())
	_, err := m.Call(t.Context(), sandbox.Call{Export: "f"})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Contains(t, err.Error(), "call stack exhausted")
	_, most := a.MemoryBytes()
	assert.Greater(t, most, int64(1<<20), "the stack was not counted")
	assert.Less(t, most, int64(48<<20))

	small := sb.NewAccount(share.AccountLimits{MemoryBytes: 1 << 20})
	_, err = compileFor(t, sb, small, recursion(), limits()).Call(t.Context(), sandbox.Call{Export: "f"})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Contains(t, err.Error(), "calls of the tenant")
	m.Close()
	requireGone(t, func() int64 { now, _ := a.MemoryBytes(); return now })
}

// requireGone waits for what is counted to be given back: what ran long until it was ended is, after its call has.
func requireGone(t *testing.T, bytes func() int64) {
	t.Helper()
	require.Eventually(t, func() bool { return bytes() == 0 }, 30*time.Second, time.Millisecond, "bytes were counted twice, or not given back")
}

func TestATenantsFuelEndsItsCallsUntilItFillsAgain(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	a := sb.NewAccount(share.AccountLimits{FuelPerMinute: 1_000_000})
	m := compileFor(t, sb, a, loopModule(), limits())
	require.Zero(t, a.FuelWait())
	var usage sandbox.Usage
	_, err := m.Call(t.Context(), sandbox.Call{Export: "f", Usage: &usage})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Contains(t, err.Error(), "the tenant has used up its fuel of 1000000 units a minute")
	assert.Positive(t, status.Convert(err).RetryAfter)
	assert.Positive(t, a.FuelWait())
	assert.LessOrEqual(t, a.FuelWait(), time.Minute)
	assert.Less(t, usage.Fuel, int64(1_500_000), "ended at a slice")
	assert.GreaterOrEqual(t, usage.Fuel, int64(1_000_000))
	_, err = compileFor(t, sb, sb.NewAccount(share.AccountLimits{}), callTree(5), limits()).Call(t.Context(), sandbox.Call{Export: "f"})
	require.NoError(t, err, "a tenant pays for another's fuel")
}

// A tenant with one long call gets as much of the processors as one with thirty.
func TestLongCallsShareByTenant(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	lim := limits()
	lim.Timeout, lim.Fuel, lim.Concurrency = 3*time.Second, 1<<60, 64
	many, one := sb.NewAccount(share.AccountLimits{}), sb.NewAccount(share.AccountLimits{})
	crowd, single := compileFor(t, sb, many, loopModule(), lim), compileFor(t, sb, one, callTree(60), lim)
	var wg sync.WaitGroup
	fuel := make([]int64, 31)
	for i := range fuel {
		wg.Go(func() {
			m := crowd
			if i == 0 {
				m = single
			}
			var usage sandbox.Usage
			_, err := m.Call(t.Context(), sandbox.Call{Export: "f", Usage: &usage})
			assert.ErrorIs(t, err, status.ErrDeadlineExceeded)
			fuel[i] = usage.Fuel
		})
	}
	wg.Wait()
	crowded := int64(0)
	for _, f := range fuel[1:] {
		crowded += f
	}
	share := float64(fuel[0]) / float64(fuel[0]+crowded)
	t.Logf("one call of a tenant beside 30 of another's got %.0f%% of the fuel", 100*share)
	assert.Greater(t, share, 0.1, "1/31 is what it would get by calls")
}
