package value

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// maxIndent is JavaScript's bound on the indentation of JSON.
const maxIndent = 10

// Encode writes v as JSON, on one line.
func Encode(v any) json.RawMessage { return AppendJSON(nil, v, 0) }

// AppendJSON appends v as JSON.stringify formats it, with indent spaces for each level;
// 0 keeps it on one line. Numbers keep their digits. Undefined is left out of objects
// and null elsewhere.
func AppendJSON(b []byte, v any, indent int) []byte {
	return appendValue(b, v, min(max(indent, 0), maxIndent), 0)
}

func appendValue(b []byte, v any, indent, level int) []byte {
	switch v := v.(type) {
	case bool:
		if v {
			return append(b, "true"...)
		}
		return append(b, "false"...)
	case Number:
		return append(b, v...)
	case string:
		return appendText(b, v)
	case []any:
		if len(v) == 0 {
			return append(b, "[]"...)
		}
		b = append(b, '[')
		for i, inner := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(newline(b, indent, level+1), inner, indent, level+1)
		}
		return append(newline(b, indent, level), ']')
	case *Object:
		return appendObject(b, v, indent, level)
	case interface{ String() string }:
		return appendText(b, v.String())
	}
	return append(b, "null"...)
}

func appendObject(b []byte, o *Object, indent, level int) []byte {
	b = append(b, '{')
	first := true
	for i := range o.Len() {
		key, inner := o.At(i)
		if _, none := inner.(Undefined); none {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendText(newline(b, indent, level+1), key), ':')
		if indent > 0 {
			b = append(b, ' ')
		}
		b = appendValue(b, inner, indent, level+1)
	}
	if !first {
		b = newline(b, indent, level)
	}
	return append(b, '}')
}

func newline(b []byte, indent, level int) []byte {
	if indent == 0 {
		return b
	}
	return append(append(b, '\n'), strings.Repeat(" ", indent*level)...)
}

const hex = "0123456789abcdef"

func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			_, size := utf8.DecodeRuneInString(s[i:])
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(b, s[from:]...), '"')
}
