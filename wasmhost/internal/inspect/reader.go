package inspect

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// reader walks the module once. Its first error sticks: from then on every read gives zero, so that callers check
// err where they loop and nowhere else.
type reader struct {
	buf []byte
	pos int
	end int // no read goes beyond: the end of the section, or of the file between sections
	err *Refusal
}

func (r *reader) fail(code string, offset int, hint, format string, args ...any) {
	if r.err == nil {
		r.err = &Refusal{Code: code, Offset: offset, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
}

// short reports a read beyond the end: of the file, which was cut, or of a section, whose size is wrong.
func (r *reader) short() {
	if r.end == len(r.buf) {
		r.fail(CodeTruncated, r.pos, "the upload was cut short or damaged; send the whole file", "the module ends in the middle of a section")
		return
	}
	r.fail(CodeSectionBounds, r.pos, "", "an item runs over the end of its section or body")
}

func (r *reader) remaining() int { return r.end - r.pos }

func (r *reader) byte() byte {
	if r.err != nil {
		return 0
	}
	if r.pos >= r.end {
		r.short()
		return 0
	}
	b := r.buf[r.pos]
	r.pos++
	return b
}

func (r *reader) skip(n int) {
	if r.err != nil {
		return
	}
	if n > r.remaining() {
		r.short()
		return
	}
	r.pos += n
}

// u32 reads an unsigned LEB128 of at most five bytes with no bit beyond the 32nd.
func (r *reader) u32() uint32 {
	if r.pos < r.end && r.err == nil { // most are one byte long
		if b := r.buf[r.pos]; b < 0x80 {
			r.pos++
			return uint32(b)
		}
	}
	start := r.pos
	var v uint32
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		if shift == 28 && b > 0x0f {
			break
		}
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	r.fail(CodeBadLEB, start, "", "a number is longer than an unsigned 32-bit LEB128")
	return 0
}

// signed reads a signed LEB128 of the given width: 32, 33 or 64 bits.
func (r *reader) signed(bits int) int64 {
	start := r.pos
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		b := r.byte()
		v |= int64(b&0x7f) << shift
		if left := bits - shift; left < 7 {
			// The last byte: no continuation, and the bits beyond the width repeat the sign.
			sign := b & 0x7f >> (left - 1)
			if all := byte(0x7f) >> (left - 1); b >= 0x80 || sign != 0 && sign != all {
				break
			}
		}
		if b < 0x80 {
			if shift += 7; shift < 64 && b&0x40 != 0 {
				v |= -1 << shift
			}
			return v
		}
	}
	r.fail(CodeBadLEB, start, "", "a number is longer than a signed %d-bit LEB128", bits)
	return 0
}

// count reads the length of a vector, whose items take at least itemBytes each, and checks it against a limit and
// against what the rest of the section can hold, so that nothing is allocated for a claim.
func (r *reader) count(what, code string, limit, itemBytes int) int {
	start := r.pos
	n := r.u32()
	switch {
	case r.err != nil:
		return 0
	case uint64(n) > uint64(limit):
		r.fail(code, start, fmt.Sprintf("make the module smaller, or have the limit of %d raised", limit), "%d %s, more than the limit of %d", n, what, limit)
		return 0
	case uint64(n)*uint64(itemBytes) > uint64(r.remaining()):
		r.fail(CodeCountBounds, start, "", "%d %s are declared, and %d bytes are left for them", n, what, r.remaining())
		return 0
	}
	return int(n)
}

// name reads a string and refuses what could not be logged or shown safely.
func (r *reader) name(what string, limit int) string {
	start := r.pos
	n := r.u32()
	if r.err != nil {
		return ""
	}
	if uint64(n) > uint64(r.remaining()) {
		r.short()
		return ""
	}
	if uint64(n) > uint64(limit) {
		r.fail(CodeNameTooLong, start, "", "the %s is %d bytes long, more than the limit of %d", what, n, limit)
		return ""
	}
	raw := r.buf[r.pos : r.pos+int(n)]
	r.pos += int(n)
	if !utf8.Valid(raw) {
		r.fail(CodeBadName, start, "", "the %s is not valid UTF-8", what)
		return ""
	}
	s := string(raw)
	for _, c := range s {
		if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) {
			r.fail(CodeBadName, start, "rename it", "the %s holds the control character %U", what, c)
			return ""
		}
	}
	return s
}
