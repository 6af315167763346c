package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/agent"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type specCase struct {
	Name, Agent string
	Steps       []map[string]any
}

// TestGenkitsAgentSpec runs Genkit's tests/specs/agent.yaml against each store.
func TestGenkitsAgentSpec(t *testing.T) { runSpec(t, enginetest.Spec(t, "genkit/agent.yaml"), 24) }

// TestAgentSpec runs testdata/agent.yaml, which has the form of Genkit's file: what that one
// does not cover, and the newer rules of resuming.
func TestAgentSpec(t *testing.T) { runSpec(t, "testdata/agent.yaml", 15) }

func runSpec(t *testing.T, file string, least int) {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	var spec struct{ Tests []specCase }
	require.NoError(t, yaml.Unmarshal(raw, &spec))
	require.GreaterOrEqual(t, len(spec.Tests), least)
	for name, open := range stores {
		for _, c := range spec.Tests {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newSpecWorld(t, open(t))
					for i, step := range c.Steps {
						w.step(t, fmt.Sprintf("step %d", i+1), c.Agent, step)
					}
				})
			})
		}
	}
}

// stores are those that ship.
var stores = map[string]func(testing.TB) agent.Store{
	"memory": func(testing.TB) agent.Store { return agent.NewMemory(agent.MemoryConfig{}) },
	"dir": func(t testing.TB) agent.Store {
		d, err := agent.OpenDir(t.TempDir(), agent.DirConfig{})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, d.Close()) })
		return d
	},
}

// specWorld has the agents, the tools and the model that the files count on.
type specWorld struct {
	reg       *registry.Registry
	agents    map[string]*agent.Agent
	responses []any
	chunks    []any
	flaky     int
	captured  map[string]any
}

type query struct {
	Query string `json:"query"`
}

type doing struct {
	Action string `json:"action"`
}

func must[A action.Action](t testing.TB, reg *registry.Registry) func(A, error) {
	return func(a A, err error) {
		t.Helper()
		require.NoError(t, err)
		require.NoError(t, reg.Register(a))
	}
}

func newSpecWorld(t *testing.T, store agent.Store) *specWorld {
	t.Helper()
	reg := registry.New(nil)
	w := &specWorld{reg: reg, agents: map[string]*agent.Agent{}, captured: map[string]any{}}
	must[model.Model](t, reg)(model.New("programmableModel", model.Info{Supports: model.Supports{Tools: true, Multiturn: true}}, w.answer))
	must[tool.Tool](t, reg)(tool.New("testTool", "description", func(context.Context, any) (any, error) { return "tool called", nil }))
	must[tool.Tool](t, reg)(tool.New("interruptTool", "asks", func(ctx context.Context, _ query) (map[string]string, error) { return nil, tool.Interrupt(nil) }))
	must[tool.Tool](t, reg)(tool.New("restartTool", "acts", func(ctx context.Context, _ doing) (map[string]string, error) {
		if _, resumed := tool.Resumed(ctx); !resumed {
			return nil, tool.Interrupt(nil)
		}
		return map[string]string{"result": "done"}, nil
	}))
	must[tool.Tool](t, reg)(tool.New("flakyTool", "fails once", func(context.Context, any) (any, error) {
		if w.flaky++; w.flaky == 1 {
			return nil, status.Publicf(status.Unavailable, "flaky tool failed")
		}
		return "tool recovered", nil
	}))
	prompted := func(name string, store agent.Store, tools ...string) {
		_, err := prompt.Define(reg, name, prompt.Config{Model: "programmableModel", Config: json.RawMessage(`{"temperature":1}`), Tools: tools})
		require.NoError(t, err)
		a, err := agent.DefinePrompt(reg, name, agent.PromptConfig{}, agent.Config{Store: store})
		require.NoError(t, err)
		w.agents[name] = a
	}
	prompted("promptAgent", nil)
	prompted("promptAgentWithStore", store)
	prompted("promptAgentWithTools", nil, "testTool")
	prompted("promptAgentWithInterrupt", store, "interruptTool")
	prompted("promptAgentWithRestartTool", store, "restartTool")
	prompted("promptAgentWithToolsAndStore", store, "testTool", "flakyTool")
	custom := func(name string, store agent.Store, last string, turn func(ctx context.Context, s *agent.Session, in *agent.Input) error) {
		a, err := agent.Define(reg, name, func(_ context.Context, run *agent.Run) (*agent.Result, error) {
			err := run.Turns(func(ctx context.Context, in *agent.Input) (agent.FinishReason, error) {
				return "stop", turn(ctx, run.Session(), in)
			})
			result := run.Result()
			if last != "" {
				result.Message = new(content.NewModelTextMessage(last))
			}
			return result, err
		}, agent.Config{Store: store})
		require.NoError(t, err)
		w.agents[name] = a
	}
	custom("customAgentBlocking", store, "", func(ctx context.Context, _ *agent.Session, _ *agent.Input) error {
		<-ctx.Done()
		return ctx.Err()
	})
	custom("customAgentAbortable", store, "ack", func(ctx context.Context, s *agent.Session, in *agent.Input) error {
		if in.Message != nil && in.Message.Text() == "block" {
			<-ctx.Done()
			return ctx.Err()
		}
		s.AddMessages(content.NewModelTextMessage("ack"))
		return nil
	})
	custom("customAgentFailing", store, "", func(context.Context, *agent.Session, *agent.Input) error {
		return status.Publicf(status.Internal, "intentional failure")
	})
	count := func(_ context.Context, s *agent.Session, _ *agent.Input) error {
		return agent.UpdateState(s, func(c map[string]any) (map[string]any, error) {
			n, _ := c["counter"].(float64)
			return map[string]any{"counter": n + 1}, nil
		})
	}
	custom("customAgentWithCustomState", nil, "done", count)
	custom("customAgentWithCustomStateStore", store, "done", count)
	custom("customAgentWithMultiCustomState", nil, "done", func(_ context.Context, s *agent.Session, _ *agent.Input) error {
		for _, v := range []map[string]any{{"counter": 1, "status": "working"}, {"counter": 2, "status": "working"}, {"counter": 2, "status": "done"}} {
			if err := s.SetState(v); err != nil {
				return err
			}
		}
		return nil
	})
	doc := func(name, text string) agent.Artifact {
		return agent.Artifact{Name: name, Parts: []content.Part{content.NewTextPart(text)}}
	}
	custom("customAgentWithArtifacts", nil, "done", func(_ context.Context, s *agent.Session, _ *agent.Input) error {
		return s.AddArtifacts(doc("doc1", "v1"), doc("doc1", "v2"), doc("doc2", "other"))
	})
	custom("customAgentWithArtifactsStore", store, "done", func(_ context.Context, s *agent.Session, _ *agent.Input) error {
		n := len(s.Artifacts()) + 1
		return s.AddArtifacts(doc(fmt.Sprintf("doc%d", n), fmt.Sprintf("content%d", n)))
	})
	t.Cleanup(func() {
		for _, a := range w.agents {
			assert.NoError(t, a.Close(context.Background()))
		}
	})
	return w
}

// answer is the programmable model.
func (w *specWorld) answer(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
	for i := range req.Messages {
		if req.Messages[i].Metadata["_genkit_history"] != nil {
			return nil, status.Publicf(status.Internal, "the model sees a mark of the history")
		}
	}
	if len(w.chunks) > 0 {
		all, _ := w.chunks[0].([]any)
		w.chunks = w.chunks[1:]
		for _, c := range all {
			if send != nil {
				if err := send(into[model.Chunk](c)); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(w.responses) == 0 {
		return nil, status.Publicf(status.Internal, "the model is asked once too often")
	}
	next := w.responses[0]
	w.responses = w.responses[1:]
	if m, ok := next.(map[string]any); ok && m["error"] != nil {
		e := into[status.Wire](m["error"])
		code, _ := status.Parse(e.Status)
		return nil, status.Publicf(code, "%s", e.Message)
	}
	return into[model.Response](next), nil
}

func into[T any](v any) *T {
	raw, err := json.Marshal(v)
	if err == nil {
		out := new(T)
		if err = json.Unmarshal(raw, out); err == nil {
			return out
		}
	}
	panic(err)
}

// plain is a value as JSON has it.
func plain(v any) any { return *into[any](v) }

// fill puts in what was captured.
func (w *specWorld) fill(v any) any {
	switch v := v.(type) {
	case string:
		if name, ok := strings.CutPrefix(v, "{{"); ok {
			return w.captured[strings.TrimSuffix(name, "}}")]
		}
	case map[string]any:
		out := map[string]any{}
		for name, each := range v {
			out[name] = w.fill(each)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, each := range v {
			out[i] = w.fill(each)
		}
		return out
	}
	return v
}

func (w *specWorld) step(t *testing.T, name, agentName string, step map[string]any) {
	t.Helper()
	step, _ = w.fill(step).(map[string]any)
	a := w.agents[agentName]
	require.NotNil(t, a, agentName)
	switch step["type"] {
	case "send":
		w.send(t, name, a, step)
	case "getSnapshotData":
		got, err := w.snapshot(t, agentName, step)
		if want := step["expectError"]; want != nil {
			sameError(t, name, want, err)
			return
		}
		require.NoError(t, err, name)
		sameSnapshot(t, name, step["expectSnapshot"], got)
	case "abort":
		out, err := w.run(t, action.AgentAbort, agentName, map[string]any{"snapshotId": step["snapshotId"]})
		require.NoError(t, err, name)
		got, _ := out.(map[string]any)
		assert.Equal(t, step["expectPreviousStatus"], got["status"], name)
	case "waitUntilCompleted":
		for {
			got, err := w.snapshot(t, agentName, step)
			require.NoError(t, err, name)
			if s, _ := got["status"].(string); agent.Status(s).Settled() && got["finishReason"] != nil {
				sameSnapshot(t, name, step["expectSnapshot"], got)
				return
			}
			time.Sleep(50 * time.Millisecond) // in a bubble, as runSpec says
		}
	default:
		t.Fatalf("%s: unknown type %v", name, step["type"])
	}
}

func (w *specWorld) run(t *testing.T, kind action.Kind, name string, in any) (any, error) {
	t.Helper()
	a, err := w.reg.Lookup(t.Context(), action.Key{Kind: kind, Name: name})
	require.NoError(t, err)
	raw, err := json.Marshal(in)
	require.NoError(t, err)
	out, err := a.RunJSON(t.Context(), raw, nil)
	if err != nil {
		return nil, err
	}
	return plain(out), nil
}

func (w *specWorld) snapshot(t *testing.T, name string, step map[string]any) (map[string]any, error) {
	t.Helper()
	q := map[string]any{}
	for _, id := range []string{"snapshotId", "sessionId"} {
		if step[id] != nil {
			q[id] = step[id]
		}
	}
	out, err := w.run(t, action.AgentSnapshot, name, q)
	got, _ := out.(map[string]any)
	return got, err
}

func (w *specWorld) send(t *testing.T, name string, a *agent.Agent, step map[string]any) {
	t.Helper()
	w.responses, _ = step["modelResponses"].([]any)
	w.chunks, _ = step["streamChunks"].([]any)
	init := into[agent.Init](step["init"])
	c, err := a.Connect(t.Context(), *init)
	require.NoError(t, err)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		defer c.Close()
		inputs, _ := step["inputs"].([]any)
		for _, in := range inputs {
			if c.Send(t.Context(), *into[agent.Input](in)) != nil {
				return // the invocation has ended
			}
		}
	}()
	chunks := []any{}
	for chunk, err := range c.Receive() {
		if err == nil {
			chunks = append(chunks, plain(chunk))
		}
	}
	out, err := c.Output()
	<-sent
	if want := step["expectError"]; want != nil {
		sameError(t, name, want, err)
		return
	}
	require.NoError(t, err, name)
	if want, ok := step["expectChunks"].([]any); ok {
		sameChunks(t, name, want, chunks)
	}
	got, _ := plain(out).(map[string]any)
	if want, ok := step["expectOutput"].(map[string]any); ok {
		sameOutput(t, name, want, got)
	}
	for _, id := range []struct {
		key   string
		value any
	}{{"captureSnapshotId", out.SnapshotID}, {"captureState", got["state"]}, {"captureSessionId", out.SessionID}} {
		if as, ok := step[id.key].(string); ok {
			w.captured[as] = id.value
		}
	}
}

func sameError(t *testing.T, name string, want any, err error) {
	t.Helper()
	require.Error(t, err, name)
	w, _ := want.(map[string]any)
	assert.Equal(t, w["status"], status.Of(err).String(), name)
	if text, ok := w["message"].(string); ok {
		assert.Contains(t, err.Error(), text, name)
	}
}

func sameFailure(t *testing.T, name string, want, got any) {
	t.Helper()
	w, _ := want.(map[string]any)
	g, _ := got.(map[string]any)
	require.NotNil(t, g, "%s: no error", name)
	if w["status"] != nil {
		assert.Equal(t, w["status"], g["status"], name)
	}
	if text, ok := w["message"].(string); ok {
		assert.Contains(t, g["message"], text, name)
	}
}

func sameChunks(t *testing.T, name string, want, got []any) {
	t.Helper()
	require.Len(t, got, len(want), "%s: %s", name, show(got))
	for i := range want {
		assert.True(t, subset(want[i], got[i]), "%s: chunk %d\nwant %s\ngot  %s", name, i, show(want[i]), show(got[i]))
	}
}

func show(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

// sameMessage compares a message as a whole, but for what the runtime notes on it.
func sameMessage(t *testing.T, name string, want, got any) {
	t.Helper()
	w, _ := want.(map[string]any)
	g, _ := got.(map[string]any)
	wants, _ := w["content"].([]any)
	gots, _ := g["content"].([]any)
	assert.Len(t, gots, len(wants), "%s: %s", name, show(got))
	assert.True(t, subset(want, got), "%s\nwant %s\ngot  %s", name, show(want), show(got))
}

func sameOutput(t *testing.T, name string, want, got map[string]any) {
	t.Helper()
	state, _ := got["state"].(map[string]any)
	for key, w := range want {
		switch key {
		case "message":
			sameMessage(t, name, w, got["message"])
		case "finishReason":
			assert.Equal(t, w, got["finishReason"], name)
		case "hasSnapshotId":
			assert.Equal(t, w, got["snapshotId"] != nil, name)
		case "hasSessionId":
			assert.Equal(t, w, state["sessionId"] != nil, name)
		case "stateContains":
			assert.True(t, subset(w, got["state"]), "%s\nwant %s\ngot  %s", name, show(w), show(got["state"]))
		case "artifactsContain":
			assert.True(t, subset(w, got["artifacts"]), "%s\nwant %s\ngot  %s", name, show(w), show(got["artifacts"]))
		case "errorContains":
			sameFailure(t, name, w, got["error"])
		default:
			t.Fatalf("%s: unknown expectation %q", name, key)
		}
	}
}

func sameSnapshot(t *testing.T, name string, want any, got map[string]any) {
	t.Helper()
	state, _ := got["state"].(map[string]any)
	wants, _ := want.(map[string]any)
	for key, w := range wants {
		switch key {
		case "parentId", "status", "finishReason":
			assert.Equal(t, w, got[key], "%s: %s", name, key)
		case "hasSessionId":
			assert.Equal(t, w, state["sessionId"] != nil, name)
		case "stateContains":
			assert.True(t, subset(w, got["state"]), "%s\nwant %s\ngot  %s", name, show(w), show(got["state"]))
		case "errorContains":
			sameFailure(t, name, w, got["error"])
		default:
			t.Fatalf("%s: unknown expectation %q", name, key)
		}
	}
}

// subset reports whether got has all that want has: the members of objects, and the
// elements of arrays in their order, others between them.
func subset(want, got any) bool {
	switch w := plain(want).(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return false
		}
		for name, each := range w {
			if !subset(each, g[name]) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok {
			return false
		}
		for _, each := range w {
			at := slices.IndexFunc(g, func(v any) bool { return subset(each, v) })
			if at < 0 {
				return false
			}
			g = g[at+1:]
		}
		return true
	default:
		return w == got
	}
}
