package abi

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
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
		case r == 0x2028 || r == 0x2029: // line and paragraph separator
			return '\n'
		case unicode.IsControl(r), r == utf8.RuneError, hidden(r):
			return -1
		}
		return r
	}, s)
	if cut {
		s += "…"
	}
	return s
}

// hidden reports whether a character shows nothing and can hide, reorder or carry
// text: format characters (bidirectional controls, zero-width ones), tags, variation
// selectors, private use, non-characters, fillers, and the others that Unicode has
// ignored by default.
func hidden(r rune) bool {
	switch {
	case r < 0x80:
		return false
	case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), unicode.Is(unicode.Noncharacter_Code_Point, r), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r):
		return true
	case r >= 0xFE00 && r <= 0xFE0F, r >= 0xE0000 && r <= 0xE0FFF, r >= 0x180B && r <= 0x180F: // variation selectors and tags
		return true
	case r == 0x2800: // braille that shows nothing
		return true
	}
	return false
}

// joins reports whether a hidden character is part of ordinary writing: emoji and
// several scripts are written with it.
func joins(r rune) bool { return r == 0x200C || r == 0x200D || r == 0xFE0E || r == 0xFE0F }

// Hides reports whether text has a character that shows nothing and is no part of
// ordinary writing, or a control character.
func Hides(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) || r == 0x2028 || r == 0x2029 || (hidden(r) && !joins(r)) {
			return true
		}
	}
	return false
}

// Escape returns valid JSON with the same value, in which no character is hidden: those
// that [Hides] tells are written as \uXXXX, which people and models can see. raw is
// returned where there is nothing to do.
func Escape(raw []byte) []byte {
	i := firstWide(raw)
	if i < 0 {
		return raw
	}
	var out []byte
	copied := 0
	for i < len(raw) {
		if raw[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(raw[i:])
		if r != utf8.RuneError && ((hidden(r) && !joins(r)) || unicode.IsControl(r) || r == 0x2028 || r == 0x2029) {
			out = append(out, raw[copied:i]...)
			if hi, lo := utf16.EncodeRune(r); hi != unicode.ReplacementChar {
				out = fmt.Appendf(out, "\\u%04x\\u%04x", hi, lo)
			} else {
				out = fmt.Appendf(out, "\\u%04x", r)
			}
			copied = i + n
		}
		i += n
	}
	if copied == 0 {
		return raw
	}
	return append(out, raw[copied:]...)
}

// firstWide returns the place of the first byte beyond ASCII, -1 when there is none.
func firstWide(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:])&0x8080808080808080 != 0 {
			break
		}
	}
	for ; i < len(b); i++ {
		if b[i] >= utf8.RuneSelf {
			return i
		}
	}
	return -1
}

// Line is [Clean] for a place that holds one line.
func Line(s string, limit int) string {
	return strings.Join(strings.Fields(Clean(s, limit)), " ")
}
