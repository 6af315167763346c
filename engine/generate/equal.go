package generate

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
)

// Numbers beyond these bounds are equal only when their texts are: 1e1000000000 would
// fill the memory.
const (
	maxExponentBytes = 3
	maxNumberBytes   = 64
)

// sameJSON reports whether two values are equal as JSON; nothing is null. Numbers
// are equal when they stand for the same one, so that a client that writes 5.0 as 5
// is not taken for a forger.
func sameJSON(a, b json.RawMessage) bool {
	x, okX := value(a)
	y, okY := value(b)
	return okX && okY && equal(x, y)
}

func value(raw json.RawMessage) (v any, ok bool) {
	if len(raw) == 0 {
		return nil, true
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return v, d.Decode(&v) == nil
}

func equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			w, ok := b[k]
			if !ok || !equal(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equal(a[i], b[i]) {
				return false
			}
		}
		return true
	case json.Number:
		b, ok := b.(json.Number)
		return ok && sameNumber(string(a), string(b))
	}
	return a == b
}

func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	x, okX := number(a)
	y, okY := number(b)
	return okX && okY && x.Cmp(y) == 0
}

func number(text string) (*big.Rat, bool) {
	if i := strings.IndexAny(text, "eE"); i >= 0 && len(text)-i-1 > maxExponentBytes || len(text) > maxNumberBytes {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}
