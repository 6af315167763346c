package openai_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// Listed models have the same schemas as resolved ones, whether they are of the
// catalogue, of the configuration or of the server's own list.
func TestListedModelsCarryTheirSchemas(t *testing.T) {
	s := serve(t, document(200, `{"data":[{"id":"remote"},{"id":"text-embedding-x"},{"id":"gpt-image-x"},{"id":"x-tts"},{"id":"whisper-x"}]}`))
	reg := registry.New(nil)
	require.NoError(t, reg.AddProvider(newProvider(t, openai.Config{})))
	require.NoError(t, reg.AddProvider(newProvider(t, openai.Config{Name: "other", BaseURL: s.URL, Models: []openai.ModelConfig{{ID: "mine"}}})))
	descs, err := reg.List(t.Context())
	require.NoError(t, err)
	require.Len(t, descs, len(openai.Catalogue())+6)
	wants := map[action.Kind][2]string{action.Model: {"messages", "finishReason"}, action.Embedder: {"input", "embeddings"}}
	seen := map[action.Kind]int{}
	for _, d := range descs {
		seen[d.Kind]++
		for i, raw := range []json.RawMessage{d.InputSchema, d.OutputSchema} {
			require.NotEmpty(t, raw, d.Key())
			_, err := schema.Compile(raw)
			require.NoError(t, err, d.Key())
			var top struct{ Properties map[string]json.RawMessage }
			require.NoError(t, json.Unmarshal(raw, &top), d.Key())
			assert.Contains(t, top.Properties, wants[d.Kind][i], d.Key())
		}
		a, err := reg.Lookup(t.Context(), d.Key())
		require.NoError(t, err, d.Key())
		assert.JSONEq(t, string(a.Desc().InputSchema), string(d.InputSchema), d.Key())
		assert.JSONEq(t, string(a.Desc().OutputSchema), string(d.OutputSchema), d.Key())
	}
	assert.Greater(t, seen[action.Model], 5)
	assert.Greater(t, seen[action.Embedder], 2)
}
