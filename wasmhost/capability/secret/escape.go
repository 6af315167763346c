package secret

import (
	"bytes"
	"html"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// An escaping is a way to write single characters otherwise. A server may write any of a secret's
// characters so and leave the others, so there is no list of a secret's spellings: the text is read
// as its reader would, and searched then.
type escaping struct {
	mark byte // begins what is written otherwise
	// read appends the character that b, which begins with mark, stands for, and returns how many bytes
	// of b it takes; 0 where it is none.
	read func(out, b []byte) (with []byte, n int)
}

// escapings are read by themselves, and each once more in what any of them gives: a JSON text in a JSON
// text, HTML in JSON, a URL in HTML.
var escapings = []escaping{{'\\', backslash}, {'&', entity}, {'%', percent}}

// backslash reads escapes of JSON, JavaScript, Go, Python and C: \n, \/, \u0041, \u{41}, \U00000041, \x41,
// \101.
func backslash(out, b []byte) ([]byte, int) {
	if len(b) < 2 {
		return out, 0
	}
	switch c := b[1]; c {
	case 'u':
		if len(b) > 2 && b[2] == '{' {
			end := bytes.IndexByte(b[3:min(len(b), 12)], '}')
			if r, ok := number(b[3:], max(0, end), 16); ok {
				return utf8.AppendRune(out, r), end + 4
			}
			return out, 0
		}
		r, ok := number(b[2:], 4, 16)
		if !ok {
			return out, 0
		}
		if utf16.IsSurrogate(r) && len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
			if low, ok := number(b[8:], 4, 16); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
				return utf8.AppendRune(out, utf16.DecodeRune(r, low)), 12
			}
		}
		return utf8.AppendRune(out, r), 6
	case 'U':
		if r, ok := number(b[2:], 8, 16); ok {
			return utf8.AppendRune(out, r), 10
		}
		return out, 0
	case 'x':
		if r, ok := number(b[2:], 2, 16); ok {
			return utf8.AppendRune(out, r), 4
		}
		return out, 0
	case 'b', 'f', 'n', 'r', 't', 'a', 'v':
		return append(out, ' '), 2 // one of the characters that no secret has
	default:
		if r, ok := number(b[1:], 3, 8); ok {
			return utf8.AppendRune(out, r), 4
		}
		if c < '!' || c > '~' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' {
			return out, 0
		}
		return append(out, c), 2
	}
}

// maxEntity bounds a character reference of HTML, in bytes: the longest name has 31 letters, and a number
// may have zeros before it.
const maxEntity = 40

// entity reads character references of HTML and XML: &#65;, &#x41;, also without the semicolon, and &amp;.
func entity(out, b []byte) ([]byte, int) {
	b = b[:min(len(b), maxEntity)]
	if len(b) < 3 {
		return out, 0
	}
	if b[1] != '#' {
		end := 1
		for end < len(b) && ('0' <= b[end] && b[end] <= '9' || 'a' <= b[end]|0x20 && b[end]|0x20 <= 'z') {
			end++
		}
		if end == len(b) || b[end] != ';' {
			return out, 0
		}
		name := string(b[:end+1])
		if text := html.UnescapeString(name); text != name {
			return append(out, text...), end + 1
		}
		return out, 0
	}
	base, begin := 10, 2
	if b[2]|0x20 == 'x' {
		base, begin = 16, 3
	}
	end := begin
	for end < len(b) && digit(b[end]) < base {
		end++
	}
	r, ok := number(b[begin:], end-begin, base)
	if !ok {
		return out, 0
	}
	if end < len(b) && b[end] == ';' {
		end++
	}
	return utf8.AppendRune(out, r), end
}

// percent reads what URLs have, %41, and JavaScript's old %u0041.
func percent(out, b []byte) ([]byte, int) {
	if r, ok := number(b[1:], 2, 16); ok {
		return append(out, byte(r)), 3 //nolint:gosec // of two digits
	}
	if len(b) > 1 && b[1] == 'u' {
		if r, ok := number(b[2:], 4, 16); ok {
			return utf8.AppendRune(out, r), 6
		}
	}
	return out, 0
}

// digit is the value of a digit; 255 for what is none.
func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return 255
}

// number reads the first n bytes as digits.
func number(b []byte, n, base int) (rune, bool) {
	if n == 0 || len(b) < n || slices.ContainsFunc(b[:n], func(c byte) bool { return digit(c) >= base }) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[:n]), base, 31)
	return rune(v), err == nil && v <= utf8.MaxRune //nolint:gosec // 31 bits
}

// view is a text as its reader has it.
type view struct {
	text   []byte
	starts []uint32 // where each byte of text, and its end, is in what was read; nil is the same place
}

// readAll reads some escapings, one after the other; ok is false where there is nothing of the last. It takes
// time that is linear in the text. places says whether the view knows where its bytes were, which takes
// four bytes for each.
func readAll(text []byte, with []escaping, places bool) (v view, ok bool) {
	v.text = text
	for _, e := range with {
		v, ok = v.read(e, places)
	}
	return v, ok
}

func (v view) read(e escaping, places bool) (_ view, ok bool) {
	if bytes.IndexByte(v.text, e.mark) < 0 || len(v.text) >= 1<<32-1 {
		return v, false
	}
	text := make([]byte, 0, len(v.text))
	var starts []uint32
	if places {
		starts = make([]uint32, 0, len(v.text)+1)
	}
	for i := 0; i < len(v.text); {
		plain := bytes.IndexByte(v.text[i:], e.mark)
		if plain < 0 {
			plain = len(v.text) - i
		}
		text = append(text, v.text[i:i+plain]...)
		for k := i; places && k < i+plain; k++ {
			starts = append(starts, v.source(k))
		}
		if i += plain; i == len(v.text) {
			break
		}
		before, n := len(text), 0
		if text, n = e.read(text, v.text[i:]); n == 0 {
			text, n = append(text, e.mark), 1
		} else {
			ok = true
		}
		for k := before; places && k < len(text); k++ {
			starts = append(starts, v.source(i))
		}
		i += n
	}
	if places {
		starts = append(starts, v.source(len(v.text)))
	}
	return view{text, starts}, ok
}

func (v view) source(i int) uint32 {
	if v.starts == nil {
		return uint32(i) //nolint:gosec // see read
	}
	return v.starts[i]
}

// span is where something is in the text that was read, from the first byte of one character to the end of
// another.
type span struct {
	from, to int
	with     []byte
}

func (v view) span(from, to int, with []byte) span {
	end := to
	for end < len(v.text) && v.source(end) == v.source(to-1) { // within what one escape stands for
		end++
	}
	return span{int(v.source(from)), int(v.source(end)), with}
}

// put replaces spans, of those that overlap the one that was found first.
func put(text []byte, spans []span) []byte {
	if len(spans) == 0 {
		return text
	}
	slices.SortStableFunc(spans, func(a, b span) int { return a.from - b.from })
	var out []byte
	at := 0
	for _, s := range spans {
		if s.to <= at {
			continue
		}
		out = append(append(out, text[at:max(at, s.from)]...), s.with...)
		at = s.to
	}
	return append(out, text[at:]...)
}
