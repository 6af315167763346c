package filter

import (
	"bytes"
	"encoding/json"
	"math/bits"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Limits of a document's metadata.
const (
	// MaxValues bounds the scalars that one document's metadata holds.
	MaxValues = 1024
	// MaxPath bounds the nesting of what a filter can reach; deeper values are kept
	// with the document, but not seen.
	MaxPath = 8
	// MaxName bounds the dotted name of a field.
	MaxName = 512
)

// Columns knows for each field of the metadata which rows have which value. It may be
// read concurrently, but not while something is added.
type Columns struct {
	fields map[string]*column
	rows   int
}

type column struct {
	values map[value]*rows // ascending
	any    rows            // that have the field
}

type rows []uint32

func (r *rows) add(row uint32) {
	if n := len(*r); n == 0 || (*r)[n-1] != row {
		*r = append(*r, row)
	}
}

// NewColumns returns an empty table.
func NewColumns() *Columns { return &Columns{fields: map[string]*column{}} }

// Values are the scalars of one document's metadata.
type Values []fieldValue

type fieldValue struct {
	field string
	value value
}

// Scan reads the scalars of a JSON object: {"a": {"b": 1}, "c": [2, 3]} has a.b = 1,
// c = 2 and c = 3. It fails with INVALID_ARGUMENT when there are more than MaxValues,
// so that nothing is missed by a filter without a word.
func Scan(metadata map[string]json.RawMessage) (Values, error) {
	s := scanner{}
	for name, raw := range metadata {
		if err := s.member(name, raw, 1); err != nil {
			return nil, err
		}
	}
	return s.values, nil
}

type scanner struct{ values Values }

func (s *scanner) member(name string, raw json.RawMessage, depth int) error {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || depth > MaxPath {
		return nil
	}
	if len(name) > MaxName {
		return status.Publicf(status.InvalidArgument, "a metadata field's name of %d bytes exceeds the limit of %d", len(name), MaxName)
	}
	switch raw[0] {
	case '{':
		var object map[string]json.RawMessage
		if err := json.Unmarshal(raw, &object); err != nil {
			return status.Publicf(status.InvalidArgument, "metadata %.100q: %w", name, err)
		}
		for inner, v := range object {
			if err := s.member(name+"."+inner, v, depth+1); err != nil {
				return err
			}
		}
		return nil
	case '[':
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return status.Publicf(status.InvalidArgument, "metadata %.100q: %w", name, err)
		}
		for _, v := range list {
			if c := bytes.TrimSpace(v); len(c) > 0 && c[0] == '[' {
				continue // lists of lists can't be reached
			}
			if err := s.member(name, v, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	v, err := scalar(raw)
	if err != nil {
		return status.Publicf(status.InvalidArgument, "metadata %.100q: %w", name, err)
	}
	if len(s.values) == MaxValues {
		return status.Publicf(status.InvalidArgument, "the metadata holds more than %d values", MaxValues)
	}
	s.values = append(s.values, fieldValue{name, v})
	return nil
}

// Add gives the next row its values.
func (c *Columns) Add(values Values) {
	row := uint32(c.rows) //nolint:gosec // a store holds fewer
	c.rows++
	for _, v := range values {
		col := c.fields[v.field]
		if col == nil {
			col = &column{values: map[value]*rows{}}
			c.fields[v.field] = col
		}
		col.any.add(row)
		list := col.values[v.value]
		if list == nil {
			list = &rows{}
			col.values[v.value] = list
		}
		list.add(row)
	}
}

// Set is a set of rows, one bit each.
type Set []uint64

const wordBits = 64

func (c *Columns) empty() Set { return make(Set, (c.rows+wordBits-1)/wordBits) }

func (s Set) add(list rows) {
	for _, r := range list {
		s[r/wordBits] |= 1 << (r % wordBits)
	}
}

func (s Set) and(t Set) {
	for i := range s {
		s[i] &= t[i]
	}
}

func (s Set) or(t Set) {
	for i := range s {
		s[i] |= t[i]
	}
}

// not leaves bits beyond the last row set; no row has them.
func (s Set) not() {
	for i := range s {
		s[i] = ^s[i]
	}
}

// Count returns the number of rows in the set.
func (s Set) Count() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}
