package reflection_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/reflection"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// app is the application under test.
type app struct {
	reg     *registry.Registry
	context json.RawMessage
}

func (a *app) Name() string                 { return "kit" }
func (a *app) Registry() *registry.Registry { return a.reg }
func (a *app) Context(ctx context.Context) context.Context {
	if a.context != nil {
		return action.WithContext(ctx, a.context)
	}
	return ctx
}

// provider brings a tool as a Wasm host does.
type provider struct{ tool action.Action }

func (p provider) Name() string { return "wasm/default" }
func (p provider) List(context.Context) ([]action.Desc, error) {
	return []action.Desc{p.tool.Desc()}, nil
}

func (p provider) Resolve(_ context.Context, key action.Key) (action.Action, error) {
	if key == p.tool.Desc().Key() {
		return p.tool, nil
	}
	return nil, status.Publicf(status.NotFound, "%s not found", key)
}

// talk reads a stream of inputs.
func talk(ctx context.Context, init json.RawMessage, next action.NextInput, emit action.Emit) (json.RawMessage, error) {
	all := []json.RawMessage{}
	for {
		in, more, err := next(ctx)
		if err != nil {
			return nil, err
		}
		if !more {
			return json.Marshal(map[string]any{"init": init, "inputs": all})
		}
		all = append(all, in)
		if err := emit(json.RawMessage(`{"heard":` + string(in) + `}`)); err != nil {
			return nil, err
		}
	}
}

func newApp(t testing.TB) *app {
	t.Helper()
	reg := registry.New(nil)
	register := func(a action.Action, err error) {
		t.Helper()
		require.NoError(t, err)
		require.NoError(t, reg.Register(a))
	}
	register(flow.New("echo", func(_ context.Context, in string) (string, error) { return in, nil }))
	register(flow.NewStreaming("count", func(_ context.Context, n int, send func(map[string]int) error) (string, error) {
		for i := range n {
			if err := send(map[string]int{"n": i + 1}); err != nil {
				return "", err
			}
		}
		return "done", nil
	}))
	register(flow.New("fail", func(context.Context, string) (string, error) {
		return "", status.Publicf(status.FailedPrecondition, "not today").WithDetails(map[string]int{"n": 1})
	}))
	register(flow.New("secret", func(context.Context, string) (string, error) { return "", errors.New("a plain error") }))
	register(flow.New("panic", func(context.Context, string) (string, error) { panic("oh") }))
	register(flow.New("context", func(ctx context.Context, _ any) (json.RawMessage, error) { return action.Context(ctx), nil }))
	register(flow.New("wait", func(ctx context.Context, _ any) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	}))
	raw := func(kind action.Kind, name string, in json.RawMessage) (action.Action, error) {
		return action.New(action.Desc{Kind: kind, Name: name, InputSchema: in}, func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
			return in, nil
		})
	}
	require.NoError(t, generate.RegisterSchema(reg, "Pair", json.RawMessage(`{"type":"array","maxItems":2}`)))
	// Registered by reference, as prompts do it; the reference is no schema of its own.
	named, err := raw(action.Custom, "named", nil)
	require.NoError(t, err)
	register(described{named, generate.SchemaRef("Pair")}, nil)
	register(action.NewBidi(action.Desc{Kind: action.Custom, Name: "talk", StreamSchema: json.RawMessage(`{"type":"object","required":["heard"]}`)}, talk))
	register(model.New("kit/reflector", model.Info{Supports: model.Supports{Multiturn: true}}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		text, err := json.Marshal(map[string]any{"messages": req.Messages})
		msg := content.Message{Role: content.RoleModel, Content: []content.Part{content.NewTextPart(string(text))}}
		return &model.Response{Message: &msg, FinishReason: "stop"}, err
	}))
	slugify, err := tool.NewRaw("textkit/slugify", "Makes a slug.", json.RawMessage(`{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}`), nil,
		func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
			return json.RawMessage(`"a-b"`), nil
		})
	require.NoError(t, err)
	require.NoError(t, reg.AddProvider(provider{slugify}))
	type config struct {
		Times int `json:"times"`
	}
	mw, err := middleware.Define(middleware.Desc{Name: "again", Description: "Tries again."}, func(context.Context, config) (*middleware.Hooks, error) { return &middleware.Hooks{}, nil })
	require.NoError(t, err)
	require.NoError(t, middleware.Register(reg, mw))
	reg.SetValue(generate.DefaultModelKind, generate.DefaultModelName, "kit/reflector")
	return &app{reg: reg}
}

// described is an action whose input schema refers to a named one.
type described struct {
	action.Action
	in json.RawMessage
}

func (d described) Desc() action.Desc {
	desc := d.Action.Desc()
	desc.InputSchema = d.in
	return desc
}

func getenv(env map[string]string) func(string) string {
	return func(name string) string { return env[name] }
}

// start serves version 1 until the test ends.
func start(t *testing.T, a *app, c reflection.Config) *reflection.Server {
	t.Helper()
	if c.Root == "" {
		c.Root = t.TempDir()
	}
	if c.Getenv == nil {
		c.Getenv = getenv(nil)
	}
	if c.Port == 0 {
		c.Port = -1
	}
	c.Always = true
	s, err := reflection.Start(t.Context(), a, c)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close(context.Background())) })
	return s
}
