package schema

import (
	"maps"
	"math/big"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// node is a schema in the form in which a [reader] applies it. The nil *node accepts
// every value. Nodes are built from the compiler's schemas, so that drafts, references
// and vocabularies are the compiler's business alone.
//
// A nil pointer or empty list in a node means that the schema has no such keyword, so
// that a check costs one comparison for each kind of keyword that is absent. Nodes form
// a graph, not a tree: a reference is the same *node as its target, and recursive schemas
// lead back to themselves. After build has returned, nodes are immutable and shared by
// all readers, but for [keyOrder].
//
// An example:
//
//	{"type": "object", "required": ["id"],          node{types: object, object: {
//	 "properties": {                                   rules: [0: id → A, 1: tags → B],
//	   "id":   {"type": "integer", "minimum": 1},      required: 0b01, closed: true}}
//	   "tags": {"items": {"$ref": "#/…/id"}}},      A: node{types: integer, number: [1, ∞)}
//	 "additionalProperties": false}                 B: node{array: {rest: A}}
type node struct {
	types  kinds       // the JSON types that are allowed
	never  bool        // the schema false
	direct bool        // there are rules besides those of combined
	values []*valueSet // of const and enum; a value must be in each
	object *objectRules
	array  *arrayRules
	text   *textRules
	number *interval
	*combined
}

// kinds is a set of JSON types. An integer is a number whose value is whole, however it is spelled
// (JSON Schema, 6.1.1), so "number" sets both bits.
type kinds uint8

const (
	kindNull kinds = 1 << iota
	kindBool
	kindInteger
	kindNumber
	kindText
	kindArray
	kindObject
	allKinds = 1<<iota - 1
)

var kindNames = map[string]kinds{
	"null": kindNull, "boolean": kindBool, "integer": kindInteger, "number": kindNumber | kindInteger,
	"string": kindText, "array": kindArray, "object": kindObject,
}

// combined holds the schemas that apply to the same value as the node itself. The reader reads the
// value's bytes once more for each of them.
type combined struct {
	allOf, anyOf, oneOf []*node
	not, cond           *once
	then, otherwise     *node
}

// once is a schema that may accept everything. It is a pointer to a struct because a nil *node is a
// schema too: a nil *once means that there is no schema, once{nil} that it accepts every value.
type once struct{ *node }

// valueSet is an enum or a const. Each value has one canonical form (see [canonical]), so that being in
// the set is one lookup: strings as they are, all others behind otherPrefix.
type valueSet struct {
	texts   []string // the strings in it, when they are few
	values  map[string]struct{}
	has     kinds // of which types there are values; numbers count as both
	maxText int
}

// textRules are the keywords of strings. Lengths count code points.
type textRules struct {
	min, max int // -1: no limit
	pattern  *pattern
	format   *jsonschema.Format
}

// objectRules are the keywords of objects. Every name that the schema mentions (under properties, in
// required or in a dependency) has an index; the reader notes with one bit for each index which of them
// an object has. That finds repeated keys, missing ones and dependencies without a map.
type objectRules struct {
	names     nameTable
	order     *keyOrder
	rules     []propertyRule // by the index that names gives
	words     int            // of 64 bits, for one bit each rule
	required  []uint64       // bits
	patterns  []patternRule
	extra     *node // for other properties; see closed
	closed    bool  // there may be none
	keys      *once
	min, max  int
	dependent []dependency
}

// propertyRule belongs to one name that the schema mentions.
type propertyRule struct {
	schema   *node
	declared bool // under properties; else the name is only required or depended on
}

// patternRule is a member of patternProperties; it applies to a property in addition to its propertyRule.
type patternRule struct {
	pattern *pattern
	schema  *node
}

// dependency applies when the property of the index if is present.
type dependency struct {
	on     int
	needs  []int
	schema *node
}

// arrayRules are the keywords of arrays, in the form of draft 2020-12: what draft 7 calls items (a list) and
// additionalItems is prefix and rest here.
type arrayRules struct {
	prefix   []*node
	rest     *node
	closed   bool // nothing after prefix
	min, max int
	unique   bool
	contains *once
	least    int // of contains
	most     int
}

// builder turns the compiler's schemas into nodes. made has a node before its members are built, which
// ends the recursion of schemas that refer to themselves.
type builder struct {
	made map[*jsonschema.Schema]*node
	rare bool // something is not supported
}

// build returns the node of a schema, or false when the schema says something
// that only the compiler's own validator knows.
func build(s *jsonschema.Schema) (*node, bool) {
	b := &builder{made: map[*jsonschema.Schema]*node{}}
	root := b.node(s)
	// One rare keyword anywhere sends every document to the compiler's validator: two validators
	// that share one document would have to agree on what has been evaluated.
	if b.rare || cyclic(b.made) {
		return nil, false
	}
	for _, n := range b.made {
		b.simplify(n)
	}
	return final(root), true
}

// node returns the node of a schema, and builds it at the first call. Once something is rare the result is
// of no use, and building stops.
func (b *builder) node(s *jsonschema.Schema) *node {
	if s == nil || b.rare {
		return nil
	}
	if n, ok := b.made[s]; ok {
		return n
	}
	n := &node{types: allKinds}
	b.made[s] = n
	if s.Bool != nil {
		n.never = !*s.Bool
		return n
	}
	if rare(s) {
		b.rare = true
		return n
	}
	if s.Types != nil && !s.Types.IsEmpty() {
		n.types = 0
		for _, name := range s.Types.ToStrings() {
			n.types |= kindNames[name]
		}
	}
	if s.Const != nil {
		n.values = append(n.values, setOf([]any{*s.Const}))
	}
	if s.Enum != nil {
		n.values = append(n.values, setOf(s.Enum.Values))
	}
	// A reference is an allOf of one schema. simplify removes those that do nothing but refer.
	c := &combined{}
	if s.Ref != nil {
		c.allOf = append(c.allOf, b.node(s.Ref))
	}
	if s.Ref == nil || s.DraftVersion >= 2019 { // before, $ref hides its siblings
		n.object, n.array, n.text, n.number = b.object(s), b.array(s), b.text(s), b.number(s)
		b.combine(c, s)
	} else if s.Format != nil {
		n.text = &textRules{min: -1, max: -1, format: s.Format}
	}
	if len(c.allOf)+len(c.anyOf)+len(c.oneOf) > 0 || c.not != nil || c.cond != nil {
		n.combined = c
	}
	// A node without direct rules is not read for itself, only for the schemas that it combines.
	n.direct = n.types != allKinds || n.values != nil || n.object != nil || n.array != nil || n.text != nil || n.number != nil
	return n
}

// rare reports keywords and drafts that are left to the compiler's validator: what a value has left
// unevaluated, and where a dynamic reference leads, is not known when the schema is compiled.
func rare(s *jsonschema.Schema) bool {
	return s.DraftVersion != 7 && s.DraftVersion != 2020 ||
		s.DynamicRef != nil || s.RecursiveRef != nil || len(s.Extensions) > 0 ||
		s.UnevaluatedItems != nil || s.UnevaluatedProperties != nil ||
		s.ContentEncoding != nil || s.ContentMediaType != nil || s.ContentSchema != nil
}

// combine adds the keywords whose schemas apply to the same value. An if without then or else says nothing.
func (b *builder) combine(c *combined, s *jsonschema.Schema) {
	c.allOf = append(c.allOf, b.nodes(s.AllOf)...)
	c.anyOf, c.oneOf = b.nodes(s.AnyOf), b.nodes(s.OneOf)
	if s.Not != nil {
		c.not = &once{b.node(s.Not)}
	}
	if s.If != nil && (s.Then != nil || s.Else != nil) {
		c.cond, c.then, c.otherwise = &once{b.node(s.If)}, b.node(s.Then), b.node(s.Else)
	}
}

// nodes builds the nodes of a list, in its order.
func (b *builder) nodes(list []*jsonschema.Schema) []*node {
	var nodes []*node
	for _, s := range list {
		nodes = append(nodes, b.node(s))
	}
	return nodes
}

// text builds the rules of strings, nil when there are none.
func (b *builder) text(s *jsonschema.Schema) *textRules {
	if s.MinLength == nil && s.MaxLength == nil && s.Pattern == nil && s.Format == nil {
		return nil
	}
	return &textRules{min: limit(s.MinLength), max: limit(s.MaxLength), pattern: b.pattern(s.Pattern), format: s.Format}
}

// limit returns a bound, -1 for none.
func limit(n *int) int {
	if n == nil {
		return -1
	}
	return *n
}

// pattern returns the counted form of an expression. The engine that [patterns] returns makes no other.
func (b *builder) pattern(p jsonschema.Regexp) *pattern {
	if p == nil {
		return nil
	}
	own, ok := p.(*pattern)
	b.rare = b.rare || !ok
	return own
}

// number builds the rules of numbers, nil when there are none. A bound without a finite decimal form, or a
// divisor of more than 19 digits, makes the schema rare.
func (b *builder) number(s *jsonschema.Schema) *interval {
	if s.Minimum == nil && s.Maximum == nil && s.ExclusiveMinimum == nil && s.ExclusiveMaximum == nil && s.MultipleOf == nil {
		return nil
	}
	v := &interval{min: b.decimal(s.Minimum), max: b.decimal(s.Maximum), above: b.decimal(s.ExclusiveMinimum), below: b.decimal(s.ExclusiveMaximum)}
	v.shrink(s.Minimum, s.ExclusiveMinimum, s.Maximum, s.ExclusiveMaximum)
	if s.MultipleOf != nil {
		var ok bool
		if v.multiple, ok = divisorOf(s.MultipleOf); !ok {
			b.rare = true
		}
	}
	return v
}

// array builds the rules of arrays, nil when there are none.
func (b *builder) array(s *jsonschema.Schema) *arrayRules {
	// said: some keyword of arrays is present, if only one that accepts everything.
	a := &arrayRules{min: limit(s.MinItems), max: limit(s.MaxItems), unique: s.UniqueItems, least: 1, most: -1}
	said := a.min >= 0 || a.max >= 0 || s.MinItems != nil || s.MaxItems != nil || a.unique
	if s.DraftVersion < 2020 {
		switch items := s.Items.(type) {
		case *jsonschema.Schema:
			a.rest, said = b.node(items), true
		case []*jsonschema.Schema:
			a.prefix, said = b.nodes(items), true
			switch more := s.AdditionalItems.(type) {
			case bool:
				a.closed = !more
			case *jsonschema.Schema:
				a.rest = b.node(more)
			}
		}
	} else if s.PrefixItems != nil || s.Items2020 != nil {
		a.prefix, a.rest, said = b.nodes(s.PrefixItems), b.node(s.Items2020), true
	}
	if s.Contains != nil {
		a.contains, said = &once{b.node(s.Contains)}, true
		if s.MinContains != nil {
			a.least = *s.MinContains
		}
		if s.MaxContains != nil {
			a.most = *s.MaxContains
		}
	}
	if !said {
		return nil
	}
	return a
}

// object builds the rules of objects, nil when there are none. Declared names get their indices first, in
// alphabetical order: keyOrder begins with that order, and the same schema gives the same rules.
func (b *builder) object(s *jsonschema.Schema) *objectRules {
	if s.MinProperties == nil && s.MaxProperties == nil && len(s.Required) == 0 && s.Dependencies == nil && s.Properties == nil &&
		s.PatternProperties == nil && s.AdditionalProperties == nil && s.PropertyNames == nil && s.DependentSchemas == nil && s.DependentRequired == nil {
		return nil
	}
	o := &objectRules{min: limit(s.MinProperties), max: limit(s.MaxProperties)}
	// find returns the index of a name, a new one for a name that is seen for the first time.
	index := map[string]int{}
	find := func(name string) int {
		i, ok := index[name]
		if !ok {
			i = len(o.rules)
			index[name] = i
			o.rules = append(o.rules, propertyRule{})
		}
		return i
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		i := find(name)
		o.rules[i] = propertyRule{schema: b.node(s.Properties[name]), declared: true}
	}
	var required []int
	for _, name := range s.Required {
		required = append(required, find(name))
	}
	needs := func(names []string) (list []int) {
		for _, name := range names {
			list = append(list, find(name))
		}
		return list
	}
	for name, names := range s.DependentRequired {
		o.dependent = append(o.dependent, dependency{on: find(name), needs: needs(names)})
	}
	for name, schema := range s.DependentSchemas {
		o.dependent = append(o.dependent, dependency{on: find(name), schema: b.node(schema)})
	}
	// Draft 7 has both kinds of dependencies under one keyword.
	for name, either := range s.Dependencies {
		d := dependency{on: find(name)}
		switch either := either.(type) {
		case []string:
			d.needs = needs(either)
		case *jsonschema.Schema:
			d.schema = b.node(either)
		}
		o.dependent = append(o.dependent, d)
	}
	for re, schema := range s.PatternProperties {
		o.patterns = append(o.patterns, patternRule{pattern: b.pattern(re), schema: b.node(schema)})
	}
	switch extra := s.AdditionalProperties.(type) {
	case bool:
		o.closed = !extra
	case *jsonschema.Schema:
		o.extra = b.node(extra)
	}
	if s.PropertyNames != nil {
		o.keys = &once{b.node(s.PropertyNames)}
	}
	// An object that is being read has one bit for each rule, in words that it appends to reader.bits.
	o.words = (len(o.rules) + 63) / 64
	o.required = make([]uint64, o.words)
	for _, i := range required {
		o.required[i/64] |= 1 << (i % 64)
	}
	o.names, o.order = newNameTable(index), newKeyOrder(index)
	return o
}

// setOf makes a set of values as the compiler has decoded them. Up to eight strings are also kept in a
// list, in which a comparison of bytes is faster than a hash.
func setOf(values []any) *valueSet {
	set := &valueSet{values: make(map[string]struct{}, len(values))}
	for _, v := range values {
		if text, ok := v.(string); ok {
			set.has |= kindText
			set.texts = append(set.texts, text)
			set.maxText = max(set.maxText, len(text))
			set.values[text] = struct{}{} // no other value has this form, see valueSet.text
			continue
		}
		// The first byte of a canonical form tells the type.
		form := string(canonicalValue(nil, v))
		switch form[0] {
		case '[':
			set.has |= kindArray
		case '{':
			set.has |= kindObject
		case 'n':
			set.has |= kindNull
		case 't', 'f':
			set.has |= kindBool
		default:
			set.has |= kindNumber
		}
		set.values[otherPrefix+form] = struct{}{}
	}
	if len(set.texts) > 8 {
		set.texts = nil
	}
	return set
}

// otherPrefix is a byte with which no string in valid UTF-8 begins, so that the string "1" and the number
// 1 have different forms.
const otherPrefix = "\xff"

// hasText reports whether the string is in the set.
func (set *valueSet) hasText(text []byte) bool {
	if set.has&kindText == 0 || len(text) > set.maxText {
		return false
	}
	if set.texts == nil {
		_, ok := set.values[string(text)]
		return ok
	}
	return slices.ContainsFunc(set.texts, func(known string) bool { return known == string(text) })
}

// decimal returns an optional bound as a decimal, nil for none.
func (b *builder) decimal(bound *big.Rat) *decimal {
	if bound == nil {
		return nil
	}
	d, ok := decimalOf(bound)
	if !ok {
		b.rare = true
	}
	return &d
}
