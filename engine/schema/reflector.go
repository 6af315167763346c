package schema

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
)

// reflector turns the Go types of one schema into its parts. Types that contain
// themselves go to $defs, all others are written where they stand; the root always is,
// so that it is never a mere reference.
type reflector struct {
	names map[reflect.Type]string // of the types in $defs
	taken map[string]bool
	defs  jsonschema.Definitions
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	ownSchema     = reflect.TypeFor[interface{ JSONSchema() *jsonschema.Schema }]()
	aliasSchema   = reflect.TypeFor[interface{ JSONSchemaAlias() any }]()
	extendSchema  = reflect.TypeFor[interface {
		JSONSchemaExtend(schema *jsonschema.Schema)
	}]()
	propertyAlias = reflect.TypeFor[interface{ JSONSchemaProperty(prop string) any }]()
)

var errNoJSON = errors.New("can't be JSON")

// wellKnown are types of the standard library that write more than a text or a struct
// says. Formats are left out where the zero value has none: netip.Addr writes "".
func wellKnown(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[time.Time]():
		return &jsonschema.Schema{Type: "string", Format: "date-time"}
	case reflect.TypeFor[json.Number]():
		return &jsonschema.Schema{Type: "number"}
	case reflect.TypeFor[*big.Int]():
		return &jsonschema.Schema{Type: "integer"}
	case rawMessageType:
		return &jsonschema.Schema{}
	}
	return nil
}

// hasMethods reports whether a value of t, or a pointer to it, writes itself.
func hasMethods(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(jsonMarshaler) || p.Implements(textMarshaler) || p.Implements(ownSchema) || p.Implements(aliasSchema)
}

// schemaOf returns the schema of a value of t where it stands.
func (r *reflector) schemaOf(t reflect.Type) (*jsonschema.Schema, error) {
	if !recursive(t) {
		return r.inline(t)
	}
	if name, known := r.names[t]; known {
		return &jsonschema.Schema{Ref: "#/$defs/" + name}, nil
	}
	name := r.name(t)
	s, err := r.inline(t)
	if err != nil {
		return nil, err
	}
	r.defs[name] = s
	return &jsonschema.Schema{Ref: "#/$defs/" + name}, nil
}

var noName = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// packagePath matches the package path before a type's name among the arguments of a generic type.
var packagePath = regexp.MustCompile(`[^\[\],*\s]*[/.]`)

// name gives t a name under $defs that no other type has. It needs no escaping in a
// JSON pointer, and OpenAI takes it.
func (r *reflector) name(t reflect.Type) string {
	base := strings.Trim(noName.ReplaceAllString(packagePath.ReplaceAllString(t.Name(), ""), "_"), "_")
	if base == "" {
		base = "Type"
	}
	name := base
	for n := 2; r.taken[name]; n++ {
		name = base + "_" + strconv.Itoa(n)
	}
	r.taken[name], r.names[t] = true, name
	return name
}

// inline returns the schema of t, written out.
func (r *reflector) inline(t reflect.Type) (*jsonschema.Schema, error) {
	if s := wellKnown(t); s != nil {
		return s, nil
	}
	if t.Kind() == reflect.Pointer && wellKnown(t.Elem()) != nil {
		return wellKnown(t.Elem()), nil
	}
	if s, done, err := r.custom(t); done || err != nil {
		return s, err
	}
	if t.Kind() == reflect.Pointer {
		return r.element(t.Elem())
	}
	s, err := r.byKind(t)
	if err != nil {
		return nil, err
	}
	if reflect.PointerTo(t).Implements(extendSchema) {
		if e, ok := reflect.TypeAssert[interface {
			JSONSchemaExtend(schema *jsonschema.Schema)
		}](reflect.New(t)); ok {
			e.JSONSchemaExtend(s)
		}
	}
	return s, nil
}

// custom returns the schema of a type that says it itself or that writes itself.
func (r *reflector) custom(t reflect.Type) (s *jsonschema.Schema, done bool, err error) {
	p := reflect.PointerTo(t)
	if t.Kind() == reflect.Pointer {
		if p = t; t.Elem().Kind() == reflect.Pointer {
			return nil, false, nil
		}
	}
	zero := func() any { return reflect.New(p.Elem()).Interface() }
	switch {
	case p.Implements(ownSchema):
		if o, ok := zero().(interface{ JSONSchema() *jsonschema.Schema }); ok {
			s := *o.JSONSchema()
			return &s, true, nil
		}
	case p.Implements(aliasSchema):
		if o, ok := zero().(interface{ JSONSchemaAlias() any }); ok {
			s, err := r.schemaOf(reflect.TypeOf(o.JSONSchemaAlias()))
			return s, true, err
		}
	case t.Implements(jsonMarshaler):
		return &jsonschema.Schema{}, true, nil
	case t.Kind() != reflect.Pointer && p.Implements(jsonMarshaler):
		return &jsonschema.Schema{}, true, nil // it depends on whether the value can be addressed
	case t.Implements(textMarshaler):
		return &jsonschema.Schema{Type: "string"}, true, nil
	case t.Kind() != reflect.Pointer && p.Implements(textMarshaler):
		return &jsonschema.Schema{}, true, nil
	}
	return nil, false, nil
}

func (r *reflector) byKind(t reflect.Type) (*jsonschema.Schema, error) {
	switch t.Kind() {
	case reflect.Struct:
		return r.object(t)
	case reflect.Slice, reflect.Array:
		return r.list(t)
	case reflect.Map:
		return r.dictionary(t)
	case reflect.Interface:
		return &jsonschema.Schema{}, nil
	case reflect.String:
		return &jsonschema.Schema{Type: "string"}, nil
	case reflect.Bool:
		return &jsonschema.Schema{Type: "boolean"}, nil
	case reflect.Float32, reflect.Float64:
		return &jsonschema.Schema{Type: "number"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return &jsonschema.Schema{Type: "integer"}, nil
	}
	return nil, fmt.Errorf("%s %w", t, errNoJSON)
}

// element is the schema of a value inside another, which may be nil.
func (r *reflector) element(t reflect.Type) (*jsonschema.Schema, error) {
	s, err := r.schemaOf(t)
	if err == nil && nilable(t) {
		s = nullable(s)
	}
	return s, err
}

func (r *reflector) list(t reflect.Type) (*jsonschema.Schema, error) {
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !hasMethods(t.Elem()) {
		return &jsonschema.Schema{Type: "string", ContentEncoding: "base64"}, nil
	}
	items, err := r.element(t.Elem())
	if err != nil {
		return nil, err
	}
	s := &jsonschema.Schema{Type: "array", Items: items}
	if t.Kind() == reflect.Array {
		n := uint64(t.Len()) //nolint:gosec // a length
		s.MinItems, s.MaxItems = &n, &n
	}
	return s, nil
}

func (r *reflector) dictionary(t reflect.Type) (*jsonschema.Schema, error) {
	values, err := r.element(t.Elem())
	if err != nil {
		return nil, err
	}
	s := &jsonschema.Schema{Type: "object"}
	keys := ""
	switch k := t.Key(); {
	case k.Kind() == reflect.String || k.Implements(textMarshaler):
		if !empty(values) {
			s.AdditionalProperties = values
		}
		return s, nil
	case k.Kind() >= reflect.Int && k.Kind() <= reflect.Int64:
		keys = "^-?[0-9]+$"
	case k.Kind() >= reflect.Uint && k.Kind() <= reflect.Uintptr:
		keys = "^[0-9]+$"
	default:
		return nil, fmt.Errorf("%s %w: a key is neither text nor a whole number", t, errNoJSON)
	}
	s.PatternProperties = map[string]*jsonschema.Schema{keys: values}
	s.AdditionalProperties = jsonschema.FalseSchema
	return s, nil
}

func (r *reflector) object(t reflect.Type) (*jsonschema.Schema, error) {
	s := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
	for _, f := range fieldsOf(t) {
		tags := readTags(f.StructField)
		if tags.hidden { // the schema is not to name it, but it is written
			s.AdditionalProperties = nil
			continue
		}
		property, err := r.property(t, f, tags, s)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		s.Properties.Set(f.key, property)
		if (!f.optional && !f.absent || tags.required) && !slices.Contains(s.Required, f.key) {
			s.Required = append(s.Required, f.key)
		}
	}
	return s, nil
}

func (r *reflector) property(t reflect.Type, f field, tags tags, parent *jsonschema.Schema) (*jsonschema.Schema, error) {
	ft := f.Type
	if reflect.PointerTo(t).Implements(propertyAlias) {
		if o, ok := reflect.TypeAssert[interface{ JSONSchemaProperty(prop string) any }](reflect.New(t)); ok {
			if alias := o.JSONSchemaProperty(f.key); alias != nil {
				ft = reflect.TypeOf(alias)
			}
		}
	}
	s, err := r.schemaOf(ft)
	if err != nil {
		return nil, err
	}
	c := *s // its description and limits are the field's own
	if f.quoted {
		c = jsonschema.Schema{Type: "string"}
	}
	tags.apply(&c, parent, f.key)
	if (nilable(f.Type) && !f.optional) || tags.nullable {
		return nullable(&c), nil
	}
	return &c, nil
}

// nilable reports whether encoding/json writes null for the zero value of t.
func nilable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer:
		return true
	case reflect.Slice, reflect.Map:
		return !t.Implements(jsonMarshaler) && !t.Implements(textMarshaler)
	}
	return false
}

// nullable returns s with null admitted.
func nullable(s *jsonschema.Schema) *jsonschema.Schema {
	if empty(s) || s.Extras["type"] != nil {
		return s
	}
	plain := s.Ref == "" && s.Type != "" && s.Enum == nil && s.Const == nil &&
		s.AllOf == nil && s.AnyOf == nil && s.OneOf == nil && s.Not == nil && s.If == nil
	if !plain {
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, {Type: "null"}}}
	}
	c := *s
	c.Extras = map[string]any{"type": []string{s.Type, "null"}}
	maps.Copy(c.Extras, s.Extras)
	c.Type = ""
	return &c
}

func empty(s *jsonschema.Schema) bool {
	return reflect.DeepEqual(s, &jsonschema.Schema{}) || s == jsonschema.TrueSchema
}

// recursive reports whether t contains itself, so that it needs a place under $defs.
func recursive(t reflect.Type) bool {
	return t.Name() != "" && !hasMethods(t) && contains(t, t, map[reflect.Type]bool{})
}

func contains(t, sought reflect.Type, seen map[reflect.Type]bool) bool {
	inner := func(next reflect.Type) bool {
		if next == sought {
			return true
		}
		if seen[next] || hasMethods(next) {
			return false
		}
		seen[next] = true
		return contains(next, sought, seen)
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return inner(t.Elem())
	case reflect.Struct:
		return slices.ContainsFunc(fieldsOf(t), func(f field) bool { return inner(f.Type) })
	}
	return false
}
