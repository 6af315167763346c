package schema_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// TestHostileSchemasAreCutShort runs pairs whose cost grows with a power of their
// size, or whose numbers would fill the memory, through both forms.
func TestHostileSchemasAreCutShort(t *testing.T) {
	doubling := `{"$defs":{`
	for i := range 40 {
		doubling += fmt.Sprintf(`"%d":{"allOf":[{"$ref":"#/$defs/%d"},{"$ref":"#/$defs/%d"}]},`, i, i+1, i+1)
	}
	doubling += `"40":{"type":"string"}},"$ref":"#/$defs/0"}`
	nested := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
	chain := `{"$defs":{`
	for i := range 2500 {
		chain += fmt.Sprintf(`"%d":{"allOf":[{"$ref":"#/$defs/%d"},true]},`, i, i+1)
	}
	chain += `"2500":{"items":{"$ref":"#/$defs/0"}}},"$ref":"#/$defs/0"}`
	numbers := "[" + strings.Repeat("1e999,", 3_000) + "1]"
	collide := make([]string, 4000)
	for i := range collide { // lists of which the parts, put together, are all the same
		at := 1 + i%60
		collide[i] = fmt.Sprintf(`[%q,%q,%d]`, strings.Repeat("x", at), strings.Repeat("x", 64-at), i)
	}
	for name, c := range map[string]struct{ schema, doc, want string }{
		"references that double":             {doubling, `"x"`, schema.ErrWork.Error()},
		"references that double, refused":    {doubling, `1`, "to say more"},
		"anyOf that doubles with the depth":  {`{"anyOf":[{"properties":{"a":{"$ref":"#"}},"required":["b"]},{"properties":{"a":{"$ref":"#"}},"required":["c"]}]}`, nested, ""},
		"oneOf that doubles with the depth":  {`{"oneOf":[{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}},"type":"array"},{"required":["b"],"properties":{"a":{"$ref":"#"}}}]}`, nested, ""},
		"a chain of references, every level": {chain, strings.Repeat("[", 250) + strings.Repeat("]", 250), schema.ErrWork.Error()},
		"long exponents":                     {`{"items":{"multipleOf":7e-300}}`, numbers, ""},
		"an exponent past the bound":         {`{"items":{"minimum":7}}`, `[8,{"a":1e1000000000}]`, "/1/a: a number"},
		"a number past the bound":            {`{"type":["number","array"]}`, "[" + strings.Repeat("9", 2000) + "]", "/0: a number"},
		"an enum of numbers":                 {`{"items":{"enum":[` + strings.Repeat("1.5,", 1) + `1]}}`, "[" + strings.Repeat("1,", 20_000) + "1]", ""},
		"lists that collide":                 {`{"uniqueItems":true}`, "[" + strings.Join(collide, ",") + "]", ""},
		"an expensive expression":            {`{"items":{"pattern":"(` + strings.Repeat("a?b?c?", 40) + `){200}$"}}`, `["` + strings.Repeat("ab", 20_000) + `x"]`, schema.ErrWork.Error()},
		"an expression in the document":      {`{"$schema":"http://json-schema.org/draft-07/schema#","format":"regex"}`, `"(` + strings.Repeat("b", 200) + `){600}"`, schema.ErrWork.Error()},
		"a long document, wrong at the end":  {`{"properties":{"l":{"items":{"anyOf":[{"type":"string"},{"const":1}]}}}}`, `{"k":[],"l":[` + strings.Repeat("1,", 20_000) + `2]}`, "/l/20000: does not match the schema; the document is too long"},
		"a long document, wrong everywhere":  {`{"items":{"required":["a"]}}`, `[` + strings.Repeat("{},", 40_000) + `{}]`, "/0: does not match the schema; the document is too long"},
		"many names that look alike":         {alike(5000), `{"a00001b":1,"a00002b":"x"}`, "want integer"},
	} {
		s, err := schema.Compile(json.RawMessage(c.schema))
		require.NoError(t, err, name)
		require.True(t, s.Fast(), name)
		for form, validate := range map[string]func(json.RawMessage) error{"fast": s.Validate, "slow": s.ValidateSlow} {
			start := time.Now()
			err = validate(json.RawMessage(c.doc))
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("%s, %s: took %v", name, form, took)
			} else {
				t.Logf("%s, %s: %v: %.100v", name, form, took, err)
			}
			if c.want != "" && form == "fast" {
				require.Error(t, err, name)
				assert.Contains(t, err.Error(), c.want, name)
			}
		}
	}
}

func alike(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(`"a%05db":{"type":"integer"}`, i)
	}
	return `{"properties":{` + strings.Join(names, ",") + `}}`
}

func TestSchemasOutOfBoundsAreRefused(t *testing.T) {
	for raw, want := range map[string]string{
		`{"minimum":1e1000000000}`: "/minimum: a number",
		`{"multipleOf":1e-5000}`:   "/multipleOf: a number",
		`{"pattern":"(a{100}){10}(` + strings.Repeat("b", 200) + `){600}"}`:      "regular expressions are too big",
		`{"patternProperties":{"(` + strings.Repeat("b", 200) + `){600}":true}}`: "regular expressions are too big",
		`{"allOf":[` + strings.Repeat("{},", 20_000) + `{}]}`:                    "more than 10000 subschemas",
		`{"type":"string","type":"number"}`:                                      "(root): the same key twice",
		`{"properties":{"a":{},"\u0061":false}}`:                                 "/properties: the same key twice",
	} {
		_, err := schema.Compile(json.RawMessage(raw))
		require.Error(t, err, raw)
		assert.Contains(t, err.Error(), want)
	}
}

func TestProblemsSayWhereAndWhat(t *testing.T) {
	for _, c := range []struct{ schema, doc, want string }{
		{`{"type":"integer"}`, `1.5`, "(root): got number, want integer"},
		{`{"properties":{"a/b":{"items":{"minimum":3}}}}`, `{"a/b":[4,2]}`, "/a~1b/1: minimum: got 2, want 3"},
		{`{"properties":{"n":{"exclusiveMaximum":10}}}`, `{"n":1e1}`, "/n: exclusiveMaximum: got 10, want less than 10"},
		{`{"properties":{"n":{"multipleOf":0.1}}}`, `{"n":0.25}`, "/n: multipleOf: got 0.25, want a multiple of 0.1"},
		{`{"maximum":1000000}`, `12345678901234567890`, "(root): maximum: got 12345678901234567890, want 1000000"},
		{`{"maximum":1000000}`, `1e999`, "(root): maximum: got 1e+999, want 1000000"},
		{`{"minLength":10000}`, `""`, "(root): minLength: got 0, want 10000"},
		{`{"properties":{"t":{"enum":["c","f"]}}}`, `{"t":"k"}`, "/t: value must be one of 'c', 'f'"},
		{`{"properties":{"t":{"const":1}}}`, `{"t":2}`, "/t: value must be 1"},
		{`{"minLength":2}`, `"é"`, "(root): minLength: got 1, want 2"},
		{`{"maxLength":1}`, `"\u00e9x"`, "(root): maxLength: got 2, want 1"},
		{`{"properties":{"s":{"pattern":"^a"}}}`, `{"s":"b"}`, "/s: 'b' does not match pattern '^a'"},
		{`{"required":["a","b"]}`, `{}`, "(root): missing properties 'a', 'b'"},
		{`{"additionalProperties":false,"properties":{"a":true}}`, `{"x":1}`, "(root): additional properties 'x' not allowed"},
		{`{"propertyNames":{"maxLength":1}}`, `{"ab":1}`, "(root): maxLength: got 2, want 1"},
		{`{"minItems":1}`, `[]`, "(root): minItems: got 0, want 1"},
		{`{"maxItems":1}`, `[1,2]`, "(root): maxItems: got 2, want 1"},
		{`{"uniqueItems":true}`, `[1,2,1.0]`, "(root): items at 0 and 2 are equal"},
		{`{"contains":{"const":1}}`, `[]`, "(root): no items match contains schema"},
		{`{"anyOf":[{"type":"string"},{"minimum":5}]}`, `3`, "(root): got number, want string"},
		{`{"anyOf":[{"type":"string"},{"minimum":5}]}`, `3`, "(root): minimum: got 3, want 5"},
		{`{"oneOf":[{"minimum":1},{"minimum":2}]}`, `3`, "(root): 'oneOf' failed, subschemas 0, 1 matched"},
		{`{"not":{"type":"null"}}`, `null`, "(root): 'not' failed"},
		{`{"properties":{"a":false}}`, `{"a":1}`, "/a: false schema"},
		{`{"type":"object"}`, `{"a":{"b":1,"c":2,"b":3}}`, "/a: the same key twice"},
		{`{"type":"object"}`, `{"a":[0,{"b":1,"\u0062":3}]}`, "/a/1: the same key twice"},
		{`{"properties":{"a":{"type":"object","properties":{"b":{}}}}}`, `{"a":{"b":1,"b":1}}`, "/a: the same key twice"},
		{`{"type":"object"}`, `{"a":[0,[1e1001]]}`, "/a/1/0: a number"},
		{`{"type":"object"}`, `{"a":1`, "(root): not valid JSON"},
		{`{"type":"object"}`, ` `, "(root): not valid JSON"},
		{`{"type":"string"}`, `7 x`, "(root): not valid JSON"},
	} {
		s, err := schema.Compile(json.RawMessage(c.schema))
		require.NoError(t, err, c.schema)
		err = s.Validate(json.RawMessage(c.doc))
		require.Error(t, err, "%s %s", c.schema, c.doc)
		assert.Contains(t, err.Error(), "- "+c.want, "%s %s", c.schema, c.doc)
	}
}

func TestOneSchemaServesManyAtOnce(t *testing.T) {
	s, err := schema.Compile(json.RawMessage(orderSchema))
	require.NoError(t, err)
	good, bad := orderOf(4<<10), json.RawMessage(`{"id":"x","\u0069tems":[]}`)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				assert.NoError(t, s.Validate(good))
				assert.Error(t, s.Validate(bad))
			}
		})
	}
	group.Wait()
	// The race detector empties pools now and then.
	if allocs := testing.AllocsPerRun(100, func() { _ = s.Validate(good) }); allocs > 8 {
		t.Errorf("%v allocations for a document that is fine, want none", allocs)
	}
}
