package hosttest

import (
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	w "github.com/genkit-wasm/genkit-wasm/wasmhost/inspect/wasmtest"
)

// tree calls 2^depth functions without a loop.
func tree(depth int) *guest {
	g := bare()
	first := uint32(len(g.imports))
	for i := range uint32(depth) {
		name := ""
		if i == 0 {
			name = "f"
		}
		g.add(name, "", call(first+i+1), drop, call(first+i+1))
	}
	g.add("ok", "", i32(0))
	return g
}

// bulk does nothing but operations over 3 MiB, n of them in a straight line, and again.
func bulk(n int, op []byte) *guest {
	g := bare()
	g.pages = 60
	return g.tool("", forever(repeated(n, i32(0), i32(1), i32(3<<20), op)))
}

func loop() *guest { return bare().tool("", forever()) }

func processorCases() []Case {
	late, spent := status.DeadlineExceeded, status.ResourceExhausted
	grown := func(n int64) *guest {
		g := bare()
		g.pages = 1
		return g.tool("", forever(i32(n), memoryGrow, drop))
	}
	return []Case{
		calls("B01", "a loop without end", loop, "", late),
		calls("B02", "a loop without end through a table of labels", func() *guest {
			return bare().tool("", []byte{0x03, 0x40}, i32(0), []byte{0x0e, 1, 0, 0, opEnd}, unreachable)
		}, "", late),
		calls("B03", "a loop that is heavier than it looks: division, memory, globals", func() *guest {
			g := bare()
			g.pages, g.globals = 1, [][]byte{w.Global("i", true, 0x41, 1)}
			return g.tool("", forever(i32(0), i32(0), i32Load, i32(3), []byte{0x6e}, globalGet(0), add, globalSet(0), i32(7), i32Store))
		}, "", late),
		calls("B04", "a tree of 2^45 calls without a loop", func() *guest { return tree(45) }, "", late),
		calls("B05", "recursion without end", func() *guest { return bare().tool("", call(0)) }, "", late, spent),
		calls("B06", "recursion without end through a table", func() *guest {
			g := bare()
			g.tables, g.elems = [][]byte{w.Table("r", w.Limits(1, 1))}, [][]byte{cat([]byte{0}, i32(0), []byte{opEnd}, w.Vec(w.U32(0)))}
			return g.tool("", i32(0), []byte{0x11, 0, 0})
		}, "", late, spent),
		calls("B07", "memory.fill over and over, in straight lines", func() *guest { return bulk(300, memoryFill) }, "", late),
		calls("B08", "memory.copy over and over", func() *guest { return bulk(1, memoryCopy) }, "", late),
		calls("B09", "growing memory that is not to be had, for ever", func() *guest { return grown(60_000) }, "", late, spent),
		calls("B10", "more fuel than there is", func() *guest { return loop().under("fuel", 1_000_000).under("timeoutMs", 60_000) }, "", spent),
		refuses("B11", "a start section without end", status.InvalidArgument, one(wasmhost.Upload{
			Name: "hostile", Policy: []byte(`{"limits":{"timeoutMs":150}}`), Descriptor: describes(`{"name":"f"}`),
			Wasm: w.Module(w.Types(w.FuncType("", "i"), w.FuncType("", "")), w.Funcs(0, 1), w.Exports(w.Export("f", 0, 0)), w.Section(w.SecStart, w.U32(1)), w.Code(w.Body("", 0x41, 0), w.Body("", forever()...))),
		})),
		refuses("B12", "an initialisation without end", late, one(func() wasmhost.Upload {
			g := bare()
			g.add("_initialize", "", forever())
			return g.tool("", i32(0)).upload("hostile")
		}())),
		refuses("B13", "a description of itself without end", status.InvalidArgument, one(func() wasmhost.Upload {
			g := bare()
			g.add("genkit_describe", "", forever())
			up := g.upload("hostile")
			up.Descriptor = nil
			return up
		}())),
		calls("B14", "a sleep of an hour", sleeper, "", late),
		calls("B15", "host calls that cost little fuel and move a megabyte each", func() *guest {
			g := native()
			g.pages = 20
			return g.tool("", forever(i32(0), call(nativeInput))).under("inputBytes", 1<<20)
		}, `"`+strings.Repeat("x", 1<<20-2)+`"`, late),
		calls("B16", "random bytes without end", func() *guest {
			g := native()
			return g.tool("", forever(i32(0), i32(65536), call(nativeRandom), drop))
		}, "", late, spent),
		scene("B17", "chunks without end to a reader who takes a millisecond for each", "`DEADLINE_EXCEEDED`", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			g.data = "1"
			require.NoError(t, s.load(t.Context(), g.tool("", forever(i32(0), i32(1), call(nativeEmit), drop)).upload("hostile")))
			o := s.call(t.Context(), "hostile/f", "", func(json.RawMessage) error {
				<-time.After(time.Millisecond)
				return nil
			})
			gets(t, o.err, late)
			assert.Positive(t, o.chunks)
			assert.Less(t, o.took, patience)
		}),
		scene("B18", "a deadline that comes while the host works for the guest", "`DEADLINE_EXCEEDED`", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			g.data = "1"
			require.NoError(t, s.load(t.Context(), g.tool("", i32(0), i32(1), call(nativeEmit)).upload("hostile")))
			o := s.call(t.Context(), "hostile/f", "", func(json.RawMessage) error {
				<-time.After(300 * time.Millisecond)
				return nil
			})
			gets(t, o.err, late)
			o = s.call(t.Context(), "hostile/ok", "", nil)
			gets(t, o.err, status.OK)
		}),
		scene("B19", "a caller who leaves in the middle", "`CANCELLED`", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			g.data = "1"
			g.tool("", i32(0), i32(1), call(nativeEmit), drop, forever())
			require.NoError(t, s.load(t.Context(), g.under("timeoutMs", 60_000).under("fuel", 1<<60).upload("hostile")))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o := s.call(ctx, "hostile/f", "", func(json.RawMessage) error {
				cancel()
				return nil
			})
			gets(t, o.err, status.Cancelled)
			o = s.call(t.Context(), "hostile/ok", "", nil)
			gets(t, o.err, status.OK)
		}),
		scene("B20", "64 guests that spin in loops, call trees and fills", "every one its deadline, the customer its answers, the garbage collector its turn", spinning),
		scene("B21", "more calls at a time than a module may have", "`RESOURCE_EXHAUSTED` with a time to try again", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), loop().under("concurrency", 1).upload("hostile")))
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() { gets(t, s.call(t.Context(), "hostile/f", "", nil).err, late, spent) })
			}
			wg.Wait()
		}),
		calls("B22", "a deep recursion whose frames do their work on the way up", func() *guest {
			g := bare()
			g.globals = [][]byte{w.Global("i", true, 0x41, 0)}
			g.tool("", i32(100_000), call(2), i32(0))
			g.types = append(g.types, w.FuncType("i", ""))
			when := func(code ...[]byte) []byte { return cat(localGet(0), []byte{0x04, 0x40}, cat(code...), []byte{opEnd}) }
			g.bodies = append(g.bodies, w.Body("", cat(when(localGet(0), i32(-1), add, call(2)), when(repeated(5000, globalGet(0), i32(1), add, globalSet(0))))...))
			return g
		}, "", late, spent),
	}
}

func sleeper() *guest {
	g := bare()
	poll := g.use("wasi_snapshot_preview1", "poll_oneoff", "iiii", "i")
	hour := make([]byte, 48) // userdata, tag 0 (clock), clock 0, timeout at 24
	copy(hour[24:], []byte{0, 0xa0, 0xb8, 0x30, 0x46, 0x03, 0, 0})
	g.pages, g.data = 1, string(hour)
	return g.tool("", i32(0), i32(64), i32(1), i32(32), call(poll))
}

func spinning(t *testing.T, s *stage) {
	t.Helper()
	for name, g := range map[string]*guest{"loop": loop(), "tree": tree(45), "fill": bulk(100, memoryFill)} {
		require.NoError(t, s.load(t.Context(), g.under("concurrency", 64).under("timeoutMs", 500).upload(name)))
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			o := s.call(t.Context(), []string{"loop", "tree", "fill"}[i%3]+"/f", "", nil)
			gets(t, o.err, status.DeadlineExceeded)
			assert.Less(t, o.took, patience)
		})
	}
	start := time.Now()
	runtime.GC()
	assert.Less(t, time.Since(start), patience, "the garbage collector was held up")
	for range 20 {
		start := time.Now()
		s.visit(t)
		assert.Less(t, time.Since(start), patience, "the customer was held up")
	}
	wg.Wait()
}
