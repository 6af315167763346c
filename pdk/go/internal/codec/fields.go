package codec

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// field is a member of a struct's JSON form.
type field struct {
	*node
	name string
	key  string // the name as it is written: `"name":`
	next string // the same after another member: `,"name":`
	// head is the first eight bytes of key, of which those in mask count, and tail the last.
	head, mask, tail uint64
	nexts            [2]uint64 // the first 16 bytes of next

	offset uintptr
	quoted bool // the number is written as a string
	empty  rule // leaves the member out, for omitempty
	zero   rule // for omitzero
}

// rule says which values of a member are left out.
type rule uint8

const (
	never    rule = iota
	always        // an array without elements
	zero8         // those of 8 bits that are all zero
	zero16        // of 16, …
	zero32        // …
	zero64        // …
	noBytes       // strings and slices without elements
	noEntry       // maps without any
	isZero        // those that package reflect finds to be zero
	saysZero      // those whose method IsZero says so
)

// candidate is a field that may be a member, before those of one name are compared.
type candidate struct {
	field
	index  []int
	tagged bool
}

// embedded is a struct whose fields are members of the one that it is embedded in.
type embedded struct {
	typ    reflect.Type
	offset uintptr
	index  []int
}

// fields finds the members of a struct in the order in which encoding/json writes them, by the rules of its documentation:
// of those with one name the least nested counts, then the one that is named by its tag, and where two are left, none. It
// reports false for a struct with a field that is left to encoding/json, and so the struct is.
func (c compiler) fields(n *node) ([]field, bool) {
	var all []candidate
	level := []embedded{{typ: n.typ}}
	times, visited := map[reflect.Type]int{}, map[reflect.Type]bool{}
	for len(level) > 0 {
		var below []embedded
		timesBelow := map[reflect.Type]int{}
		for _, s := range level {
			if visited[s.typ] {
				continue
			}
			visited[s.typ] = true
			for i := range s.typ.NumField() {
				f, inner, ok := c.field(s, i, n.addr)
				switch {
				case !ok:
					return nil, false
				case inner != nil:
					if timesBelow[inner.typ]++; timesBelow[inner.typ] == 1 {
						below = append(below, *inner)
					}
				case f != nil:
					all = append(all, *f)
					if times[s.typ] > 1 {
						all = append(all, *f) // the struct is embedded twice: neither counts
					}
				}
			}
		}
		level, times = below, timesBelow
	}
	all = dominant(all)
	n.ascii = true
	fields := make([]field, len(all))
	for i, f := range all {
		fields[i] = f.field
		n.ascii = n.ascii && isASCII(f.name)
	}
	return fields, len(fields) <= 64
}

// field looks at a field of a struct, which is a member, an embedded struct, or neither. It reports false for what is left to
// encoding/json.
func (c compiler) field(s embedded, i int, addr bool) (*candidate, *embedded, bool) {
	f := s.typ.Field(i)
	pointed := f.Type.Kind() == reflect.Pointer
	base := f.Type
	if pointed {
		base = base.Elem()
	}
	tag := f.Tag.Get("json")
	if tag == "-" || !f.IsExported() && (!f.Anonymous || base.Kind() != reflect.Struct) {
		return nil, nil, true
	}
	name, options, _ := strings.Cut(tag, ",")
	if name != "" && !nameAllowed(name) {
		return nil, nil, false // which name that gives depends on the version of encoding/json
	}
	index := append(slices.Clone(s.index), i)
	if f.Anonymous && name == "" && base.Kind() == reflect.Struct {
		return nil, &embedded{base, s.offset + f.Offset, index}, !pointed
	}
	if !f.IsExported() {
		return nil, nil, false // encoding/json does not see its methods
	}
	m := &candidate{index: index, tagged: name != ""}
	if name == "" {
		name = f.Name
	}
	var quoted encoder
	if !quoted.text(name) {
		return nil, nil, false
	}
	m.field = field{node: c.node(f.Type, addr), name: name, offset: s.offset + f.Offset}
	m.write(string(quoted.done()) + ":")
	var ok bool
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "omitempty":
			m.empty = emptyRule(f.Type)
		case "omitzero":
			if m.zero, ok = zeroRule(f.Type); !ok {
				return nil, nil, false
			}
		case "string":
			if m.quoted, ok = quotable(m.node, base); !ok {
				return nil, nil, false
			}
		}
	}
	return m, nil, true
}

// write keeps the forms of a key.
func (f *field) write(key string) {
	f.key, f.next = key, ","+key
	padded := append([]byte(f.next), make([]byte, 16)...)
	f.nexts = [2]uint64{load(padded, 0), load(padded, 8)}
	f.head, f.mask = load(padded, 1), ^uint64(0)
	if len(key) < 8 {
		f.mask = 1<<(8*len(key)) - 1
	} else {
		f.tail = load(padded, 1+len(key)-8)
	}
}

// dominant keeps of the fields of one name the one that encoding/json takes, if any, and puts them in order.
func dominant(all []candidate) []candidate {
	order := func(a, b candidate) int {
		tagged := 0
		if a.tagged != b.tagged {
			tagged = 1
			if a.tagged {
				tagged = -1
			}
		}
		return cmp.Or(strings.Compare(a.name, b.name), len(a.index)-len(b.index), tagged)
	}
	slices.SortStableFunc(all, order)
	var kept []candidate
	for i := 0; i < len(all); {
		j := i + 1
		for j < len(all) && all[j].name == all[i].name {
			j++
		}
		if j == i+1 || order(all[i], all[i+1]) != 0 {
			kept = append(kept, all[i])
		}
		i = j
	}
	slices.SortFunc(kept, func(a, b candidate) int { return slices.Compare(a.index, b.index) })
	return kept
}

// nameAllowed reports whether encoding/json takes a name from a tag.
func nameAllowed(name string) bool {
	for _, r := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return true
}

// quotable says what the option string of a tag means for a type: it quotes integers, is ignored for what is no scalar, and is
// left to encoding/json for all others.
func quotable(n *node, base reflect.Type) (quoted, ok bool) {
	if _, scalar := scalars[base.Kind()]; !scalar {
		return false, true
	}
	integer := n.dec >= opInt8 && n.dec <= opUint64 && n.enc == n.dec
	return integer, integer
}

func emptyRule(t reflect.Type) rule {
	switch t.Kind() {
	case reflect.String, reflect.Slice:
		return noBytes
	case reflect.Map:
		return noEntry
	case reflect.Array:
		if t.Len() == 0 {
			return always
		}
		return never
	case reflect.Interface, reflect.Float32, reflect.Float64:
		return isZero
	case reflect.Pointer:
		return zeroBits(t)
	default:
		if _, ok := scalars[t.Kind()]; ok {
			return zeroBits(t)
		}
		return never
	}
}

func zeroRule(t reflect.Type) (r rule, ok bool) {
	zeroer := reflect.TypeFor[interface{ IsZero() bool }]()
	switch {
	case t.Implements(zeroer):
		return saysZero, t.Kind() != reflect.Interface && t.Kind() != reflect.Pointer
	case t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(zeroer):
		return never, false
	case t.Kind() == reflect.String:
		return noBytes, true
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		return isZero, true // also -0, in some versions of Go
	}
	if _, scalar := scalars[t.Kind()]; scalar || t.Kind() == reflect.Pointer {
		return zeroBits(t), true
	}
	return isZero, true
}

func zeroBits(t reflect.Type) rule {
	return map[uintptr]rule{1: zero8, 2: zero16, 4: zero32, 8: zero64}[t.Size()]
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
