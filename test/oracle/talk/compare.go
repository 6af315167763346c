//go:build peers

package talk

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Absent is the value of a field that one side lacks.
const Absent = "absent"

// Atom is one place at which two observations differ; the values are JSON.
type Atom struct{ Path, Ours, Theirs string }

// String shows the atom on one line.
func (a Atom) String() string { return fmt.Sprintf("%s: ours %s, theirs %s", a.Path, a.Ours, a.Theirs) }

// Compare returns where two observations of a conversation differ.
func Compare(c *Conversation, ours, theirs *Observation) []Atom {
	var atoms []Atom
	a, b := ours.normal(c.Unordered), theirs.normal(c.Unordered)
	if theirs.Unparsed {
		delete(a, "output")
		delete(b, "output")
	}
	walk("", a, b, &atoms)
	return atoms
}

type missing struct{}

func walk(path string, a, b any, atoms *[]Atom) {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			walkObject(path, x, y, atoms)
			return
		}
	case []any:
		if y, ok := b.([]any); ok {
			walkArray(path, x, y, atoms)
			return
		}
	}
	if ours, theirs := show(a), show(b); ours != theirs {
		*atoms = append(*atoms, Atom{path, ours, theirs})
	}
}

func walkObject(path string, x, y map[string]any, atoms *[]Atom) {
	keys := map[string]bool{}
	for k := range x {
		keys[k] = true
	}
	for k := range y {
		keys[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		inner := k
		if path != "" {
			inner = path + "." + k
		}
		walk(inner, member(x, k), member(y, k), atoms)
	}
}

func member(m map[string]any, k string) any {
	if v, ok := m[k]; ok {
		return v
	}
	return missing{}
}

func walkArray(path string, x, y []any, atoms *[]Atom) {
	for i := range max(len(x), len(y)) {
		walk(fmt.Sprintf("%s[%d]", path, i), element(x, i), element(y, i), atoms)
	}
}

func element(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return missing{}
}

func show(v any) string {
	if _, gone := v.(missing); gone {
		return Absent
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
