package pdk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
)

// checker checks values against the keywords that schemas of this package have. It is written
// for these tests alone.
type checker struct{ defs map[string]any }

// check returns why a value breaks a schema, "" when it does not.
func (c checker) check(at string, schema map[string]any, v any) string {
	for key := range schema {
		if !slices.Contains([]string{"type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "enum", "minimum", "maximum", "anyOf", "$ref", "$defs", "description", "format", "contentEncoding"}, key) {
			return at + ": the checker does not know the keyword " + key
		}
	}
	if ref, ok := schema["$ref"].(string); ok {
		target, ok := c.defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		if !ok {
			return at + ": " + ref + " leads to no definition"
		}
		return c.check(at, target, v)
	}
	if either, ok := schema["anyOf"].([]any); ok {
		var whys []string
		for _, s := range either {
			why := c.check(at, s.(map[string]any), v)
			if why == "" {
				return ""
			}
			whys = append(whys, why)
		}
		return strings.Join(whys, " and ")
	}
	if t, ok := schema["type"]; ok {
		names, many := t.([]any)
		if !many {
			names = []any{t}
		}
		if !slices.ContainsFunc(names, func(n any) bool { return isOf(n.(string), v) }) {
			return fmt.Sprintf("%s: %v is not of type %v", at, v, names)
		}
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.ContainsFunc(enum, func(e any) bool { return reflect.DeepEqual(e, v) }) {
		return fmt.Sprintf("%s: %v is not among %v", at, v, enum)
	}
	switch v := v.(type) {
	case float64:
		if low, ok := schema["minimum"].(float64); ok && v < low {
			return fmt.Sprintf("%s: %v is below %v", at, v, low)
		}
		if high, ok := schema["maximum"].(float64); ok && v > high {
			return fmt.Sprintf("%s: %v is above %v", at, v, high)
		}
	case []any:
		if n, ok := schema["maxItems"].(float64); ok && (float64(len(v)) > n || schema["minItems"] != n) {
			return fmt.Sprintf("%s: %d items", at, len(v))
		}
		if items, ok := schema["items"].(map[string]any); ok {
			for i, item := range v {
				if why := c.check(fmt.Sprintf("%s[%d]", at, i), items, item); why != "" {
					return why
				}
			}
		}
	case map[string]any:
		return c.members(at, schema, v)
	}
	return ""
}

func (c checker) members(at string, schema, v map[string]any) string {
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			return fmt.Sprintf("%s: %v is missing", at, name)
		}
	}
	for name, member := range v {
		s, known := properties[name].(map[string]any)
		if !known {
			switch more := schema["additionalProperties"].(type) {
			case bool:
				return at + ": " + name + " is one too many"
			case map[string]any:
				s = more
			}
		}
		if why := c.check(at+"."+name, s, member); why != "" {
			return why
		}
	}
	return ""
}

func isOf(name string, v any) bool {
	switch v := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && v == float64(int64(v))
	case []any:
		return name == "array"
	default:
		return name == "object"
	}
}

// fill sets everything that v refers to, down to a depth; below it pointers stay nil.
func fill(v reflect.Value, depth int) {
	if raw, ok := v.Addr().Interface().(*json.RawMessage); ok {
		*raw = json.RawMessage(`{"raw":[1]}`)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if depth > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), depth-1)
		}
	case reflect.Slice:
		if depth > 0 {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			fill(v.Index(0), depth-1)
			fill(v.Index(1), depth-1)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), depth)
		}
	case reflect.Map:
		if depth > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			element := reflect.New(v.Type().Elem()).Elem()
			fill(element, depth-1)
			v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), element)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), depth)
			}
		}
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(0.5)
	default:
	}
}

type Embedded struct {
	Shared string `json:"shared"`
	Deep   *int   `json:"deep,omitempty"`
}

type Outer struct {
	Embedded
	*Another
	Shared []string `json:"shared"`
}

type Another struct {
	Embedded
	More map[string]Embedded `json:"more"`
}

type tree struct {
	Left, Right *tree
	List        []*tree          `json:"list"`
	Named       map[string]*tree `json:"named,omitzero"`
}

// The JSON of a result is valid against the schema that the descriptor has for it, whatever
// is nil in it, or the host refuses the answer of the tool.
func TestResultsAreValidAgainstTheirSchemas(t *testing.T) {
	check(t, func(struct{}) (Outer, error) { return Outer{}, nil })
	check(t, func(struct{}) (*Outer, error) { return nil, nil }) //nolint:nilnil // it is not run
	check(t, func(struct{}) (tree, error) { return tree{}, nil })
	check(t, func(struct{}) (pair[tree], error) { return pair[tree]{}, nil })
	check(t, func(struct{}) (pair[pair[[]byte]], error) { return pair[pair[[]byte]]{}, nil })
	check(t, func(struct{}) (map[string][]map[string]*uint8, error) { return nil, nil })
	check(t, func(struct{}) ([3]*[]float32, error) { return [3]*[]float32{}, nil })
	check(t, func(struct{}) (struct {
		A *int      `json:"a,string"`
		B bool      `json:",string"`
		C []int     `json:"c,string"` //nolint:staticcheck // the option has no effect
		D time.Time `json:"d"`
		E celsius
		F *opaque
		G any
		H json.RawMessage
		I ***string
		J struct{ K, L []struct{ M *bool } }
	}, error,
	) {
		panic("not run")
	})
}

func check[T any](t *testing.T, tool func(struct{}) (T, error)) {
	t.Helper()
	raw := pdk.Info("tool", "", tool).OutputSchema
	var schema map[string]any
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	defs, _ := schema["$defs"].(map[string]any)
	for depth := range 5 {
		var v T
		fill(reflect.ValueOf(&v).Elem(), depth)
		for _, v := range []any{v, *new(T)} {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			var got any
			dec := json.NewDecoder(bytes.NewReader(b))
			if err := dec.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if why := (checker{defs}).check("", schema, got); why != "" {
				t.Errorf("%T: %s\nvalue  %s\nschema %s", v, why, b, raw)
				return
			}
		}
	}
}
