//go:build peers

package prompts

import (
	"context"
	"encoding/json"
	"strings"
	"testing/fstest"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// Ours runs a case through this engine.
func Ours(ctx context.Context, c *Case) (*Observation, error) {
	eng, err := engine.New(ctx, engine.Config{DefaultModel: "test/default"})
	if err != nil {
		return nil, err
	}
	r := &run{asked: []any{}, used: []any{}}
	define(eng, c, r)
	files := fstest.MapFS{}
	for name, source := range c.Files {
		files[name] = &fstest.MapFile{Data: []byte(source)}
	}
	_, _ = engine.LoadPromptDirFromFS(eng, files, ".", "") // using the prompt reports the error
	if len(c.Context) > 0 {
		ctx = action.WithContext(ctx, c.Context)
	}
	key := c.Prompt
	if c.Variant != "" {
		key += "." + c.Variant
	}
	o := &Observation{}
	o.Described = attempt(func() (any, error) {
		p, err := engine.LookupPrompt(ctx, eng, key)
		if err != nil {
			return nil, err
		}
		d := p.Tool().Desc()
		described := map[string]any{"name": d.Name, "metadata": d.Metadata}
		if d.Description != "" {
			described["description"] = d.Description
		}
		if d.InputSchema != nil {
			described["inputSchema"] = d.InputSchema
		}
		return described, nil
	})
	o.Request = attempt(func() (any, error) {
		return eng.RunJSON(ctx, action.Key{Kind: action.Prompt, Name: key}, c.Input, nil)
	})
	o.Options = attempt(func() (any, error) {
		return eng.RunJSON(ctx, action.Key{Kind: action.ExecutablePrompt, Name: key}, c.Input, nil)
	})
	o.Text = attempt(func() (any, error) {
		over := &model.GenerateOptions{}
		if len(c.Over) > 0 {
			if err := json.Unmarshal(c.Over, over); err != nil {
				return nil, err
			}
		}
		p, err := prompt.Lookup(ctx, eng.Registry(), key)
		if err != nil {
			return nil, err
		}
		resp, err := p.Execute(ctx, eng.Registry(), c.Input, over, nil)
		if err != nil {
			return nil, err
		}
		return resp.Text(), nil
	})
	o.Asked, o.Used = plain(r.asked), plain(r.used)
	return o, eng.Close(ctx)
}

type run struct{ asked, used []any }

func define(eng *engine.Engine, c *Case, r *run) {
	supports := model.Supports{Multiturn: true, Tools: true, SystemRole: true, Media: true, Context: true, Constrained: "all", ToolChoice: true}
	for _, name := range []string{"test/default", "test/other"} {
		engine.DefineModel(eng, name, model.Info{Supports: supports}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
			asked, _ := plain(req).(map[string]any)
			asked["model"] = name
			r.asked = append(r.asked, asked)
			raw := json.RawMessage(`{"message":{"role":"model","content":[{"text":"the end"}]},"finishReason":"stop"}`)
			if n := len(r.asked) - 1; n < len(c.Script) {
				raw = c.Script[n]
			}
			resp := &model.Response{}
			return resp, json.Unmarshal(raw, resp)
		})
	}
	schema := json.RawMessage(`{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}`)
	engine.DefineToolWithInputSchema(eng, "math/add", "Adds.", schema, func(_ context.Context, in map[string]int) (int, error) {
		return in["a"] + 1, nil
	}, tool.WithOutputSchema(json.RawMessage(`{"type":"integer"}`)))
	engine.DefineSchema(eng, "City", json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}},"required":["name"],"additionalProperties":false}`))
	note, err := middleware.New(middleware.Desc{Name: "note"}, func(_ context.Context, config json.RawMessage) (*middleware.Hooks, error) {
		return &middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
			r.used = append(r.used, plain(config))
			return next(ctx, call)
		}}, nil
	})
	if err == nil {
		err = middleware.Register(eng.Registry(), note)
	}
	if err != nil {
		panic(err) // there is no config schema that could be broken
	}
	engine.DefinePartial(eng, "shared", "shared by {{name}}")
	engine.DefineHelper(eng, "shout", func(_ context.Context, c *prompt.Call) (any, error) {
		return strings.ToUpper(c.Arg(0).String()) + "!", nil
	})
}

// attempt returns the result of fn as plain JSON, or its error.
func attempt(fn func() (any, error)) any {
	v, err := fn()
	if err != nil {
		return map[string]any{"error": map[string]any{"status": status.Of(err).String(), "message": err.Error()}}
	}
	return plain(v)
}

func plain(v any) any {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	if len(raw) == 0 {
		return nil
	}
	var out any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		return err.Error()
	}
	return out
}
