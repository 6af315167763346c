package pdk

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Schema returns a JSON Schema (2020-12) for the JSON form of T.
//
// A struct becomes an object that takes no other properties; a field is required
// unless its json tag says omitempty or omitzero. These tags of a field are read:
//
//	description:"what the field means"
//	enum:"red,green,blue"       the values allowed, in the field's own type
//	minimum:"0" maximum:"10"    numbers
//
// Pointers may be null; any and [json.RawMessage] take every value. Schema panics
// on types without a JSON form (channels, functions, maps without string keys).
func Schema[T any]() json.RawMessage { return schemaOf(reflect.TypeFor[T](), false) }

// outputSchema is Schema for values that Go encodes: a nil slice or map is null.
func outputSchema[T any]() json.RawMessage { return schemaOf(reflect.TypeFor[T](), true) }

func schemaOf(t reflect.Type, nilIsNull bool) json.RawMessage {
	g := generator{nilIsNull: nilIsNull, open: map[reflect.Type]bool{}, names: map[reflect.Type]string{}}
	root := g.typ(t)
	if len(g.defs) > 0 {
		var defs object
		for len(g.defs) > 0 {
			next := g.defs[0]
			g.defs = g.defs[1:]
			defs = append(defs, member{g.names[next], g.structure(next)})
		}
		root = append(root, member{"$defs", defs})
	}
	b, err := encode(root)
	if err != nil {
		panic(fmt.Sprintf("pdk: schema of %v: %v", t, err))
	}
	return b
}

// object is a JSON object that keeps the order of its members, so that a
// descriptor is the same bytes each time.
type object []member

type member struct {
	key   string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			buf.WriteByte(',')
		}
		k, err := encode(m.key)
		if err != nil {
			return nil, err
		}
		v, err := encode(m.value)
		if err != nil {
			return nil, err
		}
		buf.Write(k)
		buf.WriteByte(':')
		buf.Write(v)
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}

// with sets a member, in place when there is one.
func (o object) with(key string, value any) object {
	for i := range o {
		if o[i].key == key {
			o[i].value = value
			return o
		}
	}
	return append(o, member{key, value})
}

type generator struct {
	nilIsNull bool
	open      map[reflect.Type]bool   // structs being written, to find recursion
	names     map[reflect.Type]string // recursive structs and their names in $defs
	defs      []reflect.Type          // of those, the ones still to be written
}

var (
	rawMessage      = reflect.TypeFor[json.RawMessage]()
	number          = reflect.TypeFor[json.Number]()
	instant         = reflect.TypeFor[time.Time]()
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func (g *generator) typ(t reflect.Type) object {
	switch t {
	case rawMessage:
		return object{}
	case number:
		return object{{"type", "number"}}
	case instant:
		return object{{"type", "string"}, {"format", "date-time"}}
	}
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		if t.Implements(jsonMarshaler) || reflect.PointerTo(t).Implements(jsonMarshaler) {
			return object{} // only its author knows its form
		}
		if t.Implements(textMarshaler) || reflect.PointerTo(t).Implements(textUnmarshaler) {
			return object{{"type", "string"}}
		}
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{{"type", "boolean"}}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{{"type", "integer"}}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return object{{"type", "integer"}, {"minimum", 0}}
	case reflect.Float32, reflect.Float64:
		return object{{"type", "number"}}
	case reflect.String:
		return object{{"type", "string"}}
	case reflect.Interface:
		return object{}
	case reflect.Pointer:
		return nullable(g.typ(t.Elem()))
	case reflect.Slice:
		s := object{{"type", "array"}, {"items", nil}}
		if t.Elem().Kind() == reflect.Uint8 {
			s = object{{"type", "string"}, {"contentEncoding", "base64"}}
		} else {
			s[1].value = g.typ(t.Elem())
		}
		return g.orNull(s)
	case reflect.Array:
		return object{{"type", "array"}, {"items", g.typ(t.Elem())}, {"minItems", t.Len()}, {"maxItems", t.Len()}}
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			panic(fmt.Sprintf("pdk: no schema for %v: keys must be strings", t))
		}
		return g.orNull(object{{"type", "object"}, {"additionalProperties", g.typ(t.Elem())}})
	case reflect.Struct:
		return g.structOrRef(t)
	default:
		panic(fmt.Sprintf("pdk: no schema for %v", t))
	}
}

func (g *generator) orNull(s object) object {
	if g.nilIsNull {
		return nullable(s)
	}
	return s
}

// nullable lets s be null as well.
func nullable(s object) object {
	if len(s) == 0 {
		return s
	}
	if name, ok := s[0].value.(string); ok && s[0].key == "type" {
		return append(object{{"type", []string{name, "null"}}}, s[1:]...)
	}
	if _, ok := s[0].value.([]string); ok && s[0].key == "type" {
		return s
	}
	return object{{"anyOf", []object{s, {{"type", "null"}}}}}
}

func (g *generator) structOrRef(t reflect.Type) object {
	if name, ok := g.names[t]; ok {
		return object{{"$ref", "#/$defs/" + name}}
	}
	if g.open[t] {
		name := plainName(t.Name())
		for taken := true; taken; {
			taken = false
			for _, other := range g.names {
				if other == name {
					name, taken = name+"_", true
				}
			}
		}
		g.names[t] = name
		g.defs = append(g.defs, t)
		return object{{"$ref", "#/$defs/" + name}}
	}
	return g.structure(t)
}

// plainName makes a type's name one that a $ref can hold: the name of a generic type has
// brackets, dots and slashes.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, name)
}

func (g *generator) structure(t reflect.Type) object {
	outer := g.open[t]
	g.open[t] = true
	defer func() { g.open[t] = outer }()
	properties, required := object{}, []string{}
	for _, f := range g.fields(t) {
		properties = append(properties, member{f.name, f.schema})
		if !f.optional {
			required = append(required, f.name)
		}
	}
	s := object{{"type", "object"}, {"properties", properties}}
	if len(required) > 0 {
		s = append(s, member{"required", required})
	}
	return append(s, member{"additionalProperties", false})
}

// field is a property of a struct's schema.
type field struct {
	name     string
	schema   object
	optional bool
	depth    int // of embedded structs around it
	tagged   bool
	dropped  bool // other fields of this depth have the name, so encoding/json takes none of them
}

// fields returns the properties of a struct. Of fields that have one name, that of the
// outermost struct counts, then the one whose name is in its tag, as in encoding/json.
func (g *generator) fields(t reflect.Type) []field {
	all := []field{}
	at := map[string]int{}
	g.collect(t, 0, false, map[reflect.Type]bool{t: true}, func(f field) {
		i, found := at[f.name]
		switch {
		case !found:
			at[f.name] = len(all)
			all = append(all, f)
		case f.depth < all[i].depth, f.depth == all[i].depth && f.tagged && !all[i].tagged:
			all[i] = f
		case f.depth == all[i].depth && f.tagged == all[i].tagged:
			all[i].dropped = true
		}
	})
	return slices.DeleteFunc(all, func(f field) bool { return f.dropped })
}

// collect gives the fields of t and of the structs that are embedded in it to add. Fields of
// one that is embedded by its pointer are optional, because a nil pointer has none.
func (g *generator) collect(t reflect.Type, depth int, optional bool, open map[reflect.Type]bool, add func(field)) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" {
			continue
		}
		if embedded := deref(f.Type); f.Anonymous && name == "" && embedded.Kind() == reflect.Struct {
			if !open[embedded] {
				open[embedded] = true
				g.collect(embedded, depth+1, optional || f.Type.Kind() == reflect.Pointer, open, add)
				delete(open, embedded)
			}
			continue
		}
		if !f.IsExported() {
			continue
		}
		own := field{name: name, depth: depth, tagged: name != "", optional: optional}
		if name == "" {
			own.name = f.Name
		}
		quoted := false
		for o := range strings.SplitSeq(options, ",") {
			own.optional = own.optional || o == "omitempty" || o == "omitzero"
			quoted = quoted || o == "string" && isScalar(deref(f.Type))
		}
		s := g.typ(f.Type)
		if quoted {
			s = object{{"type", "string"}}
			if f.Type.Kind() == reflect.Pointer {
				s = nullable(s)
			}
		}
		own.schema = annotate(s, f)
		add(own)
	}
}

// isScalar reports whether the option "string" of a json tag has an effect on a type.
func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return true
	default:
		return false
	}
}

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// annotate adds the keywords of a field's tags to the schema of its type.
func annotate(s object, f reflect.StructField) object {
	if d := f.Tag.Get("description"); d != "" {
		s = append(s, member{"description", d})
	}
	for _, key := range []string{"minimum", "maximum"} {
		if v := f.Tag.Get(key); v != "" {
			s = s.with(key, literal(f, v, false))
		}
	}
	if e := f.Tag.Get("enum"); e != "" {
		var values []json.RawMessage
		for v := range strings.SplitSeq(e, ",") {
			values = append(values, literal(f, v, deref(f.Type).Kind() == reflect.String))
		}
		if f.Type.Kind() == reflect.Pointer {
			values = append(values, json.RawMessage("null"))
		}
		s = append(s, member{"enum", values})
	}
	return s
}

func literal(f reflect.StructField, text string, isString bool) json.RawMessage {
	if isString {
		b, _ := encode(text)
		return b
	}
	if !json.Valid([]byte(text)) {
		panic(fmt.Sprintf("pdk: field %s: %q is no JSON value", f.Name, text))
	}
	return json.RawMessage(text)
}
