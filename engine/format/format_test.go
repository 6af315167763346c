package format_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestExtractFindsTheJSON(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"strict JSON stays as it is":          {` {"a": 1.10, "b":12345678901234567890} `, `{"a": 1.10, "b":12345678901234567890}`},
		"false":                               {`false`, `false`},
		"zero":                                {`0`, `0`},
		"an empty string":                     {`""`, `""`},
		"null":                                {`null`, `null`},
		"a fenced block":                      {"Sure:\n```json\n{\"a\":1}\n```\nBye {x}", `{"a":1}`},
		"a fence in capitals":                 {"```JSON\n[1]\n```", `[1]`},
		"a fenced scalar":                     {"```json\n0\n```", `0`},
		"a plain fence":                       {"```\n{\"a\":1}\n```", `{"a":1}`},
		"a fence without a line":              {"```{\"a\":1}```", `{"a":1}`},
		"the block marked json before others": {"```\n{\"a\":1}\n```\n```json\n{\"b\":2}\n```", `{"b":2}`},
		"code is no JSON":                     {"```go\nfunc main() {}\n```\n```json\n{\"b\":2}\n```", `{"b":2}`},
		"a fence that is cut off":             {"```json\n{\"a\":[1,2", `{"a":[1]}`},
		"prose around it":                     {`I think [see above] it is {"a":1}, yes.`, `{"a":1}`},
		"a quote before it":                   {`He said "hi {"a":"}"}`, `{"a":"}"}`},
		"trailing commas and comments":        {"{\"a\":1, // one\n \"b\":[1,2,],/* x */}", `{"a":1,"b":[1,2]}`},
		"single quotes and bare keys":         {`{a: 'it\'s "x"', $b_1: true, c-d: null}`, `{"a":"it's \"x\"","$b_1":true,"c-d":null}`},
		"JSON5 numbers":                       {`[+1, .5, 5., -.5, 0x1F, 1e3]`, `[1,0.5,5,-0.5,31,1e3]`},
		"escapes": {`{"a":"\x41\v\u00e9\q\
!", }`, `{"a":"\u0041\u000b\u00e9q!"}`},
		"non-breaking spaces":              {"{\u00a0\"a\":\u00a01,}", `{"a":1}`},
		"nesting that is cut off":          {`[{"a":{"b":["x"`, `[{"a":{"b":["x"]}}]`},
		"a string that is cut off":         {`{"a":"hel`, `{"a":"hel"}`},
		"an escape that is cut off":        {`{"a":"hel\`, `{"a":"hel"}`},
		"a unicode escape that is cut off": {`{"a":"hel\u00`, `{"a":"hel"}`},
		"a key that is cut off":            {`{"a":1,"b`, `{"a":1}`},
		"a bare key that is cut off":       {`{"a":1,b`, `{"a":1}`},
		"a value that is missing":          {`{"a":1,"b":`, `{"a":1}`},
		"a number that is cut off":         {`{"a":1,"b":12`, `{"a":1}`},
		"a literal that is cut off":        {`{"a":tr`, `{"a":true}`},
		"a comma at the end":               {`[1,`, `[1]`},
		"a lone bracket":                   {`{`, `{}`},
		"a number as a key":                {`{1:2}`, `{"1":2}`},
	} {
		got, ok := format.Extract(c.text)
		require.True(t, ok, name)
		assert.Equal(t, c.want, string(got), name)
	}
	for _, text := range []string{``, `no`, `{no}`, `[see above]`, `{"a" 1}`, `["a" "b"]`, "{\"a\":\"\\\x01\"}", "{\"a\":\"x\ny\",}", `{"a":undefined,"b":[1]}`, `[0x]`, `[01]`, `[--1]`, `[nul]`} {
		got, ok := format.Extract(text)
		assert.False(t, ok, "%s gave %s", text, got)
	}
}

func TestExtractIsLinear(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("[", 1<<17), strings.Repeat("{", 1<<17), strings.Repeat(`{"a":`, 1<<15), strings.Repeat("[x", 1<<16),
		strings.Repeat("```", 1<<15), strings.Repeat("```json ", 1<<14), "[" + strings.Repeat("9", 1<<17) + ",", "[0x" + strings.Repeat("f", 1<<17) + "]",
		strings.Repeat("[1,/*]", 1<<16) + "*/@", strings.Repeat("[1,/*],", 1<<16) + "*/@", "[" + strings.Repeat("[1,/*],", 1<<16) + "*/@", strings.Repeat("['],@", 1<<16),
		strings.Repeat("{\"a\":@}", 1<<15), "[" + strings.Repeat("@,", 1<<17), strings.Repeat("[@", 1<<16), strings.Repeat("{\"a\":1}\n{\"a\":/*", 1<<14),
		strings.Repeat("[[[[1,2,3],", 1<<13), `["` + strings.Repeat(`\u00`, 1<<15),
	} {
		start := time.Now()
		format.Extract(text)
		format.Complete(text)
		for _, name := range []string{"array", "jsonl", "enum"} {
			parse(t, handler(t, name, ""), text)
		}
		assert.Less(t, time.Since(start), 2*time.Second, "%.20s…", text)
	}
}

func messages(t *testing.T, raw string) []content.Message {
	t.Helper()
	var m []content.Message
	require.NoError(t, json.Unmarshal([]byte(raw), &m))
	return m
}

func TestInstructionsArePlacedAsInGenkit(t *testing.T) {
	part := `{"text":"DO","metadata":{"purpose":"output"}}`
	for name, c := range map[string]struct{ in, want string }{
		"in the first system message": {
			`[{"role":"user","content":[]},{"role":"system","content":[{"text":"s"}]},{"role":"system","content":[]}]`,
			`[{"role":"user","content":[]},{"role":"system","content":[{"text":"s"},` + part + `]},{"role":"system","content":[]}]`,
		},
		"else in the last user message": {
			`[{"role":"user","content":[]},{"role":"user","content":[{"text":"u"}]},{"role":"model","content":[]}]`,
			`[{"role":"user","content":[]},{"role":"user","content":[{"text":"u"},` + part + `]},{"role":"model","content":[]}]`,
		},
		"else nowhere": {`[{"role":"model","content":[]}]`, `[{"role":"model","content":[]}]`},
		"not a second time": {
			`[{"role":"system","content":[]},{"role":"user","content":[{"text":"x","metadata":{"purpose":"output"}}]}]`,
			`[{"role":"system","content":[]},{"role":"user","content":[{"text":"x","metadata":{"purpose":"output"}}]}]`,
		},
		"in the place of a pending part, the first too": {
			`[{"role":"user","content":[{"text":"?","metadata":{"purpose":"output","pending":true}},{"text":"u"}]}]`,
			`[{"role":"user","content":[` + part + `,{"text":"u"}]}]`,
		},
		"other purposes do not count": {
			`[{"role":"user","content":[{"text":"?","metadata":{"purpose":"context","pending":true}}]}]`,
			`[{"role":"user","content":[{"text":"?","metadata":{"purpose":"context","pending":true}},` + part + `]}]`,
		},
	} {
		in := messages(t, c.in)
		got, err := json.Marshal(format.Inject(in, "DO"))
		require.NoError(t, err)
		assert.JSONEq(t, c.want, string(got), name)
		before, err := json.Marshal(in)
		require.NoError(t, err)
		assert.JSONEq(t, c.in, string(before), "%s: the given messages changed", name)
	}
	assert.Empty(t, format.Inject(messages(t, `[{"role":"user","content":[]}]`), "")[0].Content)
}

func TestJSONInstructionsAreGenkits(t *testing.T) {
	h, err := format.JSON().New(t.Context(), json.RawMessage("{ \"type\": \"object\" ,\n\"description\":\"<a & b>\"}"))
	require.NoError(t, err)
	assert.Equal(t, "Output should be in JSON format and conform to the following schema:\n\n```\n{\"type\":\"object\",\"description\":\"<a & b>\"}\n```\n", h.Instructions())
	h, err = format.JSON().New(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, h.Instructions())
}

func TestHandlersReadMessages(t *testing.T) {
	read := func(f format.Format, raw string) string {
		h, err := f.New(t.Context(), nil)
		require.NoError(t, err)
		out, err := h.Parse(t.Context(), &messages(t, `[{"role":"model","content":`+raw+`}]`)[0])
		require.NoError(t, err)
		return string(out)
	}
	assert.Equal(t, `{"a":1}`, read(format.JSON(), `[{"text":"{\"a\":"},{"text":"1}"}]`))
	assert.Equal(t, `false`, read(format.JSON(), `[{"data":false}]`))
	assert.Empty(t, read(format.JSON(), `[{"text":"no"}]`))
	assert.Equal(t, `"a<b"`, read(format.Text(), `[{"text":"a"},{"text":"<b"}]`))

	h, err := format.JSON().New(t.Context(), nil)
	require.NoError(t, err)
	parser, ok := h.(format.ChunkParser)
	require.True(t, ok)
	out, err := parser.ParseChunk(t.Context(), `{"a":"hel`, "hel")
	require.NoError(t, err)
	assert.Equal(t, `{"a":"hel"}`, string(out))
}

func TestFormatsAreFoundByName(t *testing.T) {
	reg := registry.New(nil)
	for _, f := range format.Builtins() {
		require.NoError(t, format.Register(reg, f))
		require.ErrorIs(t, format.Register(reg, f), status.ErrAlreadyExists)
	}
	f, err := format.Lookup(reg, "json")
	require.NoError(t, err)
	assert.Equal(t, "json", f.Name())
	_, err = format.Lookup(reg, "yaml")
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	reg.SetValue(format.Kind, "odd", 1)
	_, err = format.Lookup(reg, "odd")
	require.ErrorIs(t, err, status.ErrInternal)
}
