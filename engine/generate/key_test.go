package generate_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// A request's own key reaches the model and nobody else.
func TestThePerRequestKeyStaysOutOfTheResponse(t *testing.T) {
	for name, answer := range map[string]string{
		"a response":         `{"message":{"role":"model","content":[{"text":"hi"}]},"finishReason":"stop"}`,
		"an error's details": `{"finishReason":"blocked"}`,
	} {
		reg := newRegistry(t)
		fake := &fakeModel{t: t, responses: []string{answer}}
		m, err := model.New("fake", model.Info{}, fake.generate)
		register(t, reg)(m, err)
		opts := &model.GenerateOptions{
			Model: "fake", Messages: []content.Message{content.UserText("hi")},
			Config: json.RawMessage(`{"temperature":0,"apiKey":"sk-secret"}`),
		}
		var shown []byte
		if name == "a response" {
			shown, err = rawjson.Encode(run(t, reg, opts))
			require.NoError(t, err)
			assert.Contains(t, string(shown), `"config":{"temperature":0}`, name)
		} else {
			shown = status.Convert(runErr(t, reg, opts)).Details
			require.NotEmpty(t, shown)
		}
		assert.NotContains(t, string(shown), "sk-secret", name)
		assert.Contains(t, fake.requests[0], "sk-secret", name)
		assert.Contains(t, string(opts.Config), "sk-secret", "the caller's options are not changed")
	}
}
