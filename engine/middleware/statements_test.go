package middleware_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
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

// fixture is a registry with the model "m", which asks for tool "t" once, streams
// "chunk" and then answers "done"; and a journal.
type fixture struct {
	t   *testing.T
	reg *registry.Registry

	mu    sync.Mutex // guards lines
	lines []string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	h := &fixture{t: t, reg: registry.New(nil)}
	m, err := model.New("m", model.Info{Supports: model.Supports{Context: true}}, func(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
		h.note("m %d messages", len(req.Messages))
		if send != nil {
			if err := send(&model.Chunk{Content: []content.Part{content.NewTextPart("chunk")}}); err != nil {
				return nil, err
			}
		}
		if req.Messages[len(req.Messages)-1].Role != content.RoleTool && len(req.Tools) > 0 {
			return &model.Response{Message: &content.Message{Role: content.RoleModel, Content: []content.Part{{ToolRequest: &content.ToolRequest{Name: "t", Ref: "1"}}}}}, nil
		}
		return &model.Response{Message: new(content.NewModelTextMessage("done"))}, nil
	})
	require.NoError(t, err)
	require.NoError(t, h.reg.Register(m))
	tl, err := tool.New("t", "", func(context.Context, any) (string, error) { h.note("t"); return "out", nil })
	require.NoError(t, err)
	require.NoError(t, h.reg.Register(tl))
	return h
}

func (h *fixture) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

// use registers a middleware whose config is a JSON value, and returns its ref.
func (h *fixture) use(name string, make middleware.NewFunc) model.MiddlewareRef {
	h.t.Helper()
	f, err := middleware.New(middleware.Desc{Name: name}, make)
	require.NoError(h.t, err)
	require.NoError(h.t, middleware.Register(h.reg, f))
	return model.MiddlewareRef{Name: name}
}

// spy notes every hook.
func (h *fixture) spy(name string) middleware.NewFunc {
	return func(_ context.Context, config json.RawMessage) (*middleware.Hooks, error) {
		h.note("%s made%s", name, config)
		return &middleware.Hooks{
			Generate: func(ctx context.Context, call *middleware.GenerateCall, next middleware.GenerateFunc) (*model.Response, error) {
				h.note("%s generate %d", name, call.Turn)
				return next(ctx, call)
			},
			Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
				h.note("%s model %s", name, call.Model.Desc().Name)
				return next(ctx, call)
			},
			Tool: func(ctx context.Context, call *middleware.ToolCall, next middleware.ToolFunc) (*content.Part, error) {
				h.note("%s tool", name)
				return next(ctx, call)
			},
			Close: func() { h.note("%s closed", name) },
		}, nil
	}
}

func (h *fixture) run(opts *model.GenerateOptions, send model.Send) (*model.Response, error) {
	opts.Model = "m"
	opts.Messages = []content.Message{content.NewUserTextMessage("hi")}
	return generate.Run(h.t.Context(), h.reg, opts, send)
}

// The names of the rows are Genkit's statements about middleware (5.1 to 5.3 of the
// reference that docs/middleware.md quotes), as they hold here.
func TestStatements(t *testing.T) {
	for name, check := range map[string]func(t *testing.T, h *fixture){
		"index 0 is outermost for all kinds of hooks; generate is called once per turn; tool for every execution": func(t *testing.T, h *fixture) {
			a, b := h.use("a", h.spy("a")), h.use("b", h.spy("b"))
			_, err := h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{a, b}, Tools: []string{"t"}}, nil)
			require.NoError(t, err)
			assert.Equal(t, []string{
				"a made", "b made",
				"a generate 0", "b generate 0", "a model m", "b model m", "m 1 messages", "a tool", "b tool", "t",
				"a generate 1", "b generate 1", "a model m", "b model m", "m 3 messages", "a closed", "b closed",
			}, h.lines)
		},
		"a ref carries a config; one middleware may be used twice, each with state of its own": func(t *testing.T, h *fixture) {
			a := h.use("a", func(_ context.Context, config json.RawMessage) (*middleware.Hooks, error) {
				turns := 0
				return &middleware.Hooks{Generate: func(ctx context.Context, call *middleware.GenerateCall, next middleware.GenerateFunc) (*model.Response, error) {
					turns++
					h.note("%s turn %d", config, turns)
					return next(ctx, call)
				}}, nil
			})
			one, two := a, a
			one.Config, two.Config = json.RawMessage(`1`), json.RawMessage(`2`)
			for range 2 {
				_, err := h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{one, two}}, nil)
				require.NoError(t, err)
			}
			assert.Equal(t, []string{"1 turn 1", "2 turn 1", "m 1 messages", "1 turn 1", "2 turn 1", "m 1 messages"}, h.lines)
		},
		"a hook may answer without next": func(t *testing.T, h *fixture) {
			a := h.use("a", func(context.Context, json.RawMessage) (*middleware.Hooks, error) {
				return &middleware.Hooks{Model: func(context.Context, *middleware.ModelCall, middleware.ModelFunc) (*model.Response, error) {
					return &model.Response{Message: new(content.NewModelTextMessage("short"))}, nil
				}}, nil
			})
			resp, err := h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{a, h.use("b", h.spy("b"))}}, nil)
			require.NoError(t, err)
			assert.Equal(t, "short", resp.Text())
			assert.Equal(t, []string{"b made", "b generate 0", "b closed"}, h.lines)
		},
		"a hook may change, drop and add the chunks of the model": func(t *testing.T, h *fixture) {
			a := h.use("a", func(context.Context, json.RawMessage) (*middleware.Hooks, error) {
				return &middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
					c := *call
					c.Send = func(chunk *model.Chunk) error {
						if err := call.Send(&model.Chunk{Content: []content.Part{content.NewTextPart("<")}}); err != nil {
							return err
						}
						return call.Send(&model.Chunk{Content: []content.Part{content.NewTextPart(chunk.Text() + ">")}})
					}
					return next(ctx, &c)
				}}, nil
			})
			_, err := h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{a}}, func(c *model.Chunk) error { h.note("%d %s", c.Index, c.Text()); return nil })
			require.NoError(t, err)
			assert.Equal(t, []string{"m 1 messages", "0 <", "0 chunk>"}, h.lines)
		},
		"a generate hook may change the model, and the model hooks know": func(t *testing.T, h *fixture) {
			other, err := model.New("other", model.Info{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
				return &model.Response{Message: new(content.NewModelTextMessage("from the other"))}, nil
			})
			require.NoError(t, err)
			require.NoError(t, h.reg.Register(other))
			a := h.use("a", func(context.Context, json.RawMessage) (*middleware.Hooks, error) {
				return &middleware.Hooks{Generate: func(ctx context.Context, call *middleware.GenerateCall, next middleware.GenerateFunc) (*model.Response, error) {
					c, o := *call, *call.Options
					o.Model, c.Options = "other", &o
					return next(ctx, &c)
				}}, nil
			})
			resp, err := h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{a, h.use("b", h.spy("b"))}}, nil)
			require.NoError(t, err)
			assert.Equal(t, "from the other", resp.Text())
			assert.Contains(t, h.lines, "b model other")
		},
		"a model hook may change the model": func(t *testing.T, h *fixture) {
			background, err := action.New(action.Desc{Kind: action.BackgroundModel, Name: "slow"}, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) { return nil, nil })
			require.NoError(t, err)
			a := h.use("a", func(context.Context, json.RawMessage) (*middleware.Hooks, error) {
				return &middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
					c := *call
					c.Model = background
					return next(ctx, &c)
				}}, nil
			})
			_, err = h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{a}}, nil)
			require.ErrorIs(t, err, status.ErrUnimplemented, "but not into one that answers later")
		},
		"tools are offered after the caller's; a collision is INVALID_ARGUMENT": func(t *testing.T, h *fixture) {
			contributes := func(names ...string) middleware.NewFunc {
				return func(context.Context, json.RawMessage) (*middleware.Hooks, error) {
					hooks := &middleware.Hooks{}
					for _, n := range names {
						x, err := tool.New(n, "", func(context.Context, any) (int, error) { return 1, nil })
						if err != nil {
							return nil, err
						}
						hooks.Tools = append(hooks.Tools, x)
					}
					return hooks, nil
				}
			}
			a, b := h.use("a", contributes("x", "y")), h.use("b", contributes("z"))
			resp, err := h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{a, b}, Tools: []string{"t"}}, nil)
			require.NoError(t, err)
			var names []string
			for _, d := range resp.Request.Tools {
				names = append(names, d.Name)
			}
			assert.Equal(t, []string{"t", "x", "y", "z"}, names)
			_, err = h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{a, a}}, nil)
			require.ErrorIs(t, err, status.ErrInvalidArgument, "between middleware")
			_, err = h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{h.use("c", contributes("t"))}, Tools: []string{"t"}}, nil)
			require.ErrorContains(t, err, `tool "t" is contributed by middleware but already declared elsewhere`)
		},
		"an unknown name is NOT_FOUND; what New fails with stays": func(t *testing.T, h *fixture) {
			_, err := h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{{Name: "nope"}}}, nil)
			require.ErrorIs(t, err, status.ErrNotFound)
			_, err = h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{{Name: "genkit-middleware/nope"}}}, nil)
			require.ErrorContains(t, err, "Middleware genkit-middleware/nope not found in registry.")
			a := h.use("a", func(context.Context, json.RawMessage) (*middleware.Hooks, error) {
				return nil, status.Publicf(status.DataLoss, "x")
			})
			_, err = h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{h.use("b", h.spy("b")), a}}, nil)
			require.ErrorIs(t, err, status.ErrDataLoss)
			assert.Equal(t, []string{"b made", "b closed"}, h.lines, "those that were made are closed")
		},
		"Genkit Go's names work": func(t *testing.T, h *fixture) {
			h.use("retry", h.spy("ours"))
			_, err := h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{{Name: "genkit-middleware/retry"}}}, nil)
			require.NoError(t, err)
			assert.Contains(t, h.lines, "ours made")
			h.lines = nil
			h.use("genkit-middleware/retry", h.spy("theirs"))
			_, err = h.run(&model.GenerateOptions{Use: []model.MiddlewareRef{{Name: "genkit-middleware/retry"}}}, nil)
			require.NoError(t, err)
			assert.Contains(t, h.lines, "theirs made", "unless somebody registers them")
		},
		"a factory sees what the call sees": func(t *testing.T, h *fixture) {
			f, err := middleware.New(middleware.Desc{Name: "a"}, func(ctx context.Context, _ json.RawMessage) (*middleware.Hooks, error) {
				_, err := middleware.RegistryOf(ctx).Resolve(ctx, "own", action.Tool)
				return &middleware.Hooks{Model: func(context.Context, *middleware.ModelCall, middleware.ModelFunc) (*model.Response, error) {
					return &model.Response{Message: new(content.NewModelTextMessage("ok"))}, nil
				}}, err
			})
			require.NoError(t, err)
			own, err := tool.New("own", "", func(context.Context, any) (int, error) { return 1, nil })
			require.NoError(t, err)
			_, err = generate.Run(t.Context(), h.reg, &model.GenerateOptions{Model: "m", Messages: []content.Message{content.NewUserTextMessage("hi")}, Use: []model.MiddlewareRef{{Name: "a"}}},
				nil, generate.WithMiddleware(f), generate.WithTools(own))
			require.NoError(t, err)
			_, err = middleware.RegistryOf(t.Context()).Resolve(t.Context(), "own", action.Tool)
			require.ErrorIs(t, err, status.ErrNotFound, "and nothing outside of one")
		},
	} {
		t.Run(name, func(t *testing.T) { check(t, newFixture(t)) })
	}
}

func TestDescriptorsAreWhatTheDevUIAsksFor(t *testing.T) {
	reg := registry.New(nil)
	require.NoError(t, middleware.Plugin("a", func() (middleware.Factory, error) {
		return middleware.New(middleware.Desc{
			Name: "a", Description: "Does <a>.", ConfigSchema: json.RawMessage(`{"type":"object"}`), Metadata: map[string]json.RawMessage{"x": json.RawMessage(`1`)},
		}, nil)
	}).Register(t.Context(), reg))
	reg.SetValue(middleware.Kind, "odd", 1)
	descs, err := middleware.Descriptors(registry.New(reg))
	require.NoError(t, err)
	raw, err := json.Marshal(descs)
	require.NoError(t, err)
	assert.JSONEq(t, `{"a":{"name":"a","description":"Does <a>.","configSchema":{"type":"object"},"metadata":{"x":1}}}`, string(raw))
	broken := middleware.Plugin("b", func() (middleware.Factory, error) { return nil, status.Errorf(status.DataLoss, "x") })
	assert.Equal(t, "middleware:b", broken.Name())
	require.ErrorIs(t, broken.Register(t.Context(), reg), status.ErrDataLoss)
}

func TestManyCallsShareFactories(t *testing.T) {
	h := newFixture(t)
	var live, made atomic.Int32
	counting := func(context.Context, json.RawMessage) (*middleware.Hooks, error) {
		live.Add(1)
		made.Add(1)
		turns := 0 // of this call alone: no lock
		var tools atomic.Int32
		return &middleware.Hooks{
			Generate: func(ctx context.Context, call *middleware.GenerateCall, next middleware.GenerateFunc) (*model.Response, error) {
				turns++
				return next(ctx, call)
			},
			Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
				watched, sent := middleware.WatchSend(call)
				resp, err := next(ctx, watched)
				if !sent() {
					h.note("nothing was sent")
				}
				return resp, err
			},
			Tool: func(ctx context.Context, call *middleware.ToolCall, next middleware.ToolFunc) (*content.Part, error) {
				tools.Add(1)
				return next(ctx, call)
			},
			Close: func() {
				live.Add(-1)
				if turns != 2 || tools.Load() != 1 {
					h.note("turns %d tools %d", turns, tools.Load())
				}
			},
		}, nil
	}
	var refs []model.MiddlewareRef
	for i := range 3 {
		refs = append(refs, h.use("n"+strconv.Itoa(i), counting))
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 10 {
				_, err := h.run(&model.GenerateOptions{Use: refs, Tools: []string{"t"}}, func(*model.Chunk) error { return nil })
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	assert.Zero(t, live.Load())
	assert.EqualValues(t, 16*10*3, made.Load())
	for _, line := range h.lines {
		assert.Contains(t, []string{"m 1 messages", "m 3 messages", "t"}, line)
	}
}
