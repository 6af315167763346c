package abi_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

func TestADescriptorIsCompletedAndCleaned(t *testing.T) {
	d, err := abi.ParseDescriptor([]byte(`{"abi":"genkit/1","name":"textkit","version":"1.2.0","description":"safe\u202etext\u0007","later":{"field":1},
		"tools":[{"name":"slugify","inputSchema":{"type":"object"}},{"name":"up","export":"upper","io":"text"}],"requests":{"kv":true}}`))
	require.NoError(t, err)
	assert.Equal(t, "safetext", d.Description)
	assert.Equal(t, "slugify", d.Tools[0].Export)
	assert.Equal(t, abi.IOJSON, d.Tools[0].IO)
	assert.Equal(t, "upper", d.Tools[1].Export)
	assert.Equal(t, abi.IOText, d.Tools[1].IO)
}

func TestADescriptorIsRefusedWithTheReason(t *testing.T) {
	for raw, want := range map[string]string{
		``:     "want a JSON value",
		`[]`:   "want an object",
		`null`: `"abi" is ""`,
		`{"abi":"genkit/2","tools":[{"name":"f"}]}`:                                                        `want "genkit/1"`,
		`{"abi":"genkit/1","name":"a/b","tools":[{"name":"f"}]}`:                                           "module name",
		`{"abi":"genkit/1","name":"m","tools":"f"}`:                                                        `"tools" is a string, want an array`,
		`{"abi":"genkit/1","name":"m","tools":[{"name":""}]}`:                                              "tool name",
		`{"abi":"genkit/1","name":"m","tools":[{"name":"` + strings.Repeat("x", 65) + `"}]}`:               "tool name",
		`{"abi":"genkit/1","name":"m","tools":[{"name":"f","io":"xml"}]}`:                                  `want "json" or "text"`,
		`{"abi":"genkit/1","name":"m","tools":[{"name":"f","outputSchema":7}]}`:                            "output schema",
		`{"abi":"genkit/1","name":"m","tools":[{"name":"f","multipart":true,"io":"text"}]}`:                "multipart",
		`{"abi":"genkit/1","name":"m","formats":[{"name":"a b"}]}`:                                         "format name",
		`{"abi":"genkit/1","name":"m","formats":[{"name":"csv"},{"name":"csv"}]}`:                          "format \"csv\" is named twice",
		`{"abi":"genkit/1","name":"m","middleware":[{"name":"x"}]}`:                                        "no hooks",
		`{"abi":"genkit/1","name":"m","middleware":[{"name":"x","hooks":["model"],"configSchema":7}]}`:     "config schema",
		`{"abi":"genkit/1","name":"m","tools":[` + strings.Repeat(`{"name":"f"},`, 200) + `{"name":"g"}]}`: "201 tools",
	} {
		_, err := abi.ParseDescriptor([]byte(raw))
		require.Error(t, err, raw)
		assert.Contains(t, err.Error(), want)
		assert.True(t, status.Convert(err).Public(), raw)
	}
}

func TestImportsSayWhatAModuleIs(t *testing.T) {
	native := func(name, sig string) abi.Import {
		return abi.Import{Module: abi.ModuleNative, Name: name, Signature: sig}
	}
	l, err := abi.Link([]abi.Import{
		native("input_len", "()->(i32)"), native("emit", "(i32,i32)->(i32)"), native("emit", "(i32,i32)->(i32)"),
		native("context", "(i32,i32)->(i32)"),
		{Module: abi.ModuleWASI, Name: "fd_write", Signature: "(i32,i32,i32,i32)->(i32)"},
	})
	require.NoError(t, err)
	assert.Equal(t, abi.Native, l.Convention)
	assert.Equal(t, []abi.Capability{abi.CapContext, abi.CapEmit}, l.Capabilities)
	assert.True(t, l.UsesWASI)

	l, err = abi.Link([]abi.Import{
		{Module: abi.ModuleExtism, Name: "alloc", Signature: "(i64)->(i64)"},
		{Module: abi.ModuleExtism, Name: "http_request", Signature: "(i64,i64)->(i64)"},
		{Module: abi.ModuleExtismUser, Name: "genkit_kv_get", Signature: "(i64)->(i64)"},
	})
	require.NoError(t, err)
	assert.Equal(t, abi.Extism, l.Convention)
	assert.Equal(t, []abi.Capability{abi.CapHTTP, abi.CapKVGet}, l.Capabilities)

	l, err = abi.Link(nil)
	require.NoError(t, err)
	assert.Equal(t, abi.Native, l.Convention)

	for want, imports := range map[string][]abi.Import{
		`"env"."abort" (AssemblyScript`: {{Module: "env", Name: "abort"}},
		"WASI preview 2":                {{Module: "wasi:cli/run@0.2.0", Name: "run"}},
		`"genkit_v1"."nope"`:            {native("nope", "()->()")},
		"want (i32)->()":                {native("input", "(i64)->()")},
		`"extism:host/user"."emit"`:     {{Module: abi.ModuleExtismUser, Name: "emit", Signature: "(i64)->(i64)"}},
		`"extism:host/env"."reset"`:     {{Module: abi.ModuleExtism, Name: "reset", Signature: "()->()"}},
		"one calling convention":        {native("reply", "(i32)->()"), {Module: abi.ModuleExtism, Name: "free", Signature: "(i64)->()"}},
		"and 5 more":                    many(15),
	} {
		_, err := abi.Link(imports)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
		assert.Contains(t, err.Error(), want)
	}
}

func many(n int) []abi.Import {
	list := make([]abi.Import, n)
	for i := range list {
		list[i] = abi.Import{Module: "env", Name: strings.Repeat("f", i+1)}
	}
	return list
}

func TestGuestErrorsKeepTheirCode(t *testing.T) {
	for raw, want := range map[string]status.Wire{
		`{"code":"NOT_FOUND","message":"no such thing","details":{"id":1}}`: {Status: "NOT_FOUND", Message: "no such thing", Details: json.RawMessage(`{"id":1}`)},
		`{"code":"NO_SUCH_CODE","message":"m"}`:                             {Status: "INTERNAL", Message: "m"},
		`{"code":"OK","message":"m"}`:                                       {Status: "INTERNAL", Message: "m"},
		`{"code":"ABORTED"}`:                                                {Status: "ABORTED", Message: "aborted"},
		`{"other":1}`:                                                       {Status: "INTERNAL", Message: `{"other":1}`},
		`plain text`:                                                        {Status: "INTERNAL", Message: "plain text"},
		"bad \xff utf8 \x1b[31m":                                            {Status: "INTERNAL", Message: "bad  utf8 [31m"},
		"\u200b":                                                            {Status: "INTERNAL", Message: "failed"},
		``:                                                                  {Status: "INTERNAL", Message: `"f" failed with code 3 and gave no reason`},
	} {
		assert.Equal(t, want, status.ToWire(abi.GuestError([]byte(raw), "f", 3), false), raw)
	}
	for _, end := range []string{"", "é", `\n`, `\ud83d\ude00`, "\U0001f600"} { // wherever a message is cut, its code stays
		for pad := range 16 {
			raw := `{"code":"NOT_FOUND","message":"` + strings.Repeat("y", abi.MaxErrorBytes-40-pad) + strings.Repeat(end, 4) + strings.Repeat("z", 100) + `","details":{}}`
			for _, given := range []string{raw, raw[:abi.MaxErrorBytes]} {
				err := abi.GuestError([]byte(given), "f", 1)
				require.ErrorIs(t, err, status.ErrNotFound, "%q, %d", end, pad)
				require.True(t, strings.HasPrefix(status.Convert(err).Message, "yyy"))
			}
		}
	}
	whole := `{"code":"NOT_FOUND","message":"` + strings.Repeat("y", abi.MaxErrorBytes-33) + `"}`
	require.Len(t, whole, abi.MaxErrorBytes)
	require.ErrorIs(t, abi.GuestError([]byte(whole), "f", 1), status.ErrNotFound)
	long := status.ToWire(abi.GuestError([]byte(strings.Repeat("x", 10<<20)), "f", 1), false)
	assert.Less(t, len(long.Message), 5000)
}

func TestRepliesHaveTheirPrefix(t *testing.T) {
	assert.Equal(t, `{"ok":null}`, string(abi.OKReply(nil)))
	assert.Equal(t, `{"ok":[1]}`, string(abi.OKReply(json.RawMessage(`[1]`))))
	private := string(abi.ErrorReply(status.Errorf(status.Internal, "secret")))
	assert.JSONEq(t, `{"error":{"code":"INTERNAL","message":"internal error"}}`, private)
	assert.True(t, strings.HasPrefix(private, `{"error":`))
}

func TestLineHoldsOneLine(t *testing.T) {
	assert.Equal(t, "a b c", abi.Line("a\nb\r\n\tc", 100))
	assert.Equal(t, "ab…", abi.Line("abcdef", 2))
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "a\u202eb", "\xff\xfe", "tag\U000E0041", "\x1b[0m", "नमस्ते 👩‍👩‍👧"} {
		f.Add(s, 10)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 0), 1<<16)
		out := abi.Clean(s, limit)
		if !utf8.ValidString(out) || len(out) > limit+len("…") {
			t.Fatalf("Clean(%q, %d) = %q", s, limit, out)
		}
		for _, r := range out {
			if unicode.Is(unicode.Cf, r) || (unicode.IsControl(r) && r != '\n' && r != '\t') {
				t.Fatalf("Clean(%q) left %U", s, r)
			}
		}
	})
}

func FuzzParseDescriptor(f *testing.F) {
	f.Add([]byte(`{"abi":"genkit/1","name":"m","tools":[{"name":"f","inputSchema":{"$ref":"#/$defs/a"}}]}`))
	f.Add([]byte(`{"abi":"genkit/1","tools":[{"name":"f","metadata":{"a":1e999}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := abi.ParseDescriptor(raw)
		if err != nil {
			if !status.Convert(err).Public() {
				t.Fatalf("private error: %v", err)
			}
			return
		}
		again, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := abi.ParseDescriptor(again); err != nil {
			t.Fatalf("what was accepted is refused when written again: %v\n%s", err, again)
		}
	})
}

// Texts of a schema for a model are cleaned. The meaning of the schema must not change,
// so a name or a value that hides something is refused.
func TestSchemasHideNothing(t *testing.T) {
	descriptor := func(schema string) []byte {
		return []byte(`{"abi":"genkit/1","name":"m","tools":[{"name":"f","inputSchema":` + schema + `}]}`)
	}
	d, err := abi.ParseDescriptor(descriptor(`{"type":"object","description":"say\u202e \uDB40\uDC41it","properties":{"a":{"title":"x\u200bé","type":"string","maximum":1.10,"enum":["❤️","👩‍👧"]}}}`))
	require.NoError(t, err)
	assert.Equal(t, `{"type":"object","description":"say it","properties":{"a":{"title":"xé","type":"string","maximum":1.10,"enum":["❤️","👩‍👧"]}}}`, string(d.Tools[0].InputSchema))
	plain := `{"type": "object", "description": "as\nit is"}`
	d, err = abi.ParseDescriptor(descriptor(plain))
	require.NoError(t, err)
	assert.Equal(t, plain, string(d.Tools[0].InputSchema))
	for _, s := range []string{
		`{"properties":{"a\u200b":{}}}`, `{"enum":["\u202e"]}`, `{"const":"\uDB40\uDC41"}`, `{"examples":["a\u0007"]}`, `{"default":{"k\u2066":1}}`, "{\"enum\":[\"\u00ad\"]}",
	} {
		_, err := abi.ParseDescriptor(descriptor(s))
		require.ErrorIs(t, err, status.ErrInvalidArgument, s)
		assert.Contains(t, err.Error(), "nobody sees")
	}
}

func TestHiddenCharactersAreKnown(t *testing.T) {
	for _, r := range []rune{
		0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180E, 0x180F, 0x200B, 0x200E, 0x200F, 0x202A, 0x202E, 0x2060, 0x2064, 0x2065, 0x2066, 0x2069, 0x206F,
		0x2800, 0x3164, 0xFE00, 0xFEFF, 0xFFA0, 0xFFF0, 0xFFF9, 0xFFFE, 0x1BCA0, 0x1D173, 0xE0001, 0xE0041, 0xE007F, 0xE0100, 0xE01EF, 0xF0000, 0x10FFFF, 0x7F, 0x85, 0x1B, 0x2028,
	} {
		assert.True(t, abi.Hides("a"+string(r)+"b"), "%U", r)
		assert.NotContains(t, abi.Clean("a"+string(r)+"b", 100), string(r), "%U", r)
		assert.Len(t, strings.Fields(abi.Line("a"+string(r)+"b", 100)), map[bool]int{true: 2, false: 1}[r == 0x2028], "%U", r)
	}
	for _, s := range []string{"", "plain", "né ☃ 漢字 עברית नमस्ते", "👩‍👩‍👧 ❤️"} {
		assert.False(t, abi.Hides(s), s)
		assert.Equal(t, s, string(abi.Escape([]byte(s))))
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{`"a\u202eb"`, "[\"\u202e\u2066\U000E0041\"]", "{\"k\u200b\":\"\u0085 é\"}", `1`, "\"plain ascii that is longer\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) || !utf8.Valid(raw) {
			return
		}
		out := abi.Escape(raw)
		var before, after any
		if err := json.Unmarshal(raw, &before); err != nil {
			return
		}
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatalf("%q became %q: %v", raw, out, err)
		}
		assert.Equal(t, before, after)
		for _, r := range string(out) {
			if r >= 0x80 && abi.Hides(string(r)) {
				t.Fatalf("%q became %q, which hides %U", raw, out, r)
			}
		}
	})
}
