package script

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// generated are places in the code that was made of a script, as the engine writes them: "<script>:3:10", from 1.
var generated = regexp.MustCompile(regexp.QuoteMeta(scriptFile) + `:(\d{1,9}):(\d{1,9})`)

// Locate returns text with the places of the code that the engine evaluates turned into those of the author's file:
// "tool.ts:5:3".
func (s *Script) Locate(text string) string {
	if !strings.Contains(text, scriptFile) {
		return text
	}
	return generated.ReplaceAllStringFunc(text, func(place string) string {
		m := generated.FindStringSubmatch(place)
		line, _ := strconv.Atoi(m[1]) // digits, by the pattern
		column, _ := strconv.Atoi(m[2])
		if line, column, ok := original(s.mappings, line-1, column-1); ok {
			return fmt.Sprintf("%s:%d:%d", s.file, line+1, column+1)
		}
		return s.file
	})
}

// original finds where a place of the generated code comes from, all from 0: the last mapping of its line that
// is not behind it. The mappings are those of a source map of version 3 with one source: for each line fields of
// numbers that count on from the field before, but for the column of the generated code, which starts with its line.
func original(mappings string, line, column int) (originalLine, originalColumn int, ok bool) {
	l, c, n := 0, 0, 0
	for fields := range strings.SplitSeq(mappings, ";") {
		generated := 0
		for field := range strings.SplitSeq(fields, ",") {
			numbers, good := vlq(field)
			if !good || len(numbers) == 0 {
				continue
			}
			if generated += numbers[0]; n == line && generated > column {
				return originalLine, originalColumn, ok
			}
			if len(numbers) >= 4 {
				l, c = l+numbers[2], c+numbers[3]
				if n == line {
					originalLine, originalColumn, ok = l, c, true
				}
			}
		}
		if n++; n > line {
			break
		}
	}
	return originalLine, originalColumn, ok
}

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// vlq decodes a field of a source map: numbers of digits with five bits, the lowest first, the lowest bit of all
// the sign.
func vlq(field string) (numbers []int, ok bool) {
	value, shift := 0, 0
	for i := range len(field) {
		d := strings.IndexByte(digits, field[i])
		if d < 0 || shift > 30 {
			return nil, false
		}
		value |= (d & 31) << shift
		if shift += 5; d&32 != 0 {
			continue
		}
		if value&1 != 0 {
			numbers = append(numbers, -(value >> 1))
		} else {
			numbers = append(numbers, value>>1)
		}
		value, shift = 0, 0
	}
	return numbers, shift == 0
}
