package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, c engine.Config) *engine.Engine {
	t.Helper()
	c.Plugins = append(c.Plugins, builtin.All()...)
	if c.DefaultModel == "" {
		c.DefaultModel = "test/scripted"
	}
	e, err := engine.New(t.Context(), c)
	require.NoError(t, err)
	return e
}

// callsTool is a script that calls a tool once and then says "done".
func callsTool(name string) engine.GenerateOption {
	return engine.WithConfig(json.RawMessage(`{"script":[
		{"message":{"content":[{"toolRequest":{"name":"` + name + `","ref":"1","input":{}}}]}},
		{"message":{"content":[{"text":"done"}]}}]}`))
}

// blocking registers model "blocks", which waits for its context, and returns a
// channel that is closed when it is called.
func blocking(e *engine.Engine) <-chan struct{} {
	called := make(chan struct{})
	engine.DefineModel(e, "blocks", model.Info{}, func(ctx context.Context, _ *model.Request, _ model.Send) (*model.Response, error) {
		close(called)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	return called
}

func TestEachCustomerHasToolsOfTheirOwn(t *testing.T) {
	e := start(t, engine.Config{})
	acme, globex := e.Child(), e.Child()
	ran := ""
	for name, c := range map[string]*engine.Engine{"acme": acme, "globex": globex} {
		engine.DefineTool(c, "crm/lookup", "", func(context.Context, any) (string, error) { ran = name; return name, nil })
	}
	_, err := engine.Generate(t.Context(), globex, engine.WithPrompt("x"), engine.WithTools(engine.ToolName("lookup")), callsTool("lookup"))
	require.NoError(t, err)
	assert.Equal(t, "globex", ran)
	_, err = engine.Generate(t.Context(), e, engine.WithPrompt("x"), engine.WithTools(engine.ToolName("lookup")), callsTool("lookup"))
	require.ErrorIs(t, err, status.ErrNotFound)

	in := json.RawMessage(`{"messages":[{"role":"user","content":[{"text":"x"}]}],"tools":["crm/lookup"],"config":{"script":[
		{"message":{"content":[{"toolRequest":{"name":"lookup"}}]}},{"message":{"content":[{"text":"done"}]}}]}}`)
	out, err := acme.RunJSON(t.Context(), action.Key{Kind: action.Util, Name: "generate"}, in, nil)
	require.NoError(t, err)
	assert.Contains(t, string(out), `"output":"acme"`, "a child's /util/generate sees the child's tools")
	_, err = e.RunJSON(t.Context(), action.Key{Kind: action.Util, Name: "generate"}, in, nil)
	require.ErrorIs(t, err, status.ErrNotFound)
}

// provider serves one tool, one format and nothing else.
type provider struct{ tool action.Action }

func (provider) Name() string { return "modules" }
func (p provider) List(context.Context) ([]action.Desc, error) {
	return []action.Desc{p.tool.Desc()}, nil
}
func (p provider) Values(string) map[string]any { return nil }
func (p provider) Resolve(_ context.Context, key action.Key) (action.Action, error) {
	if key != p.tool.Desc().Key() {
		return nil, status.ErrNotFound
	}
	return p.tool, nil
}

var _ registry.ValueProvider = provider{}

func TestAProvidersToolsAreUsedByBareName(t *testing.T) {
	e := start(t, engine.Config{})
	slug, err := tool.New("textkit/slugify", "", func(context.Context, any) (string, error) { return "a-b", nil })
	require.NoError(t, err)
	customer := e.Child()
	require.NoError(t, customer.AddProvider(provider{slug}))
	resp, err := engine.Generate(t.Context(), customer, engine.WithPrompt("x"), engine.WithTools(engine.ToolName("slugify")), callsTool("slugify"))
	require.NoError(t, err)
	assert.Equal(t, "done", resp.Text())
	_, err = engine.LookupTool(t.Context(), e, "slugify")
	require.ErrorIs(t, err, status.ErrNotFound)
}

func TestTwoEnginesLiveInOneProcess(t *testing.T) {
	var wg sync.WaitGroup
	for _, name := range []string{"one", "two"} {
		spans := &telemetrytest.Spans{}
		e := start(t, engine.Config{Name: name, TracerProvider: spans, Context: map[string]any{"who": name}})
		engine.DefineTool(e, "who", "", func(ctx context.Context, _ any) (string, error) { return string(action.Context(ctx)), nil })
		wg.Go(func() {
			for range 20 {
				resp, err := engine.Generate(t.Context(), e, engine.WithPrompt("x"), engine.WithTools(engine.ToolName("who")), callsTool("who"))
				if !assert.NoError(t, err) {
					return
				}
				assert.JSONEq(t, `"{\"who\":\"`+name+`\"}"`, string(resp.Request.Messages[2].Content[0].ToolResponse.Output))
			}
			assert.Len(t, spans.Ended(), 20*5)
		})
	}
	wg.Wait()
}

func TestSpansTellWhatHappened(t *testing.T) {
	spans := &telemetrytest.Spans{}
	e := start(t, engine.Config{TracerProvider: spans, RecordBodies: true})
	engine.DefineTool(e, "kit/a", "", func(context.Context, any) (int, error) { return 7, nil })
	_, err := engine.Generate(t.Context(), e, engine.WithPrompt("x"), engine.WithTools(engine.ToolName("a")), callsTool("a"))
	require.NoError(t, err)
	var paths []string
	for _, s := range spans.Ended() {
		paths = append(paths, s["genkit:path"])
		assert.NotEmpty(t, s["genkit:input"], s["name"])
		assert.NotEmpty(t, s["genkit:output"], s["name"])
		assert.Equal(t, "success", s["genkit:state"])
	}
	assert.Equal(t, []string{
		"/{generate,t:util}/{test/scripted,t:action,s:model}",
		"/{generate,t:util}/{kit/a,t:action,s:tool}",
		"/{generate,t:util}/{generate,t:util}/{test/scripted,t:action,s:model}",
		"/{generate,t:util}/{generate,t:util}",
		"/{generate,t:util}",
	}, paths)

	spans = &telemetrytest.Spans{}
	e = start(t, engine.Config{TracerProvider: spans})
	_, err = e.RunJSON(t.Context(), action.Key{Kind: action.Util, Name: "generate"}, json.RawMessage(`{"stepName":"mine","messages":[{"role":"user","content":[]}]}`), nil)
	require.NoError(t, err)
	ended := spans.Ended()
	require.Len(t, ended, 2, "the action's span is the first turn's")
	assert.Equal(t, "/{generate,t:action}", ended[1]["genkit:path"])
}

func TestStreamsEndWithTheirReader(t *testing.T) {
	e := start(t, engine.Config{})
	for range engine.GenerateStream(t.Context(), e, engine.WithPrompt(strings.Repeat("word ", 100))) {
		break // goleak watches
	}
	var last error
	for _, err := range engine.GenerateStream(t.Context(), e, engine.WithPrompt("x"), engine.WithModelName("nope")) {
		last = err
	}
	require.ErrorIs(t, last, status.ErrNotFound)
	require.NoError(t, e.Close(t.Context()), "nothing is left running")
}

func TestCloseWaitsThenCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, engine.Config{})
		called := blocking(e)
		child := e.Child()
		failed := make(chan error, 1)
		go func() {
			_, err := engine.Generate(t.Context(), child, engine.WithPrompt("x"), engine.WithModelName("blocks"))
			failed <- err
		}()
		<-called
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, e.Close(ctx), status.ErrDeadlineExceeded)
		require.Error(t, <-failed)
		for _, closed := range []*engine.Engine{e, child} {
			_, err := engine.Generate(t.Context(), closed, engine.WithPrompt("x"))
			require.ErrorIs(t, err, status.ErrFailedPrecondition)
		}
		require.NoError(t, e.Close(t.Context()), "closing again")
	})
	e := start(t, engine.Config{})
	child := e.Child()
	require.NoError(t, child.Close(t.Context()))
	_, err := engine.Generate(t.Context(), child, engine.WithPrompt("x"))
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	_, err = engine.Generate(t.Context(), e, engine.WithPrompt("x"))
	require.NoError(t, err, "a child ends alone")
	require.NoError(t, e.Close(t.Context()))
}

// named is a middleware with a name of its own.
type named struct {
	name string
	fn   middleware.Func
}

func (n named) Name() string                                       { return n.name }
func (n named) New(ctx context.Context) (*middleware.Hooks, error) { return n.fn(ctx) }

func TestOptionsAddUpOrReplace(t *testing.T) {
	e := start(t, engine.Config{})
	var asked *model.Request
	engine.DefineModel(e, "spy", model.Info{Supports: model.Supports{Tools: true, ToolChoice: true, Context: true, Constrained: "all"}}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		asked = req
		return &model.Response{Message: new(content.NewModelTextMessage(`{"n":1}`))}, nil
	})
	engine.DefineTool(e, "a", "", func(context.Context, any) (int, error) { return 1, nil })
	b, err := tool.New("b", "", func(context.Context, any) (int, error) { return 1, nil })
	require.NoError(t, err)
	seen := []string{}
	log := func(name string) middleware.Func {
		return func(context.Context) (*middleware.Hooks, error) {
			return &middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
				seen = append(seen, name)
				return next(ctx, call)
			}}, nil
		}
	}
	engine.DefineMiddleware(e, "", named{"m1", log("m1")})
	resp, err := engine.Generate(t.Context(), e,
		engine.WithModelName("nope"), engine.WithModelName("spy"),
		engine.WithPrompt("no"), engine.WithPrompt("yes"), engine.WithSystem("sys"),
		engine.WithMessages(content.NewUserTextMessage("1")), engine.WithMessages(content.NewModelTextMessage("2")),
		engine.WithTools(engine.ToolName("a")), engine.WithTools(b), engine.WithToolChoice(model.ToolChoiceNone),
		engine.WithDocs(content.Document{}), engine.WithDocs(content.Document{}),
		engine.WithConfig(map[string]int{"x": 0}), engine.WithUse(engine.UseName("m1", nil)), engine.WithUse(log("m2"), named{"m1", log("m3")}),
		engine.WithMiddleware(func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
			seen = append(seen, "m4")
			return next(ctx, call)
		}),
		engine.WithOutputSchema(json.RawMessage(`{"type":"object"}`)), engine.WithOutputFormat("json"), engine.WithMaxTurns(3),
	)
	require.NoError(t, err)
	assert.JSONEq(t, `{"n":1}`, string(resp.Parsed))
	raw, err := json.Marshal(asked.Messages)
	require.NoError(t, err)
	assert.JSONEq(t, `[{"role":"system","content":[{"text":"sys"}]},{"role":"user","content":[{"text":"1"}]},
		{"role":"model","content":[{"text":"2"}]},{"role":"user","content":[{"text":"yes"}]}]`, string(raw))
	assert.Len(t, asked.Tools, 2)
	assert.Len(t, asked.Docs, 2)
	assert.JSONEq(t, `{"x":0}`, string(asked.Config))
	assert.Equal(t, model.ToolChoiceNone, asked.ToolChoice)
	assert.Equal(t, []string{"m1", "m2", "m3", "m4"}, seen)

	for name, o := range map[string]engine.GenerateOption{
		"a tool that is none":   engine.WithTools(nil),
		"a config that is none": engine.WithConfig(make(chan int)),
		"a middleware's config": engine.WithUse(engine.UseName("m1", make(chan int))),
		"a negative limit":      engine.WithMaxTurns(-1),
		"an output type":        engine.WithOutputType(make(chan int)),
	} {
		_, err := engine.Generate(t.Context(), e, engine.WithPrompt("x"), o)
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
	_, err = engine.Generate(t.Context(), e)
	require.ErrorIs(t, err, status.ErrInvalidArgument, "no message")
}

func TestGenerateDataReadsTheOutput(t *testing.T) {
	e := start(t, engine.Config{})
	say := func(text string) engine.GenerateOption {
		return engine.WithConfig(map[string]any{"script": []any{map[string]any{"message": map[string]any{"content": []any{map[string]any{"text": text}}}}}})
	}
	n, _, err := engine.GenerateData[int](t.Context(), e, engine.WithPrompt("x"), say("0"))
	require.NoError(t, err)
	assert.Zero(t, n)
	_, _, err = engine.GenerateData[int](t.Context(), e, engine.WithPrompt("x"), say(`"0"`))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	v, _, err := engine.GenerateData[any](t.Context(), e, engine.WithPrompt("x"), say(`12345678901234567890`))
	require.NoError(t, err)
	assert.Equal(t, json.Number("12345678901234567890"), v)
	_, resp, err := engine.GenerateData[any](t.Context(), e, engine.WithPrompt("x"), say(`no JSON`))
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.Equal(t, "no JSON", resp.Text())
}

func TestAnInterruptedCallIsResumed(t *testing.T) {
	e := start(t, engine.Config{})
	engine.DefineTool(e, "pay", "", func(ctx context.Context, _ any) (string, error) {
		if _, again := tool.Resumed(ctx); again {
			return "paid", nil
		}
		return "", tool.Interrupt(nil)
	})
	resp, err := engine.Generate(t.Context(), e, engine.WithPrompt("x"), engine.WithTools(engine.ToolName("pay")), callsTool("pay"))
	require.NoError(t, err)
	require.Equal(t, model.FinishInterrupted, resp.FinishReason)
	again := resp.Interrupts()[0]
	again.Metadata = again.Metadata.With("resumed", content.True())
	resp, err = engine.Generate(t.Context(), e, engine.WithTools(engine.ToolName("pay")), callsTool("pay"),
		engine.WithMessages(resp.History()...), engine.WithToolRestarts(again), engine.WithResumeMetadata(map[string]string{"by": "me"}))
	require.NoError(t, err)
	assert.Equal(t, "done", resp.Text())
	history := resp.History()
	answer := slices.IndexFunc(history, func(m content.Message) bool { return m.Role == content.RoleTool })
	require.GreaterOrEqual(t, answer, 0)
	assert.JSONEq(t, `{"by":"me"}`, string(history[answer].Metadata["resumed"]), "the message that answers says so")
	_, err = engine.Generate(t.Context(), e, engine.WithPrompt("x"), engine.WithResumeMetadata(func() {}))
	require.ErrorIs(t, err, status.ErrInvalidArgument, "what has no JSON")
}

func TestDefinePanicsWhereRegisterFails(t *testing.T) {
	e := start(t, engine.Config{})
	nothing := func(context.Context, any) (any, error) { return nil, nil }
	first := engine.DefineTool(e, "a", "", nothing)
	require.ErrorIs(t, e.Register(first), status.ErrAlreadyExists)
	assert.Panics(t, func() { engine.DefineTool(e, "a", "", nothing) })
	assert.Panics(t, func() {
		engine.DefineTool(e, "b", "", func(context.Context, chan int) (any, error) { return nil, nil })
	})
	assert.Panics(t, func() { engine.DefineFlow(e, "", nothing) })
	assert.Panics(t, func() { engine.DefineFormat(e, format.JSON()) })
	assert.Panics(t, func() {
		engine.DefineMiddleware(e, "", named{})
	})
	engine.DefineStreamingFlow(e, "s", func(context.Context, any, func(int) error) (any, error) { return nil, nil })
	_, err := engine.LookupFlow(t.Context(), e, "s")
	require.NoError(t, err)
	m, err := engine.LookupModel(t.Context(), e, "scripted")
	require.NoError(t, err)
	assert.True(t, m.Info().Supports.Tools)
	_, err = engine.LookupModel(t.Context(), e, "nope")
	require.ErrorIs(t, err, status.ErrNotFound)
}

type brokenPlugin struct{}

func (brokenPlugin) Name() string                                       { return "broken" }
func (brokenPlugin) Register(context.Context, *registry.Registry) error { return errors.New("no key") }

func TestNewNamesThePluginThatFails(t *testing.T) {
	_, err := engine.New(t.Context(), engine.Config{Plugins: []registry.Plugin{brokenPlugin{}}})
	require.EqualError(t, err, `plugin "broken": no key`)
	_, err = engine.New(t.Context(), engine.Config{Context: map[string]any{"x": make(chan int)}})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestWarningsGoToTheLogger(t *testing.T) {
	var log bytes.Buffer
	e := start(t, engine.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	engine.DefineModel(e, "poor", model.Info{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		return &model.Response{Message: new(content.NewModelTextMessage("x"))}, nil
	})
	engine.DefineTool(e, "a", "", func(context.Context, any) (any, error) { return nil, nil })
	_, err := engine.Generate(t.Context(), e, engine.WithPrompt("x"), engine.WithModelName("poor"), engine.WithTools(engine.ToolName("a")), engine.WithToolChoice("required"))
	require.NoError(t, err)
	assert.Contains(t, log.String(), "does not declare support for tools")
	assert.Contains(t, log.String(), "does not declare support for toolChoice")
}

// BenchmarkGenerateWithOneTool is a call of two model turns and one native tool.
func BenchmarkGenerateWithOneTool(b *testing.B) {
	e := start(b, engine.Config{})
	turn := []*model.Response{
		{Message: &content.Message{Role: content.RoleModel, Content: []content.Part{{ToolRequest: &content.ToolRequest{Name: "add", Ref: "1", Input: json.RawMessage(`{"a":1,"b":2}`)}}}}},
		{Message: new(content.NewModelTextMessage("3"))},
	}
	engine.DefineModel(e, "fast", model.Info{Supports: model.Supports{Tools: true}}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		return turn[len(req.Messages)/2], nil
	})
	engine.DefineTool(e, "math/add", "Adds.", func(_ context.Context, in pair) (int, error) { return in.A + in.B, nil })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := engine.Generate(b.Context(), e, engine.WithModelName("fast"), engine.WithPrompt("1+2?"), engine.WithTools(engine.ToolName("math/add"))); err != nil {
			b.Fatal(err)
		}
	}
}
