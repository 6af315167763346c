package rawjson_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

func TestValuesAreComparedAndNotTexts(t *testing.T) {
	for _, same := range [][2]string{
		{`{"a":1,"b":[true,null]}`, ` {"b" : [true, null], "\u0061": 1.0} `},
		{``, `null`},
		{`1e2`, `100.00`},
		{`-0`, `0`},
		{`0.5e1`, `5`},
		{`"é"`, `"\u00e9"`},
		{`1e999999999`, `10e999999998`},
		{`123456789012345678901234567890`, `123456789012345678901234567890.0`},
	} {
		assert.True(t, rawjson.Equal(json.RawMessage(same[0]), json.RawMessage(same[1])), "%s", same)
	}
	for _, other := range [][2]string{
		{`{"a":1}`, `{"a":1,"b":null}`},
		{`[1,2]`, `[2,1]`},
		{`1`, `"1"`},
		{`1`, `true`},
		{`0`, `null`},
		{`{}`, `[]`},
		{`1e2`, `1e3`},
		{`123456789012345678901234567890`, `123456789012345678901234567891`},
		{`1e99999999999999999999`, `1e99999999999999999998`},
		{`{`, `{`},
		{`1`, `-1`},
	} {
		assert.False(t, rawjson.Equal(json.RawMessage(other[0]), json.RawMessage(other[1])), "%s", other)
	}
	assert.True(t, rawjson.EqualAny(map[string]any{"a": 1}, struct {
		A float64 `json:"a"`
	}{1}))
	assert.False(t, rawjson.EqualAny(make(chan int), make(chan int)))
}

// Numbers that can be computed are equal when what they come to is.
func FuzzEqualNumber(f *testing.F) {
	for _, s := range []string{"0", "-0", "1e2", "100", "0.001", "1E-3", "12.50", "1250e-2"} {
		f.Add(s, "100")
		f.Add("0.001", s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if !json.Valid([]byte(a)) || !json.Valid([]byte(b)) || len(a) > 20 || len(b) > 20 || strings.Trim(a+b, "0123456789.-+eE") != "" {
			return // no number, or one that is too long to compute here
		}
		x, okX := small(a)
		y, okY := small(b)
		if !okX || !okY {
			return // no number, or one that is too long to compute here
		}
		assert.Equal(t, x.Cmp(y) == 0, rawjson.EqualNumber(a, b), "%s %s", a, b)
	})
}

// small computes a number whose exponent has at most two digits.
func small(s string) (*big.Rat, bool) {
	if _, exponent, found := strings.Cut(strings.ToLower(s), "e"); found && len(exponent) > 3 {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}
