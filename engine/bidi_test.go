package engine_test

import (
	"context"
	"encoding/json"
	"iter"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
)

func TestABidiActionIsFoundByItsKey(t *testing.T) {
	e := start(t, engine.Config{})
	echo := func(_ context.Context, init string, inputs iter.Seq2[string, error], send func(string) error) (string, error) {
		for in, err := range inputs {
			if err != nil {
				return "", err
			}
			if err := send(in); err != nil {
				return "", err
			}
		}
		return init, nil
	}
	f := engine.DefineBidiFlow(e, "talk", echo)
	engine.DefineBidiAction(e, action.Desc{Kind: action.Custom, Name: "talk"}, echo)
	assert.Panics(t, func() { engine.DefineBidiFlow(e, "talk", echo) })
	for _, kind := range []action.Kind{action.Flow, action.Custom} {
		a, err := e.Registry().Lookup(t.Context(), action.Key{Kind: kind, Name: "talk"})
		require.NoError(t, err)
		b, ok := a.(action.Bidi)
		require.True(t, ok)
		c := action.Connect[string, string, json.RawMessage](e.Context(t.Context()), b, json.RawMessage(`"bye"`))
		require.NoError(t, c.Send(t.Context(), "hi"))
		c.Close()
		for chunk, err := range c.Receive() {
			require.NoError(t, err)
			assert.Equal(t, `"hi"`, string(chunk))
		}
		out, err := c.Output()
		require.NoError(t, err)
		assert.Equal(t, "bye", out)
	}
	out, err := f.Run(t.Context(), "bye", "hi")
	require.NoError(t, err)
	assert.Equal(t, "bye", out)
}
