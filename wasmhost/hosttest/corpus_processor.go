package hosttest

import (
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
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

// bulk does nothing but operations over so many MiB, n of them in a straight line, and again.
func bulk(n int, op []byte, mib int64) *guest {
	g := bare()
	g.pages = uint32(mib)*16 + 1
	return g.tool("", forever(repeated(n, i32(0), i32(1), i32(mib<<20), op))).under("memoryBytes", (mib+8)<<20)
}

// filling does nothing but fill 3 MiB.
func filling() *guest {
	g := bare()
	g.pages = 60
	return g.tool("", forever(repeated(100, i32(0), i32(1), i32(3<<20), memoryFill)))
}

// untilZero counts global 0 down and runs code, which leaves a number, unless it is zero.
func untilZero(code ...[]byte) []byte {
	return cat(globalGet(0), []byte{0x04, 0x40}, globalGet(0), i32(-1), add, globalSet(0), cat(code...), drop, []byte{opEnd})
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
		calls("B05", "recursion without end", func() *guest { return bare().tool("", call(0)) }, "", late, spent).
			twinCall("a recursion that is a thousand deep", "", func() *guest {
				g := bare()
				g.globals = [][]byte{w.Global("i", true, 0x41, 0xe8, 0x07)}
				return g.tool("", untilZero(call(0)), i32(0))
			}),
		calls("B06", "recursion without end through a table", func() *guest {
			g := bare()
			g.tables, g.elems = [][]byte{w.Table("r", w.Limits(1, 1))}, [][]byte{cat([]byte{0}, i32(0), []byte{opEnd}, w.Vec(w.U32(0)))}
			return g.tool("", i32(0), []byte{0x11, 0, 0})
		}, "", late, spent).twinCall("a recursion that is a thousand deep", "", func() *guest {
			g := bare()
			g.globals = [][]byte{w.Global("i", true, 0x41, 0xe8, 0x07)}
			g.tables, g.elems = [][]byte{w.Table("r", w.Limits(1, 1))}, [][]byte{cat([]byte{0}, i32(0), []byte{opEnd}, w.Vec(w.U32(0)))}
			return g.tool("", untilZero(i32(0), []byte{0x11, 0, 0}), i32(0))
		}),
		calls("B07", "memory.fill over and over, in straight lines", func() *guest { return bulk(3900, memoryFill, 63) }, "", late),
		calls("B08", "memory.copy over and over", func() *guest { return bulk(3900, memoryCopy, 63) }, "", late),
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
		calling("B15", "host calls that cost little fuel and move a megabyte each", func() *guest {
			g := native()
			g.pages = 100
			return g.tool("", forever(i32(0), call(nativeInput))).under("inputBytes", 6<<20).under("memoryBytes", 8<<20)
		}, `"`+strings.Repeat("x", 6<<20-2)+`"`, promptly, late),
		calls("B16", "random bytes without end", func() *guest {
			g := native()
			return g.tool("", forever(i32(0), i32(65536), call(nativeRandom), drop)).under("timeoutMs", 60_000)
		}, "", spent),
		scripted("B17", "chunks without end to a reader who takes a millisecond for each", "`DEADLINE_EXCEEDED`", func(t *testing.T, s *stage) {
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
		scripted("B18", "a deadline that comes while the host works for the guest", "`DEADLINE_EXCEEDED`", func(t *testing.T, s *stage) {
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
		scripted("B19", "a caller who leaves in the middle", "`CANCELLED`", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			g.data = "1"
			g.tool("", i32(0), i32(1), call(nativeEmit), drop, forever())
			require.NoError(t, s.load(t.Context(), g.under("timeoutMs", 60_000).under("fuel", 1<<50).upload("hostile")))
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
		scripted("B20", "64 guests that spin in loops, call trees and fills", "every one its deadline, the customer its answers, the garbage collector its turn", spinning),
		scripted("B21", "more calls at a time than a module may have", "`RESOURCE_EXHAUSTED` with a time to try again", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), loop().under("concurrency", 1).upload("hostile")))
			var wg sync.WaitGroup
			var refused atomic.Int32
			for range 8 {
				wg.Go(func() {
					err := s.call(t.Context(), "hostile/f", "", nil).err
					gets(t, err, late, spent)
					if status.Of(err) == spent {
						refused.Add(1)
						assert.Positive(t, status.Convert(err).RetryAfter)
					}
				})
			}
			wg.Wait()
			assert.Positive(t, refused.Load(), "all of them were let in")
		}),
		calls("B22", "a deep recursion whose frames do their work on the way up", func() *guest { return climbing(100_000, call(2)) }, "", late, spent),
		calls("B23", "the same through a table", func() *guest {
			g := climbing(100_000, cat(i32(0), []byte{0x11, 1, 0}))
			g.tables, g.elems = [][]byte{w.Table("r", w.Limits(1, 1))}, [][]byte{cat([]byte{0}, i32(0), []byte{opEnd}, w.Vec(w.U32(2)))}
			return g
		}, "", late, spent),
		calls("B24", "the same through a second function, which ends with the call", func() *guest {
			g := climbing(100_000, call(3))
			g.bodies = append(g.bodies, w.Body("", cat(localGet(0), call(2))...))
			return g
		}, "", late, spent),
	}
}

// climbing calls itself so often, and then each of its frames reads a thousand places of a
// big memory, of which each says where the next one is. Descend is the call of function 2.
func climbing(depth int64, descend []byte) *guest {
	g := bare()
	g.pages = 513
	g.tool("", i32(depth), call(2), i32(0))
	g.types = append(g.types, w.FuncType("i", ""))
	when := func(code ...[]byte) []byte { return cat(localGet(0), []byte{0x04, 0x40}, cat(code...), []byte{opEnd}) }
	read := cat(localGet(0), i32(1664525), []byte{0x6c}, i32(1013904223), add, localSet(0), localGet(0), localGet(0), i32(32<<20-4), and, i32Load, add, localSet(0))
	g.bodies = append(g.bodies, w.Body("", cat(when(localGet(0), i32(-1), add, descend), when(repeated(1000, read)))...))
	return g.under("memoryBytes", 40<<20)
}

// promptly checks that a call was over soon after its deadline.
func promptly(t *testing.T, _ *stage, o outcome) {
	t.Helper()
	soon := 2 * time.Second
	if raceDetector {
		soon = patience
	}
	assert.Less(t, o.took, soon)
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
	for name, g := range map[string]*guest{"loop": loop(), "tree": tree(45), "fill": filling()} {
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
		s.callCustomer(t)
		assert.Less(t, time.Since(start), patience, "the customer was held up")
	}
	wg.Wait()
}

// free is a loop that a meter may pay for once: what its rounds are made of, with a local "i".
func free(code ...[]byte) []byte { return cat([]byte{0x03, 0x40}, cat(code...), []byte{opEnd}) }

// Loops that ran for ever under an earlier meter.
var (
	leavesOrGoesOn = free(localGet(0), []byte{0x0d, 1, 0x0c, 0}) // br_if to the function's end, br
	paysItself     = free([]byte{0x02, 0x40, 0x02, 0x40}, localGet(0), []byte{0x0e, 1, 0, 1, 0, opEnd, opEnd}, i32(1), localSet(0), []byte{0x0c, 0})
)

func endlessCases() []Case {
	late, spent := status.DeadlineExceeded, status.ResourceExhausted
	// running is a guest whose only function but "ok" has this code, a type without results, and a local.
	running := func(export string, code []byte) *guest {
		g := bare()
		g.tool("", i32(0))
		g.types = append(g.types, w.FuncType("", ""))
		g.bodies = append(g.bodies, w.Body("i", code...))
		g.exports = [][]byte{w.Export(export, 0, uint32(len(g.bodies)-1))}
		return g
	}
	tools := func(code []byte) func() *guest {
		return func() *guest {
			g := running("run", code)
			g.tools[0] = "" // run is the tool f
			return g
		}
	}
	called := func(id, says string, code []byte) Case {
		return scripted(id, says, "`DEADLINE_EXCEEDED`", func(t *testing.T, s *stage) {
			t.Helper()
			up := tools(code)().upload("hostile")
			up.Descriptor = describes(`{"name":"f","export":"run"},{"name":"ok"}`)
			require.NoError(t, s.load(t.Context(), up))
			gets(t, s.call(t.Context(), "hostile/f", "", nil).err, late)
			gets(t, s.call(t.Context(), "hostile/ok", "", nil).err, status.OK)
		})
	}
	// So many copies, 47 GB, take any machine more than the moment that promptly allows.
	lengths := func(op []byte) func() *guest {
		return func() *guest {
			g := segments()
			g.passive = []string{strings.Repeat("x", 15<<20)}
			g.pages = 256
			return g.tool("", forever(repeated(3000, i32(0), i32(0), i32(15<<20), op))).under("memoryBytes", 40<<20)
		}
	}
	return []Case{
		called("B25", "58 bytes: a loop that leaves the function or goes on", leavesOrGoesOn).seen(earlier),
		called("B26", "a loop through a table of labels that pays for itself", paysItself).seen(earlier),
		refuses("B27", "the same when a module is initialised", late, func() map[string]wasmhost.Upload {
			return map[string]wasmhost.Upload{"leaves": running("_initialize", leavesOrGoesOn).upload("hostile"), "pays": running("_initialize", paysItself).upload("hostile")}
		}).seen(earlier),
		refuses("B28", "the same when a module describes itself", status.InvalidArgument, func() map[string]wasmhost.Upload {
			uploads := map[string]wasmhost.Upload{}
			for name, code := range map[string][]byte{"leaves": leavesOrGoesOn, "pays": paysItself} {
				up := running("genkit_describe", code).upload("hostile")
				up.Descriptor, up.Policy = nil, []byte(`{"limits":{"timeoutMs":150}}`)
				uploads[name] = up
			}
			return uploads
		}).seen(earlier),
		calling("B29", "copying a segment of megabytes over and over, in straight lines", lengths(memoryInit), "", promptly, late, spent).seen("bulk operations are not interrupted by engines"),
		calls("B31", "a loop that carries values from round to round, and calls another function", func() *guest {
			g := bare()
			g.tool("", i32(1), []byte{0x03, 2}, i32(1), add, call(2), []byte{0x0c, 0, opEnd})
			g.types = append(g.types, w.FuncType("", ""), w.FuncType("i", "i"))
			g.bodies = append(g.bodies, w.Body("", localGet(0)...))
			return g
		}, "", late).seen("WebAssembly: multiple values"),
		calls("B32", "giving up the processor over and over", func() *guest {
			g := native()
			f := g.use(wasiModule, "sched_yield", "", "i")
			return g.tool("", forever(call(f), drop))
		}, "", late),
		scripted("B33", "a guest that sleeps, in a module that serves one call at a time", "the module serves another call meanwhile", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), sleeper().under("concurrency", 1).under("timeoutMs", 60_000).upload("hostile")))
			s.whileWaiting(t, func(ctx context.Context) { s.call(ctx, "hostile/f", "", nil) })
		}).seen(earlier),
		scripted("B34", "a guest that emits to a reader who does not read", "the module serves another call meanwhile", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			g.data = "1"
			require.NoError(t, s.load(t.Context(), g.tool("", i32(0), i32(1), call(nativeEmit)).under("concurrency", 1).under("timeoutMs", 60_000).upload("hostile")))
			s.whileWaiting(t, func(ctx context.Context) {
				s.call(ctx, "hostile/f", "", func(json.RawMessage) error {
					<-ctx.Done()
					return ctx.Err()
				})
			})
		}).seen(earlier),
		scripted("B35", "a guest that waits for another tool, which sleeps", "the module serves another call meanwhile", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), asker("run", `{"actions":["tool/slow/*"]}`, 1).under("timeoutMs", 60_000).under("concurrency", 1).upload("hostile")))
			require.NoError(t, s.load(t.Context(), sleeper().under("timeoutMs", 60_000).upload("slow")))
			s.whileWaiting(t, func(ctx context.Context) { s.call(ctx, "hostile/f", `{"key":"/tool/slow/f","input":{}}`, nil) })
		}).seen(earlier),
		scripted("B36", "a reader who stops reading, until the time to write is over", "the one who writes is told the call's own deadline", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			g.data = "1"
			require.NoError(t, s.load(t.Context(), g.tool("", i32(0), i32(1), call(nativeEmit)).upload("hostile")))
			var by time.Time
			ctx := wasmhost.WithWriteBy(t.Context(), func(deadline time.Time) { by = deadline })
			s.call(ctx, "hostile/f", "", func(json.RawMessage) error { return nil })
			assert.WithinDuration(t, time.Now(), by, patience)
		}).seen(earlier),
		calls("B37", "calls of a module without end, within a minute", func() *guest { return bare().tool("", i32(0)).under("callsPerMinute", 4) }, "", status.OK).floods(),
	}
}

// floods has a case go on with a flood of calls, which is refused.
func (c Case) floods() Case {
	run := c.run
	c.Gets = "`RESOURCE_EXHAUSTED` with a time to try again"
	c.run = func(t *testing.T, s *stage) {
		t.Helper()
		run(t, s)
		var refused error
		for range 10 {
			if o := s.call(t.Context(), "hostile/ok", "", nil); o.err != nil {
				refused = o.err
			}
		}
		gets(t, refused, status.ResourceExhausted)
		assert.Positive(t, status.Convert(refused).RetryAfter)
	}
	return c
}

// whileWaiting calls the tool "ok" of the module "hostile" while another call waits for something.
func (s *stage) whileWaiting(t *testing.T, wait func(context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { wait(ctx) })
	require.Eventually(t, func() bool {
		u, err := s.host.Usage(hostileTenant)
		return err == nil && u.Running+u.Suspended > 0
	}, patience, time.Millisecond)
	for range 50 { // the first of them may come before the one that waits has its place
		short, stop := context.WithTimeout(t.Context(), 2*time.Second)
		o := s.call(short, "hostile/ok", "", nil)
		stop()
		require.NoError(t, o.err)
	}
}
