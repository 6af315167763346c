package format

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// outcome is how the reading of a value ended.
type outcome int

const (
	whole     outcome = iota // the value is there and final
	cut                      // the text ended first
	malformed                // at repairer.at stands what can't stand there
)

// wanted is what the grammar allows next.
type wanted int

const (
	wantValue wanted = iota
	wantItem         // an array's value, or its end
	wantKey          // an object's key, or its end
	wantColon
	wantNext // a comma, or the end
)

// repairer reads one lenient JSON value (JSON with JSON5's liberties) and writes it
// as strict JSON, in one pass over the text with a stack of what is open.
//
// At any time out[:kept] with the stack's brackets behind it is valid JSON and holds
// nothing that the text does not say: that is what a cut text is completed to, and
// what a malformed one is taken back to.
type repairer struct {
	text  string
	at    int
	out   []byte
	stack []byte // the closing brackets of what is open, innermost last
	kept  int
	read  bool // a key or a value was read to its end
	want  wanted
	step  step
}

// step is where a repairer was before the token that the end of the text cut off.
type step struct{ at, out, kept int }

// run reads the value at r.at, after space. Whatever it comes to, r.value tells it.
func (r *repairer) run() outcome {
	r.out, r.stack, r.kept, r.read, r.want = r.out[:0], r.stack[:0], 0, false, wantValue
	return r.proceed()
}

// resume goes on after a cut, now that the text has grown.
func (r *repairer) resume(text string) outcome {
	r.text, r.at, r.out, r.kept = text, r.step.at, r.out[:r.step.out], r.step.kept
	return r.proceed()
}

func (r *repairer) proceed() outcome {
	for {
		r.step = step{r.at, len(r.out), r.kept}
		r.space()
		if r.at >= len(r.text) {
			return cut
		}
		o := whole
		switch r.want {
		case wantColon:
			if r.text[r.at] != ':' {
				return malformed
			}
			r.at++
			r.out, r.read, r.want = append(r.out, ':'), true, wantValue
			continue
		case wantNext:
			if r.text[r.at] == ',' {
				r.at++
				r.want = r.inside()
				continue
			}
			if r.text[r.at] != r.closing() {
				return malformed
			}
			r.pop()
		case wantKey, wantItem:
			if r.text[r.at] == r.closing() { // also after a trailing comma
				r.pop()
				break
			}
			if last := r.out[len(r.out)-1]; last != '{' && last != '[' {
				r.out = append(r.out, ',')
			}
			if r.want == wantKey {
				if o = r.key(); o != whole {
					return o
				}
				r.want = wantColon
				continue
			}
			fallthrough
		default:
			if c := r.text[r.at]; c == '{' || c == '[' {
				if len(r.stack) == schema.MaxDepth {
					r.read = true
					return malformed
				}
				r.push(c)
				r.want = r.inside()
				continue
			}
			if o = r.scalar(); o != whole {
				return o
			}
		}
		r.kept, r.read = len(r.out), true
		if len(r.stack) == 0 {
			return whole
		}
		r.want = wantNext
	}
}

// value returns a copy of what was read, completed; nil when there is nothing.
func (r *repairer) value() json.RawMessage {
	if r.kept == 0 {
		return nil
	}
	out := append(make([]byte, 0, r.kept+len(r.stack)), r.out[:r.kept]...)
	for i := len(r.stack) - 1; i >= 0; i-- {
		out = append(out, r.stack[i])
	}
	if !utf8.Valid(out) {
		out = bytes.ToValidUTF8(out, []byte("\uFFFD"))
	}
	return out
}

func (r *repairer) closing() byte { return r.stack[len(r.stack)-1] }

func (r *repairer) inside() wanted {
	if r.closing() == '}' {
		return wantKey
	}
	return wantItem
}

func (r *repairer) push(open byte) {
	r.at++
	r.out, r.stack = append(r.out, open), append(r.stack, open+2) // '[' and ']', '{' and '}' are two apart
	r.kept = len(r.out)
}

func (r *repairer) pop() {
	r.at++
	r.out, r.stack = append(r.out, r.closing()), r.stack[:len(r.stack)-1]
}

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

// space skips white space (a non-breaking one too) and comments. One that the end of
// the text cuts off reaches to there.
func (r *repairer) space() {
	for r.at < len(r.text) {
		rest := r.text[r.at:]
		switch c := rest[0]; {
		case c == ' ' || c == '\n' || c == '\t' || c == '\r':
			r.at++
		case c == '/':
			size := comment(rest)
			if size == 0 {
				return
			}
			r.at += size
		case c < 0x20 || c >= utf8.RuneSelf:
			char, size := utf8.DecodeRuneInString(rest)
			switch {
			case unicode.IsSpace(char) || char == '\uFEFF':
				r.at += size
			case !utf8.FullRuneInString(rest):
				r.at = len(r.text)
			default:
				return
			}
		default:
			return
		}
	}
}

// comment returns how long the comment is that rest starts with, 0 when it is none.
func comment(rest string) int {
	end := "\n"
	switch {
	case len(rest) == 1:
		return 1
	case rest[1] == '*':
		end = "*/"
	case rest[1] != '/':
		return 0
	}
	at := strings.Index(rest[2:], end)
	if at < 0 {
		return len(rest)
	}
	return 2 + at + len(end)
}

// balanced returns where the value that starts at from ends by its brackets alone,
// or, with from inside a list, where the next comma or closing bracket of that list
// stands. It serves to get past a value that can't be read.
func balanced(text string, from int, inList bool) (int, bool) {
	depth, quoted := 0, false
	for i := from; i < len(text); i++ {
		c := text[i]
		if quoted {
			switch c {
			case '\\':
				i++
			case '"':
				quoted = false
			}
			continue
		}
		switch c {
		case '"':
			quoted = true
		case '{', '[':
			depth++
		case ',':
			if inList && depth == 0 {
				return i, true
			}
		case '}', ']':
			if inList && depth == 0 {
				return i, true
			}
			if depth--; depth == 0 && !inList {
				return i + 1, true
			}
		}
	}
	return len(text), false
}
