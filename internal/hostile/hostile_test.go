package hostile_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/internal/hostile"
)

func TestSamplesFitTheirSchemas(t *testing.T) {
	for _, text := range []string{
		`{"type":"object","properties":{"a":{"type":"string"},"n":{"type":"integer","minimum":5}},"required":["a","n"],"additionalProperties":false}`,
		`{"type":"string","minLength":20}`,
		`{"type":"number","exclusiveMinimum":3}`,
		`{"type":"integer","maximum":-4}`,
		`{"type":"array","items":{"type":"boolean"},"minItems":3}`,
		`{"enum":["x","y"]}`,
		`{"const":{"a":1.50}}`,
		`{"anyOf":[{"type":"null"},{"type":"string"}]}`,
		`{"type":["string","null"],"examples":["e"]}`,
		`{"$ref":"#/$defs/a~1b","$defs":{"a/b":{"type":"object","properties":{"p":{"default":7}},"required":["p"]}}}`,
		`{}`,
	} {
		s, err := schema.Compile(json.RawMessage(text))
		require.NoError(t, err, text)
		assert.NoError(t, s.Validate(hostile.Sample(json.RawMessage(text))), text)
	}
	for text, want := range map[string]string{
		"": "{}", "{": "{}", `{"$ref":"#"}`: "null", `{"$ref":"#/none"}`: "null", `{"$ref":"https://example.com/x"}`: "null", `{"type":"null"}`: "null",
		`{"type":"array","minItems":2}`: "[null,null]", `{"type":[]}`: "{}", `{"type":"integer","minimum":7}`: "7", "true": "null",
	} {
		assert.Equal(t, want, string(hostile.Sample(json.RawMessage(text))), text)
	}
	nested := `{"type":"object","properties":{"a":{"$ref":"#"},"b":{"$ref":"#"}}}`
	assert.Less(t, len(hostile.Sample(json.RawMessage(nested))), 1<<20)
}

// What is nested multiplies: a schema of some hundred bytes may ask for more than any memory holds.
func TestSamplesAreBounded(t *testing.T) {
	deep, wide := `{"type":"string","minLength":60000}`, `{"type":"object","properties":{`
	for range 7 {
		deep = `{"type":"array","minItems":100,"items":` + deep + `}`
	}
	for c := 'a'; c <= 'z'; c++ {
		wide += `"` + string(c) + `":{"$ref":"#"},`
	}
	wide = strings.TrimSuffix(wide, ",") + "}}"
	for _, text := range []string{deep, wide} {
		assert.Less(t, len(hostile.Sample(json.RawMessage(text))), 2<<20)
	}
}

func TestHostileInputsTryEachPlaceOfTheInput(t *testing.T) {
	all := hostile.Inputs(nil, json.RawMessage(`{"a":{"b":"x"},"list":[{"c":12345678901234567890}]}`))
	found := map[string]string{}
	for _, h := range all {
		assert.NotContains(t, found, h.What)
		found[h.What] = string(h.JSON)
		assert.True(t, h.What == "no input" || json.Valid(h.JSON), h.What)
	}
	for what, want := range map[string]string{
		"no input":                       "",
		"the input is null":              "null",
		"/a/b is missing":                `{"a":{},"list":[{"c":12345678901234567890}]}`,
		"/a is true":                     `{"a":true,"list":[{"c":12345678901234567890}]}`,
		"/list/0/c is -1":                `{"a":{"b":"x"},"list":[{"c":-1}]}`,
		"/list is missing":               `{"a":{"b":"x"}}`,
		"a member that nobody knows":     `{"a":{"b":"x"},"list":[{"c":12345678901234567890}],"unknown_member":1}`,
		"/a/b is an empty string":        `{"a":{"b":""},"list":[{"c":12345678901234567890}]}`,
		"/a/b is a list of 10,000":       "",
		"/a/b is lists 200 deep":         "",
		"/a/b is text that is not ASCII": "",
	} {
		assert.Contains(t, found, what)
		if want != "" {
			assert.JSONEq(t, want, found[what], what)
		}
	}
	long := found["/a/b is 1 MB of text"]
	assert.Greater(t, len(long), 700_000)
	assert.Less(t, len(long), 1<<20, "the limit of an input")
	assert.Contains(t, found["/a/b is lists 200 deep"], strings.Repeat("[", 200))

	wide := map[string]int{}
	for i := range 100 {
		wide[strings.Repeat("m", i+1)] = i
	}
	raw, err := json.Marshal(wide)
	require.NoError(t, err)
	assert.Less(t, len(hostile.Inputs(nil, raw)), 500)
	assert.NotEmpty(t, hostile.Inputs(nil, json.RawMessage(`{`)), "an input that is no JSON is no seed")
}

// FuzzSample holds the maker of inputs to ending, whatever a schema says.
func FuzzSample(f *testing.F) {
	f.Add([]byte(`{"type":"object","properties":{"a":{"type":"string","minLength":1e9}}}`))
	f.Add([]byte(`{"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"$ref":"#/$defs/a"}]}}}`))
	f.Add([]byte(`{"type":["array",5],"minItems":-3,"items":[true]}`))
	f.Add([]byte(`{"exclusiveMinimum":"x","enum":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 4096 {
			return
		}
		assert.True(t, json.Valid(hostile.Sample(raw)))
	})
}
