package format

import (
	"encoding/json"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"
)

// key reads a string or an identifier. One that is cut off is not kept.
func (r *repairer) key() outcome {
	if c := r.text[r.at]; c == '"' || c == '\'' {
		return r.str()
	}
	rest := r.text[r.at:]
	end := strings.IndexFunc(rest, func(c rune) bool {
		return c != '_' && c != '$' && c != '-' && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	})
	switch {
	case end == 0:
		return malformed
	case end < 0:
		return cut
	}
	r.out = append(append(append(r.out, '"'), rest[:end]...), '"')
	r.at += end
	return whole
}

// scalar reads a string, a number or a literal.
func (r *repairer) scalar() outcome {
	if c := r.text[r.at]; c == '"' || c == '\'' {
		o := r.str()
		if o == cut {
			r.out = append(r.out, '"')
			r.kept = len(r.out)
		}
		return o
	}
	rest := r.text[r.at:]
	end := 0
	for end < len(rest) && isToken(rest[end]) {
		end++
	}
	token := rest[:end]
	if token == "" {
		return malformed
	}
	if c := token[0]; c <= '9' { // '+', '-', '.' and digits
		return r.number(token, end == len(rest))
	}
	for _, word := range []string{"true", "false", "null"} {
		switch {
		case end == len(rest) && strings.HasPrefix(word, token): // nothing else starts like this
			r.out = append(r.out, word...)
			r.kept = len(r.out)
			return cut
		case token == word:
			r.out = append(r.out, word...)
			r.at += end
			return whole
		}
	}
	return malformed
}

func isToken(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '+' || c == '-' || c == '.' || c == '_' || c == '$'
}

// number writes a number. One at the end of the text is not final, since digits may
// follow, and is not kept.
func (r *repairer) number(token string, last bool) outcome {
	if last {
		return cut
	}
	strict, ok := strictNumber(token)
	if !ok {
		return malformed
	}
	r.at += len(token)
	r.out = append(r.out, strict...)
	return whole
}

// maxHex bounds the digits of a hexadecimal number, whose conversion is not linear.
const maxHex = 32

// strictNumber turns a number of JSON5 into one of JSON with the same digits.
func strictNumber(s string) (string, bool) {
	if json.Valid([]byte(s)) {
		return s, s[0] == '-' || s[0] >= '0' && s[0] <= '9'
	}
	negative := s[0] == '-'
	if negative || s[0] == '+' {
		s = s[1:]
	}
	if len(s) > 2 && len(s) <= maxHex+2 && s[0] == '0' && s[1]|0x20 == 'x' && isHex(s[2:]) {
		n, _ := new(big.Int).SetString(s[2:], 16)
		s = n.String()
	}
	if strings.HasPrefix(s, ".") {
		s = "0" + s
		if len(s) == 2 {
			return "", false
		}
	}
	if dot := strings.IndexByte(s, '.'); dot > 0 && (dot == len(s)-1 || s[dot+1]|0x20 == 'e') {
		s = s[:dot] + s[dot+1:]
	}
	if s == "" || s[0] < '0' || s[0] > '9' {
		return "", false
	}
	if negative {
		s = "-" + s
	}
	return s, json.Valid([]byte(s))
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

// str reads a string in either quote. At a cut it leaves in out what is final of it,
// without the closing quote.
func (r *repairer) str() outcome {
	quote := r.text[r.at]
	r.at++
	r.out = append(r.out, '"')
	start, half := len(r.out), -1 // half is where an escape stands that waits for its second half
	for r.at < len(r.text) {
		plain := r.at
		for r.at < len(r.text) && r.text[r.at] != quote && r.text[r.at] != '\\' && r.text[r.at] != '"' && r.text[r.at] >= 0x20 {
			r.at++
		}
		r.out = append(r.out, r.text[plain:r.at]...)
		if r.at == len(r.text) {
			break
		}
		switch c := r.text[r.at]; {
		case c == quote:
			r.at++
			r.out = append(r.out, '"')
			return whole
		case c == '"':
			r.at++
			r.out = append(r.out, '\\', '"')
		case c < 0x20:
			return malformed
		default:
			before := len(r.out)
			switch o := r.escape(); {
			case o == malformed:
				return malformed
			case o == cut:
				r.at = len(r.text)
				r.endOfCut(start, half)
				return cut
			case isHighSurrogate(r.out[before:]):
				half = before
			}
		}
	}
	r.endOfCut(start, half)
	return cut
}

// endOfCut takes back what may be half a character.
func (r *repairer) endOfCut(start, half int) {
	if half >= 0 && len(r.out) == half+len(`\uD800`) {
		r.out = r.out[:half]
		return
	}
	body := r.out[start:]
	for i := 1; i <= min(utf8.UTFMax-1, len(body)); i++ {
		if c := body[len(body)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(body[len(body)-i:]) {
				r.out = r.out[:len(r.out)-i]
			}
			return
		}
	}
}

func isHighSurrogate(escape []byte) bool {
	return len(escape) == 6 && escape[1] == 'u' && escape[2]|0x20 == 'd' && strings.IndexByte("89abAB", escape[3]) >= 0
}

// escape reads a backslash and what it escapes.
func (r *repairer) escape() outcome {
	rest := r.text[r.at+1:]
	if !utf8.FullRuneInString(rest) {
		return cut
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
	case '\r':
		if strings.HasPrefix(rest, "\r\n") {
			size++
		}
	default:
		char, width := utf8.DecodeRuneInString(rest)
		if char < 0x20 {
			return malformed
		}
		if char != '\u2028' && char != '\u2029' {
			r.out = append(r.out, rest[:width]...)
		}
		size = 1 + width
	}
	r.at += size
	return whole
}

func (r *repairer) hexEscape(rest string, digits int) outcome {
	have := rest[:min(digits, len(rest))]
	if !isHex(have) {
		return malformed
	}
	if len(have) < digits {
		return cut
	}
	r.out = append(append(append(r.out, `\u`...), "00"[:4-digits]...), have...)
	r.at += 2 + digits
	return whole
}
