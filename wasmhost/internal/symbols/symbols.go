// Package symbols tells which function and which line of an author's source a place in a module is, by what the module says
// of itself: its name section, its exports, its DWARF or a source map. All of that is the module's word, bounded and for
// people to read; nothing rests on it.
//
//	t := symbols.Read(wasm, parsed)
//	wasm = t.Attach(metered)      // the engine's stack traces name rows of t from then on
//	frame := t.Frame(index, row)
package symbols

import (
	"cmp"
	"slices"
	"sort"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// Read reads the names and lines of a module, as far as they make sense.
func Read(wasm []byte, m *inspect.Module) *Table {
	t := &Table{names: map[uint32]string{}}
	custom := map[string][]byte{}
	for _, c := range m.Custom {
		if _, twice := custom[c.Name]; !twice {
			custom[c.Name] = wasm[c.Offset : c.Offset+c.Size]
		}
	}
	for _, e := range m.Exports {
		if e.Kind == inspect.ExternFunc {
			t.names[e.Index] = e.Name
		}
	}
	for i, imported := range m.Imports {
		t.names[uint32(i)] = imported.Module + "." + imported.Name
	}
	t.readNames(custom["name"])
	for _, s := range m.Sections {
		if s.ID == inspect.SectionCode {
			t.code = s.Start
		}
	}
	t.readDWARF(custom)
	if len(t.lines) == 0 {
		t.readSourceMap(custom[SourceMapSection])
	}
	slices.SortStableFunc(t.lines, func(a, b line) int { // where one sequence ends another one may begin
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(min(a.file, 0), min(b.file, 0)))
	})
	return t
}

// readNames reads the functions' names of a name section; what comes after a fault in it is left out.
func (t *Table) readNames(b []byte) {
	for len(b) > 0 {
		id := b[0]
		size, rest, ok := number(b[1:])
		if !ok || size > uint64(len(rest)) {
			return
		}
		if id == 1 {
			t.readFunctionNames(rest[:size])
			return
		}
		b = rest[size:]
	}
}

func (t *Table) readFunctionNames(b []byte) {
	count, b, ok := number(b)
	for i := uint64(0); ok && i < min(count, maxNames); i++ {
		var index, size uint64
		if index, b, ok = number(b); !ok {
			return
		}
		if size, b, ok = number(b); !ok || size > uint64(len(b)) {
			return
		}
		if index <= 1<<32-1 {
			t.names[uint32(index)] = string(b[:min(size, maxNameBytes)])
		}
		b = b[size:]
	}
}

// Attach returns the metered form with lines that the engine understands: each of its rows is a "line" of one file, whose
// number [Table.Frame] takes. A module without lines is returned as it is.
func (t *Table) Attach(m *meter.Result) []byte {
	t.first, t.moved = m.First, m.Moved
	if len(t.lines) == 0 || len(m.Map) == 0 {
		return m.Wasm
	}
	for _, span := range m.Map {
		place := uint64(span.In - t.code)
		row, _ := t.at(place)
		row.at = uint64(span.Out)
		t.rows = append(t.rows, row)
		i := sort.Search(len(t.lines), func(i int) bool { return t.lines[i].at > place })
		for ; i < len(t.lines) && t.lines[i].at < place+uint64(span.Len); i++ {
			row := t.lines[i]
			row.at = row.at - place + uint64(span.Out)
			t.rows = append(t.rows, row)
		}
		if len(t.rows) > maxLines {
			t.rows = nil
			return m.Wasm
		}
	}
	return appendDWARF(m.Wasm, t.rows)
}

// Function names a function of the metered form.
func (t *Table) Function(index uint32) string {
	if index >= t.first+t.moved {
		index -= t.moved
	} else if index >= t.first {
		return "host"
	}
	if name, ok := t.names[index]; ok {
		return name
	}
	return "function " + strconv.FormatUint(uint64(index), 10)
}

// Frame is a function of the metered form, at a row that counts from 1; 0 is none.
func (t *Table) Frame(index uint32, row int) Frame {
	f := Frame{Function: t.Function(index)}
	if row > 0 && row <= len(t.rows) && t.rows[row-1].file >= 0 {
		f.File, f.Line = t.files[t.rows[row-1].file], int(t.rows[row-1].line)
	}
	return f
}
