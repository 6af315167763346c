package engine_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

// The messages of a prompt come from a template, the user's from a function, and its input is
// held to a schema that was registered by name.
func TestAPromptOfATemplateAndAFunction(t *testing.T) {
	eng, asked := waiter(t, engine.Config{})
	engine.DefineSchema(eng, "Dish", json.RawMessage(`{"type":"object","required":["dish"],"properties":{"dish":{"type":"string"}}}`))
	p := engine.DefinePrompt(eng, "menu", engine.WithInputSchemaName("Dish"),
		engine.WithMessagesTemplate(`{{role "user"}}I like {{dish}}.{{role "model"}}Noted.`),
		engine.WithPromptFn(func(_ context.Context, in prompt.Input) ([]content.Part, error) {
			return []content.Part{content.NewTextPart("{{as it is}} " + string(in.JSON))}, nil
		}))
	_, err := p.Execute(t.Context(), engine.WithInput(map[string]string{"dish": "soup"}))
	require.NoError(t, err)
	messages := (*asked)[0].Messages
	require.Len(t, messages, 3)
	assert.Equal(t, "I like soup.", messages[0].Text())
	assert.Equal(t, content.RoleModel, messages[1].Role)
	assert.Equal(t, `{{as it is}} {"dish":"soup"}`, messages[2].Text())
	_, err = p.Execute(t.Context(), engine.WithInput(map[string]int{"dish": 1}))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Len(t, *asked, 1, "no model is asked")
}

// The prompts of a directory are registered below its namespace.
func TestADirectoryOfPromptsIsLoaded(t *testing.T) {
	eng, asked := waiter(t, engine.Config{})
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hello.prompt"), []byte("Hello, {{name}}!"), 0o600))
	_, err := engine.LoadPromptDir(eng, dir, "acme")
	require.NoError(t, err)
	p, err := engine.LookupPrompt(t.Context(), eng, "acme/hello")
	require.NoError(t, err)
	_, err = p.Execute(t.Context(), engine.WithInput(map[string]string{"name": "Ada"}))
	require.NoError(t, err)
	assert.Equal(t, "Hello, Ada!", (*asked)[0].Messages[0].Text())
	_, err = engine.LoadPromptDir(eng, filepath.Join(dir, "none"), "")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A call's span has the name that the call gives it.
func TestACallIsNamed(t *testing.T) {
	spans := &telemetrytest.Spans{}
	eng, _ := waiter(t, engine.Config{TracerProvider: spans})
	names := func(options ...engine.GenerateOption) (names []string) {
		_, err := engine.Generate(t.Context(), eng, append(options, engine.WithPrompt("x"))...)
		require.NoError(t, err)
		for _, span := range spans.Ended() {
			names = append(names, span["name"])
		}
		return names
	}
	assert.NotContains(t, names(), "order")
	assert.Contains(t, names(engine.WithStepName("order")), "order")
}
