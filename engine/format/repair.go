package format

import (
	"bytes"
	"encoding/json"
	"slices"
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

// wanted is the kind of token that the grammar allows next.
type wanted int

const (
	wantValue wanted = iota
	wantItem         // an array's value, or its end
	wantKey          // an object's key, or its end
	wantColon
	wantNext // a comma, or the end
	wantNothing
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

// run reads the value at r.at, after space. The outcome is in r.value.
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
	for r.want != wantNothing {
		r.step = step{r.at, len(r.out), r.kept}
		r.space()
		if r.at >= len(r.text) {
			return cut
		}
		if o := r.token(r.text[r.at]); o != whole {
			return o
		}
	}
	return whole
}

// token reads the token at r.at, which starts with c.
func (r *repairer) token(c byte) outcome {
	switch r.want {
	case wantColon:
		if c != ':' {
			return malformed
		}
		r.at++
		r.out, r.read, r.want = append(r.out, ':'), true, wantValue
		return whole
	case wantNext:
		switch c {
		case ',':
			r.at++
			r.want = r.inside()
			return whole
		case r.closing():
			return r.pop()
		}
		return malformed
	case wantKey, wantItem:
		if c == r.closing() { // also after a trailing comma
			return r.pop()
		}
		if last := r.out[len(r.out)-1]; last != '{' && last != '[' {
			r.out = append(r.out, ',')
		}
		if r.want == wantKey {
			o := r.key()
			if o == whole {
				r.want = wantColon
			}
			return o
		}
	}
	if c == '{' || c == '[' {
		return r.push(c)
	}
	o := r.scalar()
	if o == whole {
		r.finish()
	}
	return o
}

// finish notes that a value is there.
func (r *repairer) finish() {
	r.kept, r.read, r.want = len(r.out), true, wantNext
	if len(r.stack) == 0 {
		r.want = wantNothing
	}
}

// value returns a copy of what was read, completed; nil when there is nothing.
func (r *repairer) value() json.RawMessage {
	if r.kept == 0 {
		return nil
	}
	out := append(make([]byte, 0, r.kept+len(r.stack)), r.out[:r.kept]...)
	for _, closing := range slices.Backward(r.stack) {
		out = append(out, closing)
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

func (r *repairer) push(open byte) outcome {
	if len(r.stack) == schema.MaxDepth {
		r.read = true
		return malformed
	}
	r.at++
	r.out, r.stack = append(r.out, open), append(r.stack, open+2) // '[' and ']', '{' and '}' are two apart
	r.kept, r.want = len(r.out), r.inside()
	return whole
}

func (r *repairer) pop() outcome {
	r.at++
	r.out, r.stack = append(r.out, r.closing()), r.stack[:len(r.stack)-1]
	r.finish()
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
