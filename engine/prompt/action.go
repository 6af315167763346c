package prompt

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// promptAction is one of a prompt's two actions. It reads the prompt's definition each
// time, so that a reload needs no second registration.
type promptAction struct {
	p    *Prompt
	kind action.Kind
}

var _ action.Action = (*promptAction)(nil)

// Desc describes the action; a prompt whose schemas can't be found is described
// without them.
func (a *promptAction) Desc() action.Desc {
	d := a.p.definition.Load()
	desc := d.undescribed()
	if r, err := d.resolve(a.p.reg); err == nil {
		desc = r.desc
	}
	if desc.Kind = a.kind; a.kind == action.ExecutablePrompt {
		desc.OutputSchema = optionsSchema
	}
	return desc
}

// optionsSchema says of GenerateActionOptions what a reader of the list needs.
var optionsSchema = json.RawMessage(`{"type":"object","properties":{"model":{"type":"string"},` +
	`"messages":{"type":"array","items":{"type":"object"}}},"required":["messages"],"additionalProperties":true}`)

// RunJSON renders the prompt: to a model request, or to the options of a generate
// call.
func (a *promptAction) RunJSON(ctx context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
	desc := a.Desc()
	desc.InputSchema, desc.OutputSchema = nil, nil // the input is checked with its defaults
	inner, err := action.New(desc, func(ctx context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
		return a.run(ctx, in)
	})
	if err != nil {
		return nil, err
	}
	return inner.RunJSON(a.p.Context(ctx), in, nil)
}

// options names what the call would resolve: tools by their keys, and the format that a
// schema implies.
func (a *promptAction) options(ctx context.Context, opts *model.GenerateOptions) (_ *model.GenerateOptions, err error) {
	if opts.Output != nil && len(opts.Output.JSONSchema) > 0 && opts.Output.Format == "" {
		opts.Output.Format = "json"
	}
	reg, err := a.p.registry()
	if err != nil {
		return nil, err
	}
	opts.Tools, err = generate.ToolKeys(ctx, reg, opts.Tools)
	return opts, err
}

func (a *promptAction) run(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
	opts, err := a.p.Render(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	reg, err := a.p.registry()
	if err != nil {
		return nil, err
	}
	request, err := generate.Request(ctx, reg, opts)
	if err != nil {
		return nil, err
	}
	var out any = request.WithoutSecrets() // every caller that runs the prompt by its key sees it, models included
	if a.kind == action.ExecutablePrompt {
		options, err := a.options(ctx, opts)
		if err != nil {
			return nil, err
		}
		out = options.WithoutSecrets()
	}
	raw, err := rawjson.Encode(out)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the rendered prompt %q: %w", a.p.name, err)
	}
	return raw, nil
}
