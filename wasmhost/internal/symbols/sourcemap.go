package symbols

import (
	"encoding/json"
	"math"
	"strings"
)

// SourceMapSection is the custom section in which a source map may be put into a module: revision 3, whose columns are
// places in the file, as AssemblyScript's compiler writes it.
const SourceMapSection = "genkit.sourcemap"

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

func (t *Table) readSourceMap(raw []byte) {
	var m struct {
		Version  int      `json:"version"`
		Sources  []string `json:"sources"`
		Mappings string   `json:"mappings"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &m) != nil || m.Version != 3 {
		return
	}
	known := map[string]int32{}
	first, _, _ := strings.Cut(m.Mappings, ";") // a module is one line
	var column, source, number int64
	for segment := range strings.SplitSeq(first, ",") {
		var values [5]int64
		n, ok := digits(segment, &values)
		if !ok || len(t.lines) == maxLines {
			return
		}
		column += values[0]
		place := column - int64(t.code)
		if n >= 4 {
			source, number = source+values[1], number+values[2]
		}
		if place < 0 {
			continue
		}
		l := line{at: uint64(place), file: -1}
		if n >= 4 && source >= 0 && source < int64(len(m.Sources)) && number >= 0 && number < math.MaxInt32 {
			l.file, l.line = t.file(known, m.Sources[source]), int32(number+1)
		}
		t.lines = append(t.lines, l)
	}
}

// digits reads the numbers of a segment.
func digits(segment string, values *[5]int64) (n int, ok bool) {
	var v int64
	shift := 0
	for i := range len(segment) {
		d := strings.IndexByte(base64Digits, segment[i])
		if d < 0 || shift > 30 || n == len(values) {
			return 0, false
		}
		v |= int64(d&31) << shift
		if shift += 5; d&32 != 0 {
			continue
		}
		if values[n] = v >> 1; v&1 != 0 {
			values[n] = -values[n]
		}
		n, v, shift = n+1, 0, 0
	}
	return n, n > 0 && shift == 0
}
