package codec

import (
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// decoder is a place in a text.
type decoder struct {
	b      []byte
	i      int
	depth  int
	spaced bool // space was skipped
}

// maxDepth is the nesting beyond which the codec gives up.
const maxDepth = 200

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// ends marks the bytes of w that end a string or begin an escape, and control characters, by their highest bits. Of those that
// it marks, the lowest is right.
func ends(w uint64) uint64 {
	quote, slash := w^(ones*'"'), w^(ones*'\\')
	return ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*' ')&^w) & highs
}

// odd marks what ends does and bytes that are no ASCII; the lowest that it marks is right here too.
func odd(w uint64) uint64 {
	return (((w ^ (ones * '"')) - ones) | ((w ^ (ones * '\\')) - ones) | (w - ones*' ') | w) & highs
}

// space skips white space. It reports false at the end of the text.
func (d *decoder) space() bool {
	for d.i < len(d.b) {
		switch d.b[d.i] {
		case ' ', '\t', '\r', '\n':
			d.i++
			d.spaced = true
		default:
			return true
		}
	}
	return false
}

// at skips white space, and the byte c if it comes next, and reports whether it did.
func (d *decoder) at(c byte) bool {
	if d.i < len(d.b) && d.b[d.i] == c || d.space() && d.b[d.i] == c {
		d.i++
		return true
	}
	return false
}

// more is called after a value in an object or array: it skips a comma and reports more, or skips end. It reports false when
// neither comes next.
func (d *decoder) more(end byte) (more, ok bool) {
	if d.i >= len(d.b) || d.b[d.i] <= ' ' && !d.space() {
		return false, false
	}
	c := d.b[d.i]
	d.i++
	return c == ',', c == ',' || c == end
}

// word skips null, true or false.
func (d *decoder) word(w string) bool {
	if len(d.b)-d.i < len(w) || string(d.b[d.i:d.i+len(w)]) != w {
		return false
	}
	d.i += len(w)
	return true
}

// text reads a string, from its opening quote on. It is a part of the input, unless it has escapes.
func (d *decoder) text() (string, bool) {
	b, start := d.b, d.i+1
	i := start
	for ; i+32 <= len(b); i += 32 { // a jump back takes longer than looking at eight bytes
		if odd(load(b, i))|odd(load(b, i+8))|odd(load(b, i+16))|odd(load(b, i+24)) != 0 {
			break
		}
	}
	for ; i+8 <= len(b); i += 8 {
		m := odd(load(b, i))
		if m == 0 {
			continue
		}
		i += bits.TrailingZeros64(m) >> 3
		if b[i] != '"' {
			return d.textSlowly(i)
		}
		d.i = i + 1
		return unsafe.String(&b[start], i-start), true
	}
	return d.textSlowly(i)
}

// textSlowly is text for strings with escapes, with other letters than ASCII's, or near the end of the input. Bytes before i
// need no more looking at.
func (d *decoder) textSlowly(i int) (string, bool) {
	start := d.i + 1
	end, escaped, high, ok := d.textEnd(i)
	if !ok {
		return "", false
	}
	d.i = end + 1
	raw := d.b[start:end]
	if high && !utf8.Valid(raw) {
		return "", false
	}
	if !escaped {
		return unsafe.String(unsafe.SliceData(raw), len(raw)), true
	}
	return unescape(raw, i-start)
}

// textEnd finds the closing quote of a string, from i on.
func (d *decoder) textEnd(i int) (end int, escaped, high, ok bool) {
	b := d.b
	var seen uint64
	for i < len(b) {
		if i+8 <= len(b) {
			w := load(b, i)
			m := ends(w)
			if m == 0 {
				seen |= w
				i += 8
				continue
			}
			at := bits.TrailingZeros64(m) &^ 7
			seen |= w & (1<<at - 1)
			i += at >> 3
		}
		switch c := b[i]; {
		case c == '"':
			return i, escaped, seen&highs != 0, true
		case c == '\\':
			escaped = true
			i += 2
		case c < ' ':
			return 0, false, false, false
		default:
			seen |= uint64(c)
			i++
		}
	}
	return 0, false, false, false
}

// unescape resolves the escapes of a string, of which there are none before i.
func unescape(raw []byte, i int) (string, bool) {
	out := lettersFor(len(raw))
	from := 0
	for i < len(raw) {
		if raw[i] != '\\' {
			if i+8 <= len(raw) {
				if m := ends(load(raw, i)); m == 0 {
					i += 8
					continue
				}
			}
			i++
			continue
		}
		out = append(out, raw[from:i]...)
		c := raw[i+1] // textEnd saw that there is one
		i += 2
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, next := unicodeEscape(raw, i)
			if next == 0 {
				return "", false
			}
			out, i = utf8.AppendRune(out, r), next
		default:
			return "", false
		}
		from = i
	}
	out = append(out, raw[from:]...)
	return unsafe.String(unsafe.SliceData(out), len(out)), true
}

// unicodeEscape reads the digits of a \u escape at i, and of a second one where the first is half a pair. next is 0 where they
// stand for no character.
func unicodeEscape(raw []byte, i int) (r rune, next int) {
	r, ok := hex4(raw, i)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, i + 4
	}
	if i+6 > len(raw) || raw[i+4] != '\\' || raw[i+5] != 'u' {
		return 0, 0
	}
	low, ok := hex4(raw, i+6)
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, i + 10
}

func hex4(raw []byte, i int) (rune, bool) {
	if i+4 > len(raw) {
		return 0, false
	}
	var r rune
	for _, c := range raw[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// skip goes past a value of any kind and checks it.
func (d *decoder) skip() bool {
	if d.i >= len(d.b) || d.b[d.i] <= ' ' && !d.space() {
		return false
	}
	switch d.b[d.i] {
	case '{':
		return d.skipObject()
	case '[':
		d.i++
		if d.at(']') {
			return true
		}
		if d.depth++; d.depth > maxDepth {
			return false
		}
		for {
			if !d.skip() {
				return false
			}
			if more, ok := d.more(']'); !more {
				d.depth--
				return ok
			}
		}
	case '"':
		return d.skipText()
	case 't':
		return d.word("true")
	case 'f':
		return d.word("false")
	case 'n':
		return d.word("null")
	default:
		_, ok := d.number()
		return ok
	}
}

func (d *decoder) skipObject() bool {
	d.i++
	if d.at('}') {
		return true
	}
	if d.depth++; d.depth > maxDepth {
		return false
	}
	for {
		if d.i >= len(d.b) || d.b[d.i] != '"' && (!d.space() || d.b[d.i] != '"') {
			return false
		}
		if !d.skipText() || !d.at(':') || !d.skip() {
			return false
		}
		if more, ok := d.more('}'); !more {
			d.depth--
			return ok
		}
	}
}

// skipText goes past a string and checks it. Text that is not UTF-8 is none for the codec.
func (d *decoder) skipText() bool {
	start := d.i + 1
	end, escaped, high, ok := d.textEnd(start)
	if !ok || high && !utf8.Valid(d.b[start:end]) {
		return false
	}
	d.i = end + 1
	if escaped {
		_, ok = unescape(d.b[start:end], 0)
	}
	return ok
}
