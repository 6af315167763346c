package format_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

func handler(t testing.TB, name, schema string) format.Handler {
	t.Helper()
	i := slices.IndexFunc(format.Builtins(), func(f format.Format) bool { return f.Name() == name })
	require.GreaterOrEqual(t, i, 0, name)
	var raw json.RawMessage
	if schema != "" {
		raw = json.RawMessage(schema)
	}
	h, err := format.Builtins()[i].New(t.Context(), raw)
	require.NoError(t, err)
	return h
}

func parse(t testing.TB, h format.Handler, text string) string {
	t.Helper()
	return parseIn(t, t.Context(), h, text)
}

func parseIn(t testing.TB, ctx context.Context, h format.Handler, text string) string { //nolint:revive // t first, as everywhere in tests
	t.Helper()
	out, err := h.Parse(ctx, new(content.NewModelTextMessage(text)))
	require.NoError(t, err)
	return string(out)
}

// streamed returns the outputs of the chunks, one entry for each.
func streamed(t testing.TB, h format.Handler, pieces []string) []string {
	t.Helper()
	s := format.NewStream(h)
	var outs []string
	for _, piece := range pieces {
		out, err := s.Next(t.Context(), &model.Chunk{Content: []content.Part{content.NewTextPart(piece)}})
		require.NoError(t, err)
		if out != nil {
			require.True(t, json.Valid(out), "%q", out)
		}
		outs = append(outs, string(out))
	}
	return outs
}

// joined puts the arrays of several chunks together.
func joined(t testing.TB, outs []string) string {
	t.Helper()
	all := []json.RawMessage{}
	for _, out := range outs {
		var items []json.RawMessage
		if out != "" {
			require.NoError(t, json.Unmarshal([]byte(out), &items))
		}
		all = append(all, items...)
	}
	var parts []string
	for _, item := range all {
		parts = append(parts, string(item))
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// compact makes JSON comparable to its digits.
func compact(t testing.TB, raw string) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, json.Compact(&b, []byte(raw)), raw)
	return b.String()
}

// checkSplit fails unless the pieces of a text give what the whole text gives.
func checkSplit(t testing.TB, name, schema string, pieces []string) {
	t.Helper()
	text := strings.Join(pieces, "")
	outs := streamed(t, handler(t, name, schema), pieces)
	want := parseIn(t, format.Unfinished(t.Context()), handler(t, name, schema), text)
	last := ""
	if len(outs) > 0 {
		last = outs[len(outs)-1]
	}
	so := ""
	for i, piece := range pieces { // a handler that has not seen the chunks before gives the same
		so += piece
		if piece != "" {
			p, ok := handler(t, name, schema).(format.ChunkParser)
			require.True(t, ok)
			out, err := p.ParseChunk(t.Context(), so, piece)
			require.NoError(t, err)
			require.Equal(t, outs[i], string(out), "%s %q", name, pieces[:i+1])
		}
	}
	switch name {
	case "text":
		var all string
		for _, out := range outs {
			var s string
			if out != "" {
				require.NoError(t, json.Unmarshal([]byte(out), &s))
			}
			all += s
		}
		if utf8.ValidString(text) {
			require.Equal(t, text, all)
		}
	case "json":
		whole, _ := format.Complete(text)
		if last != "" {
			require.Equal(t, string(whole), last, "%q", pieces)
		}
		if raw, ok := format.Extract(text); ok && whole != nil {
			require.Equal(t, compact(t, string(raw)), compact(t, string(whole)), "%q", text)
		}
	case "array":
		if want == "" {
			want = "[]"
		}
		require.Equal(t, compact(t, want), joined(t, outs), "%q", pieces)
	case "jsonl":
		ended := text[:strings.LastIndexByte(text, '\n')+1]
		require.Equal(t, parse(t, handler(t, name, schema), ended), joined(t, outs), "%q", pieces)
	case "enum":
		if last != "" {
			require.Equal(t, want, last, "%q", pieces)
		}
	}
}

const colours = `{"type":"string","enum":["red","reddish","don't know","a b"]}`

var splitTexts = []struct {
	format, schema string
	texts          []string
}{
	{"text", "", []string{"", "hi there", "é😀 \n x", "\"a\"\xff"}},
	{"json", "", []string{
		`{"a":[1,2]}`, `{"a":"é\u00e9\ud83d\ude00"}`, `[true,null]`, `"abc"`, `12`, `x {a:1,}`, "```json\n{\"a\":1}\n```", `[see] {"a":1}`,
		`{"a":@} {"b":2}`, "{\"a\":\"x\ny\"}", `null`, `{"a":1} trailing {`, `// c` + "\n" + `{'a':'b'}`, `[0x1F,.5]`, "```\n[1]\n```\n```json\n{}\n```",
	}},
	{"array", "", []string{
		`[1,2,33]`, `["a","b"]`, `[{"a":1},{"b":2}]`, `say [x] [1]`, `[true,false,null]`, `[1,@,"x"]`, `[{"a":@},{"b":1}]`, `[[1],[2,3],]`,
		"```json\n[1, 2]\n```", `[]`, `nothing`, `[1 2]`, `[{"a":1}{"b":2}]`, `{"items":["é","😀"]}`, `[1,"cut`, `[12`, `[/* , */1//,` + "\n" + `,2]`, `[1}`, `["a"x,2]`,
	}},
	{"array", `{"type":"array","items":{"type":"object"}}`, []string{`As [1] says: [{"a":1}, {"b":2}]`, `[[{"a":1}]]`, `[ {"a":"]"} ]`}},
	{"jsonl", "", []string{
		"{\"a\":1}\n{\"b\":2}\n", "{\"a\":1}\n{\"b\":2}", "```\n{\"a\":1}\n```", "{bad\n{\"a\":1}\r\n", "{\"a\":1},\n x {}\n [1]\n", "\n\n", "{\n\"a\":1}\n{}\n", " {'é':'😀'}\n",
	}},
	{"enum", colours, []string{"red", "reddish", `"red"`, " red\n", `'don't know'`, "don't know", "blue", "a b", "\"a b", "```\nred\n```"}},
}

func TestItDoesNotMatterHowATextIsCut(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, c := range splitTexts {
		for _, text := range c.texts {
			checkSplit(t, c.format, c.schema, []string{text})
			checkSplit(t, c.format, c.schema, strings.Split(text, ""))
			for i := range text {
				checkSplit(t, c.format, c.schema, []string{text[:i], text[i:]})
			}
			bytewise := make([]string, 0, len(text))
			for i := range len(text) {
				bytewise = append(bytewise, text[i:i+1])
			}
			checkSplit(t, c.format, c.schema, bytewise)
			if len(text) <= 11 { // every way there is
				for cuts := range 1 << max(len(text)-1, 0) {
					checkSplit(t, c.format, c.schema, cutAt(text, func(i int) bool { return cuts>>(i-1)&1 == 1 }))
				}
				continue
			}
			for range 40 {
				checkSplit(t, c.format, c.schema, cutAt(text, func(int) bool { return r.IntN(4) == 0 }))
			}
		}
	}
	for i := range 12 { // long ones
		var b strings.Builder
		b.WriteString("Here you are:\n")
		for range 10 {
			b.WriteString(strings.NewReplacer("\n", " ").Replace(document(r, 0)) + "\n")
		}
		text := b.String()
		if i%2 == 0 {
			text = "[" + strings.Join(strings.Split(strings.TrimSpace(b.String()), "\n")[1:], ",") + "]"
		}
		pieces := cutAt(text, func(int) bool { return r.IntN(20) == 0 })
		for _, name := range []string{"text", "json", "array", "jsonl", "enum"} {
			checkSplit(t, name, "", pieces)
		}
	}
}

func cutAt(text string, here func(i int) bool) []string {
	var pieces []string
	start := 0
	for i := 1; i < len(text); i++ {
		if here(i) {
			pieces = append(pieces, text[start:i])
			start = i
		}
	}
	return append(pieces, text[start:])
}

func TestWhatChunksGive(t *testing.T) {
	for _, c := range []struct {
		name, format, schema string
		pieces, want         []string
	}{
		{"text gives what was added", "text", "", []string{"a", "b\xc3", "\xa9", ""}, []string{`"a"`, `"b"`, `"é"`, ``}},
		{"json the whole each time", "json", "", []string{`{"a":`, `[1,`, `"x`, `y"]}`}, []string{`{}`, `{"a":[1]}`, `{"a":[1,"x"]}`, `{"a":[1,"xy"]}`}},
		{"array what was completed", "array", "", []string{`[1`, `2, "a`, `"`, `,{"b":1},tr`, `ue ]`, ` [9]`}, []string{``, `[12]`, `["a"]`, `[{"b":1}]`, `[true]`, ``}},
		{"jsonl the lines that ended", "jsonl", "", []string{`{"a":1}`, "\n{\"b\"", ":2}\n{\"c\":3}\n{}", " "}, []string{``, `[{"a":1}]`, `[{"b":2},{"c":3}]`, ``}},
		{"enum a value that can't go on", "enum", colours, []string{`re`, `ddish`}, []string{``, `"reddish"`}},
		{"enum nothing while it can go on", "enum", colours, []string{`"red`, `"`, "\n"}, []string{``, `"red"`, `"red"`}},
		{"enum nothing that is no value", "enum", colours, []string{`blue`}, []string{``}},
	} {
		assert.Equal(t, c.want, streamed(t, handler(t, c.format, c.schema), c.pieces), c.name)
	}
}

func TestAStreamReadsEachMessageForItself(t *testing.T) {
	chunk := func(role content.Role, index int, text string) *model.Chunk {
		return &model.Chunk{Role: role, Index: index, Content: []content.Part{content.NewTextPart(text)}}
	}
	aggregated := chunk("model", 3, `[1,2,3,`)
	aggregated.Aggregated = new(true)
	for _, name := range []string{"array", "jsonl"} {
		end := map[string]string{"array": ",", "jsonl": "\n"}[name]
		open := map[string]string{"array": "[", "jsonl": ""}[name]
		s := format.NewStream(handler(t, name, ""))
		var got []string
		for i, c := range []*model.Chunk{
			chunk("model", 0, open+`{"a":1}`+end), chunk("tool", 1, `[{"t":1},`+"\n"), chunk("model", 2, open+`{"b":1}`), chunk("", 2, end), chunk("model", 3, open+`{"c":1}`+end),
		} {
			out, err := s.Next(t.Context(), c)
			require.NoError(t, err)
			got = append(got, fmt.Sprint(i, string(out)))
		}
		if name == "array" {
			assert.Equal(t, []string{`0[{"a":1}]`, "1", `2[{"b":1}]`, `3`, `4[{"c":1}]`}, got)
		} else {
			assert.Equal(t, []string{`0[{"a":1}]`, "1", `2`, `3[{"b":1}]`, `4[{"c":1}]`}, got)
		}
	}
	s := format.NewStream(handler(t, "array", ""))
	for _, c := range []struct {
		c    *model.Chunk
		want string
	}{{chunk("model", 3, "[1,2"), "[1]"}, {aggregated, "[2,3]"}, {chunk("model", 3, "4]"), "[4]"}} {
		out, err := s.Next(t.Context(), c.c)
		require.NoError(t, err)
		assert.Equal(t, c.want, string(out))
	}
	out, err := format.NewStream(nil).Next(t.Context(), chunk("", 0, `{"a":"x`))
	require.NoError(t, err)
	assert.JSONEq(t, `{"a":"x"}`, string(out), "no format was asked")
	out, err = format.NewStream(struct{ format.Handler }{handler(t, "json", "")}).Next(t.Context(), chunk("", 0, `{"a":"x`))
	require.NoError(t, err)
	assert.Nil(t, out, "a handler that reads no chunks")
}
