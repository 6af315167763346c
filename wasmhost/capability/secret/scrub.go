package secret

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strings"
)

// Scrubber takes secrets out of text. The zero value takes out nothing.
type Scrubber struct {
	needles []needle // longest first
}

type needle struct {
	form []byte
	fold bool // letter case does not matter, as in percent-encoding and hex
	with []byte
	// read is also sought in what escapes stand for: the value, and what is made of its bytes as a whole.
	read bool
}

// NewScrubber knows each value in the forms in which a server may echo it.
func NewScrubber(values map[string]Value) *Scrubber {
	s := &Scrubber{}
	for name, v := range values {
		with := []byte("[secret:" + name + "]")
		for form, how := range forms(v.Reveal()) {
			s.needles = append(s.needles, needle{[]byte(form), how.fold, with, how.read})
		}
	}
	slices.SortFunc(s.needles, func(a, b needle) int {
		return cmp.Or(cmp.Compare(len(b.form), len(a.form)), bytes.Compare(a.form, b.form))
	})
	return s
}

// spelling says how a form is sought.
type spelling struct{ fold, read bool }

// forms gives the spellings of a value as a whole. Those of its single characters are read, see [escaping]; the
// ones that are here besides are found with less work, or can't be read back.
func forms(text string) map[string]spelling {
	all := map[string]spelling{}
	if text == "" {
		return all
	}
	put := func(form string, how spelling) {
		if len(form) >= MinBytes || form == text {
			all[form] = spelling{all[form].fold || how.fold, all[form].read || how.read}
		}
	}
	add := func(form string, fold bool) { put(form, spelling{fold, false}) }
	put(hex.EncodeToString([]byte(text)), spelling{true, true})
	add(url.QueryEscape(text), true)
	add(url.PathEscape(text), true)
	add(percentAll(text), true)
	add(html.EscapeString(text), true)
	for _, escape := range []bool{true, false} {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(escape)
		if enc.Encode(text) == nil {
			quoted := strings.TrimSuffix(b.String(), "\n")
			add(quoted[1:len(quoted)-1], true)
			add(strings.ReplaceAll(quoted[1:len(quoted)-1], "/", `\/`), true)
		}
	}
	// In base64 a text looks different at each of the three offsets that it can have
	// in what surrounds it; the characters that it shares with its neighbours are
	// left out.
	for offset := range 3 {
		padded := append(make([]byte, offset), text...)
		first := (offset*8 + 5) / 6
		last := len(padded) * 8 / 6
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			inner := e.EncodeToString(padded)[first:last]
			put(inner, spelling{false, true})
			add(url.QueryEscape(inner), true)
		}
	}
	put(text, spelling{true, true}) // also where a server changes the case
	return all
}

// percentAll encodes every byte.
func percentAll(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteByte('%')
		b.WriteString(hex.EncodeToString([]byte{text[i]}))
	}
	return b.String()
}

// Scrub returns b with every secret replaced by its name. b is not changed; it is
// returned when there is nothing to replace.
func (s *Scrubber) Scrub(b []byte) []byte {
	b, _ = s.Each(b, func(work func()) error { work(); return nil }) // which never fails
	return b
}

// maxStep is how many bytes are searched for one spelling of a secret, or for several when there
// are fewer bytes, between two calls of turn.
const maxStep = 1 << 20

// Each is [Scrubber.Scrub] in steps, for long texts: turn runs each of them, and may wait before.
// Its error ends the work.
func (s *Scrubber) Each(b []byte, turn func(work func()) error) ([]byte, error) {
	b, err := s.escaped(b, turn)
	if err != nil {
		return nil, err
	}
	hay := folded{text: b}
	for next := 0; next < len(s.needles); {
		err := turn(func() {
			for done := 0; next < len(s.needles) && done <= maxStep; next++ {
				hay.replace(&s.needles[next])
				done += max(1, len(hay.text))
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return hay.text, nil
}

// escaped takes out secrets of which some characters are written otherwise. It goes before the search for
// spellings, which would leave the rest of a secret that another one begins.
func (s *Scrubber) escaped(b []byte, turn func(work func()) error) ([]byte, error) {
	if len(s.needles) == 0 {
		return b, nil
	}
	for _, first := range escapings {
		if bytes.IndexByte(b, first.mark) < 0 {
			continue
		}
		once, err := s.replaceRead(&b, []escaping{first}, turn)
		for _, second := range escapings {
			if err == nil && bytes.IndexByte(once, second.mark) >= 0 {
				_, err = s.replaceRead(&b, []escaping{first, second}, turn)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// replaceRead replaces in b what it reads as a needle, and returns as what it was read. What it holds to know
// places, which is several times as long as b, it holds within a turn alone.
func (s *Scrubber) replaceRead(b *[]byte, chain []escaping, turn func(work func()) error) (as []byte, err error) {
	var hay folded
	ok := false
	err = turn(func() {
		var v view
		v, ok = readAll(*b, chain, false)
		hay.text = v.text
	})
	var found []*needle
	for next := 0; err == nil && ok && next < len(s.needles); {
		err = turn(func() {
			for done := 0; next < len(s.needles) && done <= maxStep; next++ {
				if n := &s.needles[next]; n.read {
					if hay.has(n) {
						found = append(found, n)
					}
					done += max(1, len(hay.text))
				}
			}
		})
	}
	for next := 0; err == nil && next < len(found); {
		err = turn(func() {
			v, _ := readAll(*b, chain, true)
			in := folded{text: v.text}
			var spans []span
			for done := 0; next < len(found) && done <= maxStep; next++ {
				spans = in.find(v, found[next], spans)
				done += max(1, len(v.text))
			}
			*b = put(*b, spans)
		})
	}
	return hay.text, err
}

// folded is a text and, once it was asked for, the same in lower case.
type folded struct{ text, low []byte }

func (f *folded) lower() []byte {
	if f.low == nil {
		f.low = lower(f.text)
	}
	return f.low
}

func (f *folded) has(n *needle) bool {
	if n.fold {
		return bytes.Contains(f.lower(), lower(n.form))
	}
	return bytes.Contains(f.text, n.form)
}

// find appends where a needle is.
func (f *folded) find(in view, n *needle, spans []span) []span {
	hay, form := in.text, n.form
	if n.fold {
		hay, form = f.lower(), lower(form)
	}
	for at := 0; ; {
		i := bytes.Index(hay[at:], form)
		if i < 0 {
			return spans
		}
		spans = append(spans, in.span(at+i, at+i+len(form), n.with))
		at += i + len(form)
	}
}

// ScrubString is [Scrubber.Scrub] for a string.
func (s *Scrubber) ScrubString(text string) string {
	if len(s.needles) == 0 {
		return text
	}
	return string(s.Scrub([]byte(text)))
}

// replace puts a needle's name where one of its spellings is.
func (f *folded) replace(n *needle) {
	hay := f.text
	if len(hay) < len(n.form) {
		return
	}
	form := n.form
	if n.fold {
		hay, form = f.lower(), lower(form)
	}
	if !bytes.Contains(hay, form) {
		return
	}
	var out []byte
	text := f.text
	for {
		i := bytes.Index(hay, form)
		if i < 0 {
			f.text, f.low = append(out, text...), nil
			return
		}
		out = append(append(out, text[:i]...), n.with...)
		text, hay = text[i+len(form):], hay[i+len(form):]
	}
}

// lower folds ASCII letters and nothing else, so that offsets stay.
func lower(b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return out
}
