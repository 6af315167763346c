package schema

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
)

// Bounds of a schema beyond its size: what its compiler takes grows with the
// square of the first, and with the second times a thousand for a few bytes.
const (
	maxSubschemas  = 10_000
	maxPatternSize = 100_000 // instructions, of all regular expressions together
)

var (
	errSubschemas = fmt.Errorf("more than %d subschemas", maxSubschemas)
	errPatterns   = errors.New("its regular expressions are too big, once their repetitions are written out")
)

// pattern is a regular expression of the kind that the compiler made.
type pattern struct {
	re   *regexp.Regexp
	cost int // of one byte, in units of work
}

// patternCost is how many units of work matching takes for each byte: the time of
// Go's engine grows with the size of the compiled expression.
func patternCost(text string) int { return 1 + patternSize(text)/64 }

// patternSize is about the number of instructions of a regular expression, found
// without writing its repetitions out. It is 0 for what does not parse.
func patternSize(text string) int {
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0
	}
	return expressionSize(re)
}

func expressionSize(re *syntax.Regexp) int {
	size := 1
	if re.Op == syntax.OpLiteral {
		size = len(re.Rune)
	}
	for _, sub := range re.Sub {
		size += expressionSize(sub)
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return size
}

// modest reports whether compiling a schema stays cheap.
func modest(raw []byte, doc any) error {
	if bytes.Count(raw, []byte("{"))+bytes.Count(raw, []byte("true"))+bytes.Count(raw, []byte("false")) > maxSubschemas {
		return errSubschemas
	}
	if patternsIn(doc) > maxPatternSize {
		return errPatterns
	}
	return nil
}

// patternsIn adds up all that may be a regular expression in a schema.
func patternsIn(v any) (size int) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			size += patternsIn(item)
		}
	case map[string]any:
		if text, ok := v["pattern"].(string); ok {
			size += patternSize(text)
		}
		if properties, ok := v["patternProperties"].(map[string]any); ok {
			for text := range properties {
				size += patternSize(text)
			}
		}
		for _, member := range v {
			size += patternsIn(member)
		}
	}
	return size
}

// affordableFormat reports whether checking a format stays cheap: a document may
// bring a regular expression of its own.
func affordableFormat(name, text string) bool {
	return name != "regex" || patternSize(text) <= maxPatternSize
}
