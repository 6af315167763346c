package builtin_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func newRegistry(t *testing.T) *registry.Registry {
	t.Helper()
	reg := registry.New(nil)
	for _, p := range builtin.All() {
		require.NoError(t, p.Register(t.Context(), reg), p.Name())
	}
	return reg
}

func TestEveryMiddlewareDescribesItselfAndItsConfig(t *testing.T) {
	descs, err := middleware.Descriptors(newRegistry(t))
	require.NoError(t, err)
	assert.Equal(t, []string{"budget", "cache", "codeMode", "fallback", "filesystem", "retry", "skills", "toolApproval"}, slices.Sorted(maps.Keys(descs)))
	for name, raw := range descs {
		var d struct {
			Name         string `json:"name"`
			Description  string `json:"description"`
			ConfigSchema struct {
				Properties map[string]struct {
					Description string `json:"description"`
				} `json:"properties"`
			} `json:"configSchema"`
		}
		require.NoError(t, json.Unmarshal(raw, &d))
		assert.Equal(t, name, d.Name)
		assert.NotEmpty(t, d.Description, name)
		assert.NotEmpty(t, d.ConfigSchema.Properties, name)
		for field, p := range d.ConfigSchema.Properties {
			assert.NotEmpty(t, p.Description, "%s.%s", name, field)
		}
	}
}

// Everyone who may send a generate request may use the actions that All registers.
func TestAStrangersRequestOpensNothing(t *testing.T) {
	reg := newRegistry(t)
	for use, config := range map[string]string{
		"filesystem": `{"rootDirectory":"."}`,
		"skills":     `{"skillPaths":["/"]}`,
	} {
		for _, prefix := range []string{"", "genkit-middleware/"} {
			_, err := generate.Run(t.Context(), reg, &model.GenerateOptions{
				Model: scripted.Name, Messages: []content.Message{content.NewUserTextMessage("hi")},
				Use: []model.MiddlewareRef{{Name: prefix + use, Config: json.RawMessage(config)}},
			}, nil)
			require.ErrorIs(t, err, status.ErrPermissionDenied, use)
		}
	}
}
