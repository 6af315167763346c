// Package picoschema turns dotprompt's short form of a schema into JSON Schema.
//
// It owns that form: scalar types with a description after a comma, "?" for fields that
// may be missing or null, (array), (object) and (enum) after a name, "(*)" for further
// fields, and names of registered schemas. JSON Schema is returned as it is. Use:
//
//	schema, err := picoschema.Convert(v, lookup)
//
// Functions here are safe for concurrent use.
package picoschema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
)

// MaxDepth bounds the nesting of a schema.
const MaxDepth = 64

var scalars = []string{"any", "boolean", "integer", "null", "number", "string"}

const wildcard = "(*)"

// Lookup returns the schema of a name, nil when there is none.
type Lookup func(name string) (*value.Object, error)

// Error says which field is wrong.
type Error struct {
	Path []string
	Text string
	Err  error // the error of a Lookup, or nil
}

func (e *Error) Error() string {
	if len(e.Path) == 0 {
		return "schema: " + e.Text
	}
	return "schema: field " + strings.Join(e.Path, ".") + ": " + e.Text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Convert returns v as JSON Schema; nil for null, false and nothing. lookup is asked
// for names that are no types; it may be nil.
func Convert(v any, lookup Lookup) (any, error) {
	if !value.Truthy(v) {
		return nil, nil
	}
	c := converter{lookup}
	object, ok := v.(*value.Object)
	if !ok {
		return c.convert(v, nil)
	}
	if t, _ := object.Get("type"); t != nil {
		if name, ok := t.(string); ok && (slices.Contains(scalars, name) || name == "object" || name == "array") {
			return object, nil
		}
	}
	if properties, _ := object.Get("properties"); properties != nil {
		if _, ok := properties.(*value.Object); ok {
			typed := value.NewObject(1)
			typed.Set("type", "object")
			return object.Merge(typed), nil
		}
	}
	return c.convert(v, nil)
}

type converter struct{ lookup Lookup }

func fail(path []string, format string, args ...any) error {
	return &Error{Path: slices.Clone(path), Text: fmt.Sprintf(format, args...)}
}

func (c converter) convert(v any, path []string) (*value.Object, error) {
	if len(path) > MaxDepth {
		return nil, fail(path[:1], "nested deeper than %d", MaxDepth)
	}
	switch v := v.(type) {
	case string:
		return c.scalar(v, path)
	case *value.Object:
		return c.object(v, path)
	case nil:
		return nil, fail(path, "has no type")
	}
	return nil, fail(path, "want a type or fields, got %s", clip(string(value.Encode(v))))
}

// scalar reads "type, description".
func (c converter) scalar(text string, path []string) (*value.Object, error) {
	name, description := split(text)
	if slices.Contains(scalars, name) {
		s := value.NewObject(2)
		if name != "any" { // anything is no constraint
			s.Set("type", name)
		}
		describe(s, description)
		return s, nil
	}
	if c.lookup == nil {
		return nil, fail(path, "there is no type %q", clip(name))
	}
	found, err := c.lookup(name)
	if err != nil {
		return nil, &Error{Path: slices.Clone(path), Text: err.Error(), Err: err}
	}
	if found == nil {
		return nil, fail(path, "there is no type and no schema %q", clip(name))
	}
	named := found.Merge(nil) // a copy: others have it too
	describe(named, description)
	return named, nil
}

func (c converter) object(fields *value.Object, path []string) (*value.Object, error) {
	properties, required := value.NewObject(fields.Len()), []any{}
	var further any = false
	for i := range fields.Len() {
		key, v := fields.At(i)
		at := append(path, key)
		if key == wildcard {
			s, err := c.convert(v, at)
			if err != nil {
				return nil, err
			}
			further = s
			continue
		}
		f := readField(key)
		if f.name == "" {
			return nil, fail(at, "has no name")
		}
		if _, twice := properties.Get(f.name); twice {
			return nil, fail(at, "%q is described twice", f.name)
		}
		s, err := c.field(f, v, at)
		if err != nil {
			return nil, err
		}
		properties.Set(f.name, s)
		if !f.optional {
			required = append(required, f.name)
		}
	}
	s := value.NewObject(4)
	s.Set("type", "object")
	s.Set("properties", properties)
	if len(required) > 0 {
		s.Set("required", required)
	}
	s.Set("additionalProperties", further)
	return s, nil
}

// field is a key: name?(kind, description).
type field struct {
	name, kind, description string
	optional                bool
}

func readField(key string) field {
	name, rest, inBrackets := strings.Cut(key, "(")
	f := field{name: strings.TrimSpace(name)}
	if inBrackets {
		rest = strings.TrimSuffix(strings.TrimSpace(rest), ")")
		f.kind, f.description = split(rest)
	}
	if short, ok := strings.CutSuffix(f.name, "?"); ok {
		f.name, f.optional = strings.TrimSpace(short), true
	}
	return f
}

func (c converter) field(f field, v any, path []string) (*value.Object, error) {
	var s *value.Object
	switch f.kind {
	case "", "object":
		inner, err := c.convert(v, path)
		if err != nil {
			return nil, err
		}
		s = inner
		if t, ok := s.Get("type"); ok && f.optional {
			s.Set("type", nullable(t))
		}
	case "array":
		items, err := c.convert(v, path)
		if err != nil {
			return nil, err
		}
		s = value.NewObject(3)
		s.Set("type", "array")
		if f.optional {
			s.Set("type", nullable("array"))
		}
		s.Set("items", items)
	case "enum":
		list, ok := v.([]any)
		if !ok || len(list) == 0 {
			return nil, fail(path, "an enum wants a list of values")
		}
		list = slices.Clone(list)
		if f.optional && !slices.Contains(list, nil) {
			list = append(list, nil)
		}
		s = value.NewObject(2)
		s.Set("enum", list)
	default:
		return nil, fail(path, "(%s): want (object), (array) or (enum)", clip(f.kind))
	}
	describe(s, f.description)
	return s, nil
}

// nullable adds null to a type that is one name.
func nullable(t any) any {
	if name, ok := t.(string); ok && name != "null" {
		return []any{name, "null"}
	}
	return t
}

func describe(s *value.Object, description string) {
	if description != "" {
		s.Set("description", description)
	}
}

// split cuts at the first comma.
func split(text string) (name, description string) {
	name, description, _ = strings.Cut(text, ",")
	return strings.TrimSpace(name), strings.TrimSpace(description)
}

func clip(s string) string {
	const longest = 60
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}
