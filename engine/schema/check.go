package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Errors of [Check].
var (
	ErrEmpty   = errors.New("want a JSON value, got nothing")
	ErrUTF8    = errors.New("not valid UTF-8")
	ErrSyntax  = errors.New("not valid JSON")
	ErrTooDeep = fmt.Errorf("nested deeper than %d levels", MaxDepth)
)

// Check reports whether raw is one JSON value in valid UTF-8, nested at most
// [MaxDepth] deep. encoding/json alone would replace invalid UTF-8 in silence.
func Check(raw json.RawMessage) error {
	if len(raw) == 0 {
		return ErrEmpty
	}
	if !utf8.Valid(raw) {
		return ErrUTF8
	}
	if tooDeep(raw) {
		return ErrTooDeep
	}
	if !json.Valid(raw) {
		return ErrSyntax
	}
	return nil
}

// tooDeep counts brackets outside strings; on broken JSON its answer may be
// either, and the syntax check decides.
func tooDeep(raw []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if inString {
			switch c {
			case '\\':
				i++
			case '"':
				inString = false
			}
			continue
		}
		switch c {
		case '"':
			inString = true
		case '{', '[':
			if depth++; depth > MaxDepth {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}
