package format_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

func TestCompleteGivesWhatIsKnown(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"innermost containers close first":             {`[{"a":1`, `[{}]`},
		"an object in an array in an object":           {`{"a":[{"b":[1,`, `{"a":[{"b":[1]}]}`},
		"a string value as far as it goes":             {`{"a":"hel`, `{"a":"hel"}`},
		"an empty string value":                        {`{"a":"`, `{"a":""}`},
		"without a dangling backslash":                 {`{"a":"x\`, `{"a":"x"}`},
		"without half a unicode escape":                {`{"a":"x\u12`, `{"a":"x"}`},
		"without half a surrogate pair":                {`{"a":"x\ud83d`, `{"a":"x"}`},
		"without half a surrogate pair, the 2nd begun": {`{"a":"x\uD83D\uDE`, `{"a":"x"}`},
		"with a whole surrogate pair":                  {`{"a":"x\ud83d\ude00`, `{"a":"x\ud83d\ude00"}`},
		"a lone surrogate that stays alone":            {`{"a":"\ud83dx`, `{"a":"\ud83dx"}`},
		"without half a character":                     {"{\"a\":\"x\xf0\x9f\x98", `{"a":"x"}`},
		"an escaped backslash is whole":                {`{"a":"x\\`, `{"a":"x\\"}`},
		"a key is dropped":                             {`{"a":1,"b`, `{"a":1}`},
		"a finished key without a colon is dropped":    {`{"a":1,"b"`, `{"a":1}`},
		"a key without a value is dropped":             {`{"a":1,"b":`, `{"a":1}`},
		"a number is dropped":                          {`{"a":1,"b":12`, `{"a":1}`},
		"a number before a space is final":             {`[1, 23 `, `[1,23]`},
		"a negative number that has begun":             {`[1,-`, `[1]`},
		"an exponent that has begun":                   {`[1,1e`, `[1]`},
		"a comma is dropped":                           {`[1,`, `[1]`},
		"the beginning of true":                        {`[t`, `[true]`},
		"the beginning of false":                       {`{"a":fals`, `{"a":false}`},
		"the beginning of null":                        {`{"a":n`, `{"a":null}`},
		"a comment that has begun":                     {`[1,/* tw`, `[1]`},
		"half of a comment's start":                    {`[1 /`, `[1]`},
		"back to before a raw newline's member":        {"{\"a\":1,\"b\":\"x\ny\",\"c\":2}", `{"a":1}`},
		"back to before a raw NUL":                     {"[\"a\",\"x\x00", `["a"]`},
		"back to before a wrong literal":               {`{"a":{"b":1,"c":nil}}`, `{"a":{"b":1}}`},
		"back to before a missing comma":               {`["a" "b"]`, `["a"]`},
		"back to before a wrong bracket":               {`{"a":[1}`, `{"a":[1]}`},
		"a fence that is not closed":                   {"Here:\n```json\n{\"a\":[tr", `{"a":[true]}`},
		"a fence within a string":                      {"```json\n{\"a\":\"```go\\nx```\"}\n```", "{\"a\":\"```go\\nx```\"}"},
		"a bracket in prose":                           {`As [above: {"a":"b`, `{"a":"b"}`},
		"the JSON after a draft that is malformed":     {`{"a":@,"x":[1]} or {"b":2}`, `{"b":2}`},
		"a string that is the whole text":              {`"abc"`, `"abc"`},
		"repeated keys are kept":                       {`{"a":1,"a":2,`, `{"a":1,"a":2}`},
	} {
		got, ok := format.Complete(c.text)
		require.True(t, ok, name)
		assert.Equal(t, c.want, string(got), name)
	}
	for _, text := range []string{``, ` `, `12`, `tr`, `"ab`, `prose`, `[x]`, `{!`, "`", "```", "```json\n12"} {
		got, ok := format.Complete(text)
		assert.False(t, ok, "%s gave %s", text, got)
	}
	deep, ok := format.Complete(strings.Repeat("[", 1000))
	require.True(t, ok)
	assert.Equal(t, strings.Repeat("[", schema.MaxDepth)+strings.Repeat("]", schema.MaxDepth), string(deep))
	_, ok = format.Extract(strings.Repeat("[", 1000))
	assert.False(t, ok)
}

// document writes a random JSON document, with the spaces and escapes that JSON has.
func document(r *rand.Rand, depth int) string {
	pick := func(options ...string) string { return options[r.IntN(len(options))] }
	space := func() string { return pick("", "", "", " ", "\n\t") }
	str := func() string {
		var b strings.Builder
		for range r.IntN(6) {
			b.WriteString(pick("a", "é", "😀", `\n`, `\\`, `\"`, `\u00e9`, `\ud83d\ude00`, `\ud83d`, `\uDE00`, "[", "{", "}", "'", "//", "```", "/*", ","))
		}
		return `"` + b.String() + `"`
	}
	kind := r.IntN(6)
	if depth == 0 {
		kind = 4 + r.IntN(2)
	} else if depth > 4 {
		kind = 2 + r.IntN(4)
	}
	switch kind {
	case 0, 1, 4:
		var items []string
		for range r.IntN(4) {
			items = append(items, space()+document(r, depth+1)+space())
		}
		if depth > 4 {
			items = nil
		}
		return "[" + space() + strings.Join(items, ",") + "]"
	case 5:
		var members []string
		for i := range r.IntN(4) {
			if depth <= 4 {
				members = append(members, space()+`"`+pick("a", "é", `\u0041`, `\"`)+string(rune('0'+i))+`"`+space()+":"+space()+document(r, depth+1)+space())
			}
		}
		return "{" + space() + strings.Join(members, ",") + "}"
	case 2:
		return str()
	}
	return pick("true", "false", "null", "0", "-0", "1.10", "12345678901234567890", "1e400", "-2.5E-7", "3.0")
}

func decoded(t testing.TB, raw []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v), "%q", raw)
	return v
}

// extends reports whether full is what partial may become: all that is finished is
// the same, and what is not may grow.
func extends(full, partial any) bool {
	switch p := partial.(type) {
	case map[string]any:
		f, ok := full.(map[string]any)
		growing := 0
		for k, v := range p {
			w, has := f[k]
			if !ok || !has || !extends(w, v) {
				return false
			}
			if !assert.ObjectsAreEqual(w, v) {
				growing++
			}
		}
		return ok && growing <= 1
	case []any:
		f, ok := full.([]any)
		if !ok || len(f) < len(p) {
			return false
		}
		for i, v := range p {
			if !extends(f[i], v) || i < len(p)-1 && !assert.ObjectsAreEqual(f[i], v) {
				return false
			}
		}
		return true
	case string:
		f, ok := full.(string)
		return ok && strings.HasPrefix(f, p)
	}
	return partial == full
}

func TestEachBeginningIsExtendedByTheNext(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		text := document(r, 0)
		full := decoded(t, []byte(text))
		var last any
		for i := range len(text) + 1 {
			raw, ok := format.Complete(text[:i])
			if !ok {
				require.Nil(t, last, "%q lost at %d", text, i)
				continue
			}
			require.NoError(t, schema.Check(raw), "%q", text[:i])
			v := decoded(t, raw)
			require.True(t, extends(full, v), "%q at %d: %s", text, i, raw)
			if last != nil {
				require.True(t, extends(v, last), "%q at %d: %s", text, i, raw)
			}
			last = v
		}
		require.Equal(t, full, last, text)
	}
}

func TestValidJSONStaysWhatItIs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 800 {
		text := document(r, 0)
		raw, ok := format.Extract(text)
		require.True(t, ok)
		require.Equal(t, text, string(raw))
		for _, around := range []string{text, "So: " + text + " Right?", "```json\n" + text + "\n```", "// here\n" + text} {
			raw, ok = format.Complete(around)
			require.True(t, ok, around)
			require.Equal(t, compact(t, text), string(raw), "the same text but for spaces")
		}
	}
}
