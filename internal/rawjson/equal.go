package rawjson

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Equal reports whether two texts are the same JSON value: the order of members, white
// space, escapes and the way in which a number is written make no difference. No text at
// all is null; what is no JSON is equal to nothing.
func Equal(a, b json.RawMessage) bool {
	x, okX := value(a)
	y, okY := value(b)
	return okX && okY && EqualValue(x, y)
}

// EqualAny is [Equal] for values that encode as the texts. It is false where one can't be encoded.
func EqualAny(a, b any) bool {
	x, errX := Encode(a)
	y, errY := Encode(b)
	return errX == nil && errY == nil && (bytes.Equal(x, y) || Equal(x, y))
}

func value(raw json.RawMessage) (v any, ok bool) {
	if len(raw) == 0 {
		return nil, true
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return v, d.Decode(&v) == nil
}

// EqualValue is [Equal] for values as encoding/json decodes them with UseNumber.
func EqualValue(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, EqualValue)
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, EqualValue)
	case json.Number:
		y, ok := b.(json.Number)
		return ok && EqualNumber(string(x), string(y))
	}
	return a == b
}

// EqualNumber compares JSON numbers by value without computing it, which would take the
// memory that an exponent asks for: 1e2 is 100.0.
func EqualNumber(a, b string) bool {
	if a == b {
		return true
	}
	x, okX := normal(a)
	y, okY := normal(b)
	return okX && okY && x == y
}

// decimal is digits without zeros at either end, times ten to the exponent.
type decimal struct {
	negative bool
	digits   string
	exponent int64
}

// normal reads a JSON number; false when its exponent is beyond all bounds.
func normal(s string) (decimal, bool) {
	var d decimal
	s, d.negative = strings.CutPrefix(s, "-")
	mantissa, exponent, scaled := strings.Cut(strings.ToLower(s), "e")
	if scaled {
		n, err := strconv.ParseInt(exponent, 10, 32)
		if err != nil {
			return d, false
		}
		d.exponent = n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	d.exponent -= int64(len(fraction))
	digits := strings.TrimLeft(whole+fraction, "0")
	d.digits = strings.TrimRight(digits, "0")
	d.exponent += int64(len(digits) - len(d.digits))
	if d.digits == "" {
		return decimal{}, true
	}
	return d, true
}
