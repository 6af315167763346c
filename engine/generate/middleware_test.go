package generate_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// use registers middleware under a name and adds it to opts.
func use(t *testing.T, reg *registry.Registry, opts *model.GenerateOptions, name string, hooks *middleware.Hooks) {
	t.Helper()
	f, err := middleware.New(middleware.Desc{Name: name}, func(context.Context, json.RawMessage) (*middleware.Hooks, error) { return hooks, nil })
	require.NoError(t, err)
	require.NoError(t, middleware.Register(reg, f))
	opts.Use = append(opts.Use, model.MiddlewareRef{Name: name})
}

// journal records the calls of hooks, in order.
type journal struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) hooks(name string) *middleware.Hooks {
	return &middleware.Hooks{
		Generate: func(ctx context.Context, call *middleware.GenerateCall, next middleware.GenerateFunc) (*model.Response, error) {
			j.add(name + " generate turn " + strconv.Itoa(call.Turn) + " messages " + strconv.Itoa(len(call.Options.Messages)))
			return next(ctx, call)
		},
		Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
			j.add(name + " model")
			return next(ctx, call)
		},
		Tool: func(ctx context.Context, call *middleware.ToolCall, next middleware.ToolFunc) (*content.Part, error) {
			j.add(name + " tool " + call.Part.ToolRequest.Name)
			return next(ctx, call)
		},
		Close: func() { j.add(name + " close") },
	}
}

func TestTheFirstMiddlewareIsOutermostEverywhere(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, calls("a"), says("done"))
	newTool(t, reg, "a", gives(1))
	j := &journal{}
	opts := ask("a")
	use(t, reg, opts, "acme/one", j.hooks("one"))
	use(t, reg, opts, "two", j.hooks("two"))
	opts.Use[0].Name = "one" // a bare name does, where only one has it
	run(t, reg, opts)
	assert.Equal(t, []string{
		"one generate turn 0 messages 1", "two generate turn 0 messages 1", "one model", "two model", "one tool a", "two tool a",
		"one generate turn 1 messages 3", "two generate turn 1 messages 3", "one model", "two model", "one close", "two close",
	}, j.lines)
}

func TestHooksChangeWhatHappens(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, calls("a#1", "b#2", "c#3"), says("done"))
	m.stream = true
	newTool(t, reg, "a", gives("A"))
	newTool(t, reg, "b", func(context.Context) (any, error) { panic("must not run") })
	newTool(t, reg, "c", func(context.Context) (any, error) { return nil, errors.New("c broke") })
	opts := ask("a", "b", "c")
	extra, err := tool.New("acme/extra", "", func(context.Context, any) (int, error) { return 1, nil })
	require.NoError(t, err)
	use(t, reg, opts, "changes", &middleware.Hooks{
		Generate: func(ctx context.Context, call *middleware.GenerateCall, next middleware.GenerateFunc) (*model.Response, error) {
			require.NoError(t, call.Send(&model.Chunk{Content: []content.Part{content.NewTextPart("from the hook")}}))
			require.NoError(t, call.Send(&model.Chunk{Role: content.RoleTool, Index: 9}))
			c, o := *call, *call.Options
			o.Messages = append(append([]content.Message{}, o.Messages...), content.NewUserTextMessage("more"))
			c.Options = &o
			if call.Turn > 0 {
				c.Options = call.Options
			}
			return next(ctx, &c)
		},
		Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
			req := *call.Request
			req.Config = json.RawMessage(`{"temperature":0}`)
			return next(ctx, &middleware.ModelCall{Request: &req, Send: call.Send})
		},
		Tool: func(ctx context.Context, call *middleware.ToolCall, next middleware.ToolFunc) (*content.Part, error) {
			switch call.Part.ToolRequest.Name {
			case "b":
				return nil, nil
			case "c":
				_, err := next(ctx, call)
				return &content.Part{ToolResponse: &content.ToolResponse{Name: "c", Ref: "3", Output: json.RawMessage(quote(err.Error()))}}, nil
			}
			return next(ctx, call)
		},
		Tools: []action.Action{extra},
	})
	send, chunks := collectChunks(t)
	resp, err := generate.Run(t.Context(), reg, opts, send)
	require.NoError(t, err)
	assert.Equal(t, "done", resp.Text())
	assert.Equal(t, []string{
		"model 0 from the hook", "tool 9", "model 0 a() b() c()", `tool 1 a="A" c="c broke"`,
		"model 2 from the hook", "tool 9", "model 2 done",
	}, *chunks)
	first := m.request(t, 0)
	assert.Len(t, first.Messages, 2)
	assert.JSONEq(t, `{"temperature":0}`, string(first.Config))
	require.Len(t, first.Tools, 4)
	assert.Equal(t, "extra", first.Tools[3].Name)
	assert.Nil(t, resp.Request.Config, "the request as it was before the model hooks")
}

func TestATurnWithoutResponsesGoesOn(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, calls("a"), says("done"))
	newTool(t, reg, "a", gives(1))
	opts := ask("a")
	use(t, reg, opts, "mute", &middleware.Hooks{Tool: func(context.Context, *middleware.ToolCall, middleware.ToolFunc) (*content.Part, error) {
		return nil, nil
	}})
	run(t, reg, opts)
	assert.Len(t, m.request(t, 1).Messages, 2, "the model message stands last")
}

func TestAToolHookMayInterrupt(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, calls("a#1"))
	newTool(t, reg, "a", gives(1))
	opts := ask("a")
	use(t, reg, opts, "approval", &middleware.Hooks{Tool: func(context.Context, *middleware.ToolCall, middleware.ToolFunc) (*content.Part, error) {
		return nil, tool.Interrupt(json.RawMessage(`{"message":"may I?"}`))
	}})
	resp := run(t, reg, opts)
	assert.Equal(t, model.FinishInterrupted, resp.FinishReason)
	assert.JSONEq(t, `{"interrupt":{"message":"may I?"}}`, toJSON(t, resp.Message.Content[0].Metadata))
}

func TestAHookMayTryAgain(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, `{"message":1}`, says("done"))
	tries := 0
	register(t, reg)(model.New("flaky", everything, func(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
		if tries++; tries < 3 {
			return nil, status.Publicf(status.Unavailable, "later")
		}
		return &model.Response{Message: new(content.NewModelTextMessage("at last"))}, nil
	}))
	opts := ask()
	opts.Model = "flaky"
	use(t, reg, opts, "retry", &middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
		for {
			if resp, err := next(ctx, call); !errors.Is(err, status.ErrUnavailable) {
				return resp, err
			}
		}
	}})
	assert.Equal(t, "at last", run(t, reg, opts).Text())
	assert.Equal(t, 3, tries)
	assert.Zero(t, m.calls())
}

func TestBrokenMiddlewareIsAnError(t *testing.T) {
	for name, hooks := range map[string]*middleware.Hooks{
		"generate panics": {Generate: func(context.Context, *middleware.GenerateCall, middleware.GenerateFunc) (*model.Response, error) {
			panic("x")
		}},
		"generate is silent": {Generate: func(context.Context, *middleware.GenerateCall, middleware.GenerateFunc) (*model.Response, error) {
			return nil, nil
		}},
		"model panics": {Model: func(context.Context, *middleware.ModelCall, middleware.ModelFunc) (*model.Response, error) {
			panic("x")
		}},
		"model is silent": {Model: func(context.Context, *middleware.ModelCall, middleware.ModelFunc) (*model.Response, error) {
			return nil, nil
		}},
		"tool panics":  {Tool: func(context.Context, *middleware.ToolCall, middleware.ToolFunc) (*content.Part, error) { panic("x") }},
		"close panics": {Close: func() { panic("x") }},
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
			newModel(t, reg, calls("a"), says("done"))
			newTool(t, reg, "a", gives(1))
			opts := ask("a")
			use(t, reg, opts, "acme/broken", hooks)
			_, err := generate.Run(t.Context(), reg, opts, nil)
			if name == "close panics" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, status.ErrInternal)
			assert.Contains(t, err.Error(), `middleware "acme/broken"`)
		})
	}
}

func TestMiddlewareToolsMustNotCollide(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg)
	newTool(t, reg, "a", gives(1))
	again, err := tool.New("a", "", func(context.Context, any) (int, error) { return 1, nil })
	require.NoError(t, err)
	opts := ask("a")
	use(t, reg, opts, "collides", &middleware.Hooks{Tools: []action.Action{again}})
	require.ErrorIs(t, runErr(t, reg, opts), status.ErrInvalidArgument)
	opts = ask()
	use(t, reg, opts, "no tool", &middleware.Hooks{Tools: []action.Action{generate.Action(reg)}})
	require.ErrorIs(t, runErr(t, reg, opts), status.ErrInvalidArgument)
}

func TestPerCallMiddlewareNeedsNoRegistration(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, says("done"), says("done"))
	j := &journal{}
	f, err := middleware.New(middleware.Desc{Name: "mine"}, func(context.Context, json.RawMessage) (*middleware.Hooks, error) { return j.hooks("mine"), nil })
	require.NoError(t, err)
	opts := ask()
	opts.Use = []model.MiddlewareRef{{Name: "mine"}}
	run(t, reg, opts, generate.WithMiddleware(f))
	assert.Contains(t, j.lines, "mine model")
	err = runErr(t, reg, opts)
	require.ErrorIs(t, err, status.ErrNotFound)
	assert.Equal(t, "Middleware mine not found in registry.", status.Convert(err).Message)
}
