package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/agent"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestAnAgentIsATool(t *testing.T) {
	reg := registry.New(nil)
	helper, err := agent.Define(reg, "team/helper", func(_ context.Context, run *agent.Run) (*agent.Result, error) {
		return nil, run.Turns(func(ctx context.Context, in *agent.Input) (agent.FinishReason, error) {
			switch text := in.Message.Text(); text {
			case "public":
				return "", status.Publicf(status.NotFound, "no such bird")
			case "private":
				return "", errors.New("password 42")
			case "ask":
				return agent.FinishInterrupted, nil
			case "silent":
				run.Session().AddMessages(content.NewModelTextMessage(""))
				return "stop", nil
			case "wait":
				<-ctx.Done()
				return "", ctx.Err()
			default:
				run.Session().AddMessages(content.NewModelTextMessage("done: " + text))
			}
			doc := []content.Part{content.NewTextPart("text of it")}
			return "stop", run.Session().AddArtifacts(agent.Artifact{Name: "doc", Parts: doc}, agent.Artifact{Parts: doc})
		})
	}, agent.Config{Description: "Helps."})
	require.NoError(t, err)
	tool, err := helper.Tool()
	require.NoError(t, err)
	assert.Equal(t, "delegate_to_helper", tool.Desc().Name)
	assert.Equal(t, "Helps.", tool.Desc().Description)
	for in, want := range map[string]string{
		"work":    `{"response":"done: work","artifacts":[{"name":"doc","content":"text of it"}]}`,
		"public":  `{"response":"The agent team/helper failed: NOT_FOUND: no such bird"}`,
		"private": `{"response":"The agent team/helper failed: INTERNAL: internal error"}`,
		"ask":     `{"response":"The agent team/helper has asked for something that nobody can answer here. Give it a task with all that it needs."}`,
		"silent":  `{"response":"(no response)"}`,
	} {
		raw, err := json.Marshal(map[string]string{"task": in})
		require.NoError(t, err)
		out, err := tool.RunJSON(t.Context(), raw, nil)
		require.NoError(t, err, in)
		assert.JSONEq(t, want, string(out), in)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	_, err = tool.RunJSON(ctx, json.RawMessage(`{"task":"wait"}`), nil)
	require.ErrorIs(t, err, status.ErrCancelled)

	w := newWorld(t, agent.Config{}, nil)
	outer, err := agent.Define(w.reg, "outer", func(_ context.Context, run *agent.Run) (*agent.Result, error) {
		return nil, run.Turns(func(ctx context.Context, _ *agent.Input) (agent.FinishReason, error) {
			for range 2 {
				if _, err := tool.RunJSON(ctx, json.RawMessage(`{"task":"work"}`), nil); err != nil {
					return "", err
				}
			}
			return "stop", nil
		})
	}, agent.Config{})
	require.NoError(t, err)
	// One of the names is there already, from a turn before.
	state := &agent.State{Artifacts: []agent.Artifact{{Name: "helper_1/doc", Parts: []content.Part{}}}}
	out, err := outer.Run(t.Context(), agent.Init{State: state}, says("go"))
	require.NoError(t, err)
	var names []string
	for _, a := range out.Artifacts {
		names = append(names, a.Name)
	}
	assert.Equal(t, []string{"helper_1/doc", "helper_2/doc", "helper_3/doc"}, names)
	raw, err := json.Marshal(out.Artifacts[1].Metadata)
	require.NoError(t, err)
	assert.JSONEq(t, `{"source":"team/helper","invocationId":"helper_2"}`, string(raw))
	assert.Len(t, out.State.Messages, 1, "what the two say to each other is no part of the conversation")
}
