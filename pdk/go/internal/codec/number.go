package codec

import (
	"math"
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

// signed reads an integer that fits into so many bits.
func (d *decoder) signed(size uint) (int64, bool) {
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

// appendFloat writes a number as encoding/json does, which has no form for infinities.
func appendFloat(b []byte, f float64, size int) ([]byte, bool) {
	magnitude := math.Abs(f)
	if magnitude < 1e15 && size == 64 {
		// A number of up to 15 digits is the shortest that is read as f if it is read as f at all.
		if i := int64(f); float64(i) == f && (i != 0 || !math.Signbit(f)) {
			return strconv.AppendInt(b, i, 10), true
		}
		if magnitude >= 1e-3 && magnitude < 1e9 {
			if decimal, ok := appendDecimal(b, f, magnitude); ok {
				return decimal, true
			}
		}
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return b, false
	}
	format := byte('f')
	if magnitude != 0 && (size == 64 && (magnitude < 1e-6 || magnitude >= 1e21) ||
		size == 32 && (float32(magnitude) < 1e-6 || float32(magnitude) >= 1e21)) {
		format = 'e'
	}
	b = strconv.AppendFloat(b, f, format, -1, size)
	if n := len(b); format == 'e' && n >= 4 && b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' {
		b[n-2] = b[n-1] // e-09 is written e-9
		b = b[:n-1]
	}
	return b, true
}

// appendDecimal writes numbers that have up to four digits after the point.
func appendDecimal(b []byte, f, magnitude float64) ([]byte, bool) {
	for places := 1; places <= 4; places++ {
		scaled := uint64(magnitude*powers[places] + 0.5)
		if float64(scaled)/powers[places] != magnitude {
			continue
		}
		if f < 0 {
			b = append(b, '-')
		}
		unit := uint64(powers[places])
		b = strconv.AppendUint(b, scaled/unit, 10)
		b = append(b, '.')
		for rest := scaled % unit; unit > 1; rest %= unit {
			unit /= 10
			b = append(b, '0'+byte(rest/unit))
		}
		return b, true
	}
	return b, false
}
