package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// shouting is the text format under another name.
type shouting struct{ format.Format }

func (shouting) Name() string { return "acme/loud" }

func acme(t testing.TB, starts *int) engine.Plugin {
	t.Helper()
	counted, err := middleware.New(middleware.Desc{Name: "acme/count"}, func(context.Context, json.RawMessage) (*middleware.Hooks, error) {
		return &middleware.Hooks{}, nil
	})
	require.NoError(t, err)
	eager, err := tool.New("acme/now", "", func(context.Context, any) (string, error) { return "now", nil })
	require.NoError(t, err)
	says := func(name string) (action.Action, error) {
		return model.New(name, model.Info{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
			msg := content.NewModelTextMessage("I am " + name)
			return &model.Response{Message: &msg, FinishReason: model.FinishStop}, nil
		})
	}
	p, err := engine.NewPlugin(engine.PluginConfig{
		Name:       "acme",
		Middleware: []middleware.Factory{counted},
		Formats:    []format.Format{shouting{format.Text()}},
		Schemas:    map[string]json.RawMessage{"acme/Pair": json.RawMessage(`{"type":"string"}`)},
		Actions:    []action.Action{eager},
		Init: func(context.Context) ([]action.Action, error) {
			*starts++
			m, err := says("acme/m1")
			return []action.Action{m}, err
		},
		Resolve: func(_ context.Context, key action.Key) (action.Action, error) {
			if key.Kind != action.Model {
				return nil, status.ErrNotFound
			}
			return says(key.Name)
		},
		List: func(context.Context) ([]action.Desc, error) {
			return []action.Desc{{Kind: action.Model, Name: "acme/m1"}}, nil
		},
	})
	require.NoError(t, err)
	return p
}

func TestAPluginBringsAllKinds(t *testing.T) {
	starts := 0
	e := start(t, engine.Config{Plugins: []engine.Plugin{acme(t, &starts)}, ClientHeader: "acme-app/1"})
	assert.Equal(t, "acme-app/1", e.Registry().ClientHeader())
	_, err := engine.GenerateText(t.Context(), e, engine.WithPrompt("x"), engine.WithTools(engine.ToolName("acme/now")), engine.WithUse(engine.UseName("acme/count", nil)), engine.WithOutputFormat("acme/loud"), engine.WithOutputSchemaName("acme/Pair"))
	require.NoError(t, err)
	assert.Zero(t, starts)
	for _, name := range []string{"acme/m1", "acme/m2", "m1"} {
		text, err := engine.GenerateText(t.Context(), e.Child(), engine.WithPrompt("x"), engine.WithModelName(name))
		require.NoError(t, err, name)
		assert.Contains(t, text, "I am acme/m")
	}
	require.NoError(t, e.InitPlugins(t.Context()))
	assert.Equal(t, 1, starts)

	require.ErrorIs(t, e.AddPlugin(t.Context(), acme(t, &starts)), status.ErrAlreadyExists)
	for name, c := range map[string]engine.PluginConfig{
		"no name":                 {},
		"a list and nothing else": {Name: "x", List: func(context.Context) ([]action.Desc, error) { return nil, nil }},
	} {
		_, err := engine.NewPlugin(c)
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
	for name, c := range map[string]engine.PluginConfig{
		"a middleware": {Name: "a", Middleware: []middleware.Factory{retryNamed(t, "acme/count")}},
		"a format":     {Name: "b", Formats: []format.Format{format.Text()}},
		"a schema":     {Name: "c", Schemas: map[string]json.RawMessage{"acme/Pair": nil}},
		"an action":    {Name: "d", Actions: []action.Action{nil}},
	} {
		p, err := engine.NewPlugin(c)
		require.NoError(t, err)
		require.Error(t, e.AddPlugin(t.Context(), p), name)
	}
	fresh := retryNamed(t, "acme/fresh")
	for _, schema := range []string{`{"type":"x"}`, `{}`} { // all or nothing, so that it can be mended
		p, err := engine.NewPlugin(engine.PluginConfig{Name: "mended", Middleware: []middleware.Factory{fresh}, Schemas: map[string]json.RawMessage{"s": json.RawMessage(schema)}})
		require.NoError(t, err)
		err = e.AddPlugin(t.Context(), p)
		assert.Equal(t, schema == `{}`, err == nil, "%v", err)
	}
	_, err = engine.New(t.Context(), engine.Config{ClientHeader: "a\nb"})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	later, err := engine.NewPlugin(engine.PluginConfig{Name: "late", Init: func(context.Context) ([]action.Action, error) { return nil, nil }})
	require.NoError(t, err)
	require.NoError(t, e.AddPlugin(t.Context(), later))
}

func retryNamed(t *testing.T, name string) middleware.Factory {
	t.Helper()
	f, err := middleware.New(middleware.Desc{Name: name}, func(context.Context, json.RawMessage) (*middleware.Hooks, error) { return &middleware.Hooks{}, nil })
	require.NoError(t, err)
	return f
}

func TestADynamicProvidersToolsAndResourcesServeACall(t *testing.T) {
	e := start(t, engine.Config{})
	engine.DefineDynamicActionProvider(e, "shop", registry.DynamicConfig{}, func(context.Context) ([]action.Action, error) {
		price, err := tool.New("price", "Tells a price.", func(context.Context, any) (int, error) { return 7, nil })
		if err != nil {
			return nil, err
		}
		menu, err := resource.New("menu", resource.Config{URI: "menu://today"}, func(context.Context, resource.Input) ([]content.Part, error) {
			return []content.Part{content.NewTextPart("soup")}, nil
		})
		return []action.Action{price, menu}, err
	})
	menu := content.Message{Role: content.RoleUser, Content: []content.Part{{Resource: &content.Resource{URI: "menu://today"}}}}
	for _, ref := range []string{"shop:tool/*", "shop:tool/price", "/dynamic-action-provider/shop:tool/price", "shop:tool/pr*"} {
		resp, err := engine.Generate(t.Context(), e.Child(), engine.WithMessages(menu), engine.WithResources(engine.ResourceName("shop:resource/*")), engine.WithTools(engine.ToolName(ref)), callsTool("price"))
		require.NoError(t, err, ref)
		assert.Equal(t, "done", resp.Text())
		assert.Equal(t, "soup", resp.Request.Messages[0].Text())
		assert.Equal(t, "/dynamic-action-provider/shop:tool/price", resp.Request.Tools[0].Key, ref)
		assert.JSONEq(t, `7`, string(resp.Request.Messages[2].Content[0].ToolResponse.Output))
	}
	_, err := engine.Generate(t.Context(), e, engine.WithMessages(menu))
	require.ErrorIs(t, err, status.ErrNotFound, "a provider's resource is found when the call names it")
	for _, ref := range []string{"/dynamic-action-provider/shop:resource/menu", "shop:resource/menu"} {
		_, err = engine.Generate(t.Context(), e, engine.WithMessages(menu), engine.WithResources(engine.ResourceName(ref)))
		require.NoError(t, err, ref)
	}
	out, err := e.RunJSON(t.Context(), action.Key{Kind: action.DynamicActionProvider, Name: "shop:tool/price"}, json.RawMessage(`{}`), nil)
	require.NoError(t, err)
	assert.Equal(t, "7", string(out))
	assert.Panics(t, func() {
		engine.DefineDynamicActionProvider(e, "shop", registry.DynamicConfig{}, func(context.Context) ([]action.Action, error) { return nil, nil })
	})
}

func TestAPluginThatIsAListKeepsTheContract(t *testing.T) {
	enginetest.Plugin(t, func(t *testing.T) registry.Plugin {
		starts := 0
		return acme(t, &starts)
	})
}

func TestResourcesAreFoundByURI(t *testing.T) {
	e := start(t, engine.Config{})
	for name, c := range map[string]resource.Config{"": {URI: "menu://today"}, "b": {Template: "note://{id}"}, "a": {Template: "{+all}"}} {
		engine.DefineResource(e, name, c, func(_ context.Context, in resource.Input) ([]content.Part, error) {
			return []content.Part{content.NewTextPart(name + " " + in.Variables["id"])}, nil
		})
	}
	for uri, want := range map[string]string{"note://7": "a ", "menu://today": "a "} {
		parts, err := engine.ReadResource(t.Context(), e.Child(), uri)
		require.NoError(t, err, uri)
		assert.Equal(t, want, content.TextOf(parts), "the first one by key")
	}
	require.True(t, e.Registry().Unregister(action.Key{Kind: action.Resource, Name: "a"}))
	parts, err := engine.ReadResource(t.Context(), e, "note://7")
	require.NoError(t, err)
	assert.Equal(t, "b 7", content.TextOf(parts))
	a, err := engine.FindMatchingResource(t.Context(), e, "menu://today")
	require.NoError(t, err)
	assert.Equal(t, "menu://today", a.Desc().Name)
	_, err = engine.FindMatchingResource(t.Context(), e, "other://x")
	require.ErrorIs(t, err, status.ErrNotFound)
	p, err := engine.NewPlugin(engine.PluginConfig{Name: "sick", Init: func(context.Context) ([]action.Action, error) { return nil, status.ErrUnavailable }})
	require.NoError(t, err)
	require.NoError(t, e.AddPlugin(t.Context(), p))
	_, err = engine.ReadResource(t.Context(), e, "other://x")
	require.ErrorIs(t, err, status.ErrUnavailable)
	a, err = engine.FindMatchingResource(t.Context(), e, "note://7")
	require.NoError(t, err, "who can't start hides no other's")
	assert.Equal(t, "b", a.Desc().Name)
	require.NoError(t, e.Close(t.Context()))
	_, err = engine.ReadResource(t.Context(), e, "note://7")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
}

// A plugin that can't start takes nothing away from a call that needs nothing of it.
func TestAPluginThatCanNotStartLeavesTheOthersTheirTools(t *testing.T) {
	e := start(t, engine.Config{})
	engine.DefineTool(e, "kit/price", "Tells a price.", func(context.Context, any) (int, error) { return 7, nil })
	engine.DefineResource(e, "menu", resource.Config{URI: "menu://today"}, func(context.Context, resource.Input) ([]content.Part, error) {
		return []content.Part{content.NewTextPart("soup")}, nil
	})
	p, err := engine.NewPlugin(engine.PluginConfig{Name: "sick", Init: func(context.Context) ([]action.Action, error) { return nil, status.ErrUnavailable }})
	require.NoError(t, err)
	require.NoError(t, e.AddPlugin(t.Context(), p))
	part := func(uri string) engine.GenerateOption {
		return engine.WithMessages(content.Message{Role: content.RoleUser, Content: []content.Part{{Resource: &content.Resource{URI: uri}}}})
	}
	resp, err := engine.Generate(t.Context(), e, part("menu://today"), engine.WithTools(engine.ToolName("kit/*")), callsTool("price"))
	require.NoError(t, err)
	assert.Equal(t, "soup", resp.Request.Messages[0].Text())
	assert.JSONEq(t, `7`, string(resp.Request.Messages[2].Content[0].ToolResponse.Output))

	_, err = engine.Generate(t.Context(), e, part("other://x"), callsTool("price"))
	require.ErrorIs(t, err, status.ErrUnavailable, "it might have had it")
	_, err = engine.Generate(t.Context(), e, part("menu://today"), engine.WithTools(engine.ToolName("sick/*")), callsTool("price"))
	require.ErrorIs(t, err, status.ErrUnavailable)
}

func ExampleNewPlugin() {
	ctx := context.Background()
	greeter, err := engine.NewPlugin(engine.PluginConfig{
		Name: "greeter",
		Init: func(context.Context) ([]action.Action, error) { // when a tool of it is needed first
			fmt.Println("starting")
			hello, err := tool.New("greeter/hello", "Greets.", func(_ context.Context, name string) (string, error) { return "Hello, " + name, nil })
			return []action.Action{hello}, err
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	eng, err := engine.New(ctx, engine.Config{Plugins: []engine.Plugin{greeter}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer eng.Close(ctx)
	for range 2 {
		out, err := eng.RunJSON(ctx, action.Key{Kind: action.Tool, Name: "greeter/hello"}, json.RawMessage(`"Ada"`), nil)
		fmt.Println(string(out), err)
	}
	// Output:
	// starting
	// "Hello, Ada" <nil>
	// "Hello, Ada" <nil>
}
