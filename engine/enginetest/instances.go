package enginetest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// SchemaInstances returns n random instances of a definition of Genkit's own schema,
// with unknown enum values, unknown fields, nulls and long numbers. It skips the test
// when the schema is absent.
func SchemaInstances(t testing.TB, definition string, n int) [][]byte {
	t.Helper()
	raw, err := os.ReadFile(Spec(t, "genkit/genkit-schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(raw, &root); err != nil {
		t.Fatal(err)
	}
	g := &generator{root: root, rand: rand.New(rand.NewPCG(1, uint64(len(definition))))} //nolint:gosec // a repeatable sequence is wanted
	all := make([][]byte, n)
	for i := range all {
		all[i] = []byte(g.value(g.ref("#/$defs/"+definition), 0))
	}
	return all
}

// RoundTrip reads random instances of a definition into T and writes them again: the
// same JSON has to come out.
func RoundTrip[T any](t *testing.T, definition string, n int) {
	t.Helper()
	for i, in := range SchemaInstances(t, definition, n) {
		var v T
		if err := json.Unmarshal(in, &v); err != nil {
			t.Fatalf("instance %d: %v\n%s", i, err, in)
		}
		out, err := json.Marshal(v)
		if err != nil || !SameJSON(in, out) {
			t.Fatalf("instance %d: %v\n in: %s\nout: %s", i, err, in, out)
		}
	}
}

// generator writes random instances of JSON Schemas.
type generator struct {
	root map[string]any
	rand *rand.Rand
}

func (g *generator) ref(ref string) map[string]any {
	at := any(g.root)
	for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		object, ok := at.(map[string]any)
		if !ok {
			panic("bad reference " + ref)
		}
		at = object[step]
	}
	s, ok := at.(map[string]any)
	if !ok {
		panic("bad reference " + ref)
	}
	return s
}

func (g *generator) resolve(s map[string]any) map[string]any {
	for s["$ref"] != nil {
		ref, _ := s["$ref"].(string)
		s = g.ref(ref)
	}
	if options, ok := s["anyOf"].([]any); ok {
		option, _ := options[g.rand.IntN(len(options))].(map[string]any)
		return g.resolve(option)
	}
	return s
}

func (g *generator) value(s map[string]any, depth int) string {
	s = g.resolve(s)
	if options, ok := s["enum"].([]any); ok {
		if g.rand.IntN(4) == 0 {
			return `"from-the-future"`
		}
		return text(options[g.rand.IntN(len(options))])
	}
	kind := s["type"]
	if kinds, ok := kind.([]any); ok {
		kind = kinds[g.rand.IntN(len(kinds))]
	}
	switch kind {
	case "string":
		return g.pick(`""`, `"x"`, `"<b>&é \u2028\ud83d\ude00"`, `"0"`, `"a/b"`)
	case "number", "integer":
		return g.number()
	case "boolean":
		return g.pick("true", "false")
	case "null":
		return "null"
	case "array":
		items, ok := s["items"].(map[string]any)
		if !ok {
			items = g.ref("#/$defs/Part") // ToolResponse.content
		}
		return "[" + strings.Join(g.several(func() string { return g.value(items, depth+1) }), ",") + "]"
	case "object":
		return g.object(s, depth)
	}
	return g.any(depth)
}

func (g *generator) object(s map[string]any, depth int) string {
	properties, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	var members []string
	for _, name := range sortedKeys(properties) {
		property, _ := properties[name].(map[string]any)
		if _, forbidden := g.resolve(property)["not"]; forbidden {
			continue
		}
		mandatory := slices.Contains(required, any(name))
		switch {
		case !mandatory && (depth > 4 || g.rand.IntN(2) == 0):
		case !mandatory && g.rand.IntN(12) == 0:
			members = append(members, text(name)+":null")
		default:
			members = append(members, text(name)+":"+g.value(property, depth+1))
		}
	}
	if extra, free := s["additionalProperties"].(map[string]any); free {
		for i := range g.rand.IntN(3) {
			members = append(members, fmt.Sprintf(`"k%d":%s`, i, g.value(extra, depth+1)))
		}
	} else if g.rand.IntN(3) == 0 {
		for _, name := range []string{"xNew", "Role", "TEXT", "ConfiG", "__proto__"} {
			if g.rand.IntN(3) == 0 {
				members = append(members, text(name)+":"+g.any(depth+1))
			}
		}
	}
	g.rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return "{" + strings.Join(members, ",") + "}"
}

func (g *generator) any(depth int) string {
	if depth < 5 && g.rand.IntN(3) == 0 {
		if g.rand.IntN(2) == 0 {
			return "[" + strings.Join(g.several(func() string { return g.any(depth + 1) }), ",") + "]"
		}
		return `{"n":` + g.any(depth+1) + `,"<":` + g.number() + `}`
	}
	return g.pick("null", "true", "false", `""`, `"</script>"`, g.number())
}

func (g *generator) number() string {
	return g.pick("0", "-0", "1", "1.10", "12345678901234567890", "1e400", "-2.5E-7", "3.0")
}

func (g *generator) several(make func() string) []string {
	var all []string
	for range g.rand.IntN(4) {
		all = append(all, make())
	}
	return all
}

func (g *generator) pick(options ...string) string { return options[g.rand.IntN(len(options))] }

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}
