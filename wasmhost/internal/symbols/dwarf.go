package symbols

import (
	"debug/dwarf"
	"encoding/binary"
	"math"
)

// readDWARF reads the lines of all compilation units. The sections are foreign: what the reader does not take ends it.
func (t *Table) readDWARF(custom map[string][]byte) {
	defer func() {
		if recover() != nil { // a fault of the reader
			t.lines = nil
		}
	}()
	d, err := dwarf.New(custom[".debug_abbrev"], nil, nil, custom[".debug_info"], custom[".debug_line"], nil, custom[".debug_ranges"], custom[".debug_str"])
	if err != nil {
		return
	}
	for _, name := range []string{".debug_addr", ".debug_line_str", ".debug_str_offsets", ".debug_rnglists"} {
		if b := custom[name]; b != nil && d.AddSection(name, b) != nil {
			return
		}
	}
	known := map[string]int32{}
	units := d.Reader()
	for {
		unit, err := units.Next()
		if err != nil || unit == nil {
			return
		}
		if unit.Tag == dwarf.TagCompileUnit {
			t.readUnit(d, unit, known)
		}
		units.SkipChildren()
	}
}

func (t *Table) readUnit(d *dwarf.Data, unit *dwarf.Entry, known map[string]int32) {
	r, err := d.LineReader(unit)
	if err != nil || r == nil {
		return
	}
	var e dwarf.LineEntry
	dead := false // the linker has dropped the code of this sequence
	for begin := true; len(t.lines) < maxLines; {
		if r.Next(&e) != nil {
			return
		}
		if begin {
			dead = e.Address == 0 || e.Address >= math.MaxUint32-1
		}
		begin = e.EndSequence
		if dead {
			continue
		}
		l := line{at: e.Address, file: -1}
		if !e.EndSequence && e.File != nil && e.Line > 0 && e.Line <= math.MaxInt32 {
			l.file, l.line = t.file(known, e.File.Name), int32(e.Line)
		}
		t.lines = append(t.lines, l)
	}
}

// appendDWARF adds to a module the smallest DWARF with which an engine finds a row by a place in the code: one unit whose
// lines are the rows' numbers. The engine reports them as name:number, see [RowPrefix].
func appendDWARF(wasm []byte, rows []line) []byte {
	le := binary.LittleEndian
	last := rows[len(rows)-1].at + 1<<20

	program := []byte{0, 5, 2, 0, 0, 0, 0} // the address is 0
	at, number := uint64(0), int64(1)
	for i, r := range rows {
		program = binary.AppendUvarint(append(program, 2), r.at-at)
		program = appendSigned(append(program, 3), int64(i+1)-number)
		program = append(program, 1)
		at, number = r.at, int64(i+1)
	}
	program = binary.AppendUvarint(append(program, 2), last-at)
	program = append(program, 0, 1, 1)

	header := []byte{1, 1, 1, 0, 1, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1} // sizes of operands of the standard opcodes at the end
	header = append(header, 0)                                              // no directories
	header = append(header, RowPrefix[:len(RowPrefix)-1]...)
	header = append(header, 0, 0, 0, 0, 0) // its name ends; directory, time, size; the files end
	lines := le.AppendUint32(nil, uint32(2+4+len(header)+len(program)))
	lines = le.AppendUint32(le.AppendUint16(lines, 4), uint32(len(header)))
	lines = append(append(lines, header...), program...)

	abbrev := []byte{1, 0x11, 0, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0, 0} // a unit: its lines, its first and last place
	unit := []byte{1}
	unit = le.AppendUint32(unit, 0)
	unit = le.AppendUint32(unit, 1)
	unit = le.AppendUint32(unit, uint32(last-1))
	info := le.AppendUint32(nil, uint32(2+4+1+len(unit)))
	info = append(le.AppendUint32(le.AppendUint16(info, 4), 0), 4)
	info = append(info, unit...)

	out := append([]byte{}, wasm...)
	for _, s := range []struct {
		name string
		body []byte
	}{{".debug_abbrev", abbrev}, {".debug_info", info}, {".debug_line", lines}} {
		section := append(binary.AppendUvarint(nil, uint64(len(s.name))), s.name...)
		section = append(section, s.body...)
		out = append(binary.AppendUvarint(append(out, 0), uint64(len(section))), section...)
	}
	return out
}

// RowPrefix stands before a row's number in the engine's stack traces.
const RowPrefix = "row:"

func appendSigned(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
