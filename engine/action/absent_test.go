package action_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
)

// What stands for an input that is left out, or null, follows from what the schema takes,
// however it is written.
func TestAnInputThatIsLeftOut(t *testing.T) {
	const object = `{"type":"object","properties":{"a":{"type":"string"}}}`
	const refused = "refused"
	for _, c := range []struct{ schema, absent, null string }{
		{object, `{}`, `{}`},
		{`{"$ref":"#/$defs/o","$defs":{"o":` + object + `}}`, `{}`, `{}`},
		{`{"allOf":[` + object + `]}`, `{}`, `{}`},
		{`{"anyOf":[` + object + `,{"type":"string"}]}`, `{}`, `{}`},
		{`{"oneOf":[{"$ref":"#/$defs/o"},{"type":"array"}],"$defs":{"o":` + object + `}}`, `{}`, `{}`},
		{`{"type":["object"],"required":[]}`, `{}`, `{}`},
		{`{"type":["object","string"]}`, `{}`, `{}`},
		{`{"not":{"type":"null"}}`, `{}`, `{}`},
		{`{"type":"object","additionalProperties":false}`, `{}`, `{}`},
		{`{"if":{"type":"object"},"then":true,"else":false}`, `{}`, `{}`},
		{`{"type":["object","null"],"properties":{}}`, `null`, `null`},
		{`{"anyOf":[` + object + `,{"type":"null"}]}`, `null`, `null`},
		{`{"properties":{"a":{"type":"string"}}}`, `{}`, `null`},
		{`{"allOf":[{"$ref":"#/$defs/o"}],"$defs":{"o":{"properties":{"a":{"type":"string"}}}}}`, `{}`, `null`},
		{`{"required":["a"]}`, `null`, `null`},
		{`{"type":"null"}`, `null`, `null`},
		{``, ``, `null`},
		{`{}`, ``, `null`},
		{`true`, ``, `null`},
		{`{"type":"object","minProperties":1}`, refused, refused},
		{`{"type":"object","required":["a"],"properties":{"a":{"default":"x"}}}`, refused, refused},
		{`{"type":"array"}`, refused, refused},
		{`{"type":"string"}`, refused, refused},
		{`false`, refused, refused},
	} {
		a, err := action.New(action.Desc{Kind: action.Tool, Name: "t", InputSchema: json.RawMessage(c.schema)},
			func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
				return json.Marshal(string(in))
			})
		require.NoError(t, err, c.schema)
		for in, want := range map[string]string{"": c.absent, "null": c.null, " null\n": c.null} {
			if want == "null" && in != "" {
				want = in // as it was given
			}
			var raw json.RawMessage // nil for ""
			if in != "" {
				raw = json.RawMessage(in)
			}
			out, err := a.RunJSON(t.Context(), raw, nil)
			if want == refused {
				require.ErrorIs(t, err, action.ErrInvalidInput, "%s on %q", c.schema, in)
				continue
			}
			require.NoError(t, err, "%s on %q", c.schema, in)
			var got string
			require.NoError(t, json.Unmarshal(out, &got))
			assert.Equal(t, want, got, "%s on %q", c.schema, in)
		}
	}
}
