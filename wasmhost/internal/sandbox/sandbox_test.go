package sandbox_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	compiling "github.com/genkit-wasm/genkit-wasm/wasmhost/internal/compile"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

func TestMain(m *testing.M) {
	compiler = compiling.Child()
	goleak.VerifyTestMain(m)
}

// compiler compiles in a process of its own: this test, started again.
var compiler []string

const conformance = "../../../pdk/conformance/c/conformance.wasm"

// limits under which no test races time against fuel: a test of one of them sets it.
func limits() sandbox.Limits {
	return sandbox.Limits{
		Timeout: 5 * time.Second, Fuel: 200_000_000_000, MemoryBytes: 32 << 20, TableElements: 10_000,
		InputBytes: 1 << 20, OutputBytes: 256 << 10, Concurrency: 16,
	}
}

func newSandbox(t testing.TB, config sandbox.Config) *sandbox.Sandbox {
	t.Helper()
	sb, err := sandbox.New(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sb.Close(context.Background())) })
	return sb
}

func compile(t testing.TB, sb *sandbox.Sandbox, wasm []byte, lim sandbox.Limits) *sandbox.Module {
	t.Helper()
	parsed, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err)
	m, err := sb.Compile(t.Context(), sandbox.Source{Wasm: wasm, Module: parsed, Limits: lim})
	require.NoError(t, err)
	return m
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	return b
}

func TestStateIsFreshForEveryCallAlsoAtOnce(t *testing.T) {
	for _, config := range []sandbox.Config{{}, {Interpreter: true}, {CacheDir: t.TempDir()}} {
		m := compile(t, newSandbox(t, config), read(t, conformance), limits())
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					res, err := m.Call(t.Context(), sandbox.Call{Export: "counter"})
					if assert.NoError(t, err) {
						assert.JSONEq(t, `{"count":1}`, string(res.Output))
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestStateIsKeptWhereItIsAskedFor(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	wasm := read(t, conformance)
	parsed, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err)
	m, err := sb.Compile(t.Context(), sandbox.Source{Wasm: wasm, Module: parsed, Limits: limits(), Reuse: true})
	require.NoError(t, err)
	_, err = m.Call(t.Context(), sandbox.Call{Export: "counter"})
	require.NoError(t, err)
	_, err = m.Call(t.Context(), sandbox.Call{Export: "counter"})
	require.ErrorContains(t, err, "state of an earlier call was seen")
}

func TestConcurrentCallsKeepTheirBytes(t *testing.T) {
	m := compile(t, newSandbox(t, sandbox.Config{}), read(t, conformance), limits())
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 100 {
				in := fmt.Sprintf(`"%d-%d-%s"`, worker, i, strings.Repeat("x", i))
				res, err := m.Call(t.Context(), sandbox.Call{Export: "echo", Input: []byte(in)})
				if assert.NoError(t, err) {
					assert.Equal(t, in, string(res.Output))
				}
			}
		})
	}
	wg.Wait()
}

func TestFuelIsTheSameEveryTimeAndOnBothEngines(t *testing.T) {
	var fuel []int64
	for _, interpreter := range []bool{false, true} {
		m := compile(t, newSandbox(t, sandbox.Config{Interpreter: interpreter}), read(t, conformance), limits())
		for range 3 {
			res, err := m.Call(t.Context(), sandbox.Call{Export: "upper", Input: []byte(strings.Repeat("hello ", 1000))})
			require.NoError(t, err)
			fuel = append(fuel, res.Fuel)
		}
	}
	assert.Positive(t, fuel[0])
	for _, f := range fuel {
		assert.Equal(t, fuel[0], f, "%v", fuel)
	}
}

// A budget that is one unit short ends the call; the exact budget does not, whatever
// the slices.
func TestFuelBudgetIsExactToTheSlice(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	lim := limits()
	lim.OutputBytes = 1 << 20
	m := compile(t, sb, read(t, conformance), lim)
	call := sandbox.Call{Export: "upper", Input: []byte(strings.Repeat("hello ", 100_000))}
	res, err := m.Call(t.Context(), call)
	require.NoError(t, err)
	lim.Fuel = res.Fuel + 1
	res2, err := compile(t, sb, read(t, conformance), lim).Call(t.Context(), call)
	require.NoError(t, err)
	assert.Equal(t, res.Fuel, res2.Fuel)
	lim.Fuel = res.Fuel / 2
	_, err = compile(t, sb, read(t, conformance), lim).Call(t.Context(), call)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
}

func TestASpinningGuestEndsAtItsDeadlineAndFreezesNobody(t *testing.T) {
	lim := limits()
	lim.Timeout, lim.Fuel = 300*time.Millisecond, 1<<60
	for name, wasm := range map[string][]byte{"loop": loopModule(), "call tree": callTree(45), "recursion": recursion(), "fill": fills()} {
		t.Run(name, func(t *testing.T) {
			m := compile(t, newSandbox(t, sandbox.Config{}), wasm, lim)
			done := make(chan error, 1)
			start := time.Now()
			go func() {
				_, err := m.Call(t.Context(), sandbox.Call{Export: "f"})
				done <- err
			}()
			var worst time.Duration
			for ended := false; !ended; {
				select {
				case err := <-done:
					require.Error(t, err)
					assert.Contains(t, []status.Code{status.DeadlineExceeded, status.ResourceExhausted}, status.Of(err), "%v", err)
					ended = true
				case <-time.After(10 * time.Millisecond):
					gc := time.Now()
					runtime.GC()
					worst = max(worst, time.Since(gc))
				}
			}
			// Far above what is measured (milliseconds), far below what a guest that can't be
			// stopped would take.
			assert.Less(t, time.Since(start), 15*time.Second)
			assert.Less(t, worst, 10*time.Second, "runtime.GC was held up")
			_, err := m.Call(t.Context(), sandbox.Call{Export: "ok"})
			require.NoError(t, err, "the module must serve again")
		})
	}
}

// Host functions are cheap in fuel; what they move counts against the deadline all the
// same.
func TestHostCallsDoNotStretchTheDeadline(t *testing.T) {
	lim := limits()
	lim.Timeout, lim.Fuel, lim.OutputBytes = 100*time.Millisecond, 1<<60, 1<<20
	mega := w.S64(1 << 20)
	for name, wasm := range map[string][]byte{
		"input":        caller("genkit_v1", "input", "i", "", opI32Const, 0),
		"output":       caller("genkit_v1", "output", "ii", "", append([]byte{opI32Const, 0, opI32Const}, mega...)...),
		"log":          caller("genkit_v1", "log", "iii", "", append([]byte{opI32Const, 2, opI32Const, 0, opI32Const}, mega...)...),
		"context":      caller("genkit_v1", "context", "ii", "i", opI32Const, 0, opI32Const, 0),
		"random":       caller("wasi_snapshot_preview1", "random_get", "ii", "i", opI32Const, 0, opI32Const, 1),
		"yield":        caller("wasi_snapshot_preview1", "sched_yield", "", "i"),
		"a million io": caller("wasi_snapshot_preview1", "fd_write", "iiii", "i", append([]byte{opI32Const, 1, opI32Const, 0, opI32Const}, append(w.S64(200_000), opI32Const, 0)...)...),
		"Extism input": caller("extism:host/env", "input_length", "", "I"),
	} {
		t.Run(name, func(t *testing.T) {
			m := compile(t, newSandbox(t, sandbox.Config{}), wasm, lim)
			start := time.Now()
			_, err := m.Call(t.Context(), sandbox.Call{Export: "f", Input: make([]byte, 1<<20), Log: func(sandbox.Level, string) {}})
			took := time.Since(start)
			require.Error(t, err)
			assert.Contains(t, []status.Code{status.DeadlineExceeded, status.ResourceExhausted}, status.Of(err), "%v", err)
			assert.Less(t, took, lim.Timeout+10*time.Second)
			t.Logf("ended %v after its deadline: %v", took-lim.Timeout, err)
		})
	}
}

func TestACallerWhoLeavesEndsTheCall(t *testing.T) {
	m := compile(t, newSandbox(t, sandbox.Config{}), loopModule(), limits())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := m.Call(ctx, sandbox.Call{Export: "f"})
		done <- err
	}()
	cancel()
	require.ErrorIs(t, <-done, status.ErrCancelled)
	_, err := m.Call(ctx, sandbox.Call{Export: "ok"})
	require.ErrorIs(t, err, context.Canceled, "a call that comes too late does not start")
}

func TestAnEmitThatFailsEndsTheCall(t *testing.T) {
	m := compile(t, newSandbox(t, sandbox.Config{}), read(t, conformance), limits())
	gone := status.Errorf(status.Cancelled, "the reader has left")
	chunks := 0
	_, err := m.Call(t.Context(), sandbox.Call{Export: "emit3", Emit: func(json.RawMessage) error {
		chunks++
		return gone
	}})
	require.ErrorIs(t, err, gone)
	assert.Equal(t, 1, chunks)
}

func TestSlotsBoundConcurrency(t *testing.T) {
	lim := limits()
	lim.Concurrency, lim.Timeout = 1, 200*time.Millisecond
	lim.Fuel = 1 << 60
	m := compile(t, newSandbox(t, sandbox.Config{}), logging(), lim)
	entered, leave := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() { // a line of the log is no wait: the guest keeps its slot
		_, err := m.Call(t.Context(), sandbox.Call{Export: "f", Log: func(sandbox.Level, string) {
			close(entered)
			<-leave
		}})
		done <- err
	}()
	<-entered
	place := &place{}
	_, err := m.Call(t.Context(), sandbox.Call{Export: "ok", Place: place})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Positive(t, status.Convert(err).RetryAfter)
	assert.Equal(t, "left", place.String(), "who waits for the module keeps nobody from another one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Call(ctx, sandbox.Call{Export: "ok"})
	require.ErrorIs(t, err, status.ErrCancelled)
	close(leave)
	require.NoError(t, <-done)
	_, err = m.Call(t.Context(), sandbox.Call{Export: "ok"})
	require.NoError(t, err)
}

// logging is a guest whose f logs an empty line and whose ok does nothing.
func logging() []byte {
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("iii", "")),
		w.Imports(w.ImportFunc("genkit_v1", "log", 1)),
		w.Funcs(0, 0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 1), w.Export("ok", 0, 2), w.Export("memory", 2, 0)),
		w.Code(w.Body("", opI32Const, 2, opI32Const, 0, opI32Const, 0, opCall, 0, opI32Const, 0), w.Body("", opI32Const, 0)))
}

func TestAModuleWithoutAMemoryIsToldSo(t *testing.T) {
	m := compile(t, newSandbox(t, sandbox.Config{}), w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("ii", "")), w.Imports(w.ImportFunc("genkit_v1", "output", 1)),
		w.Funcs(0), w.Exports(w.Export("f", 0, 1)), w.Code(w.Body("", opI32Const, 0, opI32Const, 1, opCall, 0, opI32Const, 0))), limits())
	_, err := m.Call(t.Context(), sandbox.Call{Export: "f"})
	require.ErrorIs(t, err, status.ErrInternal)
	assert.True(t, status.Convert(err).Public(), "%v", err)
	assert.Contains(t, err.Error(), "no memory")
}

func TestWhatGuestsDoWrongIsNamed(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	m := compile(t, sb, read(t, conformance), limits())
	for _, c := range []struct {
		says, export, input string
		code                status.Code
		contains            string
	}{
		{"a trap", "trap", "", status.Internal, "trapped: unreachable"},
		{"an export that is not there", "nope", "", status.NotFound, `does not export a function "nope"`},
		{"an output outside memory", "oob", "", status.Internal, "outside its memory"},
		{"too much input", "echo", strings.Repeat("x", 2<<20), status.InvalidArgument, "exceeds the limit"},
		{"too much output", "echo", `"` + strings.Repeat("x", 300<<10) + `"`, status.ResourceExhausted, "exceeds the limit"},
		{"too much memory", "hog", "{}", status.ResourceExhausted, ""},
		{"its own error", "failtext", "{}", status.Internal, ""},
	} {
		_, err := m.Call(t.Context(), sandbox.Call{Export: c.export, Input: []byte(c.input)})
		require.Error(t, err, c.says)
		assert.Equal(t, c.code, status.Of(err), "%s: %v", c.says, err)
		assert.Contains(t, err.Error(), c.contains, c.says)
		assert.True(t, status.Convert(err).Public(), "%s: %v", c.says, err)
		assert.NotContains(t, err.Error(), "wasm stack trace", c.says)
		res, err := m.Call(t.Context(), sandbox.Call{Export: "counter"})
		require.NoError(t, err, "after %s", c.says)
		assert.JSONEq(t, `{"count":1}`, string(res.Output), "after %s", c.says)
	}
}

func TestAModuleThatChangesItsTableIsNotUsedTwice(t *testing.T) {
	m := compile(t, newSandbox(t, sandbox.Config{}), tablePoisoner(), limits())
	for range 3 {
		_, err := m.Call(t.Context(), sandbox.Call{Export: "f"})
		require.NoError(t, err, "the entry that the last call put into the table was seen")
	}
	assert.Zero(t, m.Idle())
}

func TestAGuestThatGrewIsNotUsedAgain(t *testing.T) {
	m := compile(t, newSandbox(t, sandbox.Config{}), read(t, conformance), limits())
	_, err := m.Call(t.Context(), sandbox.Call{Export: "counter"})
	require.NoError(t, err)
	assert.Equal(t, 1, m.Idle())
	in := `"` + strings.Repeat("x", 200<<10) + `"`
	res, err := m.Call(t.Context(), sandbox.Call{Export: "echo", Input: []byte(in)})
	require.NoError(t, err)
	assert.Equal(t, in, string(res.Output))
	if res.MemoryBytes > 192<<10 {
		assert.Zero(t, m.Idle(), "an instance that has grown can't be put back")
	}
}

func TestAMemoryThatCannotBeHadIsAnErrorNotAPanic(t *testing.T) {
	lim := limits()
	lim.MemoryBytes = 1000
	for _, wasm := range [][]byte{toucher(), randomModule()} {
		m := compile(t, newSandbox(t, sandbox.Config{}), wasm, lim)
		require.ErrorIs(t, m.Warm(t.Context()), status.ErrResourceExhausted)
		_, err := m.Call(t.Context(), sandbox.Call{Export: "f"})
		require.ErrorIs(t, err, status.ErrResourceExhausted)
	}
}

// nosy outputs, in its initialisation, how long the input is, and interrupts; its f
// outputs nothing and returns the length that the initialisation saw.
func nosy() []byte {
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("ii", ""), w.FuncType("", ""), w.FuncType("ii", "i")),
		w.Imports(w.ImportFunc("genkit_v1", "input_len", 0), w.ImportFunc("genkit_v1", "output", 1), w.ImportFunc("genkit_v1", "interrupt", 3)),
		w.Funcs(2, 0), w.Memories(w.Limits(1)), w.Globals(w.Global("i", true, opI32Const, 0)),
		w.Exports(w.Export("_initialize", 0, 3), w.Export("f", 0, 4), w.Export("memory", 2, 0)),
		w.Code(
			w.Body("", opCall, 0, 0x24, 0, opI32Const, 0, opI32Const, 4, opCall, 1, opI32Const, 0, opI32Const, 0, opCall, 2, opDrop),
			w.Body("", 0x23, 0)))
}

func TestInitialisationHasNoCaller(t *testing.T) {
	m := compile(t, newSandbox(t, sandbox.Config{}), nosy(), limits())
	for range 2 {
		res, err := m.Call(t.Context(), sandbox.Call{Export: "f", Input: []byte("secret")})
		require.NoError(t, err, "the initialisation saw the input's length, and f returned it")
		assert.False(t, res.Interrupted)
		assert.Nil(t, res.Output)
	}
}

func TestThePoolKeepsNoMoreThanCanRun(t *testing.T) {
	m := compile(t, newSandbox(t, sandbox.Config{}), read(t, conformance), limits())
	var wg sync.WaitGroup
	inside := make(chan struct{}, 16)
	leave := make(chan struct{})
	for range 16 {
		wg.Go(func() {
			first := true
			_, err := m.Call(t.Context(), sandbox.Call{Export: "emit3", Emit: func(json.RawMessage) error {
				if first {
					first = false
					inside <- struct{}{}
					<-leave
				}
				return nil
			}})
			assert.NoError(t, err)
		})
	}
	for range 16 {
		<-inside
	}
	close(leave)
	wg.Wait()
	assert.Equal(t, max(4, 2*runtime.GOMAXPROCS(0)), m.Idle())
}

func TestAClosedModuleServesNobody(t *testing.T) {
	m := compile(t, newSandbox(t, sandbox.Config{}), read(t, conformance), limits())
	_, err := m.Call(t.Context(), sandbox.Call{Export: "counter"})
	require.NoError(t, err)
	// Closed in the middle of a call: the call ends in peace.
	res, err := m.Call(t.Context(), sandbox.Call{Export: "emit3", Emit: func(json.RawMessage) error {
		m.Close()
		return nil
	}})
	require.NoError(t, err)
	assert.NotEmpty(t, res.Output)
	_, err = m.Call(t.Context(), sandbox.Call{Export: "counter"})
	require.ErrorIs(t, err, sandbox.ErrClosed)
	m.Close()
}

func TestADamagedCacheIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	first, err := sandbox.New(t.Context(), sandbox.Config{CacheDir: dir})
	require.NoError(t, err)
	compile(t, first, read(t, conformance), limits())
	require.NoError(t, first.Close(t.Context()))
	damaged := 0
	require.NoError(t, walk(dir, func(file string) {
		b := read(t, file)
		require.NoError(t, os.WriteFile(file, b[:len(b)/2], 0o600))
		damaged++
	}))
	require.Positive(t, damaged)
	m := compile(t, newSandbox(t, sandbox.Config{CacheDir: dir}), read(t, conformance), limits())
	_, err = m.Call(t.Context(), sandbox.Call{Export: "counter"})
	require.NoError(t, err)
}

func TestTwoSandboxesLiveInOneProcess(t *testing.T) {
	a, b := newSandbox(t, sandbox.Config{}), newSandbox(t, sandbox.Config{})
	ma, mb := compile(t, a, read(t, conformance), limits()), compile(t, b, read(t, conformance), limits())
	require.NoError(t, a.Close(t.Context()))
	_, err := ma.Call(t.Context(), sandbox.Call{Export: "counter"})
	require.Error(t, err)
	_, err = mb.Call(t.Context(), sandbox.Call{Export: "counter"})
	require.NoError(t, err)
	_, err = a.Compile(t.Context(), sandbox.Source{})
	require.Error(t, err)
}

// The code of a guest under way must not be freed under it.
func TestCloseEndsGuestsUnderWayAndWaitsForThem(t *testing.T) {
	lim := limits()
	lim.Timeout, lim.Fuel = time.Minute, 1<<60
	for range 5 {
		sb, err := sandbox.New(t.Context(), sandbox.Config{})
		require.NoError(t, err)
		m := compile(t, sb, loopModule(), lim)
		done := make(chan error, 4)
		for range cap(done) {
			go func() {
				_, err := m.Call(t.Context(), sandbox.Call{Export: "f"})
				done <- err
			}()
		}
		runtime.Gosched()
		start := time.Now()
		require.NoError(t, sb.Close(context.Background()))
		assert.Less(t, time.Since(start), 10*time.Second)
		for range cap(done) {
			require.ErrorIs(t, <-done, status.ErrUnavailable)
		}
	}
}

// sleeper sleeps for an hour through WASI's poll_oneoff.
func sleeper() []byte {
	subscription := make([]byte, 48) // userdata, tag 0 (clock), clock 0, timeout at 24
	binary.LittleEndian.PutUint64(subscription[24:], uint64(time.Hour))
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("iiii", "i")),
		w.Imports(w.ImportFunc("wasi_snapshot_preview1", "poll_oneoff", 1)),
		w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 1), w.Export("memory", 2, 0)),
		w.Code(w.Body("", opI32Const, 0, opI32Const, 0xc0, 0, opI32Const, 1, opI32Const, 0xa0, 1, opCall, 0)),
		w.Data(w.Cat([]byte{0, opI32Const, 0, opEnd}, w.U32(uint32(len(subscription))), subscription)))
}

func TestASleepingGuestEndsAtItsDeadline(t *testing.T) {
	lim := limits()
	lim.Timeout = 100 * time.Millisecond
	m := compile(t, newSandbox(t, sandbox.Config{}), sleeper(), lim)
	start := time.Now()
	_, err := m.Call(t.Context(), sandbox.Call{Export: "f"})
	require.ErrorIs(t, err, status.ErrDeadlineExceeded)
	assert.Less(t, time.Since(start), 15*time.Second)
}

// randomModule outputs four bytes of WASI's random_get.
func randomModule() []byte {
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("ii", "i"), w.FuncType("ii", "")),
		w.Imports(w.ImportFunc("wasi_snapshot_preview1", "random_get", 1), w.ImportFunc("genkit_v1", "output", 2)),
		w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 2), w.Export("memory", 2, 0)),
		w.Code(w.Body("", opI32Const, 0, opI32Const, 4, opCall, 0, opDrop, opI32Const, 0, opI32Const, 4, opCall, 1, opI32Const, 0)))
}

func TestRandomBytesAreNewForEveryCall(t *testing.T) {
	m := compile(t, newSandbox(t, sandbox.Config{}), randomModule(), limits())
	seen := map[string]bool{}
	for range 4 {
		res, err := m.Call(t.Context(), sandbox.Call{Export: "f"})
		require.NoError(t, err)
		seen[string(res.Output)] = true
	}
	assert.Len(t, seen, 4)
}

// Closing a module, or the sandbox, while calls end must free each instance once, and before the runtime goes.
func TestClosingWhileCallsEnd(t *testing.T) {
	lim := limits()
	lim.Timeout, lim.Fuel, lim.Concurrency = 20*time.Millisecond, 1<<60, 8
	for round := range 10 {
		sb, err := sandbox.New(t.Context(), sandbox.Config{})
		require.NoError(t, err)
		m := compile(t, sb, toucherOf(256, 0), lim)
		var wg sync.WaitGroup
		ended := make(chan struct{}, 12*4)
		for worker := range 12 {
			wg.Go(func() {
				for range 4 {
					_, _ = m.Call(t.Context(), sandbox.Call{Export: []string{"f", "g", "h"}[worker%3]}) // closed meanwhile, or not
					ended <- struct{}{}
				}
			})
		}
		wg.Go(func() {
			for range 20 {
				sb.Evict(0)
				runtime.Gosched()
			}
		})
		for range round * 4 {
			<-ended
		}
		if round%2 == 0 {
			wg.Go(m.Close)
		}
		require.NoError(t, sb.Close(t.Context()))
		wg.Wait()
	}
}
