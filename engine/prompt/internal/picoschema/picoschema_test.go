package picoschema_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/picoschema"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

func lookup(name string) (*value.Object, error) {
	switch name {
	case "City":
		v, _ := value.Decode(json.RawMessage(`{"type":"string","description":"a city"}`))
		o, _ := v.(*value.Object)
		return o, nil
	case "Down":
		return nil, errors.New("the registry is down")
	}
	return nil, nil
}

func TestShortFormsBecomeJSONSchema(t *testing.T) {
	for in, want := range map[string]string{
		`null`:                          `null`,
		`""`:                            `null`,
		`"any"`:                         `{}`,
		`"string , what, it is"`:        `{"type":"string","description":"what, it is"}`,
		`"City"`:                        `{"type":"string","description":"a city"}`,
		`"City, mine"`:                  `{"type":"string","description":"mine"}`,
		`{"type":"array"}`:              `{"type":"array"}`,
		`{"properties":{}}`:             `{"properties":{},"type":"object"}`,
		`{}`:                            `{"type":"object","properties":{},"additionalProperties":false}`,
		`{"b":"string","a?":"null, x"}`: `{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"null","description":"x"}},"required":["b"],"additionalProperties":false}`,
		`{"a (array, with (brackets) in it)":"integer, line one\nline two"}`: `{"type":"object","properties":{"a":{"type":"array","items":{"type":"integer","description":"line one\nline two"},"description":"with (brackets) in it"}},"required":["a"],"additionalProperties":false}`,
		`{"e?(enum)":["a",null,1]}`:                    `{"type":"object","properties":{"e":{"enum":["a",null,1]}},"additionalProperties":false}`,
		`{"e?(enum, d)":["a"]}`:                        `{"type":"object","properties":{"e":{"enum":["a",null],"description":"d"}},"additionalProperties":false}`,
		`{"o?(object, d)":{"x":"any"},"(*)":"number"}`: `{"type":"object","properties":{"o":{"type":["object","null"],"properties":{"x":{}},"required":["x"],"additionalProperties":false,"description":"d"}},"additionalProperties":{"type":"number"}}`,
		`{"a?(array)":{"x?":"City"}}`:                  `{"type":"object","properties":{"a":{"type":["array","null"],"items":{"type":"object","properties":{"x":{"type":["string","null"],"description":"a city"}},"additionalProperties":false}}},"additionalProperties":false}`,
	} {
		v, err := value.Decode(json.RawMessage(in))
		require.NoError(t, err)
		got, err := picoschema.Convert(v, lookup)
		require.NoError(t, err, in)
		assert.Equal(t, want, string(value.Encode(got)), in)
		assert.Equal(t, in, string(value.Encode(v)), "what was given is not changed")
		_, err = schema.Compile(value.Encode(got))
		require.NoError(t, err, in)
	}
}

func TestWhatIsNoSchemaIsRefused(t *testing.T) {
	for in, want := range map[string]string{
		`"nothing"`: `schema: there is no type and no schema "nothing"`, `{"a":{"b":"nothing"}}`: `schema: field a.b: there is no type and no schema "nothing"`,
		`"Down"`: `schema: the registry is down`, `{"a":1}`: "field a: want a type or fields, got 1", `[1]`: "want a type", `{"a(tuple)":1}`: "(tuple)",
		`{"a":"string","a?":"string"}`: "described twice", `{"?":"string"}`: "has no name", `{"a(enum)":[]}`: "an enum wants", `{"a":null}`: "has no type",
	} {
		v, err := value.Decode(json.RawMessage(in))
		require.NoError(t, err)
		_, err = picoschema.Convert(v, lookup)
		assert.ErrorContains(t, err, want, in)
	}
	_, err := picoschema.Convert("City", nil)
	require.Error(t, err)
	_, err = picoschema.Convert("Down", lookup)
	assert.ErrorContains(t, errors.Unwrap(err), "the registry is down")
}

// FuzzConvert: whatever comes out is a schema that compiles, unless it was JSON Schema
// or named before.
func FuzzConvert(f *testing.F) {
	for _, s := range []string{`{"a?(array, b)":"string"}`, `{"(*)":"any"}`, `"City, x"`, `{"a":{"b(enum)":[1]}}`, `{"type":"object"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := value.Decode(raw)
		if err != nil {
			return
		}
		got, err := picoschema.Convert(v, lookup)
		if err != nil {
			return
		}
		if o, ok := v.(*value.Object); ok {
			for _, key := range []string{"type", "properties"} {
				if _, has := o.Get(key); has {
					return
				}
			}
		}
		if out := value.Encode(got); len(out) < schema.MaxSchemaBytes {
			if _, err := schema.Compile(out); err != nil && !errors.Is(err, schema.ErrRemoteRef) {
				t.Fatalf("%s became %s: %v", raw, out, err)
			}
		}
	})
}
