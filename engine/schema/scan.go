package schema

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync"
	"unicode/utf8"
)

// Reasons for which a reading ends beyond those of [Check].
var (
	errDuplicate = errors.New("the same key twice; which of the values counts would be anybody's guess")
	errNumber    = fmt.Errorf("a number of more than %d bytes or with an exponent beyond ±%d", maxNumberBytes, maxExponent)
	errWork      = errors.New("the schema asks for too much work on this document")
)

// reader reads one JSON text from left to right and checks it against nodes on the
// way; it builds no values. There are two kinds of refusal. One of the text itself
// (syntax, depth, a repeated key, too much work) is kept in err and ends the whole
// validation. One by a schema only makes a method return false, because an
// alternative may still accept the value. validate.go says how methods use both.
//
// A reader belongs to one goroutine. It does not keep raw after free.
type reader struct {
	raw    []byte
	pos    int
	at     int  // where the value starts that broke the schema; -1 while none has
	depth  int  // open objects and arrays
	level  int  // nested nodes
	budget int  // see [workFor]; what is left of the chunk
	pace   pace // has the rest of it
	strict bool // refuse equal keys, and numbers out of bounds
	oneKey bool // refuse equal keys
	err    error

	// Stacks, shared by all values that are open: each value appends to them and cuts off its own
	// part when it ends. For {"a": {"x": 1, "y": 2 …, keys holds a, x, y while the inner object is
	// read, and a again after it.
	keys  []key    // of the open objects, those that no rule names
	items []span   // of the open arrays that want unique items
	bits  []uint64 // of the open objects with many rules: the names seen
	buf   []byte   // one decoded string or canonical value

	machine machine // for patterns
}

// span is a range of offsets, end exclusive.
type span struct{ start, end int }

// key is a property name: the offsets between its quotes, and whether it has to be unescaped before it is
// compared.
type key struct {
	span
	escaped bool
}

// readers are reused, so that a document that is fine costs no allocation.
var readers = sync.Pool{New: func() any { return new(reader) }}

// keptBytes bounds the scratch memory that a pooled reader keeps.
const keptBytes = 64 << 10

// newReader returns a reader at the beginning of raw. The caller frees it.
func newReader(raw []byte) *reader {
	r, _ := readers.Get().(*reader)
	*r = reader{raw: raw, at: -1, keys: r.keys[:0], items: r.items[:0], bits: r.bits[:0], buf: r.buf[:0], machine: r.machine}
	return r
}

// free returns the reader to the pool, unless a large document has made its scratch memory large.
func (r *reader) free() {
	r.pace.end()
	r.raw, r.err = nil, nil
	if cap(r.keys)*24+cap(r.items)*16+cap(r.bits)*8+cap(r.buf)+r.machine.bytes() <= keptBytes {
		readers.Put(r)
	}
}

// fail records why the text itself is refused, and returns false. The first reason counts.
func (r *reader) fail(err error) bool {
	if r.err == nil {
		r.err = err
	}
	return false
}

// goOn gets more work for a check that has used up a chunk; when there is none, or the check
// is to end, it says why.
func (r *reader) goOn() bool {
	for r.budget < 0 {
		n := r.pace.more()
		if n == 0 {
			if r.pace.err != nil {
				return r.fail(r.pace.err)
			}
			return r.fail(errWork)
		}
		r.budget += n
	}
	return true
}

// document reads the whole text as one value that n accepts.
func (r *reader) document(n *node) bool {
	if len(r.raw) == 0 {
		return r.fail(ErrEmpty)
	}
	r.space()
	if !r.value(n) {
		return false
	}
	r.space()
	if r.pos != len(r.raw) { // a second value, or garbage
		return r.fail(ErrSyntax)
	}
	return true
}

// space skips white space. Most texts have none between tokens, so the common case is one comparison that
// the compiler inlines.
func (r *reader) space() {
	if r.pos < len(r.raw) && r.raw[r.pos] > ' ' {
		return
	}
	r.spaces()
}

// spaces skips the four white-space characters of JSON.
func (r *reader) spaces() {
	for r.pos < len(r.raw) {
		switch r.raw[r.pos] {
		case ' ', '\n', '\r', '\t':
			r.pos++
		default:
			return
		}
	}
}

// peek returns the byte at pos, 0 at the end.
func (r *reader) peek() byte {
	if r.pos < len(r.raw) {
		return r.raw[r.pos]
	}
	return 0
}

// any reads a value to which no schema applies. Syntax, depth and keys are checked all the same.
func (r *reader) any() bool {
	if r.budget--; r.budget < 0 && !r.goOn() {
		return false
	}
	switch c := r.peek(); {
	case c == '"':
		_, ok := r.text()
		return ok
	case c == '{':
		return r.object(nil)
	case c == '[':
		return r.array(nil)
	case c == '-' || c-'0' < 10:
		_, ok := r.number()
		return ok
	default: // true, false, null, or nothing that JSON knows
		return r.literal(c)
	}
}

// literal reads true, false or null; c is its first byte.
func (r *reader) literal(c byte) bool {
	var want string
	switch c {
	case 't':
		want = "true"
	case 'f':
		want = "false"
	case 'n':
		want = "null"
	default:
		return r.fail(ErrSyntax)
	}
	if end := r.pos + len(want); end <= len(r.raw) && string(r.raw[r.pos:end]) == want {
		r.pos = end
		return true
	}
	return r.fail(ErrSyntax)
}

// Words in which each byte is 0x01, and 0x80: text looks at eight bytes at a time.
const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// text reads a string token; the span lies between its quotes.
func (r *reader) text() (k key, ok bool) {
	raw, i := r.raw, r.pos+1
	k.start = i
	for {
		// Skip bytes that need no attention, sixteen and then eight at a time. The switch below
		// decides on the first one that may.
		for i+16 <= len(raw) && (special(binary.LittleEndian.Uint64(raw[i:]))|special(binary.LittleEndian.Uint64(raw[i+8:])))&highs == 0 {
			i += 16
		}
		for i+8 <= len(raw) {
			if m := special(binary.LittleEndian.Uint64(raw[i:])) & highs; m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if i >= len(raw) {
			return k, r.fail(ErrSyntax)
		}
		switch c := raw[i]; {
		case c == '"':
			k.end, r.pos = i, i+1
			r.budget -= (i - k.start) >> 4
			return k, true
		case c == '\\': // checked here, decoded only when somebody asks for the characters
			k.escaped = true
			n := escape(raw[i:])
			if n == 0 {
				return k, r.fail(ErrSyntax)
			}
			i += n
		case c < 0x20:
			return k, r.fail(ErrSyntax)
		case c < utf8.RuneSelf:
			i++
		default: // invalid UTF-8 would be replaced in silence by encoding/json
			c, n := utf8.DecodeRune(raw[i:])
			if c == utf8.RuneError && n == 1 {
				return k, r.fail(ErrUTF8)
			}
			i += n
		}
	}
}

// special sets the highest bit of each byte of w that is a control character, quote, backslash or not
// ASCII. The lowest such byte is exact: a subtraction borrows from above only where it has
// set that bit, and what has it without being one of these is not ASCII.
func special(w uint64) uint64 {
	return (w - 0x20*ones) | ((w ^ '"'*ones) - ones) | ((w ^ '\\'*ones) - ones) | w
}

// escape returns the length in bytes of the escape sequence at the start of b, 0 for an invalid one.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b); ok {
			return 6
		}
	}
	return 0
}

// number reads a number token by the grammar of RFC 8259, section 6: no leading zero, no plus sign, digits on
// both sides of a point. The second result is false on bad syntax, and in strict mode for a number out of
// bounds.
func (r *reader) number() (literal, bool) {
	raw, i := r.raw, r.pos
	l := literal{whole: true}
	if raw[i] == '-' {
		i++
	}
	switch {
	case i < len(raw) && raw[i] == '0':
		i++ // digits behind it are left over, which is a syntax error for the caller
	case i < len(raw) && raw[i]-'1' < 9:
		i = digits(raw, i)
	default:
		return l, r.fail(ErrSyntax)
	}
	// A fraction and an exponent are each optional, and make the literal one that is not whole.
	if i < len(raw) && raw[i] == '.' {
		l.whole = false
		from := i + 1
		if i = digits(raw, from); i == from {
			return l, r.fail(ErrSyntax)
		}
	}
	if i < len(raw) && raw[i]|0x20 == 'e' {
		l.whole = false
		i++
		if i < len(raw) && (raw[i] == '+' || raw[i] == '-') {
			i++
		}
		from := i
		if i = digits(raw, from); i == from {
			return l, r.fail(ErrSyntax)
		}
		if r.strict && !exponentFits(raw[from:i]) {
			return l, r.fail(errNumber)
		}
	}
	l.text = raw[r.pos:i]
	// Without a schema numbers are not computed with, so they may be of any size.
	if r.strict && len(l.text) > maxNumberBytes {
		return l, r.fail(errNumber)
	}
	r.pos = i
	return l, true
}

// digits returns the offset behind the digits that begin at i.
func digits(raw []byte, i int) int {
	for i < len(raw) && raw[i]-'0' < 10 {
		i++
	}
	return i
}

// decoded returns the characters of a string token. The result is valid until the
// next call.
func (r *reader) decoded(k key) []byte {
	if !k.escaped {
		return r.raw[k.start:k.end]
	}
	r.buf = unescape(r.buf[:0], r.raw[k.start:k.end])
	return r.buf
}

// manyKeys is the number of keys (or items) up to which each is compared with those before. That is faster
// than hashing them for small objects, and would take the square of the number for large ones.
const manyKeys = 16

var keySeed = maphash.MakeSeed()

// fresh notes a key of the object whose first key is at base and reports whether
// it is new. Past manyKeys it only notes, and [reader.distinct] decides.
func (r *reader) fresh(base int, k key) bool {
	open := r.keys[base:]
	if len(open) <= manyKeys {
		for _, other := range open {
			if r.sameKey(other, k) {
				return false
			}
		}
	}
	r.keys = append(r.keys, k)
	return true
}

// sameKey compares two keys by their characters. The first one is copied when one has escapes, because both
// are unescaped into the same buffer.
func (r *reader) sameKey(a, b key) bool {
	if !a.escaped && !b.escaped {
		return string(r.raw[a.start:a.end]) == string(r.raw[b.start:b.end])
	}
	name := string(r.decoded(a))
	return name == string(r.decoded(b))
}

// distinct reports whether all keys from base on differ, and moves pos to one that does not. It hashes with
// a seed of this process: a document can't be made so that all its keys collide.
func (r *reader) distinct(base int) bool {
	open := r.keys[base:]
	if len(open) <= manyKeys+1 {
		return true
	}
	// A hash table with open addressing, at most half full. Entries are indices of open plus 1.
	size := 1 << bits.Len(uint(2*len(open)))
	table := make([]int32, size)
	for i, k := range open {
		at := maphash.Bytes(keySeed, r.decoded(k)) & uint64(size-1)
		for ; table[at] != 0; at = (at + 1) & uint64(size-1) {
			if r.sameKey(open[table[at]-1], k) {
				r.pos = k.start
				return false
			}
		}
		table[at] = int32(i + 1) //nolint:gosec // fewer keys than bytes
	}
	return true
}

// place returns the JSON pointer to the object, array or value around the offset, as a list of its parts. It
// reads the document once more with encoding/json, which is slow, and only done for an error.
func place(raw []byte, offset int) []string {
	type level struct {
		object bool
		wants  bool // the next token is a key
		name   string
		index  int
	}
	// open are the containers around the token; wants alternates between key and value in an object.
	var open []level
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if err != nil || int(decoder.InputOffset()) > offset {
			break
		}
		// A value (or the end of one) has been read: the container around it expects the next item.
		// A key is remembered as the name of the value that follows.
		delim, isDelim := token.(json.Delim)
		top := len(open) - 1
		switch {
		case isDelim && (delim == '}' || delim == ']'):
			open = open[:top]
			top--
		case top >= 0 && open[top].wants:
			open[top].name, _ = token.(string)
			open[top].wants = false
			continue
		case isDelim:
			open = append(open, level{object: delim == '{', wants: delim == '{'})
			continue
		}
		if top < 0 {
			break
		}
		open[top].wants = open[top].object
		open[top].index++
	}
	// The innermost object adds its key only when its value has begun.
	tokens := make([]string, 0, len(open))
	for i, l := range open {
		switch {
		case !l.object:
			tokens = append(tokens, fmt.Sprint(l.index))
		case !l.wants || i < len(open)-1:
			tokens = append(tokens, l.name)
		}
	}
	return tokens
}
