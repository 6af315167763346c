package schema

import (
	"bytes"
	"cmp"
	"math"
	"math/big"
	"math/bits"
	"strconv"
)

// Numbers are compared by their decimal digits and never become floats, so that 9007199254740993 is not
// 9007199254740992 and 0.1 is exactly 0.1. Most are small whole numbers and are compared as int64; decimal is
// for the others.
//
// Bounds of a number in a document that crosses a schema: arithmetic on it stays exact and cheap. Each
// float64 is far inside.
const (
	maxNumberBytes = 1000
	maxExponent    = 1000
)

// exponentFits reports whether the digits of an exponent stay within maxExponent.
func exponentFits(text []byte) bool {
	text = bytes.TrimLeft(text, "0")
	if len(text) > 4 {
		return false
	}
	n, _ := strconv.Atoi(string(text))
	return n <= maxExponent
}

// literal is a number token; whole when it has neither fraction nor exponent.
type literal struct {
	text  []byte
	whole bool
}

// small returns the value of a whole literal of at most 18 characters, which an int64 always holds.
func (l literal) small() (int64, bool) {
	text := l.text
	if !l.whole || len(text) > 18 {
		return 0, false
	}
	neg := text[0] == '-'
	if neg {
		text = text[1:]
	}
	var n int64
	for _, c := range text {
		n = n*10 + int64(c-'0')
	}
	if neg {
		n = -n
	}
	return n, true
}

// decimal is an exact number: ±0.D × 10^point, where D is the digits of a and then
// of b, with no zero at either end. Zero has no digits. Equal numbers are equal in all
// of that, however they are spelled:
//
//	1, 1.0, 10e-1    D = 1,    point =  1
//	0.05, 5e-2       D = 5,    point = -1
//	1200             D = 12,   point =  4
//	-3.25            D = 325,  point =  1, neg
//
// a and b are the digits before and behind the point in the text that was parsed; they
// share its memory.
type decimal struct {
	neg   bool
	a, b  []byte
	point int
}

// parse reads a number token that obeys the bounds.
func (l literal) parse() decimal {
	var d decimal
	text := l.text
	if text[0] == '-' {
		d.neg, text = true, text[1:]
	}
	// The exponent moves the point. It fits an int, because exponentFits was asked first.
	if i := bytes.IndexAny(text, "eE"); i >= 0 {
		d.point, _ = strconv.Atoi(string(text[i+1:]))
		text = text[:i]
	}
	d.a = text
	if i := bytes.IndexByte(text, '.'); i >= 0 {
		d.a, d.b = text[:i], bytes.TrimRight(text[i+1:], "0")
	}
	// Leading zeroes are cut off, and each one after the point moves the point.
	d.a = bytes.TrimLeft(d.a, "0")
	d.point += len(d.a)
	if len(d.a) == 0 {
		trimmed := bytes.TrimLeft(d.b, "0")
		d.point -= len(d.b) - len(trimmed)
		d.b = trimmed
	}
	if len(d.b) == 0 {
		d.a = bytes.TrimRight(d.a, "0")
	}
	if d.len() == 0 {
		return decimal{}
	}
	return d
}

// len returns the number of significant digits.
func (d decimal) len() int { return len(d.a) + len(d.b) }

// digit returns the i-th significant digit, '0' behind the last one.
func (d decimal) digit(i int) byte {
	switch {
	case i < len(d.a):
		return d.a[i]
	case i < d.len():
		return d.b[i-len(d.a)]
	}
	return '0'
}

// sign returns -1, 0 or 1.
func (d decimal) sign() int {
	switch {
	case d.len() == 0:
		return 0
	case d.neg:
		return -1
	}
	return 1
}

// integral reports whether all digits stand before the decimal point.
func (d decimal) integral() bool { return d.len() == 0 || d.len() <= d.point }

// cmp compares two numbers: by sign, then by magnitude. As the first digit is never zero, the larger point
// wins; digits decide between equal points.
func (d decimal) cmp(e decimal) int {
	if s, t := d.sign(), e.sign(); s != t || s == 0 {
		return cmp.Compare(s, t)
	}
	order := cmp.Compare(d.point, e.point)
	for i := 0; order == 0 && i < max(d.len(), e.len()); i++ {
		order = cmp.Compare(d.digit(i), e.digit(i))
	}
	return order * d.sign()
}

// append writes the digits, an e and the point, such as 12e4 for 1200: one form for each value, whatever its
// spelling was. It is a key of maps and not meant to be read.
func (d decimal) append(dst []byte) []byte {
	if d.len() == 0 {
		return append(dst, '0')
	}
	if d.neg {
		dst = append(dst, '-')
	}
	dst = append(append(dst, d.a...), d.b...)
	return strconv.AppendInt(append(dst, 'e'), int64(d.point), 10)
}

// decimalOf turns a bound of a schema into a decimal. JSON can't write a number
// that has none.
func decimalOf(r *big.Rat) (decimal, bool) {
	// n is the number of digits behind the point; there is no such number for 1/3.
	n, exact := r.FloatPrec()
	if !exact {
		return decimal{}, false
	}
	return literal{text: []byte(r.FloatString(n))}.parse(), true
}

// divisor is a multipleOf: coefficient × 10^exponent.
type divisor struct {
	coefficient uint64
	exponent    int
}

// divisorOf returns a multipleOf; false when its coefficient needs more than 64 bits.
func divisorOf(r *big.Rat) (*divisor, bool) {
	d, ok := decimalOf(r)
	if !ok || d.len() == 0 || d.neg {
		return nil, false
	}
	c, err := strconv.ParseUint(string(d.a)+string(d.b), 10, 64)
	if err != nil {
		return nil, false
	}
	return &divisor{coefficient: c, exponent: d.point - d.len()}, true
}

// divides reports whether d is an integral multiple of m. With d = D × 10^p and m = c × 10^q (both without
// zeros at the end) it is, when p >= q and c divides D × 10^(p-q). That is computed modulo c: the digits one
// by one, the power by repeated squaring, so that 1e1000 costs ten steps and no big number.
func (m *divisor) divides(d decimal) bool {
	if d.len() == 0 {
		return true
	}
	k := d.point - d.len() - m.exponent
	if k < 0 {
		return false // d would have to end in a zero, and its zeros are cut off
	}
	// rest is D mod c, and then D × 10^k mod c.
	var rest uint64
	for i := range d.len() {
		rest = m.times(rest, 10)
		rest = m.plus(rest, uint64(d.digit(i)-'0'))
	}
	for power := uint64(10); k > 0 && rest != 0; k >>= 1 {
		if k&1 == 1 {
			rest = m.times(rest, power)
		}
		power = m.times(power%m.coefficient, power)
	}
	return rest == 0
}

// times multiplies modulo the coefficient; x is below it.
func (m *divisor) times(x, y uint64) uint64 {
	hi, lo := bits.Mul64(x, y%m.coefficient)
	return bits.Rem64(hi, lo, m.coefficient)
}

// plus adds modulo the coefficient; x is below it.
func (m *divisor) plus(x, y uint64) uint64 {
	lo, carry := bits.Add64(x, y%m.coefficient, 0)
	return bits.Rem64(carry, lo, m.coefficient)
}

// interval holds the bounds of a number: min and max are allowed values, above and below are not.
type interval struct {
	min, max, above, below *decimal
	multiple               *divisor
	// The same bounds for whole numbers, both included; small is false when they
	// don't fit.
	lo, hi int64
	small  bool
}

// contains reports whether a number is within the bounds. Whole numbers are compared as int64 when both they
// and the bounds fit.
func (v *interval) contains(l literal) bool {
	// Three ways, the cheapest first: as int64, by the whole part alone, by all digits.
	if n, ok := l.small(); ok && v.small {
		if n < v.lo || n > v.hi {
			return false
		}
		return v.multiple == nil || v.multiple.divides(l.parse())
	}
	if v.small && v.multiple == nil && v.surely(l.text) {
		return true
	}
	d := l.parse()
	switch {
	case v.min != nil && d.cmp(*v.min) < 0,
		v.max != nil && d.cmp(*v.max) > 0,
		v.above != nil && d.cmp(*v.above) <= 0,
		v.below != nil && d.cmp(*v.below) >= 0,
		v.multiple != nil && !v.multiple.divides(d):
		return false
	}
	return true
}

// surely reports that a positive number without exponent is within the bounds, by its whole part n alone:
// n <= x < n+1, so n >= lo and n < hi is enough. False means that it does not know.
func (v *interval) surely(text []byte) bool {
	var n int64
	for i, c := range text {
		if c == '.' && i < 18 {
			return n >= v.lo && n < v.hi && digits(text, i+1) == len(text)
		}
		if c-'0' >= 10 { // an exponent, or a sign
			return false
		}
		n = n*10 + int64(c-'0')
	}
	return false
}

// shrink computes lo and hi, the smallest and the largest whole number within the bounds. A side without a
// bound gets the end of int64, which is no loss, since small literals are within it.
func (v *interval) shrink(least, above, most, below *big.Rat) {
	// raise takes a lower bound, lower an upper one; the tightest of each side wins.
	lo, hi := big.NewInt(math.MinInt64), big.NewInt(math.MaxInt64)
	raise := func(r *big.Rat, exclusive bool) {
		n := floor(r)
		if exclusive || !r.IsInt() {
			n.Add(n, big.NewInt(1))
		}
		if n.Cmp(lo) > 0 {
			lo = n
		}
	}
	lower := func(r *big.Rat, exclusive bool) {
		n := floor(r)
		if exclusive && r.IsInt() {
			n.Sub(n, big.NewInt(1))
		}
		if n.Cmp(hi) < 0 {
			hi = n
		}
	}
	if least != nil {
		raise(least, false)
	}
	if above != nil {
		raise(above, true)
	}
	if most != nil {
		lower(most, false)
	}
	if below != nil {
		lower(below, true)
	}
	if v.small = lo.IsInt64() && hi.IsInt64(); v.small {
		v.lo, v.hi = lo.Int64(), hi.Int64()
	}
}

// floor returns the largest integer that is not above r.
func floor(r *big.Rat) *big.Int {
	return new(big.Int).Div(r.Num(), r.Denom()) // Euclidean, so towards -∞ for a positive denominator
}
