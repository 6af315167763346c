// Package filter chooses rows by the metadata of their documents.
//
// It owns the language of filters, which is that of Mongo, Chroma and Pinecone, and
// the table of values that answers them without looking at documents. Use:
//
//	f, err := filter.Parse(json.RawMessage(`{"genre": "fish", "year": {"$gte": 1970}}`))
//	rows := f.Rows(columns)
//
// A *Filter is immutable and safe for concurrent use.
package filter

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Limits of a filter.
const (
	MaxBytes   = 64 << 10
	maxDepth   = 16
	maxClauses = 1000 // conditions, and values to compare with
	// costOfRange is the cost of a range, which is compared with every value of a
	// field.
	costOfRange = 25
)

// Filter is a parsed filter.
type Filter struct{ root node }

type node interface{ rows(c *Columns) Set }

type (
	all   []node // true for no nodes
	some  []node
	isNot struct{ node }
	// equals is true for a row that has the field with one of the values.
	equals struct {
		field  string
		values []value
	}
	// ranges is true for a row that has the field with a value that all bounds hold for.
	ranges struct {
		field  string
		bounds []bound
	}
	exists struct{ field string }
)

type bound struct {
	value value
	ok    func(order int) bool
}

// Parse reads a filter: an object whose members all have to hold.
//
//	"field": scalar                 the field has the value
//	"field": {"$eq": scalar}        the same; $ne is its opposite, also for a missing field
//	"field": {"$in": [scalar, …]}   one of the values; $nin is its opposite
//	"field": {"$gt": scalar}        greater; $gte, $lt, $lte; numbers with numbers, texts with texts by their bytes
//	"field": {"$exists": boolean}
//	"field": {"$not": {…}}          the conditions do not all hold
//	"$and": [filter, …], "$or": [filter, …], "$not": filter
//
// Several conditions on a field have to hold all; a dot reaches into an object; a list
// has a value when one of its elements has. It fails with INVALID_ARGUMENT on anything
// else: a filter that is not understood must not let more through.
func Parse(raw json.RawMessage) (*Filter, error) {
	if len(raw) > MaxBytes {
		return nil, refuse("a filter of %d bytes exceeds the limit of %d", len(raw), MaxBytes)
	}
	if !json.Valid(raw) {
		return nil, refuse("it is no JSON")
	}
	p := &parser{left: maxClauses}
	n, err := p.filter(raw, 0)
	if err != nil {
		return nil, err
	}
	return &Filter{n}, nil
}

func refuse(format string, args ...any) error {
	return status.Publicf(status.InvalidArgument, "filter: "+format, args...)
}

type parser struct{ left int }

func (p *parser) spend(n int) error {
	if p.left -= n; p.left < 0 {
		return refuse("more than %d conditions and values", maxClauses)
	}
	return nil
}

// object reads the members of an object, in the order of their names; one that is
// written twice is refused.
func object(raw json.RawMessage, what string) ([]string, map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, refuse("%s is no object", what)
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		name, _ := t.(string)
		if err != nil {
			return nil, nil, refuse("%s: %w", what, err)
		}
		if _, twice := members[name]; twice {
			return nil, nil, refuse("%.100q stands twice in %s", name, what)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, nil, refuse("%s: %w", what, err)
		}
		members[name] = v
	}
	return slices.Sorted(maps.Keys(members)), members, nil
}

func (p *parser) filter(raw json.RawMessage, depth int) (node, error) {
	if depth > maxDepth {
		return nil, refuse("nested deeper than %d", maxDepth)
	}
	names, members, err := object(raw, "a filter")
	if err != nil {
		return nil, err
	}
	conditions := all{}
	for _, name := range names {
		if err := p.spend(1); err != nil {
			return nil, err
		}
		n, err := p.member(name, members[name], depth)
		if err != nil {
			return nil, err
		}
		conditions = append(conditions, n)
	}
	return conditions, nil
}

func (p *parser) member(name string, raw json.RawMessage, depth int) (node, error) {
	switch name {
	case "$and":
		list, err := p.list(name, raw, depth)
		return all(list), err
	case "$or":
		list, err := p.list(name, raw, depth)
		return some(list), err
	case "$not":
		n, err := p.filter(raw, depth+1)
		return isNot{n}, err
	}
	switch {
	case strings.HasPrefix(name, "$"):
		return nil, refuse("unknown operator %.100q; there are $and, $or and $not", name)
	case name == "" || len(name) > MaxName || strings.Count(name, ".") >= MaxPath:
		return nil, refuse("the field %.100q can't be asked for: a name has 1 to %d bytes and at most %d parts", name, MaxName, MaxPath)
	}
	return p.field(name, raw, depth)
}

func (p *parser) list(name string, raw json.RawMessage, depth int) ([]node, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil || len(items) == 0 {
		return nil, refuse("%s needs a list of filters that is not empty", name)
	}
	nodes := make([]node, len(items))
	for i, item := range items {
		n, err := p.filter(item, depth+1)
		if err != nil {
			return nil, err
		}
		nodes[i] = n
	}
	return nodes, nil
}

func (p *parser) field(field string, raw json.RawMessage, depth int) (node, error) {
	if v, err := scalar(raw); err == nil {
		return equals{field, []value{v}}, nil
	}
	if depth > maxDepth {
		return nil, refuse("nested deeper than %d", maxDepth)
	}
	names, members, err := object(raw, "the condition on "+field)
	if err != nil || len(names) == 0 {
		return nil, refuse("the condition on %.100q is neither a scalar nor an object of operators", field)
	}
	conditions, within := all{}, ranges{field: field}
	for _, name := range names {
		if err := p.spend(1); err != nil {
			return nil, err
		}
		if test, ok := orders[name]; ok {
			b, err := boundary(field, name, members[name], test)
			if err != nil {
				return nil, err
			}
			within.bounds = append(within.bounds, b)
			continue
		}
		n, err := p.operator(field, name, members[name], depth)
		if err != nil {
			return nil, err
		}
		conditions = append(conditions, n)
	}
	if len(within.bounds) > 0 {
		if err := p.spend(costOfRange); err != nil {
			return nil, err
		}
		conditions = append(conditions, within)
	}
	return conditions, nil
}

// orders are the operators of [ranges].
var orders = map[string]func(order int) bool{
	"$gt":  func(o int) bool { return o > 0 },
	"$gte": func(o int) bool { return o >= 0 },
	"$lt":  func(o int) bool { return o < 0 },
	"$lte": func(o int) bool { return o <= 0 },
}

func boundary(field, name string, raw json.RawMessage, test func(int) bool) (bound, error) {
	v, err := scalar(raw)
	switch {
	case err != nil || v.kind == null:
		return bound{}, refuse("%s of %.100q needs a number, a text or a boolean", name, field)
	case v.sum != [32]byte{}:
		return bound{}, refuse("%s of %.100q takes a text of at most %d bytes", name, field, maxText)
	}
	return bound{v, test}, nil
}

func (p *parser) operator(field, name string, raw json.RawMessage, depth int) (node, error) {
	switch name {
	case "$eq", "$ne":
		v, err := scalar(raw)
		if err != nil {
			return nil, refuse("%s of %.100q: %w", name, field, err)
		}
		return negate(name == "$ne", equals{field, []value{v}}), nil
	case "$in", "$nin":
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil || items == nil {
			return nil, refuse("%s of %.100q needs a list", name, field)
		}
		if err := p.spend(len(items)); err != nil {
			return nil, err
		}
		e := equals{field: field}
		for _, item := range items {
			v, err := scalar(item)
			if err != nil {
				return nil, refuse("%s of %.100q: %w", name, field, err)
			}
			e.values = append(e.values, v)
		}
		return negate(name == "$nin", e), nil
	case "$exists":
		var wanted *bool
		if err := json.Unmarshal(raw, &wanted); err != nil || wanted == nil {
			return nil, refuse("$exists of %.100q needs true or false", field)
		}
		return negate(!*wanted, exists{field}), nil
	case "$not":
		n, err := p.field(field, raw, depth+1)
		return isNot{n}, err
	}
	return nil, refuse("unknown operator %.100q on %.100q; there are $eq, $ne, $in, $nin, $gt, $gte, $lt, $lte, $exists and $not", name, field)
}

func negate(yes bool, n node) node {
	if yes {
		return isNot{n}
	}
	return n
}

// Rows returns the rows that the filter lets through. It may hold bits beyond the last
// row.
func (f *Filter) Rows(c *Columns) Set { return f.root.rows(c) }

func (a all) rows(c *Columns) Set {
	if len(a) == 0 {
		s := c.empty()
		s.not()
		return s
	}
	s := a[0].rows(c)
	for _, n := range a[1:] {
		s.and(n.rows(c))
	}
	return s
}

func (a some) rows(c *Columns) Set {
	s := c.empty()
	for _, n := range a {
		s.or(n.rows(c))
	}
	return s
}

func (n isNot) rows(c *Columns) Set {
	s := n.node.rows(c)
	s.not()
	return s
}

func (e equals) rows(c *Columns) Set {
	s := c.empty()
	if col := c.fields[e.field]; col != nil {
		for _, v := range e.values {
			if list := col.values[v]; list != nil {
				s.add(*list)
			}
		}
	}
	return s
}

func (e exists) rows(c *Columns) Set {
	s := c.empty()
	if col := c.fields[e.field]; col != nil {
		s.add(col.any)
	}
	return s
}

func (r ranges) rows(c *Columns) Set {
	s := c.empty()
	col := c.fields[r.field]
	if col == nil {
		return s
	}
	for v, list := range col.values {
		if r.holds(v) {
			s.add(*list)
		}
	}
	return s
}

func (r ranges) holds(v value) bool {
	for _, b := range r.bounds {
		if order, ok := v.compare(b.value); !ok || !b.ok(order) {
			return false
		}
	}
	return true
}
