package hosttest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func borderCases() []Case {
	fault, spent, fine := status.Internal, status.ResourceExhausted, status.OK
	offset := func(id, says string, codes []status.Code, code ...[]byte) Case {
		return calls(id, says, func() *guest { return extism().tool("", cat(code...), i32(0)) }, "", codes...)
	}
	given := func(id, says, text string, codes ...status.Code) Case {
		return calls(id, says, func() *guest { return outputs(text) }, "", codes...)
	}
	return []Case{
		calls("D01", "an output that is half a terabyte by its length", func() *guest { return native().tool("", i32(0), i32(0x7fffffff), call(nativeOutput), i32(0)) }, "", fault),
		calls("D02", "an output over the limit", func() *guest {
			g := native()
			g.pages = 32
			return g.tool("", i32(0), i32('1'), i32(2<<20), memoryFill, i32(0), i32(2<<20), call(nativeOutput), i32(0))
		}, "", spent),
		calls("D03", "a pointer past memory, and a length that wraps", func() *guest { return native().tool("", i32(-1), i32(2), call(nativeOutput), i32(0)) }, "", fault),
		offset("D04", "an Extism output whose end wraps", []status.Code{fault, spent}, i64(-1), i64(2), call(extismOutput)),
		offset("D05", "an Extism output of 2^64-1 bytes", []status.Code{fault, spent}, i64(16), i64(-1), call(extismOutput)),
		offset("D06", "reading past Extism's memory", []status.Code{fault}, i64(-8), call(extismLoad64), drop),
		offset("D07", "writing past Extism's memory", []status.Code{fault}, i64(1<<40), i64(7), call(extismStore64)),
		offset("D08", "writing where no block is", []status.Code{fault}, i64(1<<20), i32(7), call(extismStore8)),
		offset("D09", "an input's byte at 2^64-1", []status.Code{fine}, i64(-1), call(extismInput8), drop),
		offset("D10", "nothing at nowhere", []status.Code{fine}, i64(0), i64(0), call(extismOutput), i64(0), call(extismError), i64(0), call(extismLength), drop),
		given("D11", "an output that is not UTF-8", "\"\xff\xfe\"", fault),
		calls("D12", "an output nested 100,000 deep", func() *guest {
			return outputs(strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)).under("outputBytes", 1<<20)
		}, "", fault),
		calls("D13", "a key twice, where a schema is to be checked", func() *guest {
			return outputs(`{"a":1,"a":"x"}`).with("f", `"outputSchema":{"type":"object","properties":{"a":{"type":"string"}}}`)
		}, "", fault),
		calls("D14", "a number beyond all bounds", func() *guest {
			return outputs(`-1e999999999`).with("f", `"outputSchema":{"type":"number","maximum":5}`)
		}, "", fault),
		given("D15", "NaN", `NaN`, fault),
		given("D16", "two values for one", `1 2`, fault),
		calls("D17", "an output that breaks its schema", func() *guest {
			return outputs(`{"sum":"42"}`).with("f", `"outputSchema":{"type":"object","properties":{"sum":{"type":"number"}}}`)
		}, "", fault),
		calls("D18", "members beyond those of a closed schema", func() *guest {
			return outputs(`{"sum":42,"more":1}`).with("f", `"outputSchema":{"type":"object","properties":{"sum":{"type":"number"}},"additionalProperties":false}`)
		}, "", fault),
		calls("D19", "a schema that refers to itself without end, and values that follow it", func() *guest {
			return outputs(strings.Repeat(`{"a":`, 900)+"{}"+strings.Repeat("}", 900)).with("f", `"outputSchema":{"type":"object","properties":{"a":{"$ref":"#"}}}`)
		}, "", fault),
		calls("D20", "a pattern that takes some engines for ever", func() *guest {
			return native().tool("", i32(0)).with("f", `"inputSchema":{"type":"string","pattern":"^(a+)+$"}`)
		}, `"`+strings.Repeat("a", 50_000)+`!"`, status.InvalidArgument),
		calling("D21", "an error of megabytes with escape sequences and new lines", func() *guest {
			g := native()
			g.pages, g.data = 40, "\x1b[31mred\r\nlevel=ERROR forged\x00\u202etxet"
			return g.tool("", i32(64), i32('x'), i32(2<<20), memoryFill, i32(0), i32(2<<20), call(nativeError), i32(1))
		}, "", func(t *testing.T, _ *stage, o outcome) {
			t.Helper()
			assert.Less(t, len(o.err.Error()), 16<<10)
			assert.NotContains(t, o.err.Error(), "\u202e")
			assert.NotContains(t, o.err.Error(), "\x00")
		}, fault),
		calling("D22", "a million lines for the log, with escape sequences", func() *guest {
			g := native()
			g.data = "\x1b[2J\r\nlevel=ERROR forged"
			return g.tool("i", times(0, 1_000_000, i32(2), i32(0), i32(26), call(nativeLog)), i32(0))
		}, "", func(t *testing.T, s *stage, _ outcome) {
			t.Helper()
			n, lines := s.logs.fromGuests()
			assert.Positive(t, n)
			assert.LessOrEqual(t, n, 200)
			for _, line := range lines {
				assert.NotContains(t, line, "\x1b")
				assert.NotContains(t, line, "\n")
			}
		}, fine, status.DeadlineExceeded),
		calling("D23", "an error, and then success", func() *guest {
			g := native()
			g.data = "1no"
			return g.tool("", i32(1), i32(2), call(nativeError), i32(0), i32(1), call(nativeOutput), i32(0))
		}, "", func(t *testing.T, _ *stage, o outcome) {
			t.Helper()
			assert.Equal(t, "1", string(o.out))
		}, fine),
		calls("D24", "success without an output, where one is promised", func() *guest { return bare().tool("", i32(0)).with("f", `"outputSchema":{"type":"object"}`) }, "", fault),
		calls("D25", "an error that claims to be another's: a status that is none, details that are none", func() *guest {
			g := native()
			g.data = `{"code":"OK","message":"all is well","details":[1]}`
			return g.tool("", i32(0), i32(int64(len(g.data))), call(nativeError), i32(1))
		}, "", fault),
		calls("D26", "a trap with words", func() *guest { return native().tool("", unreachable) }, "", fault),
		calls("D27", "the end of the process", func() *guest {
			g := bare()
			exit := g.use("wasi_snapshot_preview1", "proc_exit", "i", "")
			return g.tool("", i32(0), call(exit), unreachable)
		}, "", fault),
		calls("D28", "a chunk that is no JSON, a chunk over the limit", func() *guest {
			g := native()
			g.pages = 20
			return g.tool("", i32(0), i32(9), call(nativeEmit), drop, i32(0), i32(1<<20), call(nativeEmit), drop, i32(0))
		}, "", spent),
		calls("D29", "chunks without end", func() *guest {
			g := native()
			g.data = "1"
			return g.tool("", forever(i32(0), i32(1), call(nativeEmit), drop)).under("timeoutMs", 60_000)
		}, "", spent),
	}
}
