package usage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// A day is a file of lines, each with the sums of one row as they were when it was written: the
// last line of a row counts. So a line may be written again, and a file that grew too long is
// written anew with one line for each row.

// Bounds of a day.
const (
	// maxRows bounds the rows of a day, maxTenantRows those of one tenant. What has no row of
	// its own is counted in the tenant's row Other of its kind, and beyond mostRows in one of
	// no tenant.
	maxRows       = 20_000
	maxTenantRows = 1_000
	mostRows      = 4 * maxRows
	// slackBytes is how much longer than needed a file may be before it is written anew.
	slackBytes   = 4 << 20
	maxLineBytes = 16 << 10
)

// Other is the name of the rows of what has none of its own.
const Other = "(other)"

// rowKey says what a row is about.
type rowKey struct {
	Tenant   string `json:"tenant"`
	TenantID string `json:"tenantId,omitempty"`
	Kind     Kind   `json:"kind"`
	Name     string `json:"name"`
}

func (k rowKey) fits() bool {
	for _, text := range []string{k.Tenant, k.TenantID, string(k.Kind), k.Name} {
		if len(text) > maxText || !utf8.ValidString(text) {
			return false
		}
	}
	return true
}

type row struct {
	rowKey
	Sums
	dirty bool // not yet written
}

// day is a day of UTC in memory.
type day struct {
	number  int64 // since 1970-01-01
	rows    map[rowKey]*row
	tenants map[string]int // rows, by tenant and its ID
	dirty   []*row
	// loaded is set when what the file has was added; until then the rows are what has
	// happened since.
	loaded bool
	size   int64 // of the file, in bytes
	// damaged are the lines of the file that can't be read.
	damaged int
}

func newDay(number int64) *day {
	return &day{number: number, rows: map[rowKey]*row{}, tenants: map[string]int{}}
}

func numberOf(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }

func dateOf(number int64) string { return time.Unix(number*24*60*60, 0).UTC().Format(time.DateOnly) }

// row returns the row of a key, or the one in which it is counted.
func (d *day) row(k rowKey) *row {
	if r := d.rows[k]; r != nil {
		return r
	}
	owner := k.Tenant + "\n" + k.TenantID
	switch {
	case len(d.rows) >= mostRows:
		k = rowKey{Tenant: Other, Kind: k.Kind, Name: Other}
	case len(d.rows) >= maxRows || d.tenants[owner] >= maxTenantRows:
		k.Name = Other
	}
	r := d.rows[k]
	if r == nil {
		r = &row{rowKey: k}
		d.rows[k] = r
		d.tenants[owner]++
	}
	return r
}

// change notes that a row is to be written.
func (d *day) change(r *row) {
	if !r.dirty {
		r.dirty = true
		d.dirty = append(d.dirty, r)
	}
}

// merge adds what the file has, each row under its own key: a row that were counted in another one
// would be read once more at the next start.
func (d *day) merge(stored []row) {
	for i := range stored {
		k := stored[i].rowKey
		r := d.rows[k]
		if r == nil {
			r = &row{rowKey: k}
			d.rows[k] = r
			d.tenants[k.Tenant+"\n"+k.TenantID]++
		} else {
			d.change(r)
		}
		r.Add(&stored[i].Sums)
	}
	d.loaded = true
}

const (
	dayPrefix = "day-"
	daySuffix = ".log"
)

func fileOf(number int64) string { return dayPrefix + dateOf(number) + daySuffix }

// numberIn returns the day of a file's name.
func numberIn(name string) (int64, bool) {
	text, begins := strings.CutPrefix(name, dayPrefix)
	text, ends := strings.CutSuffix(text, daySuffix)
	if !begins || !ends {
		return 0, false
	}
	t, err := time.Parse(time.DateOnly, text)
	return numberOf(t), err == nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendLine appends a line with a checksum before its JSON.
func appendLine(b, raw []byte) []byte {
	return endLine(append(append(b, checksumRoom...), raw...), len(b))
}

const checksumRoom = "00000000 "

// endLine ends a line that begins at start with checksumRoom.
func endLine(b []byte, start int) []byte {
	const hex = "0123456789abcdef"
	sum := crc32.Checksum(b[start+len(checksumRoom):], castagnoli)
	for i := 7; i >= 0; i-- {
		b[start+i] = hex[sum&15]
		sum >>= 4
	}
	return append(b, '\n')
}

// lineOf returns the JSON of a line; false where the line is damaged.
func lineOf(line []byte) ([]byte, bool) {
	if len(line) < 10 || line[8] != ' ' {
		return nil, false
	}
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	return line[9:], err == nil && uint32(sum) == crc32.Checksum(line[9:], castagnoli)
}

func (r *row) line(b []byte) []byte {
	raw, err := rawjson.Encode(struct {
		rowKey
		Sums
	}{r.rowKey, r.Sums})
	if err != nil { // numbers and texts always encode
		return b
	}
	return appendLine(b, raw)
}

// decodeDay reads the lines of a file: the last one of each row counts. Lines that are damaged
// are passed over and counted.
func decodeDay(raw []byte) (rows []row, damaged int) {
	at := map[rowKey]int{}
	for len(raw) > 0 {
		var line []byte
		line, raw, _ = bytes.Cut(raw, []byte("\n"))
		text, ok := lineOf(line)
		if len(line) == 0 {
			continue
		}
		var r struct {
			rowKey
			Sums
			Damaged int `json:"damaged"` // lines of an earlier form of the file
		}
		if ok && len(line) <= maxLineBytes && json.Unmarshal(text, &r) == nil && r.Damaged > 0 && r.Damaged < maxFileBytes {
			damaged += r.Damaged
			continue
		}
		if !ok || len(line) > maxLineBytes || json.Unmarshal(text, &r) != nil || !r.fits() || !r.valid() {
			damaged++
			continue
		}
		i, known := at[r.rowKey]
		if !known {
			if len(rows) >= 2*mostRows {
				damaged++
				continue
			}
			i = len(rows)
			at[r.rowKey] = i
			rows = append(rows, row{})
		}
		rows[i] = row{rowKey: r.rowKey, Sums: r.Sums}
	}
	return rows, damaged
}

// readDay reads a day's file; nothing where there is none. A file that can't be read, is empty, or is shorter than it was, is
// damaged as a whole; cut says that nothing in it tells so.
func readDay(store Store, number int64) (rows []row, size int64, damaged int, cut bool, err error) {
	raw, err := store.Read(fileOf(number))
	missing := errors.Is(err, status.ErrNotFound)
	if err != nil && !missing {
		return nil, 0, 1, false, err
	}
	rows, damaged = decodeDay(raw)
	size = int64(len(raw))
	cut = damaged == 0 && size < atLeast(store, number)
	if size == 0 && !missing || cut {
		damaged = 1
	}
	return rows, size, damaged, cut, nil
}

// How long a day's file is at least is kept beside it, because a file that is cut off between two lines, or gone, looks whole.
// It is written after the file has grown, and before it becomes shorter, so that no crash makes a whole file look cut off.

const sizePrefix = "size-"

func sizeOf(number int64) string { return sizePrefix + dateOf(number) }

// atLeast is how long a day's file has to be; 0 where that is not known.
func atLeast(store Store, number int64) int64 {
	raw, err := store.Read(sizeOf(number))
	if err != nil {
		return 0
	}
	size, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0
	}
	return size
}

func setAtLeast(store Store, number, size int64) error {
	return store.Replace(sizeOf(number), strconv.AppendInt(nil, size, 10))
}

// damageLine notes lines that were damaged and are not there any more.
func damageLine(b []byte, damaged int) []byte {
	return appendLine(b, fmt.Appendf(nil, `{"damaged":%d}`, damaged))
}

// rewrite puts a file with one line for each row into the place of a day's file.
// It goes on telling of lines that were damaged.
func rewrite(store Store, number int64, rows []row, damaged int) (size int64, err error) {
	slices.SortFunc(rows, func(a, b row) int {
		return strings.Compare(a.Tenant+"\n"+string(a.Kind)+"\n"+a.Name, b.Tenant+"\n"+string(b.Kind)+"\n"+b.Name)
	})
	var b []byte
	if damaged > 0 {
		b = damageLine(b, damaged)
	}
	for i := range rows {
		b = rows[i].line(b)
	}
	if err := setAtLeast(store, number, int64(len(b))); err != nil {
		return 0, err
	}
	return int64(len(b)), store.Replace(fileOf(number), b)
}
