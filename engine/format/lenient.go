package format

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// reader reads one lenient JSON value (JSON5's common liberties, and an end that
// is cut off) and writes it as strict JSON, in one pass.
type reader struct {
	text  string
	at    int
	depth int
	out   []byte
}

// value reads a value. It reports false when there is none to be read; at the end
// of the text, [reader.cut] tells a missing value from a wrong one.
func (r *reader) value() bool {
	r.space()
	if r.cut() {
		return false
	}
	switch c := r.text[r.at]; {
	case c == '{':
		return r.nested('}', r.member)
	case c == '[':
		return r.nested(']', r.value)
	case c == '"' || c == '\'':
		return r.str(true)
	case c == '-' || c == '+' || c == '.' || c >= '0' && c <= '9':
		return r.number()
	}
	return r.literal()
}

func (r *reader) cut() bool { return r.at >= len(r.text) }

// nested reads the items of an object or an array up to its closing bracket. An
// item that the end of the text cut off is dropped.
func (r *reader) nested(closing byte, item func() bool) bool {
	if r.depth++; r.depth > schema.MaxDepth {
		return false
	}
	r.out = append(r.out, r.text[r.at])
	r.at++
	for first := true; ; first = false {
		r.space()
		if r.cut() {
			break
		}
		if r.text[r.at] == closing { // also after a trailing comma
			r.at++
			break
		}
		mark := len(r.out)
		if !first {
			r.out = append(r.out, ',')
		}
		if !item() {
			if !r.cut() {
				return false
			}
			r.out = r.out[:mark]
			break
		}
		r.space()
		if r.cut() {
			break
		}
		if r.text[r.at] == ',' {
			r.at++
		} else if r.text[r.at] != closing {
			return false
		}
	}
	r.depth--
	r.out = append(r.out, closing)
	return true
}

func (r *reader) member() bool {
	if !r.key() {
		return false
	}
	r.space()
	if r.cut() || r.text[r.at] != ':' {
		return false
	}
	r.at++
	r.out = append(r.out, ':')
	return r.value()
}

func (r *reader) key() bool {
	if c := r.text[r.at]; c == '"' || c == '\'' {
		return r.str(false)
	}
	rest := r.text[r.at:]
	end := strings.IndexFunc(rest, func(c rune) bool {
		return c != '_' && c != '$' && c != '-' && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	})
	if end < 0 {
		r.at = len(r.text)
		return false
	}
	if end == 0 {
		return false
	}
	r.out = append(append(append(r.out, '"'), rest[:end]...), '"')
	r.at += end
	return true
}

// str reads a string in either quote. One that is cut off is kept as far as it
// goes when partial is allowed.
func (r *reader) str(partial bool) bool {
	quote := r.text[r.at]
	r.at++
	r.out = append(r.out, '"')
	for !r.cut() {
		c := r.text[r.at]
		switch {
		case c == quote:
			r.at++
			r.out = append(r.out, '"')
			return true
		case c == '\\':
			if !r.escape() {
				if !r.cut() {
					return false
				}
				r.out = append(r.out, '"')
				return partial
			}
			continue
		case c == '"':
			r.out = append(r.out, '\\', '"')
		case c < 0x20:
			r.out = fmt.Appendf(r.out, `\u%04x`, c)
		default:
			r.out = append(r.out, c)
		}
		r.at++
	}
	r.out = append(r.out, '"')
	return partial
}

// escape reads a backslash and what it escapes; at a cut it consumes the rest.
func (r *reader) escape() bool {
	rest := r.text[r.at+1:]
	if rest == "" {
		r.at = len(r.text)
		return false
	}
	size := 2
	switch c := rest[0]; c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		r.out = append(r.out, '\\', c)
	case 'u':
		return r.hexEscape(rest[1:], 4)
	case 'x':
		return r.hexEscape(rest[1:], 2)
	case 'v':
		r.out = append(r.out, `\u000b`...)
	case '0':
		r.out = append(r.out, `\u0000`...)
	case '\n': // JSON5's line continuation
	default:
		char, width := utf8.DecodeRuneInString(rest)
		if char < 0x20 {
			return false
		}
		r.out = append(r.out, rest[:width]...)
		size = 1 + width
	}
	r.at += size
	return true
}

func (r *reader) hexEscape(rest string, digits int) bool {
	if len(rest) < digits {
		r.at = len(r.text)
		return false
	}
	for _, c := range []byte(rest[:digits]) {
		if !isHex(c) {
			return false
		}
	}
	r.out = append(append(r.out, `\u`...), "00"[:4-digits]...)
	r.out = append(r.out, rest[:digits]...)
	r.at += 2 + digits
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// number reads a number in JSON's or JSON5's form. At a cut it is dropped, since
// more digits may have followed.
func (r *reader) number() bool {
	rest := r.text[r.at:]
	end := strings.IndexFunc(rest, func(c rune) bool {
		return c > 0x7f || c != '+' && c != '-' && c != '.' && !isHex(byte(c)) && c != 'x' && c != 'X'
	})
	if end < 0 {
		r.at = len(r.text)
		return false
	}
	strict, ok := strictNumber(rest[:end])
	if !ok {
		return false
	}
	r.at += end
	r.out = append(r.out, strict...)
	return true
}

func strictNumber(s string) (string, bool) {
	s, negative := strings.CutPrefix(strings.TrimPrefix(s, "+"), "-")
	if len(s) > 2 && len(s) <= 34 && (s[:2] == "0x" || s[:2] == "0X") {
		n, ok := new(big.Int).SetString(s[2:], 16)
		if !ok {
			return "", false
		}
		s = n.String()
	}
	if strings.HasPrefix(s, ".") {
		s = "0" + s
	}
	s = strings.TrimSuffix(s, ".")
	if negative {
		s = "-" + s
	}
	return s, s != "" && json.Valid([]byte(s))
}

// literal reads true, false or null, or the beginning of one at a cut.
func (r *reader) literal() bool {
	rest := r.text[r.at:]
	for _, word := range []string{"true", "false", "null"} {
		if strings.HasPrefix(rest, word) {
			r.at += len(word)
			r.out = append(r.out, word...)
			return true
		}
		if strings.HasPrefix(word, rest) {
			r.at = len(r.text)
			r.out = append(r.out, word...)
			return true
		}
	}
	return false
}

// space skips white space and comments.
func (r *reader) space() {
	for !r.cut() {
		c, size := utf8.DecodeRuneInString(r.text[r.at:])
		switch rest := r.text[r.at:]; {
		case unicode.IsSpace(c) || c == '\uFEFF':
			r.at += size
		case strings.HasPrefix(rest, "//"):
			r.skipPast(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			r.skipPast(rest, "*/")
		default:
			return
		}
	}
}

func (r *reader) skipPast(rest, mark string) {
	end := strings.Index(rest[2:], mark)
	if end < 0 {
		r.at = len(r.text)
		return
	}
	r.at += 2 + end + len(mark)
}
