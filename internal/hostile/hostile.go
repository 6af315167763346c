// Package hostile makes inputs that a tool has to survive: from an input that it takes, or that the schema of its
// input suggests, with values of wrong types, huge, deeply nested or missing. It runs no tool.
//
//	for _, in := range hostile.Inputs(schema, nil) {
//		_, err := tool.RunJSON(ctx, in.JSON, nil)
//		// an answer, or an error that says what is wrong
//	}
package hostile

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Input is one that a tool has to survive.
type Input struct {
	What string          // in words, different for each input of a tool
	JSON json.RawMessage // nil for no input at all
}

// Bounds of what is made for one tool. The longest input is below a call's usual limit of a megabyte.
const (
	maxPlaces    = 24
	megabyte     = 1_000_000
	kilobytes64  = 64 << 10
	nestedLevels = 200
	manyItems    = 10_000
)

// replacement is a value that takes the place of another one.
type replacement struct {
	what  string
	value any
}

// replacements are of all types, so that wherever one is put a wrong type is among them.
func replacements() []replacement {
	deep := any("x")
	for range nestedLevels {
		deep = []any{deep}
	}
	items := make([]any, manyItems)
	for i := range items {
		items[i] = json.Number("0")
	}
	return []replacement{
		{"null", nil},
		{"true", true},
		{"0", json.Number("0")},
		{"-1", json.Number("-1")},
		{"a fraction", json.Number("0.1")},
		{"an integer beyond 2^53", json.Number("9007199254740993")},
		{"an integer beyond 64 bits", json.Number("170141183460469231731687303715884105727")},
		{"1e300", json.Number("1e300")},
		{"an empty string", ""},
		{"a NUL", "a\x00b"},
		{"text that is not ASCII", "héé→日本🙂\u202e\ufeff"},
		{"quotes and backslashes", `"\"\\` + "\n\t"},
		{"64 KiB of text", strings.Repeat("x", kilobytes64)},
		{"1 MB of text", strings.Repeat("日", megabyte/4)},
		{"an empty list", []any{}},
		{"a list of 10,000", items},
		{"lists 200 deep", deep},
		{"an empty object", map[string]any{}},
		{"an object", map[string]any{"__proto__": map[string]any{}, "constructor": "x", "": nil}},
	}
}

// Inputs makes inputs from one that the tool takes, or where good is nil from what the schema of its input suggests: each
// value replaced by others, each member left out, one more added. Most break the schema, which has to be what refuses them.
// There are a few hundred at most.
func Inputs(schema, good json.RawMessage) []Input {
	seed := any(nil)
	if good == nil {
		seed = sampleOf(schema)
	} else if v, err := decode(good); err == nil {
		seed = v
	}
	all := []Input{{"no input", nil}, {"what the schema suggests", Sample(schema)}}
	places := placesOf(seed)
	for _, place := range places[:min(len(places), maxPlaces)] {
		for _, r := range replacements() {
			all = append(all, Input{describePlace(place) + " is " + r.what, encode(changed(seed, place, r.value, false))})
		}
		if len(place) > 0 {
			if _, member := place[len(place)-1].(string); member {
				all = append(all, Input{describePlace(place) + " is missing", encode(changed(seed, place, nil, true))})
			}
		}
	}
	if object, ok := seed.(map[string]any); ok {
		more := maps.Clone(object)
		more["unknown_member"] = json.Number("1")
		all = append(all, Input{"a member that nobody knows", encode(more)})
	}
	return slices.DeleteFunc(all, func(h Input) bool { return h.JSON == nil && h.What != "no input" })
}

// Sample makes an input that fits a schema, as far as common keywords tell; {} where there is no schema. However much
// a schema asks for, it has a few hundred kilobytes at most.
func Sample(schema json.RawMessage) json.RawMessage { return encode(sampleOf(schema)) }

// decode reads JSON, and keeps the digits of its numbers.
func decode(raw json.RawMessage) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return raw
}

// placesOf lists the ways to all values in a value, itself first: member names and indexes. The first item stands
// for all of a list.
func placesOf(v any) [][]any {
	places := [][]any{{}}
	for i := 0; i < len(places) && len(places) < maxPlaces; i++ {
		switch inner := at(v, places[i]).(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(inner)) {
				places = append(places, append(slices.Clone(places[i]), name))
			}
		case []any:
			if len(inner) > 0 {
				places = append(places, append(slices.Clone(places[i]), 0))
			}
		}
	}
	return places
}

func at(v any, place []any) any {
	for _, step := range place {
		switch inner := v.(type) {
		case map[string]any:
			v = inner[step.(string)]
		case []any:
			v = inner[step.(int)]
		}
	}
	return v
}

// changed is a copy of v with another value at a place, or without the member there.
func changed(v any, place []any, value any, remove bool) any {
	if len(place) == 0 {
		return value
	}
	switch inner := v.(type) {
	case map[string]any:
		name := place[0].(string)
		copied := maps.Clone(inner)
		if remove && len(place) == 1 {
			delete(copied, name)
		} else {
			copied[name] = changed(inner[name], place[1:], value, remove)
		}
		return copied
	case []any:
		copied := slices.Clone(inner)
		copied[place[0].(int)] = changed(inner[place[0].(int)], place[1:], value, remove)
		return copied
	}
	return v
}

func describePlace(place []any) string {
	var b strings.Builder
	for _, step := range place {
		b.WriteByte('/')
		if name, ok := step.(string); ok {
			b.WriteString(name)
		} else {
			b.WriteByte('0')
		}
	}
	if b.Len() == 0 {
		return "the input"
	}
	return b.String()
}

func sampleOf(schema json.RawMessage) any {
	root, err := decode(schema)
	if err != nil {
		return map[string]any{}
	}
	left := maxSampled
	return sample(root, root, 0, &left)
}

const (
	maxSampleDepth = 8
	maxSampled     = 100_000
)

// sample makes a value for a schema. left is how many more values and characters it may make in all: what is nested
// multiplies.
func sample(root, node any, depth int, left *int) any {
	s, ok := node.(map[string]any)
	if *left--; !ok || depth > maxSampleDepth || *left < 0 {
		return nil
	}
	if reference, ok := s["$ref"].(string); ok {
		return sample(root, pointer(root, reference), depth+1, left)
	}
	for _, key := range []string{"const", "default"} {
		if v, there := s[key]; there {
			return v
		}
	}
	for _, key := range []string{"enum", "examples"} {
		if list, ok := s[key].([]any); ok && len(list) > 0 {
			return list[0]
		}
	}
	for _, key := range []string{"anyOf", "oneOf", "allOf"} {
		if list, ok := s[key].([]any); ok && len(list) > 0 && s["properties"] == nil {
			return sample(root, list[0], depth+1, left)
		}
	}
	switch typeOf(s) {
	case "string":
		n := max(1, min(number(s, "minLength"), kilobytes64, *left))
		*left -= n
		return strings.Repeat("a", n)
	case "integer", "number":
		return json.Number(least(s))
	case "boolean":
		return true
	case "array":
		items := make([]any, max(1, min(number(s, "minItems"), 100)))
		for i := range items {
			if *left <= 0 {
				return items[:i]
			}
			items[i] = sample(root, s["items"], depth+1, left)
		}
		return items
	case "null":
		return nil
	}
	object := map[string]any{}
	properties, _ := s["properties"].(map[string]any)
	for name, property := range properties {
		object[name] = sample(root, property, depth+1, left)
	}
	return object
}

// typeOf is the schema's type, the first where there are several.
func typeOf(s map[string]any) string {
	switch t := s["type"].(type) {
	case string:
		return t
	case []any:
		if len(t) > 0 {
			first, _ := t[0].(string)
			return first
		}
	}
	return ""
}

func number(s map[string]any, key string) int {
	n, ok := s[key].(json.Number)
	if !ok {
		return 0
	}
	f, err := n.Float64()
	if err != nil || f < 0 || f > math.MaxInt32 {
		return 0
	}
	return int(f)
}

// least is a number that a schema's bounds allow.
func least(s map[string]any) string {
	if n, ok := s["minimum"].(json.Number); ok {
		return n.String()
	}
	if s["exclusiveMinimum"] != nil {
		return strconv.Itoa(number(s, "exclusiveMinimum") + 1)
	}
	if n, ok := s["maximum"].(json.Number); ok {
		return n.String()
	}
	return "1"
}

// pointer follows a reference within a document, "#/$defs/name"; nil for any other.
func pointer(root any, reference string) any {
	path, ok := strings.CutPrefix(reference, "#")
	if !ok {
		return nil
	}
	v := root
	for step := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if path == "" {
			break
		}
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]
	}
	return v
}
