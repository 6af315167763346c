package generate_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestAModelThatIsRunDirectlyIsServedToo(t *testing.T) {
	const in = `{"messages":[{"role":"user","content":[{"text":"hi"}]}],"docs":[{"content":[{"text":"fact"}]}],
		"output":{"constrained":true,"schema":{"type":"object"},"format":"json"},"tools":[]}`
	for name, c := range map[string]struct {
		info  model.Info
		parts int
	}{"able": {everything, 1}, "unable": {model.Info{}, 3}} {
		reg := newRegistry(t)
		f := &fakeModel{t: t, responses: []string{says("one"), says("two"), says("three")}}
		register(t, reg)(model.New("m", c.info, f.generate))
		a, err := reg.Lookup(t.Context(), action.Key{Kind: action.Model, Name: "m"})
		require.NoError(t, err)
		served := generate.Direct(a)
		assert.Same(t, served, generate.Direct(served))
		assert.Equal(t, a.Desc(), served.Desc())
		_, err = served.RunJSON(t.Context(), json.RawMessage(in), nil)
		require.NoError(t, err)
		_, err = model.From(served).Generate(t.Context(), decode[model.Request](t, json.RawMessage(in)), nil)
		require.NoError(t, err)
		for i := range 2 {
			assert.Len(t, f.request(t, i).Messages[0].Content, c.parts, name)
		}
		_, err = served.RunJSON(t.Context(), encode(t, f.request(t, 0)), nil)
		require.NoError(t, err)
		assert.Len(t, f.request(t, 2).Messages[0].Content, c.parts, "%s: nothing is put there twice", name)
		_, err = served.RunJSON(t.Context(), json.RawMessage(`[]`), nil)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
	can, err := action.New(action.Desc{Kind: action.Model, Name: "says/no", Metadata: map[string]json.RawMessage{"model": json.RawMessage(`{"supports":{"multiturn":false}}`)}},
		func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
			return json.RawMessage(`{"message":{"role":"model","content":[]}}`), nil
		})
	require.NoError(t, err)
	const turns = `{"messages":[{"role":"user","content":[]},{"role":"user","content":[]}]}`
	_, err = generate.Direct(can).RunJSON(t.Context(), json.RawMessage(turns), nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument, "what it says it can't do is refused")
	_, err = model.From(generate.Direct(can)).Generate(t.Context(), decode[model.Request](t, json.RawMessage(turns)), nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	plain := mustTool(t)
	assert.Same(t, plain, generate.Direct(plain))
}
