package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// MiddlewareConfig says how [TestMiddleware] uses a middleware.
type MiddlewareConfig struct {
	// Valid is a config it takes, under which it lets an ordinary call through.
	Valid json.RawMessage
	// Invalid are configs it refuses.
	Invalid []json.RawMessage
	// Registry is the registry of the generate call; nil means an empty one.
	Registry *registry.Registry
}

// errInner is the error of the kit's model and tool.
var errInner = status.Errorf(status.DataLoss, "the inner call failed")

// TestMiddleware holds f to the contract of [middleware.Factory] and
// [middleware.Hooks].
func TestMiddleware(t *testing.T, f middleware.Factory, config MiddlewareConfig) {
	t.Helper()
	reg := config.Registry
	if reg == nil {
		reg = registry.New(nil)
	}
	reg = registry.New(reg)
	if _, err := reg.ResolveValue(middleware.Kind, f.Desc().Name); err != nil {
		if err := middleware.Register(reg, f); err != nil {
			t.Fatalf("register: %v", err)
		}
	}
	k := &middlewareKit{name: f.Desc().Name, reg: reg, valid: config.Valid}
	t.Run("its schema is JSON", func(t *testing.T) {
		if s := f.Desc().ConfigSchema; len(s) > 0 && !json.Valid(s) {
			t.Errorf("config schema %q", s)
		}
	})
	t.Run("a config that breaks its schema is refused", func(t *testing.T) {
		for _, bad := range config.Invalid {
			if c, err := k.chain(t.Context(), bad); !errors.Is(err, status.ErrInvalidArgument) {
				c.Close()
				t.Errorf("config %s: %v, want INVALID_ARGUMENT", bad, err)
			}
		}
	})
	t.Run("hooks are fresh for each call", func(t *testing.T) {
		ctx := middleware.WithRegistry(t.Context(), reg)
		first, err := f.New(ctx, config.Valid)
		if err != nil {
			t.Fatal(err)
		}
		second, err := f.New(ctx, config.Valid)
		if err != nil {
			t.Fatal(err)
		}
		if first == second {
			t.Error("two calls share their hooks")
		}
		closeAll(first, second)
	})
	t.Run("an ordinary call goes through", k.testThrough)
	t.Run("the wrapped function may fail", k.testFailing)
	t.Run("it serves many calls at once", func(t *testing.T) {
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() { k.testThrough(t) })
		}
		calls.Wait()
	})
}

func closeAll(hooks ...*middleware.Hooks) {
	for _, h := range hooks {
		if h.Close != nil {
			h.Close()
		}
	}
}

type middlewareKit struct {
	name  string
	reg   *registry.Registry
	valid json.RawMessage
}

func (k *middlewareKit) chain(ctx context.Context, config json.RawMessage) (*middleware.Chain, error) {
	return middleware.Resolve(ctx, k.reg, []model.MiddlewareRef{{Name: k.name, Config: config}})
}

func kitRequest() *model.Request {
	return &model.Request{Messages: []content.Message{
		{Role: content.RoleSystem, Content: []content.Part{content.NewTextPart("Be kind.")}},
		{Role: content.RoleUser, Content: []content.Part{content.NewTextPart("Say hello.")}},
	}}
}

func kitOptions() *model.GenerateOptions {
	return &model.GenerateOptions{Model: "kit/model", Messages: kitRequest().Messages}
}

// testThrough sends a turn, a model call and a tool call through the hooks.
func (k *middlewareKit) testThrough(t *testing.T) {
	c, err := k.chain(t.Context(), k.valid)
	if err != nil {
		t.Errorf("config %s: %v", k.valid, err)
		return
	}
	defer c.Close()
	options, request := kitOptions(), kitRequest()
	before, _ := json.Marshal([]any{options, request})
	resp, err := c.Generate(t.Context(), &middleware.GenerateCall{Options: options}, func(ctx context.Context, call *middleware.GenerateCall) (*model.Response, error) {
		if call == nil || call.Options == nil {
			t.Error("next of the generate hook got no options")
		}
		return c.Model(ctx, &middleware.ModelCall{Request: request}, func(context.Context, *middleware.ModelCall) (*model.Response, error) {
			return &model.Response{Message: new(content.NewModelTextMessage("Hello.")), FinishReason: model.FinishStop}, nil
		})
	})
	switch {
	case err != nil:
		t.Errorf("generate: %v", err)
	case content.TextOf(resp.Message.Content) != "Hello.":
		t.Errorf("the answer became %q", content.TextOf(resp.Message.Content))
	}
	if after, _ := json.Marshal([]any{options, request}); string(before) != string(after) {
		t.Errorf("the call was changed in place: %s, before %s", after, before)
	}
}

// testFailing wants the error of what is wrapped to be found in what comes out,
// unless the middleware put something in its place.
func (k *middlewareKit) testFailing(t *testing.T) {
	c, err := k.chain(t.Context(), k.valid)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	resp, err := c.Generate(t.Context(), &middleware.GenerateCall{Options: kitOptions()}, func(context.Context, *middleware.GenerateCall) (*model.Response, error) {
		return nil, errInner
	})
	wantInner(t, "generate", resp == nil, err)
	resp, err = c.Model(t.Context(), &middleware.ModelCall{Request: kitRequest()}, func(context.Context, *middleware.ModelCall) (*model.Response, error) {
		return nil, errInner
	})
	wantInner(t, "model", resp == nil, err)
	failing, err := action.New(action.Desc{Kind: action.Tool, Name: "kitTool"}, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return nil, errInner
	})
	if err != nil {
		t.Fatal(err)
	}
	call := &middleware.ToolCall{Tool: failing, Part: content.Part{ToolRequest: &content.ToolRequest{Name: "kitTool", Ref: "1", Input: json.RawMessage(`{}`)}}}
	_, err = c.Tool(t.Context(), call, func(context.Context, *middleware.ToolCall) (*content.Part, error) { return nil, errInner })
	if err != nil && !errors.Is(err, errInner) {
		t.Logf("the tool hook answers with an error of its own: %v", err)
	}
}

func wantInner(t *testing.T, hook string, nothing bool, err error) {
	t.Helper()
	switch {
	case err == nil && nothing:
		t.Errorf("the %s hook gives neither an answer nor an error", hook)
	case err != nil && !errors.Is(err, errInner):
		t.Errorf("the %s hook hides the error of what it wraps: %v", hook, err)
	}
}
