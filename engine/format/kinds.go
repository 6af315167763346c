package format

import "encoding/json"

// kinds is a set of JSON's types.
type kinds uint8

const (
	kindObject kinds = 1 << iota
	kindArray
	kindText
	kindNumber
	kindBool
	kindNull
	kindAny = kindObject | kindArray | kindText | kindNumber | kindBool | kindNull
)

// kindOf returns the kinds of value that c may begin with; kindAny for what only the
// liberties of [Extract] allow.
func kindOf(c byte) kinds {
	switch {
	case c == '{':
		return kindObject
	case c == '[':
		return kindArray
	case c == '"' || c == '\'':
		return kindText
	case c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.':
		return kindNumber
	}
	return kindAny
}

var typeNames = map[string]kinds{
	"object": kindObject, "array": kindArray, "string": kindText, "number": kindNumber, "integer": kindNumber, "boolean": kindBool, "null": kindNull,
}

// Keywords that say something of one kind of value only: a schema without a type that has
// them looks for that kind.
var (
	objectWords = []string{"properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties", "maxProperties", "dependentRequired", "unevaluatedProperties"}
	arrayWords  = []string{"items", "prefixItems", "additionalItems", "contains", "minItems", "maxItems", "uniqueItems", "unevaluatedItems"}
)

// sought returns the kinds of value that a part of the schema root looks for: those that it
// allows, and where it allows both objects and arrays, those that it describes.
func sought(root, part json.RawMessage) kinds {
	r := seeker{root: root, left: maxParts}
	allowed, described := r.kinds(part, 0)
	if allowed&(kindObject|kindArray) == kindObject|kindArray && described != 0 && described != kindObject|kindArray {
		allowed &^= (kindObject | kindArray) &^ described
	}
	return allowed
}

// maxParts bounds how many parts of a schema are looked at, and maxRefs how deep.
const maxParts = 1000

type seeker struct {
	root json.RawMessage
	left int
}

// kinds returns what a part allows, and of objects and arrays those that it describes.
func (s *seeker) kinds(part json.RawMessage, depth int) (allowed, described kinds) {
	if s.left--; s.left < 0 || depth > maxRefs {
		return kindAny, 0
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(part, &fields) != nil {
		if string(part) == "false" {
			return 0, 0
		}
		return kindAny, 0
	}
	allowed = typesOf(fields["type"])
	for _, word := range objectWords {
		if fields[word] != nil {
			described |= kindObject
		}
	}
	for _, word := range arrayWords {
		if fields[word] != nil {
			described |= kindArray
		}
	}
	both := func(a, d kinds) { allowed, described = allowed&a, described|d }
	if raw := fields["const"]; raw != nil {
		both(valueKind(raw), 0)
	}
	var values []json.RawMessage
	if raw := fields["enum"]; raw != nil && json.Unmarshal(raw, &values) == nil {
		var one kinds
		for _, v := range values {
			one |= valueKind(v)
		}
		both(one, 0)
	}
	var ref string
	if json.Unmarshal(fields["$ref"], &ref) == nil && ref != "" {
		if ref == "#" {
			both(s.kinds(s.root, depth+1))
		} else if target, ok := lookup(s.root, ref); ok {
			both(s.kinds(target, depth+1))
		}
	}
	var parts []json.RawMessage
	if json.Unmarshal(fields["allOf"], &parts) == nil {
		for _, p := range parts {
			both(s.kinds(p, depth+1))
		}
	}
	for _, word := range []string{"anyOf", "oneOf"} {
		if parts = nil; json.Unmarshal(fields[word], &parts) != nil || len(parts) == 0 {
			continue
		}
		var a, d kinds
		for _, p := range parts {
			pa, pd := s.kinds(p, depth+1)
			if pd != 0 && pa&(kindObject|kindArray) == kindObject|kindArray { // it describes one of the two alone
				pa &^= (kindObject | kindArray) &^ pd
			}
			a, d = a|pa, d|pd
		}
		both(a, d)
	}
	return allowed, described
}

func typesOf(raw json.RawMessage) kinds {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		if k := typeNames[one]; k != 0 {
			return k
		}
		return kindAny
	}
	var several []string
	if json.Unmarshal(raw, &several) != nil || len(several) == 0 {
		return kindAny
	}
	var all kinds
	for _, name := range several {
		all |= typeNames[name]
	}
	return all
}

func valueKind(raw json.RawMessage) kinds {
	switch c := raw[0]; c {
	case 't', 'f':
		return kindBool
	case 'n':
		return kindNull
	default:
		return kindOf(c)
	}
}
