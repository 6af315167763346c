package schema

import (
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// field is a member of the object that encoding/json writes of a struct.
type field struct {
	reflect.StructField
	key      string
	optional bool // omitempty or omitzero
	absent   bool // it is promoted from an embedded pointer, which may be nil
	quoted   bool // the option string
	depth    int
	tagged   bool
	order    []int
}

// fieldsOf returns the members of a struct in the order of encoding/json, and by its
// rules: fields of embedded structs are promoted, of several with one name the
// shallowest counts, then the one with a tag, else none.
func fieldsOf(t reflect.Type) []field {
	var all []field
	collect(t, nil, false, map[reflect.Type]bool{t: true}, &all)
	byKey := map[string][]field{}
	for _, f := range all {
		byKey[f.key] = append(byKey[f.key], f)
	}
	var out []field
	for _, list := range byKey {
		slices.SortStableFunc(list, func(a, b field) int {
			if a.depth != b.depth {
				return a.depth - b.depth
			}
			if a.tagged != b.tagged {
				if a.tagged {
					return -1
				}
				return 1
			}
			return 0
		})
		if len(list) > 1 && list[0].depth == list[1].depth && list[0].tagged == list[1].tagged {
			continue
		}
		out = append(out, list[0])
	}
	slices.SortFunc(out, func(a, b field) int { return slices.Compare(a.order, b.order) })
	return out
}

// collect appends the fields of t; path is where t is embedded, absent whether that may
// be nil.
func collect(t reflect.Type, path []int, absent bool, within map[reflect.Type]bool, all *[]field) {
	for f := range t.Fields() {
		order := append(slices.Clip(path), f.Index...)
		embedded := f.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		if f.Anonymous && !f.IsExported() && embedded.Kind() != reflect.Struct || !f.Anonymous && !f.IsExported() {
			continue
		}
		tag := f.Tag.Get("json")
		if tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if !validKey(name) {
			name = ""
		}
		if f.Anonymous && name == "" && embedded.Kind() == reflect.Struct {
			if !within[embedded] {
				within[embedded] = true
				collect(embedded, order, absent || f.Type.Kind() == reflect.Pointer, within, all)
				delete(within, embedded)
			}
			continue
		}
		m := field{StructField: f, key: name, depth: len(path), tagged: name != "", order: order}
		if name == "" {
			m.key = f.Name
		}
		list := strings.Split(options, ",")
		m.optional = slices.Contains(list, "omitempty") || slices.Contains(list, "omitzero")
		m.absent = absent
		m.quoted = slices.Contains(list, "string") && quotable(f.Type)
		*all = append(*all, m)
	}
}

// quotable reports whether the option string applies to t.
func quotable(t reflect.Type) bool {
	if t.Name() == "" && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch k := t.Kind(); {
	case k == reflect.Bool, k == reflect.String, k >= reflect.Int && k <= reflect.Float64:
		return !hasMethods(t)
	}
	return false
}

// validKey reports whether encoding/json takes s as a name in a tag.
func validKey(s string) bool {
	if s == "" {
		return false
	}
	for _, c := range s {
		switch {
		case strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c):
		case !unicode.IsLetter(c) && !unicode.IsDigit(c):
			return false
		}
	}
	return true
}
