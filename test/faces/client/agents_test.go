package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/agent"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// agents holds those that agents.mjs talks to: "stored" with a store and "plain" without,
// and beside each one whose tool asks.
func agents(t *testing.T) *registry.Registry {
	t.Helper()
	reg := registry.New(nil)
	m, err := model.New("kit/asks", model.Info{Supports: model.Supports{Tools: true, Multiturn: true}}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		last := req.Messages[len(req.Messages)-1]
		if last.Role == content.RoleTool {
			var said string
			if err := json.Unmarshal(last.Content[0].ToolResponse.Output, &said); err != nil {
				return nil, err
			}
			return &model.Response{Message: new(content.NewModelTextMessage("you said " + said)), FinishReason: model.FinishStop}, nil
		}
		request := content.Part{ToolRequest: &content.ToolRequest{Name: "ask", Ref: "1", Input: json.RawMessage(`{}`)}}
		return &model.Response{Message: &content.Message{Role: content.RoleModel, Content: []content.Part{request}}, FinishReason: model.FinishStop}, nil
	})
	require.NoError(t, err)
	require.NoError(t, reg.Register(m))
	ask, err := tool.New("ask", "Asks.", func(context.Context, any) (string, error) { return "", tool.Interrupt(nil) })
	require.NoError(t, err)
	require.NoError(t, reg.Register(ask))
	for name, c := range map[string]agent.Config{"stored": {Store: agent.NewMemory(agent.MemoryConfig{})}, "plain": {}} {
		_, err := prompt.Define(reg, name+"-asks", prompt.Config{Model: "kit/asks", Tools: []string{"ask"}})
		require.NoError(t, err)
		asks, err := agent.DefinePrompt(reg, name+"-asks", agent.PromptConfig{}, c)
		require.NoError(t, err)
		a, err := agent.Define(reg, name, func(_ context.Context, run *agent.Run) (*agent.Result, error) {
			return nil, run.Turns(func(ctx context.Context, in *agent.Input) (agent.FinishReason, error) { return speak(ctx, run, in) })
		}, c)
		require.NoError(t, err)
		t.Cleanup(func() {
			assert.NoError(t, asks.Close(context.Background()))
			assert.NoError(t, a.Close(context.Background()))
		})
	}
	return reg
}

// counted is the custom state.
type counted struct {
	Turns int   `json:"turns"`
	Busy  bool  `json:"busy,omitempty"`
	Log   []int `json:"log"`
}

func speak(ctx context.Context, run *agent.Run, in *agent.Input) (agent.FinishReason, error) {
	s := run.Session()
	switch in.Message.Text() {
	case "fail":
		return "", status.Publicf(status.PermissionDenied, "not you")
	case "wait":
		<-ctx.Done()
		return "", ctx.Err()
	}
	begin := func(c counted) (counted, error) { c.Busy = true; return c, nil }
	end := func(c counted) (counted, error) {
		return counted{Turns: c.Turns + 1, Log: append(c.Log, c.Turns+1)}, nil
	}
	if err := agent.UpdateState(s, begin); err != nil {
		return "", err
	}
	if err := agent.UpdateState(s, end); err != nil {
		return "", err
	}
	c, err := agent.StateOf[counted](s)
	if err != nil {
		return "", err
	}
	var said []string
	for _, m := range s.Messages() {
		if m.Role == content.RoleUser {
			said = append(said, m.Text())
		}
	}
	text := fmt.Sprintf("%d: %s", c.Turns, strings.Join(said, ", "))
	for _, piece := range strings.SplitAfter(text, " ") {
		if err := run.Send(&model.Chunk{Role: content.RoleModel, Content: []content.Part{content.NewTextPart(piece)}}); err != nil {
			return "", err
		}
	}
	s.AddMessages(content.NewModelTextMessage(text))
	return "stop", s.AddArtifacts(agent.Artifact{Name: "report", Parts: []content.Part{content.NewTextPart(fmt.Sprintf("turn %d", c.Turns))}})
}

func TestTheJSClientOnAgents(t *testing.T) {
	dir := packages(t)
	srv := httptest.NewServer(flows(t, nil).Agents("/agents/", agents(t)))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "agents.mjs", srv.URL+"/agents")
	cmd.Env = append(os.Environ(), "GENKIT_FACES="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	checks := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var check struct {
			Name, Error string
			OK          bool
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &check), "%s", lines.Text())
		checks++
		t.Run(check.Name, func(t *testing.T) { assert.True(t, check.OK, check.Error) })
	}
	require.NoError(t, cmd.Wait())
	assert.Equal(t, 17, checks, "checks")
}

// A directory of ours is read and continued by Genkit's file store, and what that writes by ours.
func TestTheJSFileStoreOnOurDirectory(t *testing.T) {
	modules, path := packages(t), t.TempDir()
	invoke := func(text string) (*agent.Output, *agent.Snapshot) {
		store, err := agent.OpenDir(path, agent.DirConfig{})
		require.NoError(t, err)
		defer store.Close()
		a, err := agent.Define(registry.New(nil), "a", func(_ context.Context, run *agent.Run) (*agent.Result, error) {
			return nil, run.Turns(func(ctx context.Context, in *agent.Input) (agent.FinishReason, error) { return speak(ctx, run, in) })
		}, agent.Config{Store: store})
		require.NoError(t, err)
		out, err := a.Run(t.Context(), agent.Init{SessionID: "ada"}, agent.Input{Message: new(content.NewUserTextMessage(text))})
		require.NoError(t, err)
		require.Nil(t, out.Error)
		s, err := a.Snapshot(t.Context(), agent.Query{SnapshotID: out.SnapshotID})
		require.NoError(t, err)
		return out, s
	}
	first, _ := invoke("one")
	_, want := invoke("two")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "agentstore.mjs", path)
	cmd.Env = append(os.Environ(), "GENKIT_FACES="+modules)
	cmd.Stderr = os.Stderr
	raw, err := cmd.Output()
	require.NoError(t, err)
	var got struct {
		Latest json.RawMessage
		Parent agent.Snapshot
		ID     string
	}
	require.NoError(t, json.Unmarshal(raw, &got))
	same, err := json.Marshal(want)
	require.NoError(t, err)
	assert.JSONEq(t, string(same), string(got.Latest), "Genkit finds the newest, whole")
	assert.Equal(t, first.SnapshotID, got.Parent.SnapshotID)
	assert.Equal(t, "from-genkit", got.ID)

	third, s := invoke("three")
	assert.Equal(t, "from-genkit", s.ParentID)
	assert.Equal(t, "8: one, two, from Genkit, three", third.Message.Text())
}
