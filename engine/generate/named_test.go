package generate_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestSchemasAreUsedByName(t *testing.T) {
	reg := newRegistry(t)
	const point = `{"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]}`
	require.NoError(t, generate.RegisterSchema(reg, "Point", json.RawMessage(point)))
	require.ErrorIs(t, generate.RegisterSchema(reg, "Point", json.RawMessage(point)), status.ErrAlreadyExists)
	require.ErrorIs(t, generate.RegisterSchema(reg, "", json.RawMessage(point)), status.ErrInvalidArgument)
	require.ErrorIs(t, generate.RegisterSchema(reg, "Bad", json.RawMessage(`{"type":1}`)), status.ErrInvalidArgument)

	m := newModel(t, reg, says(`{"x":1}`), says(`{"x":"one"}`))
	child := registry.New(reg)
	opts := ask()
	opts.Output = &model.OutputOptions{JSONSchema: generate.SchemaRef("Point")}
	resp := run(t, child, opts)
	assert.JSONEq(t, `{"x":1}`, string(resp.Parsed))
	assert.JSONEq(t, point, string(m.request(t, 0).Output.Schema), "the model sees the schema, not its name")
	require.ErrorIs(t, runErr(t, child, opts), generate.ErrInvalidOutput)
	opts.Output = &model.OutputOptions{JSONSchema: generate.SchemaRef("Nope")}
	require.ErrorIs(t, runErr(t, child, opts), status.ErrNotFound)

	for _, same := range []string{`{"$ref":"genkit:Point","title":"x"}`, `{"$ref":"#/$defs/genkit:Point"}`, `{"const":"genkit:Point"}`, `"genkit:Point"`, `{"$ref":7,"x":"genkit:"}`, `{"$ref":{"genkit:":1}}`} {
		got, err := generate.ResolveSchema(reg, json.RawMessage(same))
		require.NoError(t, err)
		assert.Equal(t, same, string(got))
	}
}
