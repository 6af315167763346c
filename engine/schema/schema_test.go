package schema_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

func TestValidateNamesThePlaceAndTheProblem(t *testing.T) {
	s, err := schema.Compile(json.RawMessage(`{"type":"object","properties":{"a":{"type":"array","items":{"type":"integer"}}},"required":["a"],"additionalProperties":false}`))
	require.NoError(t, err)
	require.NoError(t, s.Validate(json.RawMessage(`{"a":[1,12345678901234567890]}`)))
	for in, want := range map[string]string{
		`{"a":["x"]}`:         "/a/0: got string, want integer",
		`{}`:                  "(root): missing property 'a'",
		`{"a":[],"q":1}`:      "(root): additional properties 'q' not allowed",
		`{"a":[]} trailer`:    "(root): not valid JSON",
		`{"a":` + "\"\xff\"}": "(root): not valid UTF-8",
		``:                    "(root): want a JSON value, got nothing",
		strings.Repeat("[", 300) + strings.Repeat("]", 300): "(root): nested deeper than 256 levels",
	} {
		err := s.Validate(json.RawMessage(in))
		var v *schema.ValidationError
		require.ErrorAs(t, err, &v, in)
		assert.Contains(t, err.Error(), "- "+want, in)
	}
}

func TestSchemasThatSayNothingStillWantJSON(t *testing.T) {
	for _, raw := range []string{``, `null`, `true`, `{}`, `{"$schema":"http://json-schema.org/draft-07/schema#"}`} {
		s, err := schema.Compile(json.RawMessage(raw))
		require.NoError(t, err, raw)
		require.NoError(t, s.Validate(json.RawMessage(`[1,{"a":null}]`)), raw)
		require.Error(t, s.Validate(json.RawMessage(`[1,`)), raw)
	}
}

func TestCompileRefusesWhatItCannotTrust(t *testing.T) {
	for name, c := range map[string]struct{ raw, want string }{
		"a remote reference":    {`{"$ref":"https://example.com/s.json"}`, "references to other documents are not allowed"},
		"a file reference":      {`{"$ref":"file:///etc/passwd"}`, "references to other documents are not allowed"},
		"a relative reference":  {`{"$ref":"other.json"}`, "references to other documents are not allowed"},
		"a remote metaschema":   {`{"$schema":"https://example.com/meta"}`, "references to other documents are not allowed"},
		"an unknown definition": {`{"$ref":"#/$defs/nope"}`, "nope"},
		"a broken keyword":      {`{"type":"strin"}`, "not a valid JSON Schema"},
		"broken JSON":           {`{"type":`, "not valid JSON"},
		"a list":                {`[]`, "want a JSON object or a boolean"},
		"a bad pattern":         {`{"pattern":"(["}`, "regex"},
		"too much text":         {`{"description":"` + strings.Repeat("x", schema.MaxSchemaBytes) + `"}`, "exceed the limit"},
	} {
		_, err := schema.Compile(json.RawMessage(c.raw))
		require.Error(t, err, name)
		assert.Contains(t, err.Error(), c.want, name)
	}
}

func TestRecursiveSchemasEnd(t *testing.T) {
	s, err := schema.Compile(json.RawMessage(`{"$defs":{"n":{"type":"object","properties":{"next":{"$ref":"#/$defs/n"}}}},"$ref":"#/$defs/n"}`))
	require.NoError(t, err)
	require.NoError(t, s.Validate(json.RawMessage(`{"next":{"next":{}}}`)))
	require.Error(t, s.Validate(json.RawMessage(`{"next":{"next":1}}`)))
}

type node struct {
	Name string  `json:"name" jsonschema:"enum=a,enum=b" jsonschema_description:"its name, with a comma"`
	Kids []*node `json:"kids,omitempty"`
}

type pair struct {
	Left  point `json:"left"`
	Right point `json:"right"`
}

type point struct {
	X int             `json:"x"`
	Y json.RawMessage `json:"y,omitempty"`
}

func TestInferFollowsTheGoType(t *testing.T) {
	raw, err := schema.Infer[pair]()
	require.NoError(t, err)
	assert.JSONEq(t, `{"type":"object","additionalProperties":false,"required":["left","right"],"properties":{
		"left":{"type":"object","additionalProperties":false,"required":["x"],"properties":{"x":{"type":"integer"},"y":true}},
		"right":{"type":"object","additionalProperties":false,"required":["x"],"properties":{"x":{"type":"integer"},"y":true}}}}`, string(raw))

	raw, err = schema.Infer[node]()
	require.NoError(t, err)
	s, err := schema.Compile(raw)
	require.NoError(t, err)
	require.NoError(t, s.Validate(json.RawMessage(`{"name":"a","kids":[{"name":"b"}]}`)))
	require.Error(t, s.Validate(json.RawMessage(`{"name":"a","kids":[{"name":"z"}]}`)))
	assert.Contains(t, string(raw), "its name, with a comma")

	for _, f := range []func() (json.RawMessage, error){schema.Infer[any], schema.Infer[json.RawMessage], schema.Infer[struct{}]} {
		raw, err := f()
		require.NoError(t, err)
		assert.Nil(t, raw)
	}
	raw, err = schema.Infer[string]()
	require.NoError(t, err)
	assert.JSONEq(t, `{"type":"string"}`, string(raw))
	_, err = schema.Infer[chan int]()
	require.Error(t, err)
	_, err = schema.Infer[struct{ F func() }]()
	require.Error(t, err)
}

// Keys are compared with the one that came next the time before, so that what one
// document taught may not change the verdict on another.
func TestTheOrderOfKeysChangesNoVerdict(t *testing.T) {
	s, err := schema.Compile(json.RawMessage(`{"type":"object","additionalProperties":false,"required":["a","b"],
		"properties":{"a":{"type":"integer"},"b":{"type":"object","properties":{"a":{"type":"string"},"c":{}}},"ab":{"type":"boolean"},"é":{"type":"null"},"q\"":{"type":"null"}}}`))
	require.NoError(t, err)
	require.True(t, s.Fast())
	verdicts := []struct {
		document string
		valid    bool
	}{
		{`{"a":1,"b":{"a":"x","c":1},"ab":true,"é":null,"q\"":null}`, true},
		{`{"ab":true,"b":{"c":1,"a":"x"},"a":1}`, true},
		{`{"b":{}, "a" : 1}`, true},
		{`{"\u0061":1,"b":{}}`, true},
		{`{"a":1,"a":1,"b":{}}`, false},
		{`{"a":1,"\u0061":1,"b":{}}`, false},
		{`{"b":{"a":1},"a":1}`, false},
		{`{"a":"x","b":{}}`, false},
		{`{"a":1}`, false},
		{`{"a":1,"b":{},"c":1}`, false},
		{`{"a":1,"b`, false},
		{`{"a`, false},
	}
	var readers sync.WaitGroup
	for worker := range 8 {
		readers.Go(func() {
			for round := range 500 {
				v := verdicts[(round*7+worker)%len(verdicts)]
				if err := s.Validate(json.RawMessage(v.document)); (err == nil) != v.valid {
					t.Errorf("%s: %v, want valid=%t", v.document, err, v.valid)
					return
				}
			}
		})
	}
	readers.Wait()
}
