package generate_test

import (
	"context"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

type specCase struct {
	Name           string  `yaml:"name"`
	Input          any     `yaml:"input"`
	Stream         bool    `yaml:"stream"`
	ModelResponses []any   `yaml:"modelResponses"`
	StreamChunks   [][]any `yaml:"streamChunks"`
	ExpectResponse any     `yaml:"expectResponse"`
	ExpectChunks   []any   `yaml:"expectChunks"`
}

// TestGenkitsGenerateSpec runs Genkit's tests/specs/generate.yaml.
func TestGenkitsGenerateSpec(t *testing.T) {
	raw, err := os.ReadFile(enginetest.Spec(t, "genkit/generate.yaml"))
	require.NoError(t, err)
	var spec struct{ Tests []specCase }
	require.NoError(t, yaml.Unmarshal(raw, &spec))
	require.NotEmpty(t, spec.Tests)
	for _, c := range spec.Tests {
		t.Run(c.Name, func(t *testing.T) {
			reg := specRegistry(t, c)
			a, err := reg.Lookup(t.Context(), action.Key{Kind: action.Util, Name: "generate"})
			require.NoError(t, err)
			var chunks []json.RawMessage
			var emit action.Emit
			if c.Stream {
				emit = func(chunk json.RawMessage) error { chunks = append(chunks, chunk); return nil }
			}
			out, err := a.RunJSON(t.Context(), encode(t, c.Input), emit)
			require.NoError(t, err)
			assert.JSONEq(t, string(encode(t, c.ExpectResponse)), string(out))
			if c.ExpectChunks != nil {
				assert.JSONEq(t, string(encode(t, c.ExpectChunks)), string(encode(t, chunks)))
			}
		})
	}
}

// specRegistry holds the programmable model and the tool that the file counts on.
func specRegistry(t *testing.T, c specCase) *registry.Registry {
	t.Helper()
	reg := newRegistry(t)
	turn := 0
	register(t, reg)(model.New("programmableModel", model.Info{Supports: model.Supports{Tools: true}},
		func(_ context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
			defer func() { turn++ }()
			if send != nil && turn < len(c.StreamChunks) {
				for _, chunk := range c.StreamChunks[turn] {
					if err := send(decode[model.Chunk](t, encode(t, chunk))); err != nil {
						return nil, err
					}
				}
			}
			return decode[model.Response](t, encode(t, c.ModelResponses[turn])), nil
		}))
	register(t, reg)(tool.New("testTool", "description", func(context.Context, any) (any, error) { return "tool called", nil }))
	require.NoError(t, reg.Register(generate.Action(reg)))
	return reg
}

func encode(t testing.TB, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return raw
}

func decode[T any](t testing.TB, raw json.RawMessage) *T {
	t.Helper()
	v := new(T)
	require.NoError(t, json.Unmarshal(raw, v))
	return v
}
