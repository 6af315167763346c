package script

import (
	"fmt"
	"math"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Script is a script as the engine evaluates it.
type Script struct {
	Code []byte

	places sourceMap // see [Script.Locate]
}

// scriptFile is the name that scripts have in the engine; see [Script.Locate].
const scriptFile = "<script>"

// generated are places in the code that was made of a script, as the engine writes them: "<script>:3:10", from 1.
var generated = regexp.MustCompile(regexp.QuoteMeta(scriptFile) + `:(\d{1,9}):(\d{1,9})`)

// maxLocated bounds how many places of a text are looked up. A script can write any text.
const maxLocated = 100

// Locate returns text with the places of the code that the engine evaluates turned into those of the author's files:
// "tool.ts:5:3".
func (s *Script) Locate(text string) string {
	if !strings.Contains(text, scriptFile) {
		return text
	}
	left := maxLocated
	return generated.ReplaceAllStringFunc(text, func(place string) string {
		if left--; left < 0 {
			return s.places.first()
		}
		m := generated.FindStringSubmatch(place)
		line, _ := strconv.Atoi(m[1]) // digits, by the pattern
		column, _ := strconv.Atoi(m[2])
		if at, ok := s.places.find(line-1, column-1); ok {
			return fmt.Sprintf("%s:%d:%d", s.places.files[at.file], at.line+1, at.column+1)
		}
		return s.places.first()
	})
}

// sourceMap finds the places of generated code in the files that it was made of. Its text are the mappings of a source
// map of version 3: for each line fields of numbers that count on from the field before, but for the column of the
// generated code, which starts with its line.
type sourceMap struct {
	files    []string
	mappings string
	marks    []cursor // in their order, every markEvery bytes or a little more
}

// markEvery is how many bytes of mappings are read to find a place.
const markEvery = 512

// maxField bounds a field: five numbers of seven digits.
const maxField = 35

// cursor is a state of reading the mappings.
type cursor struct {
	offset       int // of the bytes that were read
	line, column int // of the generated code, from 0
	at           place
	mapped       bool // the line has a mapping up to here, which is found
	found        place
}

// place is a place in a file, all from 0.
type place struct{ file, line, column int }

func readMappings(files []string, mappings string) sourceMap {
	m := sourceMap{files: files, mappings: mappings}
	var c cursor
	for more, last := true, 0; more; more = m.next(&c) {
		if c.offset-last > maxField {
			m.mappings = m.mappings[:last] // no map has such a field: the rest is not to be trusted
			break
		}
		last = c.offset
		if len(m.marks) == 0 || c.offset-m.marks[len(m.marks)-1].offset >= markEvery {
			m.marks = append(m.marks, c)
		}
	}
	return m
}

// first names the script where no place of it is known.
func (m *sourceMap) first() string {
	if len(m.files) == 1 {
		return m.files[0]
	}
	return "the script"
}

// find returns where a place of the generated code comes from: the last mapping of its line that is not behind it.
func (m *sourceMap) find(line, column int) (place, bool) {
	i := sort.Search(len(m.marks), func(i int) bool {
		c := m.marks[i]
		return c.line > line || (c.line == line && c.column > column)
	})
	if i == 0 {
		return place{}, false
	}
	c := m.marks[i-1]
	found, ok := c.found, c.mapped && c.line == line
	for m.next(&c) && (c.line < line || (c.line == line && c.column <= column)) {
		found, ok = c.found, c.mapped && c.line == line
	}
	if !ok || found.file < 0 || found.file >= len(m.files) || found.line < 0 || found.line > math.MaxInt32 || found.column < 0 || found.column > math.MaxInt32 {
		return place{}, false
	}
	return found, true
}

// next reads the next field, or the end of a line; false at the end of the mappings. What is no field is left out.
func (m *sourceMap) next(c *cursor) bool {
	if c.offset >= len(m.mappings) {
		return false
	}
	switch m.mappings[c.offset] {
	case ';':
		c.offset++
		c.line++
		c.column, c.mapped = 0, false
		return true
	case ',':
		c.offset++
		return true
	}
	var numbers [4]int
	n, good := 0, true
	for c.offset < len(m.mappings) && m.mappings[c.offset] != ',' && m.mappings[c.offset] != ';' {
		var value int
		if value, c.offset, good = vlq(m.mappings, c.offset); !good {
			break
		}
		if n < len(numbers) {
			numbers[n] = value
		}
		n++
	}
	for c.offset < len(m.mappings) && m.mappings[c.offset] != ',' && m.mappings[c.offset] != ';' {
		c.offset++
	}
	if !good || n == 0 {
		return true
	}
	c.column = max(0, c.column+numbers[0])
	if n >= len(numbers) {
		c.at = place{c.at.file + numbers[1], c.at.line + numbers[2], c.at.column + numbers[3]}
		c.mapped, c.found = true, c.at
	}
	return true
}

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// vlq decodes the number at an offset, and returns where the next one is: digits with five bits, the lowest first, the
// lowest bit of all the sign.
func vlq(text string, offset int) (value, next int, ok bool) {
	for shift := 0; offset < len(text) && shift <= 30; shift += 5 {
		d := strings.IndexByte(digits, text[offset])
		if d < 0 {
			return 0, offset, false
		}
		offset++
		value |= (d & 31) << shift
		if d&32 != 0 {
			continue
		}
		if value&1 != 0 {
			return -(value >> 1), offset, true
		}
		return value >> 1, offset, true
	}
	return 0, offset, false
}
