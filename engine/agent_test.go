package engine_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/agent"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestAgentsOfAnEngine(t *testing.T) {
	e, err := engine.New(t.Context(), engine.Config{DefaultModel: "acme/one"})
	require.NoError(t, err)
	var asked *model.Request
	engine.DefineModel(e, "acme/one", capable, answering(&asked, "hello"))
	a := engine.DefineAgent(e, "helper", agent.Config{}, engine.WithSystem("Be brief."))
	hi := agent.Input{Message: new(content.NewUserTextMessage("hi"))}
	out, err := a.Run(e.Context(t.Context()), agent.Init{}, hi)
	require.NoError(t, err)
	require.Nil(t, out.Error)
	assert.Equal(t, "hello", out.Message.Text())
	assert.Equal(t, "Be brief.", asked.Messages[0].Text())
	require.Len(t, out.State.Messages, 2)
	assert.Panics(t, func() { engine.DefineAgent(e, "helper", agent.Config{}) })

	other := engine.DefinePromptAgent(e, "other", agent.PromptConfig{Prompt: "helper"}, agent.Config{})
	out, err = other.Run(t.Context(), agent.Init{State: out.State}, hi)
	require.NoError(t, err)
	require.Len(t, out.State.Messages, 4)

	child := e.Child()
	blocks := engine.DefineCustomAgent(child, "blocks", func(ctx context.Context, _ *agent.Run) (*agent.Result, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, agent.Config{Store: agent.NewMemory(agent.MemoryConfig{})})
	detached, err := blocks.Run(t.Context(), agent.Init{}, agent.Input{Detach: true})
	require.NoError(t, err)
	raw, err := json.Marshal(detached)
	require.NoError(t, err)
	assert.Contains(t, string(raw), `"finishReason":"detached"`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, e.Close(ctx), status.ErrCancelled)
	s, err := blocks.Snapshot(t.Context(), agent.Query{SnapshotID: detached.SnapshotID})
	require.NoError(t, err)
	assert.Equal(t, agent.Aborted, s.Status, "the engine ends what runs in the background, its children's too")
}
