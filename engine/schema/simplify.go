package schema

import (
	"sync/atomic"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// same calls f with each node that applies to the same value as n, until f returns false.
func (n *node) same(f func(*node) bool) bool {
	if c := n.combined; c != nil {
		for _, list := range [][]*node{c.allOf, c.anyOf, c.oneOf, {c.then, c.otherwise}} {
			for _, m := range list {
				if m != nil && !f(m) {
					return false
				}
			}
		}
		for _, m := range []*once{c.not, c.cond} {
			if m != nil && !f(m.node) {
				return false
			}
		}
	}
	if n.object != nil {
		for _, d := range n.object.dependent {
			if d.schema != nil && !f(d.schema) {
				return false
			}
		}
	}
	return true
}

// cyclic reports whether a schema comes back to itself on the same value, as {"$ref": "#"} does: a reader
// would never end. The compiler's validator refuses documents that get there; it is left to do so. (A schema
// that comes back to itself on a part of the value is fine, since parts get smaller.)
func cyclic(nodes map[*jsonschema.Schema]*node) bool {
	// A depth-first search; a node that is met while it is still entered closes a circle.
	const entered, left = 1, 2
	state := make(map[*node]int, len(nodes))
	var visit func(n *node) bool
	visit = func(n *node) bool {
		if n == nil {
			return true
		}
		switch state[n] {
		case entered:
			return false
		case left:
			return true
		}
		state[n] = entered
		ok := n.same(visit)
		state[n] = left
		return ok
	}
	for _, n := range nodes {
		if !visit(n) {
			return true
		}
	}
	return false
}

// final returns the node that n is equivalent to: the target of a mere reference, nil for a node that accepts
// everything. There are no circles of references, since cyclic has refused them.
func final(n *node) *node {
	for n != nil && !n.never && !n.direct {
		// Nothing but combined schemas: none at all, one reference, or something of substance.
		c := n.combined
		if c == nil {
			return nil
		}
		if len(c.allOf) != 1 || len(c.anyOf)+len(c.oneOf) > 0 || c.not != nil || c.cond != nil {
			return n
		}
		n = c.allOf[0]
	}
	return n
}

// simplify replaces all nodes that n points to by their final ones.
func (b *builder) simplify(n *node) {
	all := func(list []*node) {
		for i := range list {
			list[i] = final(list[i])
		}
	}
	if c := n.combined; c != nil {
		all(c.allOf)
		all(c.anyOf)
		all(c.oneOf)
		c.then, c.otherwise = final(c.then), final(c.otherwise)
		for _, o := range []*once{c.not, c.cond} {
			if o != nil {
				o.node = final(o.node)
			}
		}
	}
	if o := n.object; o != nil {
		for i := range o.rules {
			o.rules[i].schema = final(o.rules[i].schema)
		}
		for i := range o.patterns {
			o.patterns[i].schema = final(o.patterns[i].schema)
		}
		for i := range o.dependent {
			o.dependent[i].schema = final(o.dependent[i].schema)
		}
		o.extra = final(o.extra)
		if o.keys != nil {
			o.keys.node = final(o.keys.node)
		}
	}
	if a := n.array; a != nil {
		all(a.prefix)
		a.rest = final(a.rest)
		if a.contains != nil {
			a.contains.node = final(a.contains.node)
		}
	}
}

// nameTable is a hash table from names to indices. Its hash looks at the length and three bytes only, which is
// enough for the few names of a usual schema; when a schema has many names with the same hash (an author may
// choose them so), a Go map takes its place.
type nameTable struct {
	mask  uint32
	slots []nameSlot
	rest  map[string]int // instead of slots, when too many look alike
}

// nameSlot is one entry of a nameTable.
type nameSlot struct {
	name  string
	index int // from 1; 0 is empty
}

// maxProbes bounds a search in the slots, whatever names the schema has.
const maxProbes = 4

// newNameTable makes the table. It is at most half full, so that a search for an unknown name ends soon.
func newNameTable(index map[string]int) nameTable {
	size := 4
	for size < 2*len(index) {
		size *= 2
	}
	t := nameTable{mask: uint32(size - 1), slots: make([]nameSlot, size)} //nolint:gosec // bounded by MaxSchemaBytes
	for name, i := range index {
		// Names with the same hash lie one after the other.
		at, probes := nameHash([]byte(name))&t.mask, 1
		for ; t.slots[at].index != 0; at = (at + 1) & t.mask {
			if probes++; probes > maxProbes {
				return nameTable{rest: index}
			}
		}
		t.slots[at] = nameSlot{name, i + 1}
	}
	return t
}

// nameHash hashes length, first, middle and last byte.
func nameHash(name []byte) uint32 {
	n := len(name)
	if n == 0 {
		return 0
	}
	return uint32(n)*3 + uint32(name[0])*31 + uint32(name[n-1])*7 + uint32(name[n/2])*17 //nolint:gosec // a hash
}

// find returns the index of a name, or -1.
func (t *nameTable) find(name []byte) int {
	if t.rest != nil {
		if i, ok := t.rest[string(name)]; ok {
			return i
		}
		return -1
	}
	for at := nameHash(name) & t.mask; ; at = (at + 1) & t.mask {
		slot := &t.slots[at]
		if slot.index == 0 {
			return -1
		}
		if slot.name == string(name) {
			return slot.index - 1
		}
	}
}

// keyOrder remembers which key followed which in the objects read so far. A program that writes JSON tends to
// keep an order, so a key can be compared with the expected one instead of being scanned and looked up. It is
// a hint and never changes a result: in another order a key costs the lookup and one store. All readers of a
// schema share it, hence the atomics.
type keyOrder struct {
	quoted []string        // the names as they mostly stand in JSON; empty where that would need escapes
	after  []atomic.Uint32 // after[i+1] is the key that last followed key i; after[0] was the first of the last object
}

// newKeyOrder begins with the order of the indices.
func newKeyOrder(index map[string]int) *keyOrder {
	o := &keyOrder{quoted: make([]string, len(index)), after: make([]atomic.Uint32, len(index)+1)}
	for name, i := range index {
		if plainName(name) {
			o.quoted[i] = `"` + name + `"`
		}
		o.after[i].Store(uint32(i)) //nolint:gosec // bounded by MaxSchemaBytes
	}
	return o
}

// plainName reports whether name stands in JSON as it is.
func plainName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// due returns the index of the key that raw goes on with, or -1 when that is not the
// one which came after last the time before.
func (o *keyOrder) due(raw []byte, last int) int {
	// The name must stand there with both quotes, and something must follow it.
	rule := int(o.after[last].Load())
	quoted := o.quoted[rule]
	if n := len(quoted); n > 0 && len(raw) > n && string(raw[:n]) == quoted {
		return rule
	}
	return -1
}
