package schema

import (
	"encoding/json"
	"errors"
	"fmt"
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

// patternSize is about the number of instructions of a regular expression, found
// without writing its repetitions out. It is 0 for what does not parse.
func patternSize(text string) int {
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0
	}
	return expressionSize(re)
}

// expressionSize is patternSize for a parsed expression: nested repetitions multiply.
func expressionSize(re *syntax.Regexp) int {
	size := 1
	if re.Op == syntax.OpLiteral {
		size = len(re.Rune)
	}
	for _, sub := range re.Sub {
		size += expressionSize(sub)
	}
	// The compiler writes x{2,1000} out a thousand times.
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return size
}

// Size is how big a schema is where that decides what compiling and keeping it takes.
type Size struct {
	Bytes        int // of the text
	Subschemas   int // at most
	Instructions int // of its regular expressions, once their repetitions are written out
}

// SizeOf reads the size of a schema, without compiling it. Text that is no JSON, which
// [Compile] refuses, has bytes alone.
func SizeOf(raw json.RawMessage) Size {
	size := Size{Bytes: len(raw)}
	var doc any
	if len(raw) > MaxSchemaBytes || Check(raw) != nil || json.Unmarshal(raw, &doc) != nil {
		return size
	}
	// Both are upper bounds: they look at every member, wherever it stands in the schema.
	size.Subschemas, size.Instructions = subschemasIn(doc), patternsIn(doc)
	return size
}

// Add returns the size of both together.
func (s Size) Add(other Size) Size {
	return Size{s.Bytes + other.Bytes, s.Subschemas + other.Subschemas, s.Instructions + other.Instructions}
}

// Memory is about what such a schema takes once it is compiled: 3 KB for each subschema
// and 48 bytes for each instruction were measured.
func (s Size) Memory() int64 {
	return 4*int64(s.Bytes) + 3<<10*int64(s.Subschemas) + 48*int64(s.Instructions)
}

// Modest refuses what is above the limits of one schema.
func (s Size) Modest() error {
	switch {
	case s.Subschemas > maxSubschemas:
		return errSubschemas
	case s.Instructions > maxPatternSize:
		return errPatterns
	}
	return nil
}

// subschemasIn counts all that may be a schema: objects and booleans.
func subschemasIn(v any) (n int) {
	switch v := v.(type) {
	case bool:
		return 1
	case []any:
		for _, item := range v {
			n += subschemasIn(item)
		}
	case map[string]any:
		n = 1
		for _, member := range v {
			n += subschemasIn(member)
		}
	}
	return n
}

// modest reports whether compiling a schema stays cheap.
func modest(raw []byte, doc any) error {
	return Size{len(raw), subschemasIn(doc), patternsIn(doc)}.Modest()
}

// patternsIn adds up the sizes of all texts in a schema that may be regular expressions. It looks under every
// member, also where no schema stands (in an enum, say): too much is on the safe side.
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

// bytesForFormat is how many bytes of a text a format reads for a unit of work.
const bytesForFormat = 4

// affordableFormat reports whether checking a format stays cheap: a document may
// bring a regular expression of its own.
func affordableFormat(name, text string) bool {
	return name != "regex" || patternSize(text) <= maxPatternSize
}
