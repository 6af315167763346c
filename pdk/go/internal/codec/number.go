package codec

import (
	"math/bits"
	"strconv"
	"unsafe"
)

// literal is a number as it is written: mantissa · 10^exponent, less than nothing if negative.
type literal struct {
	start    int
	mantissa uint64
	exponent int
	digits   int // of the mantissa, without zeros in front; what is over 18 is not in it
	negative bool
	integer  bool // there is neither a fraction nor an exponent
}

// number reads a number.
func (d *decoder) number() (n literal, ok bool) {
	b, i := d.b, d.i
	n.start, n.integer = i, true
	if i < len(b) && b[i] == '-' {
		n.negative = true
		i++
	}
	first := i
	for i < len(b) && b[i]-'0' <= 9 {
		n.add(b[i])
		i++
	}
	if i == first || b[first] == '0' && i > first+1 {
		return n, false
	}
	if i < len(b) && b[i] == '.' {
		n.integer = false
		i++
		first = i
		for i < len(b) && b[i]-'0' <= 9 {
			n.add(b[i])
			i++
		}
		if n.exponent -= i - first; i == first {
			return n, false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		n.integer = false
		i++
		minus := false
		if i < len(b) && (b[i] == '-' || b[i] == '+') {
			minus = b[i] == '-'
			i++
		}
		first = i
		exponent := 0
		for i < len(b) && b[i]-'0' <= 9 {
			exponent = min(exponent*10+int(b[i]-'0'), 1<<20)
			i++
		}
		if i == first {
			return n, false
		}
		if minus {
			exponent = -exponent
		}
		n.exponent += exponent
	}
	d.i = i
	return n, true
}

// add takes one more digit.
func (n *literal) add(c byte) {
	if n.digits < 18 {
		n.mantissa = n.mantissa*10 + uint64(c-'0')
	}
	if n.mantissa != 0 {
		n.digits++
	}
}

// few reads up to seven digits at i, all at once. count is 0 where that is not possible.
func few(b []byte, i int) (v uint64, count int) {
	if i+8 > len(b) {
		return 0, 0
	}
	x := load(b, i) ^ ones*'0' // a digit is now its value
	count = bits.TrailingZeros64((x&^highs+ones*(0x80-10)|x)&highs) >> 3
	if count == 8 {
		return 0, 0
	}
	// The digits go to the end of the word, behind zeros, and are added up in pairs, fours and eights.
	x <<= 64 - uint(count)*8
	x = x * (10<<8 + 1) >> 8
	x = x & 0x00ff00ff00ff00ff * (100<<16 + 1) >> 16
	x = x & 0x0000ffff0000ffff * (10000<<32 + 1) >> 32
	return x, count
}

// signed reads an integer that fits into so many bits.
func (d *decoder) signed(size uint) (int64, bool) {
	b, i := d.b, d.i
	minus := i < len(b) && b[i] == '-'
	if minus {
		i++
	}
	m, count := few(b, i)
	if count == 0 || count > 1 && b[i] == '0' {
		return d.signedSlowly(size)
	}
	i += count
	if c := b[i]; c == '.' || c|0x20 == 'e' { // there is an eighth byte
		return 0, false
	}
	d.i = i
	v := int64(m)
	if minus {
		v = -v
	}
	return v, v<<(64-size)>>(64-size) == v
}

func (d *decoder) signedSlowly(size uint) (int64, bool) {
	n, ok := d.number()
	if !ok || !n.integer || n.digits > 18 {
		return 0, false
	}
	v := int64(n.mantissa) // fits: 18 digits
	if n.negative {
		v = -v
	}
	return v, v<<(64-size)>>(64-size) == v
}

// unsigned is signed without a sign.
func (d *decoder) unsigned(size uint) (uint64, bool) {
	n, ok := d.number()
	return n.mantissa, ok && n.integer && n.digits <= 18 && !n.negative && n.mantissa<<(64-size)>>(64-size) == n.mantissa
}

var powers = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// double reads a number of 64 bits.
func (d *decoder) double() (float64, bool) {
	b, i := d.b, d.i
	minus := i < len(b) && b[i] == '-'
	if minus {
		i++
	}
	m, count := few(b, i)
	if count == 0 || count > 1 && b[i] == '0' {
		return d.float(64)
	}
	i += count
	f := float64(m)
	if b[i] == '.' {
		i++
		part, places := few(b, i)
		if places == 0 {
			return d.float(64)
		}
		i += places
		// Both are exact, so that one operation rounds as it should.
		f = float64(m*units[places]+part) / powers[places]
	}
	if b[i]|0x20 == 'e' {
		return d.float(64)
	}
	d.i = i
	if minus {
		f = -f
	}
	return f, true
}

var units = [...]uint64{1, 10, 100, 1000, 10000, 100000, 1000000, 10000000}

// float reads a number of 64 or 32 bits.
func (d *decoder) float(size int) (float64, bool) {
	n, ok := d.number()
	if !ok {
		return 0, false
	}
	// Both are exact, so that one operation rounds as it should.
	if size == 64 && n.digits <= 15 && n.exponent >= -22 && n.exponent <= 22 {
		f := float64(n.mantissa)
		if n.exponent < 0 {
			f /= powers[-n.exponent]
		} else {
			f *= powers[n.exponent]
		}
		if n.negative {
			f = -f
		}
		return f, true
	}
	f, err := strconv.ParseFloat(unsafe.String(&d.b[n.start], d.i-n.start), size)
	return f, err == nil
}
