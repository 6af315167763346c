package value

import (
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Decode parses one JSON value. If an object repeats a key, the last value wins, as in
// JavaScript. An unpaired surrogate becomes U+FFFD.
func Decode(raw json.RawMessage) (any, error) {
	d := decoder{in: raw}
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if d.space(); d.at != len(d.in) {
		return nil, errSyntax
	}
	return v, nil
}

type decoder struct {
	in []byte
	at int
}

func (d *decoder) space() {
	for d.at < len(d.in) {
		switch d.in[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte, 0 at the end.
func (d *decoder) peek() byte {
	d.space()
	if d.at < len(d.in) {
		return d.in[d.at]
	}
	return 0
}

func (d *decoder) value(depth int) (any, error) {
	if depth > MaxDepth {
		return nil, errDepth
	}
	switch c := d.peek(); {
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.array(depth)
	case c == '"':
		return d.text()
	case c == '-' || (c >= '0' && c <= '9'):
		return d.number()
	case c == 't':
		return true, d.word("true")
	case c == 'f':
		return false, d.word("false")
	case c == 'n':
		return nil, d.word("null")
	}
	return nil, errSyntax
}

func (d *decoder) word(w string) error {
	if len(d.in)-d.at < len(w) || string(d.in[d.at:d.at+len(w)]) != w {
		return errSyntax
	}
	d.at += len(w)
	return nil
}

func (d *decoder) object(depth int) (any, error) {
	d.at++
	o := &Object{}
	if d.peek() == '}' {
		d.at++
		return o, nil
	}
	for {
		if d.peek() != '"' {
			return nil, errSyntax
		}
		key, err := d.text()
		if err != nil {
			return nil, err
		}
		if d.peek() != ':' {
			return nil, errSyntax
		}
		d.at++
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		o.Set(key, v)
		switch d.peek() {
		case ',':
			d.at++
		case '}':
			d.at++
			return o, nil
		default:
			return nil, errSyntax
		}
	}
}

func (d *decoder) array(depth int) (any, error) {
	d.at++
	list := make([]any, 0, 1) // capacity 1: Same compares arrays by the address of the first element, also empty ones
	if d.peek() == ']' {
		d.at++
		return list, nil
	}
	for {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		switch d.peek() {
		case ',':
			d.at++
		case ']':
			d.at++
			return list, nil
		default:
			return nil, errSyntax
		}
	}
}

func (d *decoder) digits() bool {
	from := d.at
	for d.at < len(d.in) && d.in[d.at] >= '0' && d.in[d.at] <= '9' {
		d.at++
	}
	return d.at > from
}

func (d *decoder) is(chars string) bool {
	for i := range len(chars) {
		if d.at < len(d.in) && d.in[d.at] == chars[i] {
			d.at++
			return true
		}
	}
	return false
}

func (d *decoder) number() (any, error) {
	from := d.at
	d.is("-")
	zero := d.at < len(d.in) && d.in[d.at] == '0'
	start := d.at
	if !d.digits() || (zero && d.at > start+1) {
		return nil, errSyntax
	}
	if d.is(".") && !d.digits() {
		return nil, errSyntax
	}
	if d.is("eE") {
		d.is("+-")
		if !d.digits() {
			return nil, errSyntax
		}
	}
	if d.at-from > maxNumberLen {
		return nil, errNumber
	}
	return Number(d.in[from:d.at]), nil
}

// text reads a quoted text; d.at is at the quote.
func (d *decoder) text() (string, error) {
	d.at++
	from := d.at
	for d.at < len(d.in) {
		switch c := d.in[d.at]; {
		case c == '"':
			s := string(d.in[from:d.at])
			d.at++
			return validText(s), nil
		case c == '\\':
			return d.escaped(from)
		case c < ' ':
			return "", errSyntax
		}
		d.at++
	}
	return "", errSyntax
}

// escaped decodes the rest of a string from its first escape; the string starts at
// from.
func (d *decoder) escaped(from int) (string, error) {
	buf := append(make([]byte, 0, d.at-from+32), d.in[from:d.at]...)
	for d.at < len(d.in) {
		c := d.in[d.at]
		d.at++
		switch {
		case c == '"':
			return validText(string(buf)), nil
		case c < ' ':
			return "", errSyntax
		case c != '\\':
			buf = append(buf, c)
			continue
		}
		if d.at >= len(d.in) {
			return "", errSyntax
		}
		e := d.in[d.at]
		d.at++
		switch e {
		case '"', '\\', '/':
			buf = append(buf, e)
		case 'b':
			buf = append(buf, '\b')
		case 'f':
			buf = append(buf, '\f')
		case 'n':
			buf = append(buf, '\n')
		case 'r':
			buf = append(buf, '\r')
		case 't':
			buf = append(buf, '\t')
		case 'u':
			r, ok := d.unit()
			if !ok {
				return "", errSyntax
			}
			buf = utf8.AppendRune(buf, d.pair(r))
		default:
			return "", errSyntax
		}
	}
	return "", errSyntax
}

func (d *decoder) unit() (rune, bool) {
	if d.at+4 > len(d.in) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(d.in[d.at:d.at+4]), 16, 32)
	if err != nil {
		return 0, false
	}
	d.at += 4
	return rune(n), true
}

// pair joins the first half of a surrogate pair with the second, if it follows.
func (d *decoder) pair(r rune) rune {
	if !utf16.IsSurrogate(r) {
		return r
	}
	if d.at+6 <= len(d.in) && d.in[d.at] == '\\' && d.in[d.at+1] == 'u' {
		back := d.at
		d.at += 2
		if low, ok := d.unit(); ok {
			if joined := utf16.DecodeRune(r, low); joined != utf8.RuneError {
				return joined
			}
		}
		d.at = back
	}
	return utf8.RuneError
}
