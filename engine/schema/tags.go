package schema

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
)

// tags holds the parts of a field's tags that concern its schema.
type tags struct {
	hidden   bool // jsonschema:"-"
	required bool
	nullable bool
	text     string // the tag jsonschema with its commas escaped
	about    string // the tag jsonschema_description
	extras   string // the tag jsonschema_extras
}

// keywords are the words that begin a new entry of the tag jsonschema. Anything else goes on
// with the entry before: "description=first, second" is one description.
var keywords = []string{
	"title", "description", "type", "anchor", "oneof_required", "anyof_required", "oneof_ref", "anyof_ref", "oneof_type", "anyof_type",
	"minLength", "maxLength", "pattern", "format", "readOnly", "writeOnly", "default", "example", "enum",
	"multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "uniqueItems",
}

func readTags(f reflect.StructField) tags {
	raw := f.Tag.Get("jsonschema")
	t := tags{about: f.Tag.Get("jsonschema_description"), extras: f.Tag.Get("jsonschema_extras")}
	if raw == "-" {
		t.hidden = true
		return t
	}
	var entries []string
	for piece := range strings.SplitSeq(raw, ",") {
		name, _, assigns := strings.Cut(piece, "=")
		switch {
		case piece == "required" && !continues(entries):
			t.required = true
		case piece == "nullable" && !continues(entries):
			t.nullable = true
		case len(entries) > 0 && (continues(entries) || !assigns || !slices.Contains(keywords, name)):
			last := len(entries) - 1
			entries[last] = strings.TrimSuffix(entries[last], `\`) + `\,` + piece
		default:
			entries = append(entries, piece)
		}
	}
	t.text = strings.Join(entries, ",")
	return t
}

// continues reports whether the comma after the last entry was escaped.
func continues(entries []string) bool {
	return len(entries) > 0 && strings.HasSuffix(entries[len(entries)-1], `\`)
}

// apply sets what the tags say on s. The keywords are read by the reflector of
// invopop/jsonschema, from a struct of one field: what it sets beyond the field's type
// is what the tags say.
func (t tags) apply(s, parent *jsonschema.Schema, key string) {
	if t.text == "" && t.about == "" && t.extras == "" {
		return
	}
	stand := standIn(s)
	plain, _ := reflectField(stand, key, tags{})
	tagged, groups := reflectField(stand, key, t)
	if plain == nil || tagged == nil {
		return
	}
	overlay(s, plain, tagged)
	parent.OneOf = mergeGroups(parent.OneOf, groups.OneOf)
	parent.AnyOf = mergeGroups(parent.AnyOf, groups.AnyOf)
}

// standIn is a Go type to which the same keywords apply as to s.
func standIn(s *jsonschema.Schema) reflect.Type {
	switch s.Type {
	case "string":
		return reflect.TypeFor[string]()
	case "integer":
		return reflect.TypeFor[int]()
	case "number":
		return reflect.TypeFor[float64]()
	case "boolean":
		return reflect.TypeFor[bool]()
	case "array":
		if s.Items != nil {
			return reflect.SliceOf(standIn(s.Items))
		}
	}
	return reflect.TypeFor[any]()
}

func reflectField(t reflect.Type, key string, tags tags) (property, parent *jsonschema.Schema) {
	var tag strings.Builder
	tag.WriteString("json:" + strconv.Quote(key))
	for _, entry := range [][2]string{{"jsonschema", tags.text}, {"jsonschema_description", tags.about}, {"jsonschema_extras", tags.extras}} {
		if entry[1] != "" {
			tag.WriteString(" " + entry[0] + ":" + strconv.Quote(entry[1]))
		}
	}
	object := reflect.StructOf([]reflect.StructField{{Name: "F", Type: t, Tag: reflect.StructTag(tag.String())}})
	parent = (&jsonschema.Reflector{Anonymous: true, DoNotReference: true}).ReflectFromType(object)
	if parent.Properties == nil {
		return nil, parent
	}
	property, _ = parent.Properties.Get(key)
	return property, parent
}

// overlay sets on s the keywords that tagged has and plain has not.
func overlay(s, plain, tagged *jsonschema.Schema) {
	to, base, from := reflect.ValueOf(s).Elem(), reflect.ValueOf(plain).Elem(), reflect.ValueOf(tagged).Elem()
	for i := range to.NumField() {
		f := to.Type().Field(i)
		if !f.IsExported() || f.Name == "Items" || reflect.DeepEqual(base.Field(i).Interface(), from.Field(i).Interface()) {
			continue
		}
		to.Field(i).Set(from.Field(i))
	}
	if s.Items != nil && plain.Items != nil && tagged.Items != nil && tagged.Items != plain.Items {
		items := *s.Items
		overlay(&items, plain.Items, tagged.Items)
		s.Items = &items
	}
}

// mergeGroups adds the groups of required fields (oneof_required, anyof_required).
func mergeGroups(have, more []*jsonschema.Schema) []*jsonschema.Schema {
	for _, g := range more {
		i := slices.IndexFunc(have, func(h *jsonschema.Schema) bool { return h.Title == g.Title })
		if i < 0 {
			have = append(have, g)
			continue
		}
		have[i].Required = append(have[i].Required, g.Required...)
	}
	return have
}
