package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// This file changes JSON Schemas into the shapes that the API takes. It edits
// them field by field, because the order of properties is the order in which a
// model writes its answer.

// field is one member of a JSON object.
type field struct {
	name  string
	value json.RawMessage
}

// object is a JSON object in the order of its text.
type object []field

func parseObject(raw json.RawMessage) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.New("want a JSON object")
	}
	o, at := object{}, map[string]int{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		f := field{}
		f.name, _ = token.(string)
		if err := dec.Decode(&f.value); err != nil {
			return nil, err
		}
		if i, again := at[f.name]; again {
			o[i] = f
			continue
		}
		at[f.name] = len(o)
		o = append(o, f)
	}
	_, err := dec.Token()
	return o, err
}

func (o object) get(name string) json.RawMessage {
	for _, f := range o {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

func (o object) has(names ...string) bool {
	return slices.ContainsFunc(o, func(f field) bool { return slices.Contains(names, f.name) })
}

func (o *object) set(name string, value json.RawMessage) {
	for i := range *o {
		if (*o)[i].name == name {
			(*o)[i].value = value
			return
		}
	}
	*o = append(*o, field{name, value})
}

// MarshalJSON keeps the order.
func (o object) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, f := range o {
		if i > 0 {
			out = append(out, ',')
		}
		name, err := rawjson.Encode(f.name)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, name...), ':'), f.value...)
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
	o, err := parseObject(raw)
	if err != nil {
		return nil, false, err
	}
	switch typ := o.get("type"); {
	case typ != nil && !strings.Contains(string(typ), `"object"`):
		o, boxed = box(o, raw), true
	case typ == nil && !o.has("anyOf", "oneOf", "allOf", "$ref", "enum", "const"):
		o = append(object{{"type", json.RawMessage(`"object"`)}}, o...)
	}
	if o.get("properties") == nil && string(o.get("type")) == `"object"` {
		o.set("properties", json.RawMessage(`{}`)) // OpenAI refuses an object without
	}
	if params, err = rawjson.Encode(o); err != nil || !strict {
		return params, boxed, err
	}
	params, err = closeObjects(params)
	return params, boxed, err
}

// takesObject reports whether a schema admits objects only.
func takesObject(params json.RawMessage) bool {
	o, err := parseObject(params)
	return err == nil && string(o.get("type")) == `"object"`
}

// box wraps a schema; its definitions move up, where its references look for them.
func box(inner object, raw json.RawMessage) object {
	outer := object{
		{"type", json.RawMessage(`"object"`)},
		{"properties", json.RawMessage(`{"` + boxKey + `":` + string(raw) + `}`)},
		{"required", json.RawMessage(`["` + boxKey + `"]`)},
	}
	for _, name := range []string{"$defs", "definitions"} {
		if defs := inner.get(name); defs != nil {
			outer.set(name, defs)
		}
	}
	return outer
}

// subschemas calls visit for each schema directly inside o and puts its result in
// the place of the schema.
func (o object) subschemas(visit func(json.RawMessage) (json.RawMessage, error)) error {
	for i, f := range o {
		var err error
		switch f.name {
		case "properties", "$defs", "definitions", "patternProperties", "dependentSchemas":
			var named object
			if named, err = parseObject(f.value); err != nil {
				continue // not a schema: the server says so
			}
			for j := range named {
				if named[j].value, err = visit(named[j].value); err != nil {
					return err
				}
			}
			o[i].value, err = rawjson.Encode(named)
		case "anyOf", "oneOf", "allOf", "prefixItems":
			var list []json.RawMessage
			if json.Unmarshal(f.value, &list) != nil {
				continue
			}
			for j := range list {
				if list[j], err = visit(list[j]); err != nil {
					return err
				}
			}
			o[i].value, err = rawjson.Encode(list)
		case "items", "additionalProperties", "not", "if", "then", "else", "contains":
			if isObject(f.value) {
				o[i].value, err = visit(f.value)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// closeObjects sets additionalProperties to false on every object schema that has
// none or true there.
func closeObjects(raw json.RawMessage) (json.RawMessage, error) {
	if !isObject(raw) {
		return raw, nil
	}
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	if err := o.subschemas(closeObjects); err != nil {
		return nil, err
	}
	extra := string(o.get("additionalProperties"))
	if o.describesObject() && (extra == "" || extra == "true") {
		o.set("additionalProperties", json.RawMessage("false"))
	}
	return rawjson.Encode(o)
}

func (o object) describesObject() bool {
	return o.has("properties") || strings.Contains(string(o.get("type")), `"object"`)
}

func isObject(raw json.RawMessage) bool {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{'
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

// fitsStrict reports whether a schema can be enforced in strict mode without
// changing what it accepts by more than additionalProperties:false. An object with
// an optional property can't: strict mode has every property present.
func fitsStrict(raw json.RawMessage) bool {
	o, err := parseObject(raw)
	if err != nil || string(o.get("type")) != `"object"` || o.has("anyOf") {
		return false
	}
	_, err = checkStrict(raw)
	return err == nil
}

func checkStrict(raw json.RawMessage) (json.RawMessage, error) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	if !o.has("type", "anyOf", "$ref", "enum", "const") {
		return nil, errNotStrict
	}
	for _, f := range o {
		if !slices.Contains(strictKeywords, f.name) || (f.name == "format" && !slices.Contains(strictFormats, string(f.value))) {
			return nil, errNotStrict
		}
	}
	if o.describesObject() {
		var required []string
		properties, err := parseObject(o.get("properties"))
		if err != nil || len(properties) == 0 || json.Unmarshal(o.get("required"), &required) != nil {
			return nil, errNotStrict
		}
		always := map[string]bool{}
		for _, name := range required {
			always[name] = true
		}
		for _, p := range properties {
			if !always[p.name] {
				return nil, errNotStrict
			}
		}
		if isObject(o.get("additionalProperties")) {
			return nil, errNotStrict
		}
	}
	return raw, o.subschemas(checkStrict)
}
