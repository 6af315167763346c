package abi

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes text of a guest fit for people, logs and models to read: valid
// UTF-8, at most limit bytes, without control characters (newline and tab stay)
// and without the invisible ones that hide or reorder text.
func Clean(s string, limit int) string {
	cut := false
	if len(s) > limit {
		s, cut = s[:limit], true
	}
	s = strings.ToValidUTF8(s, "")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), r == utf8.RuneError,
			r >= 0xFE00 && r <= 0xFE0F, r >= 0xE0000 && r <= 0xE0FFF, // variation selectors and tags
			r == 0x115F, r == 0x1160, r == 0x3164, r == 0xFFA0: // fillers that show nothing
			return -1
		}
		return r
	}, s)
	if cut {
		s += "…"
	}
	return s
}

// Line is [Clean] for a place that holds one line.
func Line(s string, limit int) string {
	return strings.Join(strings.Fields(Clean(s, limit)), " ")
}
