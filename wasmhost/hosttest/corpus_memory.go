package hosttest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

func memoryCases() []Case {
	spent, late := status.ResourceExhausted, status.DeadlineExceeded
	return []Case{
		calls("C01", "memory past its limit, with a trap when it is refused", func() *guest {
			g := bare()
			g.pages = 1
			return g.tool("", forever(i32(1), memoryGrow, i32(-1), []byte{0x46, 0x04, 0x40}, unreachable, []byte{opEnd}))
		}, "", spent),
		scripted("C02", "memory that grows by a page in each of a thousand calls", "nothing is kept: each call starts from the first size", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			require.NoError(t, s.load(t.Context(), g.tool("", i32(16), i32(1), memoryGrow, i32('0'), add, i32Store, i32(16), i32(1), call(nativeOutput), i32(0)).upload("hostile")))
			for range 1000 {
				o := s.call(t.Context(), "hostile/f", "", nil)
				require.NoError(t, o.err)
				require.Equal(t, "1", string(o.out), "pages before growing")
			}
		}),
		calls("C03", "tables that grow without end", func() *guest {
			g := bare()
			g.tables = [][]byte{w.Table("r", w.Limits(0))}
			return g.tool("", forever(refNull, i32(200_000_000), tableGrow, i32(-1), []byte{0x47, 0x04, 0x40}, unreachable, []byte{opEnd}, refNull, i32(1000), tableGrow, drop))
		}, "", late, spent),
		scripted("C04", "recursion without end, sixteen calls at a time", "`RESOURCE_EXHAUSTED` or `DEADLINE_EXCEEDED`; the stacks are given back", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), bare().tool("", call(0)).upload("hostile")))
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() { gets(t, s.call(t.Context(), "hostile/f", "", nil).err, spent, late) })
			}
			wg.Wait()
			assert.Eventually(t, func() bool { // long calls are cleaned up after their answers
				u, err := s.host.Usage(hostileTenant)
				return err == nil && u.MemoryBytes < 12<<20
			}, 10*time.Second, time.Millisecond, "a stack is kept")
		}),
		calls("C05", "Extism's variables without end", func() *guest {
			g := extism()
			return g.tool("II", i64(16384), call(extismAlloc), localSet(0), forever(
				localGet(1), i64(1), add64, []byte{0x22, 1}, drop, localGet(0), localGet(1), call(extismStore64), localGet(0), localGet(0), call(extismVarSet)))
		}, "", spent),
		calls("C06", "Extism's blocks without end", func() *guest {
			return extism().tool("", forever(i64(1<<20), call(extismAlloc), drop))
		}, "", spent),
		calls("C07", "a million small blocks that are all given back", func() *guest {
			return extism().tool("", forever(i64(1), call(extismAlloc), call(extismFree)))
		}, "", late),
		calls("C08", "a block of 2^63 bytes", func() *guest { return extism().tool("", i64(-1<<63), call(extismAlloc), drop, i32(0)) }, "", spent),
		calls("C09", "blocks freed twice, blocks that never were", func() *guest {
			return extism().tool("I", i64(8), call(extismAlloc), localSet(0), localGet(0), call(extismFree), localGet(0), call(extismFree), i64(-1), call(extismFree), i64(12345), call(extismFree), i32(0))
		}, "", status.OK),
		scripted("C10", "all memory that may be had, filled, in each of a hundred calls", "each call's memory is given back", func(t *testing.T, s *stage) {
			t.Helper()
			g := bare()
			g.pages = 8
			up := g.tool("", i32(56), memoryGrow, drop, i32(0), i32(7), i32(4<<20), memoryFill, i32(0)).upload("hostile")
			up.Policy = []byte(`{"limits":{"timeoutMs":5000,"memoryBytes":4194304}}`) // memory is what this case is about
			require.NoError(t, s.load(t.Context(), up))
			for range 100 {
				require.NoError(t, s.call(t.Context(), "hostile/f", "", nil).err)
			}
		}),
	}
}
