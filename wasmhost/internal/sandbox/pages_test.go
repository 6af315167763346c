package sandbox_test

import (
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// toucher is a module with 1 MiB of memory, more than is copied whole.
func toucher() []byte { return toucherOf(16, 0) }

// toucherOf is a module with so many pages of memory and an "A" at an address. Its f wants the first word of every page
// to be as the module was made ("A" there, zero elsewhere), then writes to all of them;
// its g does so to one page of sixteen, and its h does what f does and never comes back.
func toucherOf(pages uint32, a int64) []byte {
	body := func(step int64, end ...byte) []byte {
		const i = 0 // the local that counts
		code := w.Cat(
			[]byte{0x03, void},                                                                     // loop
			[]byte{0x20, i, 0x28, 2, 0},                                                            // i32.load(i)
			[]byte{0x41}, w.S64('A'), []byte{0x41, 0, 0x20, i, 0x41}, w.S64(a), []byte{0x46, 0x1b}, // select('A', 0, i == a)
			[]byte{0x47, opIf, void, opUnreachable, opEnd},       // differs: trap
			[]byte{0x20, i, 0x41}, w.S64(-1), []byte{0x36, 2, 0}, // store(i, -1)
			[]byte{0x20, i, 0x41}, w.S64(step), []byte{0x6a, 0x22, i, 0x41}, w.S64(int64(pages)<<16), // i += step
			[]byte{0x49, 0x0d, 0, opEnd}, end, []byte{opI32Const, 0}, // while i < the size
		)
		return w.Body("i", code...)
	}
	return w.Module(
		w.Types(w.FuncType("", "i")), w.Funcs(0, 0, 0), w.Memories(w.Limits(pages)),
		w.Exports(w.Export("f", 0, 0), w.Export("g", 0, 1), w.Export("h", 0, 2)),
		w.Code(body(4096), body(16*4096), body(4096, 0x03, void, 0x0c, 0, opEnd)),
		w.Data(w.Cat([]byte{0, opI32Const}, w.S64(a), []byte{opEnd}, w.U32(1), []byte("A"))),
	)
}

func TestEveryPageOfABigMemoryIsPutBack(t *testing.T) {
	moved := [][]byte{nil, make([]byte, 512<<10), make([]byte, 100<<10), make([]byte, 512<<10), nil}
	for _, c := range []struct {
		config sandbox.Config
		wasm   []byte
	}{
		{sandbox.Config{}, toucher()},
		{sandbox.Config{Interpreter: true}, toucher()},
		{sandbox.Config{}, toucherOf(16, 4096*100)},
		{sandbox.Config{}, toucherOf(16, 4096*255)},
		{sandbox.Config{}, toucherOf(2, 0)}, // put back without its zeroes
		{sandbox.Config{}, toucherOf(3, 2<<16)},
		{sandbox.Config{}, toucherOf(1, 4096*15)},
	} {
		m := compile(t, newSandbox(t, c.config), c.wasm, limits())
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for i := range 30 {
					export := "g"
					if (worker+i)%3 == 0 {
						export = "f"
					}
					// A call that moves much has its pages kept and overwritten, one that
					// moves little gives them back.
					_, err := m.Call(t.Context(), sandbox.Call{Export: export, Input: moved[i%len(moved)]})
					if !assert.NoError(t, err, "what an earlier call wrote was seen") {
						return
					}
				}
			})
		}
		wg.Wait()
		assert.Positive(t, m.Idle())
	}
}

// The memory of a killed call is restored after its caller has the answer, and before the
// next call gets the instance or its slot.
func TestWhatRanToItsDeadlineIsPutBackBeforeItServesAgain(t *testing.T) {
	lim := limits()
	lim.Timeout, lim.Fuel, lim.Concurrency = 500*time.Millisecond, 1<<60, 2
	for _, pages := range []uint32{1, 256} {
		m := compile(t, newSandbox(t, sandbox.Config{}), toucherOf(pages, 0), lim)
		for range 3 {
			_, err := m.Call(t.Context(), sandbox.Call{Export: "h"})
			require.ErrorIs(t, err, status.ErrDeadlineExceeded)
			_, err = m.Call(t.Context(), sandbox.Call{Export: "g"})
			require.NoError(t, err, "what an earlier call wrote was seen")
		}
		assert.Eventually(t, func() bool { return m.Idle() > 0 && m.Idle() <= lim.Concurrency }, 10*time.Second, time.Millisecond)
	}
}

// Files and addresses go back when a module does.
func TestMemoryOfClosedModulesIsGivenBack(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts what Linux lists in /proc/self")
	}
	count := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(files)
	}
	round := func() {
		sb, err := sandbox.New(t.Context(), sandbox.Config{})
		require.NoError(t, err)
		m := compile(t, sb, toucher(), limits())
		_, err = m.Call(t.Context(), sandbox.Call{Export: "f"})
		require.NoError(t, err)
		m.Close()
		require.NoError(t, sb.Close(t.Context()))
	}
	round()
	before := count()
	for range 20 {
		round()
	}
	assert.LessOrEqual(t, count(), before)
}

func BenchmarkPutBack(b *testing.B) {
	for _, export := range []string{"f", "g"} {
		b.Run("pages="+map[string]string{"f": "256", "g": "16"}[export], func(b *testing.B) {
			m := compile(b, newSandbox(b, sandbox.Config{}), toucher(), limits())
			for b.Loop() {
				if _, err := m.Call(b.Context(), sandbox.Call{Export: export}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
