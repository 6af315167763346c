package filter

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
)

// Compare compares two scalars.
func Compare(a, b string) (order int, equal, ok bool, err error) {
	v, err := scalar(json.RawMessage(a))
	if err != nil {
		return 0, false, false, err
	}
	w, err := scalar(json.RawMessage(b))
	if err != nil {
		return 0, false, false, err
	}
	order, ok = v.compare(w)
	return order, v == w, ok, nil
}

// Rational is the exact value of a number as it is kept.
func Rational(s string) (*big.Rat, error) {
	v, err := numberValue(s)
	if err != nil || v.text == "" {
		return new(big.Rat), err
	}
	digits := strings.TrimPrefix(v.text, "-")
	r, _ := new(big.Rat).SetString(digits + "e" + strconv.Itoa(v.exponent-len(digits)))
	if v.sign() < 0 {
		r.Neg(r)
	}
	return r, nil
}
