package hosttest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

// handleCases are about handles, pointers and texts that a guest gives the host.
func handleCases() []Case {
	fault, spent, fine := status.Internal, status.ResourceExhausted, status.OK
	// ext is an Extism guest whose tool takes text; inputOffset is the function input_offset.
	ext := func(code func(inputOffset []byte) []byte) func() *guest {
		return func() *guest {
			g := extism()
			offset := g.use("extism:host/env", "input_offset", "", "I")
			return g.tool("II", code(call(offset)), i32(0)).with("f", `"io":"text"`)
		}
	}
	overwrite := func(block uint32) []byte { // all of it with x
		return cat(i64(8), call(extismAlloc), localSet(block), localGet(block), i64(0x7878787878787878), call(extismStore64))
	}
	outside := func(name, params string, code func(f uint32) []byte) func() *guest {
		return func() *guest {
			g := native()
			f := g.use("genkit_v1", name, params, map[bool]string{true: "i"}[name != "output"])
			return g.tool("", code(f), i32(0))
		}
	}
	return []Case{
		calling("D30", "freeing the input, and writing where it was", ext(func(input []byte) []byte {
			return cat(input, localSet(0), localGet(0), call(extismFree), overwrite(1), localGet(0), i64(8), call(extismOutput))
		}), `"12345678"`, answers(`"12345678"`), fine).seen("extism/extism#659"),
		calling("D31", "freeing the error that was set, and writing where it was", ext(func([]byte) []byte {
			return cat(i64(8), call(extismAlloc), localSet(0), localGet(0), i64(0x3132333435363738), call(extismStore64), localGet(0), call(extismError), localGet(0), call(extismFree), overwrite(1))
		}), `"x"`, func(t *testing.T, _ *stage, o outcome) {
			t.Helper()
			assert.Contains(t, o.err.Error(), "87654321")
		}, fault).seen("extism/extism#659"),
		calling("D32", "freeing the output, and writing where it was", ext(func([]byte) []byte {
			return cat(i64(8), call(extismAlloc), localSet(0), localGet(0), i64(0x3132333435363738), call(extismStore64), localGet(0), i64(8), call(extismOutput), localGet(0), call(extismFree), overwrite(1))
		}), `"x"`, answers(`"87654321"`), fine).seen("extism/extism#659"),
		calls("D33", "a word that lies half outside of Extism's memory", func() *guest {
			return extism().tool("I", i64(16), call(extismAlloc), localSet(0), localGet(0), i64(12), add64, i64(1), call(extismStore64), localGet(0), i64(12), add64, call(extismLoad64), drop, i32(0))
		}, "", fault),
		calls("D34", "words in a row that lead over the end of the address space to its beginning", func() *guest {
			return extism().tool("", i64(64), call(extismAlloc), drop,
				i64(-16), i64(1), call(extismStore64), i64(-8), i64(2), call(extismStore64), i64(0), i64(3), call(extismStore64), i64(8), i64(4), call(extismStore64), i32(0))
		}, "", fault),
		calls("D35", "a variable whose value is a handle that was made up", func() *guest {
			return extism().tool("I", i64(8), call(extismAlloc), localSet(0), localGet(0), i64(24), call(extismVarSet), localGet(0), i64(-8), call(extismVarSet), localGet(0), call(extismVarGet), drop, i32(0))
		}, "", fine).seen("extism/extism#659"),
		calls("D36", "an input that is to be written half outside of memory", func() *guest { return native().tool("", i32(65_534), call(nativeInput), i32(0)) }, `"xxxx"`, fault).seen("wasmerio/wasmer#2786"),
		calls("D37", "an error, a line for the log, a chunk from outside of memory", func() *guest {
			return native().tool("", i32(-1), i32(-1), call(nativeError), i32(1))
		}, "", fault).also(
			func() *guest { return native().tool("", i32(2), i32(65_535), i32(2), call(nativeLog), i32(0)) },
			func() *guest { return native().tool("", i32(65_536), i32(1), call(nativeEmit), drop, i32(0)) },
			outside("interrupt", "ii", func(f uint32) []byte { return cat(i32(-4), i32(8), call(f), drop) }),
			outside("context", "ii", func(f uint32) []byte { return cat(i32(65_537), i32(0), call(f), drop) }),
		).seen("freenet/freenet-core#2864", "smartcontractkit/chainlink-common#2142"),
		calls("D38", "an interrupt of megabytes", func() *guest {
			g := native()
			f := g.use("genkit_v1", "interrupt", "ii", "i")
			g.pages = 32
			return g.tool("", i32(0), i32(1<<20), call(f), drop, i32(0))
		}, "", spent),
		calling("D39", "an interrupt that hides what it asks people for", func() *guest {
			g := native()
			f := g.use("genkit_v1", "interrupt", "ii", "i")
			g.data = "{\"question\":\"Pay 1\u202e00,000\u2066?\"}"
			return g.tool("", i32(0), i32(int64(len(g.data))), call(f), drop, i32(0))
		}, "", func(t *testing.T, _ *stage, o outcome) {
			t.Helper()
			interrupt, ok := tool.AsInterrupt(o.err)
			require.True(t, ok)
			assert.Contains(t, string(interrupt.Metadata), `\u202e`)
			assert.NotContains(t, string(interrupt.Metadata), "\u202e")
		}, fault),
		calls("D40", "an output with a mark of its byte order", func() *guest { return outputs("\ufeff1") }, "", fault).seen("RFC 8259, section 8.1"),
		calling("D41", "an output that hides text from people", func() *guest { return outputs("\"adds\u202e two\u2066 \U000e0041\"") }, "", func(t *testing.T, _ *stage, o outcome) {
			t.Helper()
			assert.NotContains(t, string(o.out), "\u202e")
			assert.Contains(t, string(o.out), `\u202e`)
			var text string
			require.NoError(t, json.Unmarshal(o.out, &text))
			assert.Equal(t, "adds\u202e two\u2066 \U000e0041", text, "it is the same text")
		}, fine).seen("CVE-2021-42574"),
		calls("D42", "a number of a hundred thousand digits, where a schema is to be checked", func() *guest {
			return outputs(strings.Repeat("1", 49_998)).with("f", `"outputSchema":{"type":"number","multipleOf":7}`)
		}, "", fault).seen("CVE-2020-10735"),
		calls("D43", "a schema whose alternatives multiply", func() *guest {
			var defs strings.Builder
			for i := range 24 {
				fmt.Fprintf(&defs, `"a%d":{"anyOf":[{"properties":{"x":{"$ref":"#/$defs/a%d"}},"minProperties":9},{"properties":{"x":{"$ref":"#/$defs/a%d"}},"minProperties":8}]},`, i, i+1, i+1)
			}
			value := strings.Repeat(`{"x":`, 24) + "1" + strings.Repeat("}", 24)
			return outputs(value).with("f", `"outputSchema":{"$ref":"#/$defs/a0","$defs":{`+defs.String()+`"a24":{"type":"string"}}}`)
		}, "", fault).seen("a schema of the form of a billion laughs"),
		calling("D44", "details of an error that are megabytes", func() *guest {
			g := native()
			g.data = `{"code":"NOT_FOUND","message":"no","details":["` + strings.Repeat("x", 40_000) + `"]}`
			return g.tool("", i32(0), i32(int64(len(g.data))), call(nativeError), i32(1))
		}, "", func(t *testing.T, _ *stage, o outcome) {
			t.Helper()
			assert.Less(t, len(status.ToWire(o.err, false).Details), 20_000)
		}, status.NotFound),
		calling("D45", "a line for the log of megabytes", func() *guest {
			g := native()
			g.pages = 40
			return g.tool("", i32(0), i32('x'), i32(2<<20), memoryFill, i32(2), i32(0), i32(2<<20), call(nativeLog), i32(0))
		}, "", func(t *testing.T, s *stage, _ outcome) {
			t.Helper()
			n, lines := s.logs.fromGuests()
			assert.Equal(t, 1, n)
			for _, line := range lines {
				assert.Less(t, len(line), 8<<10)
			}
		}, fine).seen("log injection"),
		calling("D46", "printing instead of logging, with new lines that begin like the host's", func() *guest {
			g := native()
			f := g.use(wasiModule, "fd_write", "iiii", "i")
			g.data = "ok\r\nlevel=ERROR msg=\"all is lost\"\x1b[2J"
			return g.tool("", i32(2048), i32(0), i32Store, i32(2052), i32(int64(len(g.data))), i32Store, i32(1), i32(2048), i32(1), i32(2056), call(f), drop, i32(0))
		}, "", func(t *testing.T, s *stage, _ outcome) {
			t.Helper()
			n, lines := s.logs.fromGuests()
			assert.Positive(t, n)
			for _, line := range lines {
				assert.NotContains(t, line, "\n")
				assert.NotContains(t, line, "\x1b")
			}
		}, fine).seen("CWE-117"),
		calls("D47", "a chunk that says a thing in no JSON", func() *guest {
			g := native()
			g.data = "NaN"
			return g.tool("", i32(0), i32(3), call(nativeEmit), drop, i32(0))
		}, "", fine).streams(0),
		calls("C11", "text of the context that is asked for over and over", func() *guest {
			g := native()
			f := g.use("genkit_v1", "context", "ii", "i")
			return g.tool("", forever(i32(0), i32(0), call(f), drop))
		}, "", status.DeadlineExceeded),
		calls("C12", "a reply that is fetched to where there is no memory", func() *guest {
			g := native()
			f, fetch := g.use("genkit_v1", "context", "ii", "i"), g.use("genkit_v1", "reply", "i", "")
			return g.tool("", i32(0), i32(0), call(f), drop, i32(65_530), call(fetch), i32(0))
		}, "", fault).seen("oven-sh/bun#39100"),
		scripted("S09", "a segment that another's call has dropped", "the next call starts from the first state", func(t *testing.T, s *stage) {
			t.Helper()
			g := segments()
			g.add("poison", "", dataDrop, elemDrop, i32(0))
			g.tool("", i32(0), i32(0), i32(3), memoryInit, i32(0), i32(0), i32(1), tableInit, i32(0), i32(3), call(nativeOutput), i32(0)).with("f", `"io":"text"`)
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			for range 3 {
				require.NoError(t, s.call(t.Context(), "hostile/poison", "", nil).err)
				assert.Equal(t, "012", textOf(t, s.call(t.Context(), "hostile/f", `"x"`, nil)))
			}
		}).seen("fluentlabs-xyz/rwasm#172"),
		scripted("S10", "a table that another's call has made bigger", "the next call starts from the first state", func(t *testing.T, s *stage) {
			t.Helper()
			g := segments()
			g.add("poison", "", refNull, i32(3), tableGrow, drop, i32(0))
			g.tool("", i32(16), tableSize, i32('0'), add, i32Store8, i32(16), i32(1), call(nativeOutput), i32(0)).with("f", `"io":"text"`)
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			for range 3 {
				require.NoError(t, s.call(t.Context(), "hostile/poison", "", nil).err)
				assert.Equal(t, "4", textOf(t, s.call(t.Context(), "hostile/f", `"x"`, nil)))
			}
		}),
		scripted("S11", "a vector and a reference that another's call has left in globals", "the next call starts from the first state", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			g.globals = [][]byte{w.Global("v", true, append([]byte{0xfd, 12}, make([]byte, 16)...)...), w.Global("r", true, 0xd0, 0x70)}
			g.elems = [][]byte{cat([]byte{3, 0}, w.Vec(w.U32(uint32(len(g.imports)))))}
			ones := append([]byte{0xfd, 12}, []byte(strings.Repeat("\x01", 16))...)
			g.add("poison", "", ones, globalSet(0), []byte{0xd2}, w.U32(uint32(len(g.imports))), globalSet(1), i32(0))
			g.tool("", i32(16), globalGet(0), []byte{0xfd, 21, 0}, i32('0'), add, i32Store8, i32(17), globalGet(1), []byte{0xd1}, i32('0'), add, i32Store8, i32(16), i32(2), call(nativeOutput), i32(0)).with("f", `"io":"text"`)
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			for range 3 {
				require.NoError(t, s.call(t.Context(), "hostile/poison", "", nil).err)
				assert.Equal(t, "01", textOf(t, s.call(t.Context(), "hostile/f", `"x"`, nil)))
			}
		}).seen("CVE-2021-39216"),
		scripted("S12", "the clock that another's call has moved by sleeping", "each call has its own", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			sleep, now := g.use(wasiModule, "poll_oneoff", "iiii", "i"), g.use(wasiModule, "clock_time_get", "iIi", "i")
			g.data = string(subscription(0, 0, 1_000_000))
			g.tool("", i32(1), i64(0), i32(512), call(now), drop, i32(0), i32(1024), i32(1), i32(2048), call(sleep), drop, digits(512, 8), says(16)).with("f", `"io":"text"`)
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			first := textOf(t, s.call(t.Context(), "hostile/f", `"x"`, nil))
			for range 3 {
				assert.Equal(t, first, textOf(t, s.call(t.Context(), "hostile/f", `"x"`, nil)))
			}
		}).seen(earlier),
		forgets("S13", "memory that the initialisation has grown and another's call has filled", func() *guest {
			g := residue(
				func(*guest) []byte { return cat(i32(3<<16), call(nativeInput), i32(0)) },
				func(*guest) []byte { return cat(i32(2<<16), i32(3<<16), call(nativeOutput), i32(0)) })
			g.add("_initialize", "", i32(3), memoryGrow, drop, i32(0))
			return g
		}).seen("CVE-2022-39393"),
		scripted("S14", "a variable of Extism's that another's call has set", "nothing of an earlier call is seen", func(t *testing.T, s *stage) {
			t.Helper()
			g := extism()
			key := cat(i64(8), call(extismAlloc), localSet(0), localGet(0), i64(7), call(extismStore64))
			g.add("keep", "II", key, i64(8), call(extismAlloc), localSet(1), localGet(0), localGet(1), call(extismVarSet), i32(0))
			g.tool("I", key, localGet(0), call(extismVarGet), i64(0), []byte{0x52}).with("f", `"io":"text"`) // 1, a failure, when it is there
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			for range 3 {
				require.NoError(t, s.call(t.Context(), "hostile/keep", "", nil).err)
				require.NoError(t, s.call(t.Context(), "hostile/f", `"x"`, nil).err)
			}
		}).seen("extism/go-sdk: variables stay in a plug-in"),
	}
}

// also has a case go on with other guests, whose calls must end with an INTERNAL error.
func (c Case) also(makes ...func() *guest) Case {
	run := c.run
	c.run = func(t *testing.T, s *stage) {
		t.Helper()
		run(t, s)
		for i, make := range makes {
			require.NoError(t, s.load(t.Context(), make().upload("hostile")))
			o := s.call(t.Context(), "hostile/f", "", nil)
			require.Error(t, o.err, "guest %d", i)
			gets(t, o.err, status.Internal)
			assert.True(t, status.Convert(o.err).Public(), "%v", o.err)
		}
	}
	return c
}

// streams has a case look at how many chunks came.
func (c Case) streams(chunks int) Case {
	run := c.run
	c.run = func(t *testing.T, s *stage) {
		t.Helper()
		run(t, s)
		o := s.call(t.Context(), "hostile/f", "", nil)
		assert.Equal(t, chunks, o.chunks)
	}
	return c
}
