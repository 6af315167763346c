package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// answering is the function of a model that keeps what it is asked and says text.
func answering(asked **model.Request, text string) model.Func {
	return func(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
		*asked = req
		if send != nil {
			if err := send(&model.Chunk{Content: []content.Part{content.NewTextPart(text)}}); err != nil {
				return nil, err
			}
		}
		return &model.Response{Message: new(content.NewModelTextMessage(text))}, nil
	}
}

var capable = model.Info{Supports: model.Supports{Multiturn: true, SystemRole: true, Tools: true, Context: true, Constrained: "all"}}

func TestAModelIsGivenByNameByReferenceOrAsAValue(t *testing.T) {
	e := start(t, engine.Config{})
	var asked *model.Request
	engine.DefineModel(e, "acme/one", capable, answering(&asked, "registered"))
	mine, err := model.New("acme/mine", capable, answering(&asked, "brought along"))
	require.NoError(t, err)
	found, err := engine.LookupModel(t.Context(), e, "one")
	require.NoError(t, err)
	assert.Equal(t, "acme/one", found.Name())
	for _, c := range []struct {
		o            engine.GenerateOption
		text, config string
	}{
		{engine.WithModelName("acme/one"), "registered", `{"b":2}`},
		{engine.WithModel(found), "registered", `{"b":2}`},
		{engine.WithModel(mine), "brought along", `{"b":2}`},
		{engine.WithModel(engine.NewModelRef("one", map[string]int{"a": 1, "b": 1})), "registered", `{"a":1,"b":2}`},
	} {
		text, err := engine.GenerateText(t.Context(), e, engine.WithConfig(map[string]int{"b": 2}), c.o, engine.WithPrompt("x"))
		require.NoError(t, err)
		assert.Equal(t, c.text, text)
		assert.JSONEq(t, c.config, string(asked.Config))
	}
	_, err = engine.LookupModel(t.Context(), e, "acme/mine")
	require.ErrorIs(t, err, status.ErrNotFound, "what a call brings is not registered")
	background := engine.DefineBackgroundModel(e, "slow", model.Info{}, model.Background{
		Start: func(context.Context, *model.Request) (*model.Operation, error) { return &model.Operation{}, nil },
		Check: func(_ context.Context, op *model.Operation) (*model.Operation, error) { return op, nil },
	})
	for _, m := range []engine.ModelArg{nil, model.From(background)} {
		_, err = engine.Generate(t.Context(), e, engine.WithModel(m), engine.WithPrompt("x"))
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
}

func TestTextsAreFormattedOnlyWithArguments(t *testing.T) {
	e := start(t, engine.Config{})
	var asked *model.Request
	engine.DefineModel(e, "m", capable, answering(&asked, "ok"))
	_, err := engine.Generate(t.Context(), e, engine.WithModelName("m"), engine.WithSystem("100%s"), engine.WithPrompt("%d%% of %q", 5, "x"))
	require.NoError(t, err)
	assert.Equal(t, "100%s", asked.Messages[0].Text())
	assert.Equal(t, `5% of "x"`, asked.Messages[1].Text())
	_, err = engine.Generate(t.Context(), e, engine.WithModelName("m"), engine.WithSystemParts(content.NewTextPart("a"), content.NewTextPart("b")), engine.WithTextDocs("one", "two"), engine.WithPrompt("x"))
	require.NoError(t, err)
	assert.Equal(t, "ab", asked.Messages[0].Text())
	assert.Equal(t, "two", asked.Docs[1].Text())
}

func TestChunksGoToTheFunctionAndToTheIterator(t *testing.T) {
	e := start(t, engine.Config{})
	var asked *model.Request
	engine.DefineModel(e, "m", capable, answering(&asked, "hi"))
	var heard []string
	listen := engine.WithStreaming(func(_ context.Context, c *engine.ModelResponseChunk) error {
		heard = append(heard, c.Text())
		return nil
	})
	_, err := engine.Generate(t.Context(), e, engine.WithModelName("m"), engine.WithPrompt("x"), listen)
	require.NoError(t, err)
	for v, err := range engine.GenerateStream(t.Context(), e, engine.WithModelName("m"), engine.WithPrompt("x"), listen) {
		require.NoError(t, err)
		if v.Done {
			assert.Equal(t, "hi", v.Response.Text())
		} else {
			heard = append(heard, "yielded "+v.Chunk.Text())
		}
	}
	p := engine.DefinePrompt(e, "p", engine.WithModelName("m"), engine.WithPrompt("x"))
	_, err = p.Execute(t.Context(), listen)
	require.NoError(t, err)
	assert.Equal(t, []string{"hi", "hi", "yielded hi", "hi"}, heard)
	stop := errors.New("enough")
	_, err = engine.Generate(t.Context(), e, engine.WithModelName("m"), engine.WithPrompt("x"),
		engine.WithStreaming(func(context.Context, *engine.ModelResponseChunk) error { return stop }))
	require.ErrorIs(t, err, stop)
}

type color string

func TestAnOutputIsAskedForInSeveralWays(t *testing.T) {
	e := start(t, engine.Config{})
	var asked *model.Request
	engine.DefineModel(e, "m", model.Info{}, answering(&asked, `"red"`))
	resp, err := engine.Generate(t.Context(), e, engine.WithModelName("m"), engine.WithPrompt("x"), engine.WithOutputEnums(color("red"), color("green")))
	require.NoError(t, err)
	var c color
	require.NoError(t, resp.Output(&c))
	assert.Equal(t, color("red"), c)
	assert.JSONEq(t, `{"type":"string","enum":["red","green"]}`, string(resp.Request.Output.Schema))
	require.ErrorIs(t, resp.Output(new(int)), status.ErrInvalidArgument)

	_, err = engine.Generate(t.Context(), e, engine.WithModelName("m"), engine.WithPrompt("x"), engine.WithOutputType(""), engine.WithOutputInstructions("Say a colour."))
	require.NoError(t, err)
	assert.Contains(t, asked.Messages[0].Text(), "Say a colour.")
	_, err = engine.Generate(t.Context(), e, engine.WithModelName("m"), engine.WithPrompt("x"), engine.WithOutputType(""), engine.WithOutputInstructions(""))
	require.NoError(t, err)
	assert.Equal(t, "x", asked.Messages[0].Text())
	resp, err = engine.Generate(t.Context(), e, engine.WithModelName("m"), engine.WithPrompt("x"), engine.WithOutputType(nil), engine.WithCustomConstrainedOutput())
	require.NoError(t, err)
	var v any
	require.NoError(t, resp.Output(&v))
	assert.Equal(t, "red", v)
	resp, err = engine.Generate(t.Context(), e, engine.WithModelName("m"), engine.WithPrompt("x"))
	require.NoError(t, err)
	require.ErrorIs(t, resp.Output(&v), status.ErrFailedPrecondition)
}

// greeter is a middleware with a config and something that is no config.
type greeter struct {
	Word string `json:"word,omitempty"`
	seen *[]string
}

func (greeter) Name() string { return "acme/greeter" }

func (g greeter) New(context.Context) (*middleware.Hooks, error) {
	return &middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
		*g.seen = append(*g.seen, g.Word)
		return next(ctx, call)
	}}, nil
}

func TestAMiddlewareIsAConfigThatMakesHooks(t *testing.T) {
	e := start(t, engine.Config{})
	var seen []string
	engine.DefineMiddleware(e, "Greets.", greeter{Word: "hello", seen: &seen})
	f, err := engine.LookupMiddleware(t.Context(), e, "greeter")
	require.NoError(t, err)
	assert.Contains(t, string(f.Desc().ConfigSchema), "word")
	_, err = engine.Generate(t.Context(), e, engine.WithPrompt("x"),
		engine.WithUse(engine.UseName("greeter", nil), engine.UseName("acme/greeter", greeter{Word: "named"}), greeter{Word: "inline", seen: &seen}, &greeter{Word: "pointer", seen: &seen}))
	require.NoError(t, err)
	assert.Equal(t, []string{"hello", "named", "inline", "pointer"}, seen)
	_, err = engine.Generate(t.Context(), e, engine.WithPrompt("x"), engine.WithUse(engine.UseName("greeter", map[string]int{"word": 1})))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = engine.Generate(t.Context(), e, engine.WithPrompt("x"), engine.WithUse(nil))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = engine.LookupMiddleware(t.Context(), e, "nope")
	require.ErrorIs(t, err, status.ErrNotFound)
	assert.Panics(t, func() { engine.DefineMiddleware(e, "", (*greeter)(nil)) })
	engine.DefineMiddleware(e.Child(), "", &greeter{seen: &seen})
}

func TestAPromptIsDefinedByOptions(t *testing.T) {
	e := start(t, engine.Config{})
	var asked *model.Request
	engine.DefineModel(e, "m", capable, answering(&asked, "ok"))
	var seen []string
	engine.DefineMiddleware(e, "", greeter{Word: "hello", seen: &seen})
	add := engine.DefineTool(e, "math/add", "Adds.", func(_ context.Context, in int) (int, error) { return in, nil })
	p := engine.DefinePrompt(e, "greet.polite",
		engine.WithModel(engine.NewModelRef("m", map[string]int{"a": 1})), engine.WithConfig(map[string]int{"b": 2}),
		engine.WithDescription("Greets."), engine.WithMetadata(content.Metadata{"k": json.RawMessage(`1`)}),
		engine.WithActionContext(map[string]any{"auth": map[string]string{"uid": "ann"}}),
		engine.WithInputType(contact{Email: "none@example.org"}),
		engine.WithSystem("For {{@auth.uid}}."), engine.WithPrompt("%s {{email}}", "Write to"),
		engine.WithMessagesFn(func(_ context.Context, in prompt.Input) ([]content.Message, error) {
			return append(in.History, content.NewModelTextMessage("Yes?")), nil
		}),
		engine.WithDocsFn(func(context.Context, prompt.Input) ([]content.Document, error) {
			return []content.Document{content.DocumentFromText("found", nil)}, nil
		}),
		engine.WithTools(add), engine.WithToolChoice(model.ToolChoiceAuto), engine.WithMaxTurns(2), engine.WithReturnToolRequests(true),
		engine.WithUse(engine.UseName("greeter", nil)))
	d := p.Tool().Desc()
	assert.Equal(t, "Greets.", d.Description)
	assert.Equal(t, "1", string(d.Metadata["k"]))
	_, err := p.Execute(t.Context(), engine.WithMessages(content.NewUserTextMessage("Hello.")), engine.WithConfig(map[string]int{"b": 3}))
	require.NoError(t, err)
	var texts []string
	for _, m := range asked.Messages {
		texts = append(texts, string(m.Role)+": "+m.Text())
	}
	assert.Equal(t, []string{"system: For ann.", "user: Hello.", "model: Yes?", "user: Write to none@example.org"}, texts)
	assert.JSONEq(t, `{"a":1,"b":3}`, string(asked.Config))
	assert.Equal(t, "found", asked.Docs[0].Text())
	assert.Equal(t, "/tool/math/add", asked.Tools[0].Key)
	assert.Equal(t, []string{"hello"}, seen)
	_, err = p.Execute(t.Context(), engine.WithInput(map[string]int{"email": 1}))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	opts, err := p.Render(t.Context(), nil)
	require.NoError(t, err)
	assert.True(t, opts.ReturnToolRequests)
	resp, err := engine.GenerateWithRequest(t.Context(), e, opts, nil)
	require.NoError(t, err)
	assert.Equal(t, "ok", resp.Text())

	parts := engine.DefinePrompt(e, "parts", engine.WithModelName("m"), engine.WithSystemFn(func(context.Context, prompt.Input) ([]content.Part, error) {
		return []content.Part{content.NewTextPart("{{sys}}")}, nil
	}), engine.WithPromptParts(content.NewTextPart("{{as it is}}")), engine.WithInputSchema(json.RawMessage(`{"type":"object"}`)))
	_, err = parts.Execute(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "{{sys}}", asked.Messages[0].Text())
	assert.Equal(t, "{{as it is}}", asked.Messages[1].Text())

	for name, o := range map[string]engine.PromptOption{
		"a middleware that others can't use": engine.WithUse(greeter{seen: &seen}),
		"no input type":                      engine.WithInputType(nil),
		"an input type that is no JSON":      engine.WithInputType(make(chan int)),
		"a config that is no JSON":           engine.WithConfig(make(chan int)),
		"a broken template":                  engine.WithPrompt("{{"),
	} {
		assert.Panics(t, func() { engine.DefinePrompt(e, "broken", o) }, name)
	}
}

func TestAPromptIsLoadedFromItsFile(t *testing.T) {
	e := start(t, engine.Config{})
	dir := t.TempDir()
	file := filepath.Join(dir, "greet.polite.prompt")
	require.NoError(t, os.WriteFile(file, []byte("Good day {{name}}"), 0o600))
	p, err := engine.LoadPrompt(e, file, "ns")
	require.NoError(t, err)
	assert.Equal(t, "ns/greet.polite", p.Name())
	resp, err := p.Execute(t.Context(), engine.WithInput(map[string]string{"name": "Ann"}))
	require.NoError(t, err)
	assert.Equal(t, "You said: Good day Ann", resp.Text())
	found, err := engine.LookupPrompt(t.Context(), e, "ns/greet.polite")
	require.NoError(t, err)
	data := engine.AsDataPrompt[map[string]string, string](found)
	text, _, err := data.Execute(t.Context(), map[string]string{"name": "Bob"})
	require.NoError(t, err)
	assert.Equal(t, "You said: Good day Bob", text)
	_, err = engine.LoadPrompt(e, filepath.Join(dir, "nobody.prompt"), "")
	require.ErrorIs(t, err, status.ErrNotFound)
	_, err = engine.LoadPrompt(e, filepath.Join(dir, "greet.txt"), "")
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	long := filepath.Join(dir, "long.prompt")
	require.NoError(t, os.WriteFile(long, make([]byte, prompt.MaxFileBytes+1), 0o600))
	_, err = engine.LoadPrompt(e, long, "")
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestWhatIsDefinedIsListed(t *testing.T) {
	e := start(t, engine.Config{})
	engine.DefineFlow(e, "f", func(_ context.Context, in int) (int, error) { return in, nil })
	engine.DefineTool(e, "t", "", func(_ context.Context, in int) (int, error) { return in, nil })
	engine.DefineMultipartTool(e, "m", "", func(context.Context, int) (*tool.Result, error) { return nil, nil })
	engine.DefineResource(e, "r", resource.Config{URI: "r://"}, func(context.Context, resource.Input) ([]content.Part, error) { return nil, nil })
	flows, err := engine.ListFlows(t.Context(), e)
	require.NoError(t, err)
	require.Len(t, flows, 1)
	assert.Equal(t, "/flow/f", flows[0].Desc().Key().String())
	tools, err := engine.ListTools(t.Context(), e)
	require.NoError(t, err)
	var keys []string
	for _, a := range tools {
		keys = append(keys, a.Desc().Key().String())
	}
	assert.Equal(t, []string{"/tool/t", "/tool.v2/m"}, keys, "each once")
	resources, err := engine.ListResources(t.Context(), e.Child())
	require.NoError(t, err)
	require.Len(t, resources, 1)
	assert.Equal(t, "r", resources[0].Name())

	p, err := engine.NewPlugin(engine.PluginConfig{Name: "acme"})
	require.NoError(t, err)
	require.NoError(t, e.AddPlugin(t.Context(), p))
	got, err := engine.LookupPlugin(e.Child(), "acme")
	require.NoError(t, err)
	assert.Equal(t, p, got)
	_, err = engine.LookupPlugin(e, "nope")
	require.ErrorIs(t, err, status.ErrNotFound)
}

func TestNounsAreUsedByValueAndByReference(t *testing.T) {
	e := start(t, engine.Config{})
	lengths := func(_ context.Context, req *embed.Request) (*embed.Response, error) {
		resp := &embed.Response{}
		for _, d := range req.Input {
			v := []float64{float64(len(d.Text()))}
			if len(req.Options) > 0 {
				v = append(v, 1)
			}
			resp.Embeddings = append(resp.Embeddings, embed.Embedding{Vector: v})
		}
		return resp, nil
	}
	mine, err := embed.New("acme/mine", embed.Info{}, lengths)
	require.NoError(t, err)
	engine.DefineEmbedder(e, "acme/len", embed.Info{}, lengths)
	found, err := engine.LookupEmbedder(t.Context(), e, "len")
	require.NoError(t, err)
	assert.Equal(t, "acme/len", found.Name())
	direct, err := found.Embed(t.Context(), &embed.Request{Input: []content.Document{content.DocumentFromText("abc", nil)}})
	require.NoError(t, err)
	for _, o := range []engine.EmbedderOption{engine.WithEmbedder(mine), engine.WithEmbedder(found), engine.WithEmbedderName("len")} {
		resp, err := engine.Embed(t.Context(), e, o, engine.WithTextDocs("abc"))
		require.NoError(t, err)
		assert.Equal(t, direct, resp)
	}
	many, err := engine.EmbedMany(t.Context(), e, engine.WithEmbedder(embed.NewRef("len", map[string]int{"x": 1})), engine.WithTextDocs("a", "bc"), engine.WithBatchSize(1), engine.WithParallel(2))
	require.NoError(t, err)
	assert.Equal(t, []embed.Embedding{{Vector: []float64{1, 1}}, {Vector: []float64{2, 1}}}, many)
	_, err = engine.Embed(t.Context(), e, engine.WithTextDocs("abc"))
	require.ErrorIs(t, err, status.ErrInvalidArgument, "no embedder is named")
	_, err = engine.Embed(t.Context(), e, engine.WithEmbedderName("len"), engine.WithConfig(make(chan int)))
	require.ErrorIs(t, err, status.ErrInvalidArgument)

	engine.DefineEvaluator(e, "acme/options", evaluate.Info{}, func(_ context.Context, _ *evaluate.Case, options json.RawMessage) ([]evaluate.Score, error) {
		return []evaluate.Score{{Score: options}}, nil
	})
	judge, err := engine.LookupEvaluator(t.Context(), e, "options")
	require.NoError(t, err)
	assert.Equal(t, "acme/options", judge.Name())
	scored, err := judge.Evaluate(t.Context(), &evaluate.Request{Dataset: make([]evaluate.Case, 1), Options: json.RawMessage(`1`)})
	require.NoError(t, err)
	assert.Equal(t, "1", string(scored[0].Evaluation[0].Score))
	for want, options := range map[string][]engine.EvaluatorOption{
		`2`: {engine.WithEvaluator(evaluate.NewRef("options", 2))},
		`3`: {engine.WithEvaluator(evaluate.NewRef("options", 2)), engine.WithConfig(3)},
		`4`: {engine.WithEvaluator(judge), engine.WithConfig(4), engine.WithID("run")},
	} {
		told := 0
		results, err := engine.Evaluate(t.Context(), e, append(options, engine.WithDataset(evaluate.Case{}), engine.WithProgress(func(int, int, evaluate.Result) { told++ }))...)
		require.NoError(t, err)
		assert.Equal(t, want, string(results[0].Evaluation[0].Score))
		assert.Equal(t, 1, told)
	}
}
