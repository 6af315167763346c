package engine_test

import (
	"context"
	"encoding/json"
	"iter"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

type contact struct {
	Email string `json:"email" jsonschema:"format=email"`
}

// Formats are asserted where data comes in or goes out, unless an engine says otherwise.
func TestFormatsAreAsserted(t *testing.T) {
	bad := json.RawMessage(`{"email":"not an email"}`)
	for name, c := range map[string]struct {
		config engine.Config
		code   func(in, out status.Code) []status.Code
	}{
		"by default":       {engine.Config{}, func(in, out status.Code) []status.Code { return []status.Code{in, out} }},
		"not when told so": {engine.Config{FormatsAsAnnotations: true}, func(status.Code, status.Code) []status.Code { return []status.Code{status.OK, status.OK} }},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, c.config)
			engine.DefineFlow(e, "in", func(_ context.Context, in contact) (string, error) { return in.Email, nil })
			engine.DefineFlow(e, "out", func(context.Context, string) (contact, error) { return contact{"nobody"}, nil })
			engine.DefineTool(e, "tool", "", func(_ context.Context, in contact) (contact, error) { return in, nil })
			want := c.code(status.InvalidArgument, status.Internal)
			_, err := e.RunJSON(t.Context(), action.Key{Kind: action.Flow, Name: "in"}, bad, nil)
			assert.Equal(t, want[0], status.Of(err))
			_, err = e.RunJSON(t.Context(), action.Key{Kind: action.Tool, Name: "tool"}, bad, nil)
			assert.Equal(t, want[0], status.Of(err))
			engine.DefineTool(e, "gives", "", func(context.Context, struct{}) (contact, error) { return contact{"nobody"}, nil })
			_, err = e.RunJSON(t.Context(), action.Key{Kind: action.Tool, Name: "gives"}, json.RawMessage(`{}`), nil)
			assert.Equal(t, want[1], status.Of(err), "a tool's output")
			prompt := engine.DefinePrompt(e, "greets", engine.WithPrompt("Hi {{email}}"), engine.WithInputType(contact{}))
			_, err = prompt.Render(t.Context(), contact{"nobody"})
			assert.Equal(t, want[0], status.Of(err), "a prompt's input")
			_, err = e.Child().RunJSON(t.Context(), action.Key{Kind: action.Flow, Name: "out"}, json.RawMessage(`""`), nil)
			assert.Equal(t, want[1], status.Of(err))
			engine.DefineModel(e, "says", model.Info{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
				return &model.Response{Message: new(content.NewModelTextMessage(string(bad))), FinishReason: model.FinishStop}, nil
			})
			_, _, err = engine.GenerateData[contact](t.Context(), e, engine.WithModelName("says"), engine.WithPrompt("x"))
			assert.Equal(t, want[0], status.Of(err), "output that was asked of a model")
		})
	}
}

func TestAnAbsentInputIsAnObjectThatNeedsNothing(t *testing.T) {
	e := start(t, engine.Config{})
	type options struct {
		Limit int `json:"limit,omitempty"`
	}
	got := func(name string, in json.RawMessage) (string, error) {
		out, err := e.RunJSON(t.Context(), action.Key{Kind: action.Tool, Name: name}, in, nil)
		return string(out), err
	}
	engine.DefineTool(e, "optional", "", func(_ context.Context, in options) (int, error) { return in.Limit, nil })
	engine.DefineTool(e, "none", "", func(context.Context, struct{}) (string, error) { return "ran", nil })
	engine.DefineTool(e, "needs", "", func(_ context.Context, in contact) (string, error) { return in.Email, nil })
	seen, err := action.New(action.Desc{Kind: action.Tool, Name: "raw", InputSchema: json.RawMessage(`{"type":"object","properties":{"a":{}}}`)},
		func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) { return in, nil })
	require.NoError(t, err)
	require.NoError(t, e.Register(seen))
	for name, want := range map[string]string{"optional": "0", "none": `"ran"`, "raw": "{}"} {
		out, err := got(name, nil)
		require.NoError(t, err, name)
		assert.Equal(t, want, out, name)
	}
	_, err = got("needs", nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

// GenerateData returns the same response beside its error as Generate.
func TestGenerateDataReturnsWhatIsKnown(t *testing.T) {
	e := start(t, engine.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	engine.DefineModel(e, "leaves", model.Info{}, func(ctx context.Context, _ *model.Request, _ model.Send) (*model.Response, error) {
		cancel()
		return nil, ctx.Err()
	})
	_, resp, err := engine.GenerateData[contact](ctx, e, engine.WithModelName("leaves"), engine.WithPrompt("x"))
	require.ErrorIs(t, err, status.ErrCancelled)
	require.NotNil(t, resp)
	assert.Equal(t, model.FinishAborted, resp.FinishReason)
}

// And so do GenerateText and the streams.
func TestTextAndStreamsReturnWhatIsKnown(t *testing.T) {
	e := start(t, engine.Config{})
	streamed := func(t *testing.T) (context.Context, engine.CommonGenOption) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		name := "leaves/" + t.Name()
		engine.DefineModel(e, name, model.Info{}, func(ctx context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
			if send != nil {
				if err := send(&model.Chunk{Content: []content.Part{content.NewTextPart(`{"name":"half`)}}); err != nil {
					return nil, err
				}
			}
			cancel()
			<-ctx.Done()
			if send != nil { // a receiver that is gone takes nothing away
				_ = send(&model.Chunk{Content: []content.Part{content.NewTextPart(" more")}})
			}
			return nil, ctx.Err()
		})
		return ctx, engine.WithModelName(name)
	}
	known := func(t *testing.T, resp *engine.ModelResponse, err error) {
		t.Helper()
		require.ErrorIs(t, err, status.ErrCancelled)
		require.NotNil(t, resp)
		assert.Equal(t, model.FinishAborted, resp.FinishReason)
		assert.Equal(t, `{"name":"half`, resp.Text())
	}
	events := func(t *testing.T, seq iter.Seq2[engine.ModelStreamValue, error]) {
		t.Helper()
		var last engine.ModelStreamValue
		var failed error
		for event, err := range seq {
			last, failed = event, err
		}
		known(t, last.Response, failed)
		assert.False(t, last.Done)
	}
	data := func(t *testing.T, seq iter.Seq2[engine.StreamValue[dish, dish], error]) {
		t.Helper()
		var last engine.StreamValue[dish, dish]
		var failed error
		for event, err := range seq {
			last, failed = event, err
		}
		known(t, last.Response, failed)
		assert.False(t, last.Done)
	}
	p := engine.DefineDataPrompt[contact, dish](e, "known", engine.WithPrompt("x"))

	t.Run("GenerateStream", func(t *testing.T) {
		ctx, m := streamed(t)
		events(t, engine.GenerateStream(ctx, e, m, engine.WithPrompt("x")))
	})
	t.Run("Prompt.ExecuteStream", func(t *testing.T) {
		ctx, m := streamed(t)
		events(t, p.Prompt.ExecuteStream(ctx, engine.WithInput(map[string]string{"email": "a@b.example"}), m))
	})
	t.Run("Chat.SendStream", func(t *testing.T) {
		ctx, m := streamed(t)
		events(t, newChat(t, e, "").SendStream(ctx, "x", m))
	})
	t.Run("GenerateDataStream", func(t *testing.T) {
		ctx, m := streamed(t)
		data(t, engine.GenerateDataStream[dish](ctx, e, m, engine.WithPrompt("x")))
	})
	t.Run("DataPrompt.ExecuteStream", func(t *testing.T) {
		ctx, m := streamed(t)
		data(t, p.ExecuteStream(ctx, contact{Email: "a@b.example"}, m))
	})
	t.Run("DataPrompt.Execute", func(t *testing.T) {
		ctx, m := streamed(t)
		_, resp, err := p.Execute(ctx, contact{Email: "a@b.example"}, m)
		require.ErrorIs(t, err, status.ErrCancelled)
		require.NotNil(t, resp)
	})
	t.Run("GenerateText", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		streams := middleware.Func(func(context.Context) (*middleware.Hooks, error) {
			return &middleware.Hooks{Generate: func(ctx context.Context, call *middleware.GenerateCall, next middleware.GenerateFunc) (*model.Response, error) {
				c := *call
				c.Send = func(*model.Chunk) error { return nil } // so that the model streams
				return next(ctx, &c)
			}}, nil
		})
		engine.DefineModel(e, "halfway", model.Info{}, func(ctx context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
			if err := send(&model.Chunk{Content: []content.Part{content.NewTextPart("as far as this")}}); err != nil {
				return nil, err
			}
			cancel()
			return nil, ctx.Err()
		})
		text, err := engine.GenerateText(ctx, e, engine.WithModelName("halfway"), engine.WithPrompt("x"), engine.WithUse(streams))
		require.ErrorIs(t, err, status.ErrCancelled)
		assert.Equal(t, "as far as this", text)
	})
}

func TestAModelsExplicitNoCounts(t *testing.T) {
	picture := &model.Request{Messages: []content.Message{{Role: content.RoleUser, Content: []content.Part{{Media: &content.Media{URL: "data:image/png;base64,AA=="}}}}}}
	answer := func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		return &model.Response{Message: new(content.NewModelTextMessage("seen"))}, nil
	}
	var read model.Supports
	require.NoError(t, json.Unmarshal([]byte(`{"media":false,"tools":true}`), &read))
	for name, c := range map[string]struct {
		supports model.Supports
		code     status.Code
	}{
		"silence":      {model.Supports{Tools: true}, status.OK},
		"a no in Go":   {model.Supports{Denied: []string{"media"}}, status.InvalidArgument},
		"a no in JSON": {read, status.InvalidArgument},
		"a yes":        {model.Supports{Media: true}, status.OK},
	} {
		m, err := model.New("m", model.Info{Supports: c.supports}, answer)
		require.NoError(t, err)
		_, err = middleware.Serve(t.Context(), m, picture, nil)
		assert.Equal(t, c.code, status.Of(err), name)
	}
}
