package engine_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

func TestToolsOfEveryKindAreDefined(t *testing.T) {
	e := start(t, engine.Config{})
	engine.DefineSchema(e, "In", json.RawMessage(`{"type":"object","required":["x"]}`))
	bag := engine.DefineToolWithInputSchema(e, "bag", "", json.RawMessage(`{"$ref":"genkit:In"}`), func(_ context.Context, in map[string]any) (int, error) { return len(in), nil }, tool.WithStrictSchema(true))
	assert.JSONEq(t, `{"type":"object","required":["x"]}`, string(bag.Desc().InputSchema), "listed resolved")
	assert.JSONEq(t, `{"strict":true}`, string(bag.Desc().Metadata["tool"]))
	engine.DefineMultipartTool(e, "shot", "", func(context.Context, any) (*tool.Result, error) { return &tool.Result{Output: 1}, nil })
	engine.DefineInterrupt[any, bool](e, "confirm", "", nil)
	keys := map[string]bool{}
	descs, err := e.Registry().List(t.Context())
	require.NoError(t, err)
	for _, d := range descs {
		keys[d.Key().String()] = true
	}
	for key, listed := range map[string]bool{
		"/tool/bag": true, "/tool.v2/bag": true, "/tool/shot": false, "/tool.v2/shot": true, "/tool/confirm": true, "/tool.v2/confirm": false,
	} {
		assert.Equal(t, listed, keys[key], key)
		k, err := action.ParseKey(key)
		require.NoError(t, err)
		_, err = e.Registry().Lookup(t.Context(), k)
		assert.Equal(t, listed, err == nil, key)
	}
	out, err := e.RunJSON(t.Context(), action.Key{Kind: action.ToolV2, Name: "bag"}, json.RawMessage(`{"x":1}`), nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"output":1}`, string(out))
	_, err = engine.LookupTool(t.Context(), e, "shot")
	require.NoError(t, err)
	assert.Panics(t, func() {
		engine.DefineToolWithInputSchema(e, "x", "", json.RawMessage(`{"$ref":"genkit:Nope"}`), func(context.Context, any) (any, error) { return nil, nil })
	})
	assert.Panics(t, func() { engine.DefineSchema(e, "In", nil) })
}

func TestOutputIsAskedForByTheNameOfASchema(t *testing.T) {
	type point struct {
		X int `json:"x"`
	}
	e := start(t, engine.Config{})
	engine.DefineSchemaFor[point](e, "Point")
	config := engine.WithConfig(json.RawMessage(`{"script":[{"message":{"content":[{"text":"{\"x\":1}"}]}}]}`))
	resp, err := engine.Generate(t.Context(), e, engine.WithPrompt("hi"), config, engine.WithOutputSchemaName("Point"))
	require.NoError(t, err)
	assert.JSONEq(t, `{"x":1}`, string(resp.Parsed))
	_, err = engine.Generate(t.Context(), e, engine.WithPrompt("hi"), config, engine.WithOutputSchemaName("Nope"))
	require.ErrorIs(t, err, status.ErrNotFound)
}

func TestResourcesAreDefinedAndUsed(t *testing.T) {
	e := start(t, engine.Config{})
	read := func(_ context.Context, in resource.Input) ([]content.Part, error) {
		return []content.Part{content.NewTextPart("<" + in.URI + ">")}, nil
	}
	engine.DefineResource(e, "menu", resource.Config{URI: "menu://today"}, read)
	mine, err := resource.New("", resource.Config{Template: "note://{id}", Dynamic: true}, read)
	require.NoError(t, err)
	text, err := engine.GenerateText(t.Context(), e, engine.WithResources(engine.ResourceName("menu"), mine), engine.WithPromptParts(
		content.Part{Resource: &content.Resource{URI: "menu://today"}}, content.Part{Resource: &content.Resource{URI: "note://7"}}))
	require.NoError(t, err)
	assert.Equal(t, "You said: <menu://today><note://7>", text)
	_, err = engine.Generate(t.Context(), e, engine.WithPrompt("x"), engine.WithResources(nil))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	menu, err := engine.LookupResource(t.Context(), e, "menu")
	require.NoError(t, err)
	assert.Equal(t, "menu", menu.Name())
	assert.True(t, menu.Matches("menu://today"))
	parts, err := menu.Read(t.Context(), "menu://today")
	require.NoError(t, err)
	assert.Equal(t, "<menu://today>", content.TextOf(parts))
	text, err = engine.GenerateText(t.Context(), e, engine.WithResources(menu), engine.WithPromptParts(content.Part{Resource: &content.Resource{URI: "menu://today"}}))
	require.NoError(t, err)
	assert.Equal(t, "You said: <menu://today>", text)
	_, err = resource.From(nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestEmbeddersAreDefinedAndUsed(t *testing.T) {
	e := start(t, engine.Config{})
	engine.DefineEmbedder(e, "acme/len", embed.Info{}, func(_ context.Context, req *embed.Request) (*embed.Response, error) {
		resp := &embed.Response{}
		for _, d := range req.Input {
			resp.Embeddings = append(resp.Embeddings, embed.Embedding{Vector: []float64{float64(len(content.TextOf(d.Content)))}})
		}
		return resp, nil
	})
	one, err := engine.Embed(t.Context(), e, engine.WithEmbedderName("len"), engine.WithTextDocs("abc"))
	require.NoError(t, err)
	many, err := engine.EmbedMany(t.Context(), e, engine.WithEmbedderName("acme/len"), engine.WithTextDocs("a", "abc"), engine.WithBatchSize(1))
	require.NoError(t, err)
	assert.Equal(t, one.Embeddings[0], many[1])
	_, err = engine.Embed(t.Context(), e, engine.WithEmbedderName("nope"), engine.WithTextDocs("a"))
	require.ErrorIs(t, err, status.ErrNotFound)
	_, err = engine.EmbedMany(t.Context(), e, engine.WithEmbedderName("nope"))
	require.ErrorIs(t, err, status.ErrNotFound)
	require.NoError(t, e.Close(t.Context()))
	_, err = engine.Embed(t.Context(), e, engine.WithEmbedderName("len"), engine.WithTextDocs("a"))
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	_, err = engine.EmbedMany(t.Context(), e, engine.WithEmbedderName("len"))
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
}

func TestBackgroundModelsAreDefinedAndUsed(t *testing.T) {
	e := start(t, engine.Config{})
	engine.DefineBackgroundModel(e, "acme/film", model.Info{}, model.Background{
		Start: func(context.Context, *model.Request) (*model.Operation, error) { return &model.Operation{ID: "1"}, nil },
		Check: func(_ context.Context, op *model.Operation) (*model.Operation, error) {
			c := *op
			c.Done = true
			return &c, nil
		},
	})
	op, err := engine.GenerateOperation(t.Context(), e, engine.WithModelName("film"), engine.WithPrompt("a cat"))
	require.NoError(t, err)
	assert.False(t, op.Done)
	op, err = engine.CheckModelOperation(t.Context(), e, op)
	require.NoError(t, err)
	assert.True(t, op.Done)
	_, err = engine.CancelModelOperation(t.Context(), e, op)
	require.ErrorIs(t, err, status.ErrUnimplemented)
	_, err = engine.GenerateOperation(t.Context(), e, engine.WithPrompt("x"))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = engine.GenerateOperation(t.Context(), e, engine.WithTools(nil))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	require.NoError(t, e.Close(t.Context()))
	_, err = engine.CheckModelOperation(t.Context(), e, op)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	_, err = engine.GenerateOperation(t.Context(), e, engine.WithPrompt("x"))
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
}

// The listing of a background model has the schemas of each of its actions.
func TestBackgroundModelsAreListedWithTheirSchemas(t *testing.T) {
	e := start(t, engine.Config{})
	same := func(_ context.Context, op *model.Operation) (*model.Operation, error) { return op, nil }
	engine.DefineBackgroundModel(e, "acme/film", model.Info{}, model.Background{
		Start: func(context.Context, *model.Request) (*model.Operation, error) { return &model.Operation{ID: "1"}, nil },
		Check: same, Cancel: same,
	})
	descs, err := e.Registry().List(t.Context())
	require.NoError(t, err)
	inputs := map[string]string{"/background-model/acme/film": `"messages"`, model.CheckKey("acme/film").String(): `"id"`, model.CancelKey("acme/film").String(): `"id"`}
	for _, d := range descs {
		if want, ok := inputs[d.Key().String()]; ok {
			delete(inputs, d.Key().String())
			assert.Contains(t, string(d.InputSchema), want, d.Key())
			assert.Contains(t, string(d.OutputSchema), `"id"`, d.Key())
		}
	}
	assert.Empty(t, inputs)
}

func TestAModelThatIsRunByKeyGetsItsDocuments(t *testing.T) {
	e := start(t, engine.Config{})
	engine.DefineModel(e, "bare", model.Info{}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		return &model.Response{Message: new(content.NewModelTextMessage(req.Messages[0].Text()))}, nil
	})
	out, err := e.RunJSON(t.Context(), action.Key{Kind: action.Model, Name: "bare"}, json.RawMessage(`{"messages":[{"role":"user","content":[{"text":"hi"}]}],"docs":[{"content":[{"text":"fact"}]}]}`), nil)
	require.NoError(t, err)
	assert.Contains(t, string(out), "fact")
	m, err := engine.LookupModel(t.Context(), e, "bare")
	require.NoError(t, err)
	resp, err := m.Generate(t.Context(), &model.Request{Messages: []content.Message{content.NewUserTextMessage("hi")}, Docs: []content.Document{content.DocumentFromText("fact", nil)}}, nil)
	require.NoError(t, err)
	assert.Contains(t, resp.Text(), "fact")
}

func TestHooksOfAModelWrapEveryCallOfIt(t *testing.T) {
	e := start(t, engine.Config{})
	var order []string
	hook := func(name string) middleware.ModelHook {
		return func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
			order = append(order, name)
			return next(ctx, call)
		}
	}
	engine.DefineModel(e, "m", model.Info{}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		order = append(order, content.TextOf(req.Messages[0].Content))
		return &model.Response{Message: new(content.NewModelTextMessage("ok"))}, nil
	}, hook("outer"), hook("inner"))
	want := []string{"outer", "inner", "hello"}

	_, err := engine.GenerateText(t.Context(), e, engine.WithModelName("m"), engine.WithPrompt("hello"))
	require.NoError(t, err)
	assert.Equal(t, want, order, "through the loop")

	order = nil
	_, err = e.RunJSON(t.Context(), action.Key{Kind: action.Model, Name: "m"}, json.RawMessage(`{"messages":[{"role":"user","content":[{"text":"hello"}]}]}`), nil)
	require.NoError(t, err)
	assert.Equal(t, want, order, "by its key")
}
