package symbols

import (
	"encoding/binary"
	"sort"
)

// Bounds of what is read.
const (
	maxNames     = 200_000
	maxNameBytes = 300
	maxLines     = 2_000_000
)

// Frame is a place of the original.
type Frame struct {
	Function string
	File     string // empty: unknown
	Line     int
}

// line says that the code from a place on, relative to the code section's content, comes from a line of a file. One
// without a file ends what is known.
type line struct {
	at   uint64
	file int32 // in Table.files; -1: unknown
	line int32
}

// Table has the names and lines of one module. It is not changed after [Table.Attach].
type Table struct {
	names map[uint32]string
	files []string
	lines []line // by at

	code         int    // where the code section's content begins
	first, moved uint32 // functions from first on have moved by so many in the metered form
	rows         []line // of the metered form
}

// number reads an unsigned LEB128.
func number(b []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

// file returns the number of a file's name.
func (t *Table) file(known map[string]int32, name string) int32 {
	if len(name) > maxNameBytes {
		name = name[len(name)-maxNameBytes:]
	}
	n, ok := known[name]
	if !ok {
		n = int32(len(t.files))
		known[name] = n
		t.files = append(t.files, name)
	}
	return n
}

// at returns the line of a place in the original's code section; false when it is unknown.
func (t *Table) at(place uint64) (line, bool) {
	i := sort.Search(len(t.lines), func(i int) bool { return t.lines[i].at > place })
	if i == 0 || t.lines[i-1].file < 0 {
		return line{file: -1}, false
	}
	return t.lines[i-1], true
}
