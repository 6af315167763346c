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
		`[]`:   "want a JSON object",
		`null`: `"abi" is ""`,
		`{"abi":"genkit/2","tools":[{"name":"f"}]}`:                                                        `want "genkit/1"`,
		`{"abi":"genkit/1","name":"a/b","tools":[{"name":"f"}]}`:                                           "module name",
		`{"abi":"genkit/1","name":"m","tools":"f"}`:                                                        `"tools" is of the type string`,
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
