package format

import (
	"bytes"
	"encoding/json"
	"strings"
)

// shape holds the facts about a schema that a format needs.
type shape struct {
	Ref   string            `json:"$ref"`
	Type  json.RawMessage   `json:"type"`
	Items json.RawMessage   `json:"items"`
	Enum  []json.RawMessage `json:"enum"`
}

func (s shape) is(name string) bool { return string(s.Type) == `"`+name+`"` }

// none reports whether no schema was given.
func none(schema json.RawMessage) bool { return len(schema) == 0 || string(schema) == "null" }

// maxRefs bounds how many references are followed; a longer chain is a circle.
const maxRefs = 16

// shapeOf reads a part of the schema root, following references inside of root, and
// returns the schema that the last reference leads to.
func shapeOf(root, part json.RawMessage) (shape, json.RawMessage) {
	for range maxRefs {
		var s shape
		if json.Unmarshal(part, &s) != nil {
			return shape{}, part
		}
		target, ok := lookup(root, s.Ref)
		if !ok {
			return s, part
		}
		part = target
	}
	return shape{}, part
}

// lookup follows a reference such as #/$defs/row.
func lookup(root json.RawMessage, ref string) (json.RawMessage, bool) {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil, false
	}
	for token := range strings.SplitSeq(path, "/") {
		var object map[string]json.RawMessage
		if json.Unmarshal(root, &object) != nil {
			return nil, false
		}
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		if root, ok = object[token]; !ok {
			return nil, false
		}
	}
	return root, true
}

// standalone returns part with the definitions of root that it may refer to, so that
// it can be shown without the rest of root.
func standalone(root, part json.RawMessage) json.RawMessage {
	if !bytes.Contains(part, []byte(`"$ref"`)) {
		return part
	}
	var all, own map[string]json.RawMessage
	if json.Unmarshal(root, &all) != nil || json.Unmarshal(part, &own) != nil {
		return part
	}
	out := bytes.TrimSuffix(bytes.TrimSpace(part), []byte("}"))
	for _, name := range []string{"$defs", "definitions"} {
		if _, has := own[name]; has || all[name] == nil {
			continue
		}
		out = append(bytes.Clone(out), `,"`+name+`":`...)
		out = append(out, all[name]...)
	}
	return append(bytes.Clone(out), '}')
}

// fencedSchema is a schema between fences, compact; "" when it is no JSON.
func fencedSchema(schema json.RawMessage) string {
	var compact bytes.Buffer
	if json.Compact(&compact, schema) != nil {
		return ""
	}
	return fence + "\n" + compact.String() + "\n" + fence
}

// list joins values to a JSON array.
func list(items []json.RawMessage) json.RawMessage {
	return append(append(json.RawMessage{'['}, bytes.Join(rawBytes(items), []byte(","))...), ']')
}

func rawBytes(items []json.RawMessage) [][]byte {
	all := make([][]byte, len(items))
	for i, item := range items {
		all[i] = item
	}
	return all
}
