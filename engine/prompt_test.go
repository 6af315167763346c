package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

type ask struct {
	Dish  string `json:"dish"`
	Count int    `json:"count,omitempty"`
}

type order struct {
	Price float64 `json:"price"`
}

// waiter is an engine whose model answers with JSON and keeps what it was asked.
func waiter(t *testing.T, c engine.Config) (*engine.Engine, *[]*model.Request) {
	t.Helper()
	c.DefaultModel = "test/waiter"
	eng, err := engine.New(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, eng.Close(context.Background())) })
	asked := &[]*model.Request{}
	engine.DefineModel(eng, "test/waiter", model.Info{Supports: model.Supports{Constrained: "all", Multiturn: true, SystemRole: true, Tools: true}},
		func(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
			*asked = append(*asked, req)
			message := content.NewModelTextMessage(`{"price": 12.50}`)
			if send != nil {
				if err := send(&model.Chunk{Content: message.Content}); err != nil {
					return nil, err
				}
			}
			return &model.Response{Message: &message, FinishReason: model.FinishStop}, nil
		})
	return eng, asked
}

func TestAPromptHasGoTypesAtItsEdge(t *testing.T) {
	eng, asked := waiter(t, engine.Config{Context: map[string]any{"auth": map[string]string{"uid": "ann"}}})
	p := engine.DefineDataPrompt[ask, order](eng, "price", engine.WithInputType(ask{Count: 1}),
		engine.WithSystem("For {{@auth.uid}}."), engine.WithPrompt("{{count}} of {{dish}}?"))
	out, resp, err := p.Execute(t.Context(), ask{Dish: "{{soup}} 100%"}, engine.WithConfig(map[string]any{"temperature": 0}))
	require.NoError(t, err)
	assert.Equal(t, order{12.5}, out)
	assert.Equal(t, model.FinishStop, resp.FinishReason)
	req := (*asked)[0]
	assert.Equal(t, "For ann.", req.Messages[0].Text())
	assert.Equal(t, "1 of {{soup}} 100%?", req.Messages[1].Text())
	assert.JSONEq(t, `{"temperature":0}`, string(req.Config))
	assert.Contains(t, string(req.Output.Schema), "price")

	opts, err := p.Render(t.Context(), ask{Dish: "x", Count: 2}, engine.WithMessages(content.NewUserTextMessage("history")))
	require.NoError(t, err)
	assert.Len(t, opts.Messages, 3)

	var known []order
	for e, err := range p.ExecuteStream(t.Context(), ask{Dish: "x"}) {
		require.NoError(t, err)
		known = append(known, outputOrChunk(e))
		assert.Equal(t, e.Done, e.Response != nil)
	}
	assert.Equal(t, []order{{12.5}, {12.5}}, known)
	var chunks []string
	for e, err := range p.Prompt.ExecuteStream(t.Context(), engine.WithInput(ask{Dish: "x"})) {
		require.NoError(t, err)
		if e.Done {
			assert.JSONEq(t, `{"price":12.50}`, string(e.Response.Parsed))
		} else {
			chunks = append(chunks, e.Chunk.Text())
		}
	}
	assert.Equal(t, []string{`{"price": 12.50}`}, chunks)

	text := engine.DefineDataPrompt[map[string]any, string](eng, "text", engine.WithPrompt("{{a}}"))
	said, _, err := text.Execute(t.Context(), map[string]any{"a": 1})
	require.NoError(t, err)
	assert.Equal(t, `{"price": 12.50}`, said)

	var pieces []string
	for e, err := range text.ExecuteStream(t.Context(), map[string]any{"a": 1}) {
		require.NoError(t, err)
		pieces = append(pieces, outputOrChunk(e))
	}
	assert.Equal(t, []string{`{"price": 12.50}`, `{"price": 12.50}`}, pieces)

	found, err := engine.LookupDataPrompt[ask, order](t.Context(), eng, "price")
	require.NoError(t, err)
	out, _, err = found.Execute(t.Context(), ask{Dish: "y"})
	require.NoError(t, err)
	assert.Equal(t, order{12.5}, out)
	assert.Panics(t, func() { engine.DefinePrompt(eng, "price") })
}

func TestAPromptFromASourceIsRun(t *testing.T) {
	eng, asked := waiter(t, engine.Config{})
	p, err := engine.LoadPromptSource(eng, "p.v", "---\nreturnToolRequests: true\n---\nhi {{shout name}} {{> sign}}")
	require.NoError(t, err)
	engine.DefinePartial(eng, "sign", "bye")
	engine.DefineHelper(eng, "shout", func(_ context.Context, c *prompt.Call) (any, error) { return strings.ToUpper(c.Arg(0).String()), nil })
	_, err = p.Execute(t.Context(), engine.WithInput(make(chan int)))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	opts, err := p.Render(t.Context(), map[string]string{"name": "ann"}, engine.WithReturnToolRequests(false))
	require.NoError(t, err)
	assert.False(t, opts.ReturnToolRequests)
	assert.Equal(t, "hi ANN bye", opts.Messages[0].Text())

	resp, err := engine.Generate(t.Context(), eng, engine.WithPrompt("x"), engine.WithTools(p.Tool()))
	require.NoError(t, err)
	assert.Equal(t, "/prompt/p.v", resp.Request.Tools[0].Key, "a prompt is offered as a tool")
	*asked = nil

	child := eng.Child() // sees the prompt, and runs it with what it has itself
	engine.DefineModel(child, "test/own", model.Info{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		m := content.NewModelTextMessage("own")
		return &model.Response{Message: &m}, nil
	})
	mine, err := engine.LookupPrompt(t.Context(), child, "p.v")
	require.NoError(t, err)
	assert.Equal(t, "p.v", mine.Name())
	resp, err = mine.Execute(t.Context(), engine.WithModelName("test/own"))
	require.NoError(t, err)
	assert.Equal(t, "own", resp.Text())
	assert.Empty(t, *asked)

	raw, err := eng.RunJSON(t.Context(), action.Key{Kind: action.ExecutablePrompt, Name: "p.v"}, json.RawMessage(`{"name":"bob"}`), nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"messages":[{"role":"user","content":[{"text":"hi BOB bye"}]}],"returnToolRequests":true}`, string(raw))
	require.NoError(t, eng.Close(t.Context()))
	_, err = p.Execute(t.Context())
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
}

func TestAnEngineLoadsADirectoryOfPrompts(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	files := fstest.MapFS{"prompts/a.prompt": {Data: []byte("from a file system")}, "prompts/b.prompt": {Data: []byte("{{")}, "other/c.prompt": {Data: []byte("c")}}
	eng, _ := waiter(t, engine.Config{PromptFS: files, PromptDir: "prompts", Logger: logger})
	p, err := engine.LookupPrompt(t.Context(), eng, "a")
	require.NoError(t, err)
	resp, err := p.Execute(t.Context())
	require.NoError(t, err)
	assert.NotEmpty(t, resp.Text())
	assert.Contains(t, log.String(), "b.prompt:1", "what is wrong is logged, and the others are loaded")
	_, err = engine.LookupPrompt(t.Context(), eng, "c")
	require.ErrorIs(t, err, status.ErrNotFound)
	_, err = engine.LoadPromptDirFromFS(eng, files, "other", "ns")
	require.NoError(t, err)
	_, err = engine.LookupPrompt(t.Context(), eng, "ns/c")
	require.NoError(t, err)

	_, err = engine.New(t.Context(), engine.Config{PromptDir: filepath.Join(t.TempDir(), "nowhere")})
	require.ErrorIs(t, err, status.ErrNotFound)
}

func TestInDevelopmentAChangeIsLoaded(t *testing.T) {
	t.Setenv("GENKIT_ENV", "dev")
	dir := t.TempDir()
	file := filepath.Join(dir, "a.prompt")
	require.NoError(t, os.WriteFile(file, []byte("v0"), 0o600))
	eng, _ := waiter(t, engine.Config{PromptDir: dir})
	p, err := engine.LookupPrompt(t.Context(), eng, "a")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte("version 1"), 0o600))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		opts, err := p.Render(t.Context(), nil)
		if assert.NoError(c, err) {
			assert.Equal(c, "version 1", opts.Messages[0].Text())
		}
	}, time.Minute, 50*time.Millisecond)
	require.NoError(t, eng.Close(t.Context()))
}

func ExampleDefineDataPrompt() {
	ctx := context.Background()
	eng, err := engine.New(ctx, engine.Config{DefaultModel: "test/echo"})
	if err != nil {
		fmt.Println(err)
		return
	}
	engine.DefineModel(eng, "test/echo", model.Info{}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		m := content.NewModelTextMessage(req.Messages[len(req.Messages)-1].Text())
		return &model.Response{Message: &m, FinishReason: model.FinishStop}, nil
	})
	type Guest struct {
		Name string `json:"name"`
	}
	greet := engine.DefineDataPrompt[Guest, string](eng, "greet", engine.WithPrompt("Greet {{name}}, once."))
	text, _, err := greet.Execute(ctx, Guest{Name: `Ann {{role "system"}}`})
	fmt.Println(text, err)
	// Output: Greet Ann {{role "system"}}, once. <nil>
}
