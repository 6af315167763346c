package value_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
)

func decode(t testing.TB, raw string) any {
	t.Helper()
	v, err := value.Decode(json.RawMessage(raw))
	require.NoError(t, err, raw)
	return v
}

func TestOrderAndDigitsStay(t *testing.T) {
	for in, want := range map[string]string{
		`{"b":1,"a":{"d":1.10,"c":[]}}`:                    `{"b":1,"a":{"d":1.10,"c":[]}}`,
		` [ 1 , 12345678901234567890 , 1e5 ]`:              `[1,12345678901234567890,1e5]`,
		`{"a":1,"b":2,"a":3}`:                              `{"a":3,"b":2}`,
		`"\u00e9\/<\u2028\ud83d\ude00\ud800x\ud800\u0041"`: "\"é/<\u2028😀\uFFFDx\uFFFDA\"",
		`"\b\f\n\r\t\u0001\""`:                             `"\b\f\n\r\t\u0001\""`,
		`{}`:                                               `{}`,
	} {
		assert.Equal(t, want, string(value.Encode(decode(t, in))), in)
	}
	assert.Equal(t, "{\n  \"a\": [\n    1,\n    {}\n  ]\n}", string(value.AppendJSON(nil, decode(t, `{"a":[1,{}]}`), 2)))
	many := value.NewObject(0)
	for i := range 50 {
		many.Set(string(rune('A'+i)), value.Int(i))
		many.Set("A", value.Int(-i))
	}
	assert.Equal(t, 50, many.Len())
	v, ok := many.Get("B")
	assert.Equal(t, value.Number("1"), v)
	assert.True(t, ok)
	first, v := many.At(0)
	assert.Equal(t, "A", first)
	assert.Equal(t, value.Number("-49"), v)
}

func TestWhatIsNoJSONIsRefused(t *testing.T) {
	for _, in := range []string{
		``, ` `, `{`, `}`, `[1,]`, `{"a"}`, `{"a":}`, `{a:1}`, `01`, `-`, `1.`, `.5`, `1e`, `+1`, `tru`, `nulll`, `"`, `"\x"`, `"\u12"`, "\"\n\"", `1 2`, `NaN`,
		strings.Repeat("[", 300) + strings.Repeat("]", 300), strings.Repeat("1", 1001),
	} {
		_, err := value.Decode(json.RawMessage(in))
		require.Error(t, err, in)
	}
}

func TestValuesAreJavaScripts(t *testing.T) {
	for raw, want := range map[string]struct {
		text          string
		truthy, empty bool
	}{
		`null`: {"", false, true}, `true`: {"true", true, false}, `false`: {"false", false, true}, `""`: {"", false, true}, `"x"`: {"x", true, false},
		`0`: {"0", false, false}, `-0`: {"0", false, false}, `0.0`: {"0", false, false}, `1.50`: {"1.5", true, false}, `1e21`: {"1e+21", true, false},
		`1e-7`: {"1e-7", true, false}, `123456789012345678901`: {"123456789012345678901", true, false}, `0.12345678901234567`: {"0.12345678901234567", true, false}, `0.30000000000000004`: {"0.30000000000000004", true, false}, `0.1234567890123456789`: {"0.1234567890123456789", true, false},
		`1E2`: {"100", true, false}, `[]`: {"", true, true}, `[1,[2,null],{}]`: {"1,2,,[object Object]", true, false}, `{}`: {"[object Object]", true, false},
	} {
		v := decode(t, raw)
		assert.Equal(t, want.text, value.Text(v), raw)
		assert.Equal(t, want.truthy, value.Truthy(v), raw)
		assert.Equal(t, want.empty, value.Empty(v), raw)
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{`5`, `5.0`, true},
		{`5`, `"5"`, false},
		{`12345678901234567890`, `12345678901234567891`, false},
		{`null`, `false`, false},
		{`"a"`, `"a"`, true},
		{`[]`, `[]`, false},
		{`{}`, `{}`, false},
		{`[1]`, `1`, false},
	} {
		assert.Equal(t, c.same, value.Same(decode(t, c.a), decode(t, c.b)), "%s === %s", c.a, c.b)
		assert.Equal(t, c.same, value.Same(decode(t, c.b), decode(t, c.a)), "%s === %s", c.b, c.a)
	}
	for _, raw := range []string{`[]`, `{}`, `[1]`, `1`, `null`} {
		v := decode(t, raw)
		assert.True(t, value.Same(v, v), raw)
	}
	for _, c := range []struct{ v, key, want string }{
		{`[1,2]`, "1", "2"},
		{`[1,2]`, "2", ""},
		{`[1,2]`, "01", ""},
		{`[1,2]`, "length", "2"},
		{`"a😀b"`, "length", "4"},
		{`"a😀b"`, "3", "b"},
		{`"a😀b"`, "2", ""},
		{`{"length":9}`, "length", "9"},
		{`null`, "x", ""},
		{`1`, "x", ""},
		{`{}`, "constructor", ""},
		{`[]`, "push", ""},
	} {
		assert.Equal(t, c.want, value.Text(value.Lookup(decode(t, c.v), c.key)), "%s.%s", c.v, c.key)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":[1,"\ud83d\ude00",null,true]}`, `"\ud800"`, `1e400`, `[[[]]]`, "\"\xff\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := value.Decode(raw)
		if err != nil {
			if json.Valid(raw) && len(raw) < 200 {
				t.Fatalf("%q is JSON: %v", raw, err)
			}
			return
		}
		if !json.Valid(raw) {
			t.Fatalf("%q is no JSON", raw)
		}
		out := value.Encode(v)
		again, err := value.Decode(out)
		if err != nil || !reflect.DeepEqual(v, again) {
			t.Fatalf("%q became %q: %v", raw, out, err)
		}
		if !json.Valid(out) {
			t.Fatalf("%q became %q, which is no JSON", raw, out)
		}
	})
}
