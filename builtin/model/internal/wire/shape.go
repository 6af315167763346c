package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// This file changes JSON Schemas into the shapes that servers take. It edits
// them field by field, because the order of properties is the order in which a
// model writes its answer.

// Field is one member of a JSON object.
type Field struct {
	Name  string
	Value json.RawMessage
}

// Object is a JSON object in the order of its text.
type Object []Field

// ParseObject reads an object; of members of one name the last counts.
func ParseObject(raw json.RawMessage) (Object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.New("want a JSON object")
	}
	o, at := Object{}, map[string]int{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		f := Field{}
		f.Name, _ = token.(string)
		if err := dec.Decode(&f.Value); err != nil {
			return nil, err
		}
		if i, again := at[f.Name]; again {
			o[i] = f
			continue
		}
		at[f.Name] = len(o)
		o = append(o, f)
	}
	_, err := dec.Token()
	return o, err
}

// Get returns a member, nil where there is none.
func (o Object) Get(name string) json.RawMessage {
	for _, f := range o {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// Has reports whether there is a member of one of the names.
func (o Object) Has(names ...string) bool {
	return slices.ContainsFunc(o, func(f Field) bool { return slices.Contains(names, f.Name) })
}

// Set replaces a member, or adds it at the end.
func (o *Object) Set(name string, value json.RawMessage) {
	for i := range *o {
		if (*o)[i].Name == name {
			(*o)[i].Value = value
			return
		}
	}
	*o = append(*o, Field{name, value})
}

// MarshalJSON keeps the order.
func (o Object) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, f := range o {
		if i > 0 {
			out = append(out, ',')
		}
		name, err := rawjson.Encode(f.Name)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, name...), ':'), f.Value...)
	}
	return append(out, '}'), nil
}

// boxKey is the one property of the object in which a tool's input is sent that is not
// an object itself.
const boxKey = "input"

var noParameters = json.RawMessage(`{"type":"object","properties":{}}`)

// parameters returns the schema of a tool's input. The API wants an object: a tool that
// takes something else, such as a string, is shown one whose only property is
// that, and boxed is true.
func parameters(raw json.RawMessage, strict bool) (params json.RawMessage, boxed bool, err error) {
	switch string(bytes.TrimSpace(raw)) {
	case "", "null", "true", "{}":
		raw = noParameters
	}
	o, err := ParseObject(raw)
	if err != nil {
		return nil, false, err
	}
	switch typ := o.Get("type"); {
	case typ != nil && !strings.Contains(string(typ), `"object"`):
		o, boxed = box(o, raw), true
	case typ == nil && !o.Has("anyOf", "oneOf", "allOf", "$ref", "enum", "const"):
		o = append(Object{{"type", json.RawMessage(`"object"`)}}, o...)
	}
	if o.Get("properties") == nil && string(o.Get("type")) == `"object"` {
		o.Set("properties", json.RawMessage(`{}`)) // OpenAI refuses an object without
	}
	if params, err = rawjson.Encode(o); err != nil || !strict {
		return params, boxed, err
	}
	params, err = CloseObjects(params)
	return params, boxed, err
}

// takesObject reports whether a schema admits objects only.
func takesObject(params json.RawMessage) bool {
	o, err := ParseObject(params)
	return err == nil && string(o.Get("type")) == `"object"`
}

// box wraps a schema; its definitions move up, where its references look for them.
func box(inner Object, raw json.RawMessage) Object {
	outer := Object{
		{"type", json.RawMessage(`"object"`)},
		{"properties", json.RawMessage(`{"` + boxKey + `":` + string(raw) + `}`)},
		{"required", json.RawMessage(`["` + boxKey + `"]`)},
	}
	for _, name := range []string{"$defs", "definitions"} {
		if defs := inner.Get(name); defs != nil {
			outer.Set(name, defs)
		}
	}
	return outer
}

// Subschemas calls visit for each schema directly inside o and puts its result in
// the place of the schema.
func (o Object) Subschemas(visit func(json.RawMessage) (json.RawMessage, error)) error {
	for i, f := range o {
		var err error
		switch f.Name {
		case "properties", "$defs", "definitions", "patternProperties", "dependentSchemas":
			var named Object
			if named, err = ParseObject(f.Value); err != nil {
				continue // not a schema: the server says so
			}
			for j := range named {
				if named[j].Value, err = visit(named[j].Value); err != nil {
					return err
				}
			}
			o[i].Value, err = rawjson.Encode(named)
		case "anyOf", "oneOf", "allOf", "prefixItems":
			var list []json.RawMessage
			if json.Unmarshal(f.Value, &list) != nil {
				continue
			}
			for j := range list {
				if list[j], err = visit(list[j]); err != nil {
					return err
				}
			}
			o[i].Value, err = rawjson.Encode(list)
		case "items", "additionalProperties", "not", "if", "then", "else", "contains":
			if IsObject(f.Value) {
				o[i].Value, err = visit(f.Value)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// CloseObjects sets additionalProperties to false on every object schema that has
// none or true there.
func CloseObjects(raw json.RawMessage) (json.RawMessage, error) {
	if !IsObject(raw) {
		return raw, nil
	}
	o, err := ParseObject(raw)
	if err != nil {
		return nil, err
	}
	if err := o.Subschemas(CloseObjects); err != nil {
		return nil, err
	}
	extra := string(o.Get("additionalProperties"))
	if o.describesObject() && (extra == "" || extra == "true") {
		o.Set("additionalProperties", json.RawMessage("false"))
	}
	return rawjson.Encode(o)
}

func (o Object) describesObject() bool {
	return o.Has("properties") || strings.Contains(string(o.Get("type")), `"object"`)
}

// strictKeywords and strictFormats are what OpenAI's strict mode takes; it refuses
// a schema with anything else.
var (
	strictKeywords = []string{
		"type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "const", "$ref", "$defs",
		"definitions", "$schema", "title", "description", "pattern", "format", "multipleOf", "minimum", "maximum",
		"exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems",
	}
	strictFormats = []string{
		`"date-time"`, `"time"`, `"date"`, `"duration"`, `"email"`, `"hostname"`, `"ipv4"`, `"ipv6"`, `"uuid"`,
	}
)

var errNotStrict = errors.New("schema does not fit strict mode")

// FitsStrict reports whether a schema can be enforced in strict mode without
// changing what it accepts by more than additionalProperties:false. An object with
// an optional property can't: strict mode has every property present.
func FitsStrict(raw json.RawMessage) bool {
	o, err := ParseObject(raw)
	if err != nil || string(o.Get("type")) != `"object"` || o.Has("anyOf") {
		return false
	}
	_, err = checkStrict(raw)
	return err == nil
}

func checkStrict(raw json.RawMessage) (json.RawMessage, error) {
	o, err := ParseObject(raw)
	if err != nil {
		return nil, err
	}
	if !o.Has("type", "anyOf", "$ref", "enum", "const") {
		return nil, errNotStrict
	}
	for _, f := range o {
		if !slices.Contains(strictKeywords, f.Name) || (f.Name == "format" && !slices.Contains(strictFormats, string(f.Value))) {
			return nil, errNotStrict
		}
	}
	if o.describesObject() {
		var required []string
		properties, err := ParseObject(o.Get("properties"))
		if err != nil || len(properties) == 0 || json.Unmarshal(o.Get("required"), &required) != nil {
			return nil, errNotStrict
		}
		always := map[string]bool{}
		for _, name := range required {
			always[name] = true
		}
		for _, p := range properties {
			if !always[p.Name] {
				return nil, errNotStrict
			}
		}
		if IsObject(o.Get("additionalProperties")) {
			return nil, errNotStrict
		}
	}
	return raw, o.Subschemas(checkStrict)
}
