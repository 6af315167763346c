package filter

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// kind orders values of different kinds, which are never equal and never compare.
type kind byte

const (
	null kind = iota
	boolean
	number
	text
)

// value is a scalar of JSON, in a form in which equal ones are equal as map keys.
// Numbers are exact: 1, 1.0 and 10e-1 are one value, and so are no two neighbours
// above 2^53.
type value struct {
	kind kind
	// text is the text; the decimal digits of a number, sign first, without zeros at
	// either end; "true" or "".
	text string
	// exponent of a number: it is 0.<digits> · 10^exponent.
	exponent int
	// sum is the hash of a text longer than maxText, of which text has the beginning.
	sum [sha256.Size]byte
}

// maxText is how much of a long text is kept. The rest counts for equality.
const maxText = 1 << 10

const maxNumber = 1000 // characters, and the greatest exponent

var errNoScalar = errors.New("not a text, a number, a boolean or null")

// scalar reads a scalar.
func scalar(raw json.RawMessage) (value, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return value{}, errNoScalar
	}
	switch raw[0] {
	case 'n':
		return value{kind: null}, nil
	case 't':
		return value{kind: boolean, text: "true"}, nil
	case 'f':
		return value{kind: boolean}, nil
	case '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return value{}, err
		}
		return textValue(s), nil
	case '{', '[':
		return value{}, errNoScalar
	}
	return numberValue(string(raw))
}

func textValue(s string) value {
	v := value{kind: text, text: s}
	if len(s) > maxText {
		v.text, v.sum = strings.Clone(s[:maxText]), sha256.Sum256([]byte(s))
	}
	return v
}

func numberValue(s string) (value, error) {
	if len(s) > maxNumber {
		return value{}, errors.New("a number of more than 1000 characters")
	}
	rest, negative := strings.CutPrefix(s, "-")
	mantissa, power, _ := strings.Cut(strings.ReplaceAll(rest, "E", "e"), "e")
	exponent := 0
	if power != "" {
		n, err := strconv.Atoi(power)
		if err != nil || n > maxNumber || n < -maxNumber {
			return value{}, errors.New("a number with an exponent beyond 1000")
		}
		exponent = n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	exponent += len(whole)
	trimmed := strings.TrimLeft(digits, "0")
	exponent -= len(digits) - len(trimmed)
	trimmed = strings.TrimRight(trimmed, "0")
	if trimmed == "" {
		return value{kind: number}, nil
	}
	if negative {
		trimmed = "-" + trimmed
	}
	return value{kind: number, text: trimmed, exponent: exponent}, nil
}

// compare orders two values of one kind; ok is false for others. A long text is
// compared by what is kept of it, so that one of the two must be short.
func (v value) compare(w value) (order int, ok bool) {
	if v.kind != w.kind || v.kind == null {
		return 0, false
	}
	if v.kind != number {
		order = cmp.Compare(v.text, w.text)
		if order == 0 && v.sum != w.sum { // one is the beginning of the other
			order = cmp.Compare(btoi(v.sum != [sha256.Size]byte{}), btoi(w.sum != [sha256.Size]byte{}))
		}
		return order, true
	}
	a, b := v.sign(), w.sign()
	if a != b || a == 0 {
		return cmp.Compare(a, b), true
	}
	order = cmp.Or(cmp.Compare(v.exponent, w.exponent), cmp.Compare(v.text, w.text))
	return order * a, true
}

func (v value) sign() int {
	switch {
	case v.text == "":
		return 0
	case v.text[0] == '-':
		return -1
	}
	return 1
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
