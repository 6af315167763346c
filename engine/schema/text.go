package schema

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// unescape appends the characters of a well-formed string token, given without its quotes: the reader has
// checked all escapes, so none can be cut short. Like encoding/json it reads half a surrogate pair as U+FFFD.
func unescape(dst, s []byte) []byte {
	for i := 0; i < len(s); {
		// Text between two escapes is copied at once.
		if s[i] != '\\' {
			n := bytes.IndexByte(s[i:], '\\')
			if n < 0 {
				return append(dst, s[i:]...)
			}
			dst = append(dst, s[i:i+n]...)
			i += n
			continue
		}
		switch c := s[i+1]; c {
		case 'u': // a code point, or one half of a surrogate pair whose other half follows
			c, _ := hex4(s[i:])
			i += 6
			if utf16.IsSurrogate(c) {
				low, _ := hex4(s[i:])
				if c = utf16.DecodeRune(c, low); c != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, c)
			continue
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		default:
			dst = append(dst, c)
		}
		i += 2
	}
	return dst
}

// hex4 reads the escape \uXXXX at the start of b.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	// A digit's value lies in its byte; c|0x20 makes an upper-case letter lower-case.
	var n rune
	for _, c := range b[2:6] {
		switch {
		case c-'0' < 10:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		n = n<<4 | rune(c)
	}
	return n, true
}

// canonical appends the canonical form of a JSON value: values that are equal by JSON Schema (1 and 1.0,
// objects in any order) give equal bytes, others different ones. raw is a well-formed
// value without space around it. Examples:
//
//	1.0, 1       1e1               "a\u0062"            "2:ab
//	null         null              [1, "a"]            [1e1,"1:a,]
//	{"b":2,"a":1}                                      {"1:a1e1,"1:b2e1,}
//
// Numbers and scalars are formed from their text; arrays and objects are decoded first, because
// their members have to be sorted.
func canonical(dst, raw []byte) []byte {
	switch c := raw[0]; {
	case c == '"':
		inner := raw[1 : len(raw)-1]
		if bytes.IndexByte(inner, '\\') >= 0 {
			inner = unescape(nil, inner)
		}
		return canonicalText(dst, string(inner))
	case c == '-' || c-'0' < 10:
		return literal{text: raw}.parse().append(dst)
	case c == '{' || c == '[':
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		var v any
		if decoder.Decode(&v) != nil { // the caller has read it already
			return append(dst, raw...)
		}
		return canonicalValue(dst, v)
	}
	return append(dst, raw...)
}

// canonicalValue is canonical for a value that is built already.
func canonicalValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case string:
		return canonicalText(dst, v)
	case json.Number:
		return literal{text: []byte(v)}.parse().append(dst)
	case []any:
		dst = append(dst, '[')
		for _, item := range v {
			dst = append(canonicalValue(dst, item), ',')
		}
		return append(dst, ']')
	case map[string]any:
		// Sorted by bytes: any order would do, as long as it is always the same.
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		dst = append(dst, '{')
		for _, name := range names {
			dst = append(canonicalValue(canonicalText(dst, name), v[name]), ',')
		}
		return append(dst, '}')
	}
	return dst
}

// canonicalText writes a string as "length:bytes. It needs no escapes, because the length says where it ends.
func canonicalText(dst []byte, s string) []byte {
	dst = strconv.AppendInt(append(dst, '"'), int64(len(s)), 10)
	return append(append(dst, ':'), s...)
}
