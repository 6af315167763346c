package prompt_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestACarriedPromptUsesTheRegistryThatIsFound(t *testing.T) {
	reg := registry.New(nil)
	require.NoError(t, prompt.DefinePartial(reg, "sign", "Yours, {{name}}"))
	find := func() (*registry.Registry, error) { return reg, nil }
	p, err := prompt.Carry("acme/mail.short", "{{>sign}}", func(c *prompt.Config) error {
		c.Description = "changed"
		return nil
	}, find)
	require.NoError(t, err)
	actions := p.Actions()
	require.Len(t, actions, 2)
	assert.Equal(t, action.Key{Kind: action.ExecutablePrompt, Name: "acme/mail.short"}, actions[1].Desc().Key())
	assert.Equal(t, "changed", actions[0].Desc().Description)
	out, err := actions[1].RunJSON(t.Context(), json.RawMessage(`{"name":"Ada"}`), nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"messages":[{"role":"user","content":[{"text":"Yours, Ada"}]}]}`, string(out))
	_, err = reg.Lookup(t.Context(), actions[0].Desc().Key())
	require.ErrorIs(t, err, status.ErrNotFound, "no registry holds it")

	gone := errors.New("gone")
	p, err = prompt.Carry("x", "a", nil, func() (*registry.Registry, error) { return nil, gone })
	require.NoError(t, err)
	for _, a := range p.Actions() {
		_, err = a.RunJSON(t.Context(), nil, nil)
		require.ErrorIs(t, err, gone)
	}
	_, err = prompt.Carry("x", "a", func(*prompt.Config) error { return gone }, find)
	require.ErrorIs(t, err, gone)
}
