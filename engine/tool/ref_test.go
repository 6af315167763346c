package tool_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

func TestAReferenceIsANameOrATool(t *testing.T) {
	assert.Equal(t, "shop/*", tool.Name("shop/*").Name())
	assert.Nil(t, tool.Target(tool.Name("shop/*")))

	add, err := tool.New("math/add", "Adds.", func(_ context.Context, in int) (int, error) { return in + 1, nil })
	require.NoError(t, err)
	assert.Same(t, add, tool.Target(add))
	assert.Equal(t, "math/add", add.Name())
	assert.Equal(t, tool.Definition(add), add.Definition())
	again, err := tool.From(add)
	require.NoError(t, err)
	assert.Same(t, add, again)

	raw, err := action.New(action.Desc{Kind: action.ToolV2, Name: "web/shot"}, func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) { return in, nil })
	require.NoError(t, err)
	shot, err := tool.From(raw)
	require.NoError(t, err)
	assert.Equal(t, "web/shot", shot.Name())
	assert.Equal(t, "shot", shot.Definition().Name)
	assert.Same(t, raw, tool.Target(shot), "what is registered is the action, not a wrapper")

	flow, err := action.New(action.Desc{Kind: action.Flow, Name: "f"}, func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) { return in, nil })
	require.NoError(t, err)
	for _, a := range []action.Action{nil, flow} {
		_, err = tool.From(a)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
}

func TestAToolAnswersItsOwnInterrupts(t *testing.T) {
	confirm, err := tool.New("confirm", "", func(_ context.Context, in question) (bool, error) { return in.Text != "", nil })
	require.NoError(t, err)
	answer, err := confirm.RespondWith(pendingPart(t), true)
	require.NoError(t, err)
	assert.JSONEq(t, `true`, string(answer.ToolResponse.Output))
	restart, err := confirm.RestartWith(pendingPart(t), tool.WithNewInput(question{"other"}), tool.WithResumedMetadata(map[string]int{"by": 2}))
	require.NoError(t, err)
	assert.JSONEq(t, `{"text":"other"}`, string(restart.ToolRequest.Input))
	assert.JSONEq(t, `{"by":2}`, string(restart.Metadata["resumed"]))
	_, err = confirm.RestartWith(pendingPart(t), tool.WithNewInput(7))
	require.ErrorIs(t, err, status.ErrInvalidArgument, "the tool's schema is held")
}
