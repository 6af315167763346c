package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// grammar turns bytes into schemas and documents that have much to do with each
// other, so that keywords are reached and both verdicts come up.
type grammar struct {
	in []byte
}

func (g *grammar) pick(n int) int {
	if len(g.in) == 0 {
		return 0
	}
	b := g.in[0]
	g.in = g.in[1:]
	return int(b) % n
}

func (g *grammar) one(list ...string) string { return list[g.pick(len(list))] }

func (g *grammar) name() string {
	return g.one("a", "b", "ab", "", "é", "a/b", "~", `\u0061`, "x1", "x2", `q\"`, `\ud800`)
}

func (g *grammar) number() string {
	switch g.pick(5) {
	case 0:
		return strconv.Itoa(g.pick(7) - 3)
	case 1:
		return g.one("1.0", "1e2", "100", "0.1e1", "-0", "0.0", "-0.0e5", "1.5", "0.5", "15e-1", "1E+0", "12e-1")
	case 2:
		return g.one("12345678901234567890", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "99999999999999999", "999999999999999999", "1e18", "1e19", "0.1", "0.3", "1e-7", "3e-7")
	case 3:
		return g.one("1e999", "1e1000", "1e-1000", "-1e999", "10e998", "0e1000", "0.00001e5", "1234567890.12345678901234567890")
	default:
		return strconv.Itoa(g.pick(256)) + "." + strconv.Itoa(g.pick(256)) + g.one("", "e1", "e-1", "e2", "E-3")
	}
}

func (g *grammar) text() string {
	return `"` + g.one("", "a", "b", "ab", "aaaa", "é", "日本語", "😀", `\ud83d\ude00`, `\u0061`, `\n`, `\ud800`, `\ud800\u0061`, `x\\y`, "abcdefghijklmnop", "127.0.0.1", "2020-01-01", `\/`, "1", "1"+"0") + `"`
}

func (g *grammar) value(depth int) string {
	n := 9
	if depth <= 0 {
		n = 5
	}
	switch g.pick(n) {
	case 0:
		return g.one("null", "true", "false")
	case 1, 2:
		return g.number()
	case 3, 4:
		return g.text()
	case 5, 6:
		items := make([]string, g.pick(5))
		if g.pick(40) == 1 {
			items = make([]string, 22)
		}
		for i := range items {
			items[i] = g.value(depth - 1)
		}
		return g.space("[") + strings.Join(items, g.space(",")) + "]"
	default:
		members := make([]string, g.pick(5))
		for i := range members {
			members[i] = `"` + g.name() + `"` + g.space(":") + g.value(depth-1)
		}
		if g.pick(40) == 1 {
			for i := range 20 {
				members = append(members, fmt.Sprintf(`"k%d":%s`, i, g.value(0)))
			}
		}
		return g.space("{") + strings.Join(members, g.space(",")) + g.space("}")
	}
}

func (g *grammar) space(s string) string { return s + g.one("", "", "", "", " ", "\n\t ") }

func (g *grammar) list(depth, least int, f func(int) string) string {
	items := make([]string, least+g.pick(3))
	for i := range items {
		items[i] = f(depth)
	}
	return "[" + strings.Join(items, ",") + "]"
}

func (g *grammar) object(depth int, f func(int) string) string {
	members := make([]string, g.pick(4))
	seen := map[string]bool{}
	var kept []string
	for range members {
		name := g.name()
		v := f(depth)
		if name == `\u0061` {
			name = "a"
		}
		if !seen[name] {
			seen[name] = true
			kept = append(kept, `"`+name+`":`+v)
		}
	}
	return "{" + strings.Join(kept, ",") + "}"
}

func (g *grammar) strings() string {
	var names []string
	seen := map[string]bool{}
	for range g.pick(4) {
		name := g.name()
		if name == `\u0061` {
			name = "a"
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, `"`+name+`"`)
		}
	}
	return "[" + strings.Join(names, ",") + "]"
}

var typeNames = []string{"null", "boolean", "integer", "number", "string", "array", "object"}

func (g *grammar) schema(depth int) string {
	if depth <= 0 {
		switch g.pick(6) {
		case 0:
			return "true"
		case 1:
			return "false"
		case 2:
			return "{}"
		}
	}
	rules := map[string]string{}
	for range 1 + g.pick(4) {
		g.rule(depth-1, rules)
	}
	var parts []string
	for _, name := range keywords {
		if rule, ok := rules[name]; ok {
			parts = append(parts, `"`+name+`":`+rule)
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

var keywords = []string{
	"type", "properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties", "maxProperties",
	"items", "prefixItems", "additionalItems", "contains", "minContains", "maxContains", "minItems", "maxItems", "uniqueItems", "enum", "const",
	"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern", "$ref",
	"anyOf", "oneOf", "allOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies", "format", "title",
	"unevaluatedProperties", "unevaluatedItems",
}

func (g *grammar) rule(depth int, rules map[string]string) {
	name := keywords[g.pick(len(keywords))]
	if strings.HasPrefix(name, "unevaluated") && g.pick(8) != 1 {
		name = "type"
	}
	var rule string
	switch name {
	case "type":
		rule = `"` + typeNames[g.pick(len(typeNames))] + `"`
		if g.pick(3) == 1 {
			rule = `["null",` + strings.Replace(rule, `"null"`, `"object"`, 1) + `]`
		}
	case "properties", "dependentSchemas":
		rule = g.object(depth, g.schema)
	case "patternProperties":
		rule = `{"` + g.one("^a", "b", "[0-9]$", "") + `":` + g.schema(depth) + `}`
	case "required":
		rule = g.strings()
	case "dependentRequired":
		rule = `{"` + g.one("a", "b", "x1") + `":` + g.strings() + `}`
	case "dependencies":
		rule = `{"a":` + g.strings() + `,"b":` + g.schema(depth) + `}`
	case "prefixItems", "anyOf", "oneOf", "allOf":
		rule = g.list(depth, 1, g.schema)
	case "items":
		rule = g.schema(depth)
		if g.pick(3) == 1 {
			rule = g.list(depth, 1, g.schema) // draft 7
		}
	case "minContains", "maxContains", "minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength":
		rule = strconv.Itoa(g.pick(5))
	case "uniqueItems":
		rule = "true"
	case "enum":
		rule = g.list(2, 1, g.value)
	case "const":
		rule = g.value(2)
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
		rule = g.number()
	case "multipleOf":
		rule = strings.TrimPrefix(g.number(), "-")
	case "pattern":
		rule = `"` + g.one("^a", "b", "^.$", "é", "[0-9]+", `^\\w*$`) + `"`
	case "$ref":
		rule = `"` + g.one("#/$defs/0", "#/$defs/1", "#/$defs/2", "#") + `"`
	case "format":
		rule = g.one(`"ipv4"`, `"date"`, `"email"`, `"regex"`)
	case "title":
		rule = `"t"`
	default:
		rule = g.schema(depth)
	}
	rules[name] = rule
}

// root is a whole schema, of either draft.
func (g *grammar) root() string {
	draft := ""
	if g.pick(3) == 1 {
		draft = `"$schema":"http://json-schema.org/draft-07/schema#",`
	}
	body := strings.TrimPrefix(g.schema(3), "{")
	if body == "true" || body == "false" {
		return body
	}
	defs := []string{`"0":` + g.schema(2), `"1":` + g.schema(2), `"2":` + g.schema(2)}
	if body == "}" {
		return "{" + draft + `"$defs":{` + strings.Join(defs, ",") + "}}"
	}
	return "{" + draft + `"$defs":{` + strings.Join(defs, ",") + "}," + body
}

// FuzzFastAgainstSanthosh compares the verdicts of both forms of a schema.
func FuzzFastAgainstSanthosh(f *testing.F) {
	f.Add([]byte("seed"))
	for i := range 64 {
		seed := make([]byte, 400)
		x := uint32(i*7919 + 1)
		for j := range seed {
			x ^= x << 13
			x ^= x >> 17
			x ^= x << 5
			seed[j] = byte(x >> 8)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		g := &grammar{in: in}
		text := g.root()
		s, err := schema.Compile(json.RawMessage(text))
		if err != nil || !s.Fast() {
			return
		}
		for range 4 {
			compareForms(t, s, g.value(3))
		}
	})
}

func compareForms(t *testing.T, s *schema.Schema, doc string) {
	t.Helper()
	fast, slow := s.ValidateFast(json.RawMessage(doc)), s.ValidateSlow(json.RawMessage(doc))
	if errors.Is(fast, schema.ErrWork) || slow != nil && strings.Contains(slow.Error(), schema.ErrWork.Error()) {
		return
	}
	if (fast == nil) != (slow == nil) {
		t.Fatalf("fast %v, slow %v\nschema %s\ndocument %s", fast, slow, s.Raw(), doc)
	}
	if whole := s.Validate(json.RawMessage(doc)); (whole == nil) != (slow == nil) {
		t.Fatalf("whole %v, slow %v\nschema %s\ndocument %s", whole, slow, s.Raw(), doc)
	}
}

// TestBothFormsAgree holds pairs that once told the two forms apart, and pairs
// made for it.
func TestBothFormsAgree(t *testing.T) {
	for _, c := range [][2]string{
		{`{"enum":["a",1,[1.0],{"a":1,"b":2}]}`, `"\u0061" 1.0 1e0 10e-1 [1] [1.00] {"b":2.0,"a":1} {"a":1} "b" 2 null`},
		{`{"const":{"a":["x"]}}`, `{"a":["\u0078"]} {"a":["y"]} {"a":[]}`},
		{`{"type":"integer","minimum":1.5,"exclusiveMaximum":4}`, `1 2 3 4 3.0 4.0 1e0 2e0 39e-1 3.9999999999999999999`},
		{`{"multipleOf":0.01}`, `0.07 1.005 1e999 1e-3 -0.29 19.99 4.35`},
		{`{"multipleOf":1024}`, `1e5 1e9 1e10 1e11 1e20 3e10 5e9 1e999 1024.0 10240e-1`},
		{`{"multipleOf":0.00001024}`, `1 1e4 1e5 1e6 1e40 1e-5 1024e-8`},
		{`{"multipleOf":9999999999999999999}`, `9999999999999999999 99999999999999999990 1e19 19999999999999999998`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","$ref":"#/definitions/a","definitions":{"a":true},"contains":{"type":"string"},"propertyNames":{"maxLength":1},"if":true,"then":false}`, `[1] {"ab":1}`},
		{`{"multipleOf":1e300}`, `0 1e300 3e301 1e299`},
		{`{"minimum":9223372036854775808}`, `9223372036854775807 9223372036854775808 1e18 1e19 -1`},
		{`{"exclusiveMinimum":1e2}`, `171.73E-3 171.73 171.73e0 100.0 100.1 99.9`},
		{`{"uniqueItems":true}`, `[1,1.0] [1,-1] ["a","\u0061"] [{"a":1,"b":2},{"b":2,"a":1}] [0,false] ["1",1] [[],{}]`},
		{`{"minLength":2,"maxLength":2}`, `"é" "éé" "\u00e9a" "\ud83d\ude00" "\ud83d\ude00a" "\ud800a" "abc"`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","format":"ipv4"}`, `"127.0.0.1" "x" 1`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"a":true},"$ref":"#/definitions/a","const":1,"type":"string"}`, `1 "a" 2`},
		{`{"not":{"required":["a"]},"propertyNames":{"maxLength":1}}`, `{} {"a":1} {"b":1} {"bc":1}`},
		{`{"contains":{"const":1},"minContains":2,"maxContains":3}`, `[] [1] [1,1] [1,1,1,1] [1,2,1] 7`},
		{`{"contains":{"const":1},"minContains":0}`, `[] [2]`},
		{`{"dependentRequired":{"a":["b"]},"dependentSchemas":{"c":{"required":["d"]}}}`, `{"a":1} {"a":1,"b":1} {"c":1} { "c":1,"d":1}`},
		{`{"patternProperties":{"^a":{"type":"string"},"b$":{"minLength":2}},"properties":{"ab":{"maxLength":3}},"additionalProperties":{"type":"null"}}`, `{"ab":"xy"} {"ab":"x"} {"ab":"wxyz"} {"c":null} {"c":1} {"xb":1}`},
	} {
		s, err := schema.Compile(json.RawMessage(c[0]))
		if err != nil || !s.Fast() {
			t.Fatalf("%s: %v, fast %v", c[0], err, s.Fast())
		}
		decoder := json.NewDecoder(strings.NewReader(c[1]))
		for {
			var doc json.RawMessage
			if decoder.Decode(&doc) != nil {
				break
			}
			compareForms(t, s, string(doc))
		}
	}
}

// FuzzCheck holds Check against encoding/json: what it accepts is valid, and what
// it refuses is invalid or breaks one of the rules that encoding/json lacks.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		`{}`, `[[[]]]`, `"\"["`, "\"\xff\"", `1e999`, ``, `{"a":1,"\u0061":2}`, ` [1 , 2 ] `, `-`, `01`, `1.`, `1e`, `"\ud800\udc00"`, `"\u12"`,
		`{"a":{"b":[true,false,null]},"c":"é日"}`, "\"\x1f\"", "\ufeff1", `tru`, `{"a" : 1}`, `{,}`, `[1,]`, `{"a":1,}`, "\"abcdefgh\x7fijklmnop\"",
		`{"k0":0,"k1":0,"k2":0,"k3":0,"k4":0,"k5":0,"k6":0,"k7":0,"k8":0,"k9":0,"ka":0,"kb":0,"kc":0,"kd":0,"ke":0,"kf":0,"kg":0,"kh":0,"k0":1}`,
		`{"a":[{"b":1,"b":2}]}`, `{"k\ud800":1,"k\udfff":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		err := schema.Check(raw)
		if !json.Valid(raw) || !utf8.Valid(raw) {
			if err == nil {
				t.Fatalf("accepted %q", raw)
			}
			return
		}
		depth, twice := facts(raw)
		want := error(nil)
		if depth > schema.MaxDepth {
			want = schema.ErrTooDeep
		}
		if !errors.Is(err, want) {
			t.Fatalf("got %v, want %v for %q", err, want, raw)
		}
		if want == nil && twice != errors.Is(schema.Strict(raw), schema.ErrTwice) && !errors.Is(schema.Strict(raw), schema.ErrNumber) {
			t.Fatalf("the same key twice: got %v, want %v for %q", schema.Strict(raw), twice, raw)
		}
	})
}

// facts tells how deep a valid text is nested and whether an object has a key
// twice.
func facts(raw []byte) (depth int, twice bool) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	type level struct {
		keys map[string]bool
		key  bool
	}
	var open []*level
	for {
		token, err := decoder.Token()
		if err != nil {
			return depth, twice
		}
		if len(open) > 0 {
			top := open[len(open)-1]
			if name, ok := token.(string); ok && top.key {
				twice = twice || top.keys[name]
				top.keys[name], top.key = true, false
				continue
			}
			top.key = top.keys != nil
		}
		switch token {
		case json.Delim('{'):
			open = append(open, &level{keys: map[string]bool{}, key: true})
		case json.Delim('['):
			open = append(open, &level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		depth = max(depth, len(open))
	}
}
