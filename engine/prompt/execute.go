package prompt

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Types of the spans around a prompt (the attribute genkit:type).
const (
	typeRender  = "promptTemplate"
	typeExecute = "dotprompt"
)

// Render makes the options of a generate call out of an input, nil for none, and of over, nil
// for nothing, which it does not change. A field that over sets replaces that of the prompt,
// as in Genkit JS: the config is merged key by key; the messages are the history; tools,
// docs, output and middleware are replaced. A false returnToolRequests counts where
// over.Extra holds it.
//
// It fails with INVALID_ARGUMENT for an input that breaks the schema (action.ErrInvalidInput)
// or a schema that is broken, NOT_FOUND for a schema that is not registered,
// FAILED_PRECONDITION for a template that can't be rendered, RESOURCE_EXHAUSTED for one that
// exceeds a limit, else with the error of a function or helper.
func (p *Prompt) Render(ctx context.Context, input json.RawMessage, over *model.GenerateOptions) (_ *model.GenerateOptions, err error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	ctx, span := telemetry.Start(ctx, telemetry.Span{Name: "render", Type: typeRender, Input: input})
	defer func() { err = span.End(err) }()
	span.Set("promptName", p.name)
	d := p.definition.Load()
	r, err := d.resolve(p.reg)
	if err != nil {
		return nil, err
	}
	if over == nil {
		over = &model.GenerateOptions{}
	}
	reg, err := p.registry()
	if err != nil {
		return nil, err
	}
	s := &rendering{reg: reg, d: d, history: over.Messages}
	if s.input, err = d.input(ctx, r, input); err != nil {
		return nil, err
	}
	opts := d.options(r)
	if opts.Messages, err = s.all(ctx); err != nil {
		return nil, err
	}
	if opts.Docs, err = s.docs(ctx); err != nil {
		return nil, err
	}
	opts, err = applyOverrides(over, opts)
	if err == nil && telemetry.Bodies(ctx) {
		if raw, encErr := rawjson.Encode(opts); encErr == nil {
			span.Output(raw)
		}
	}
	return opts, err
}

// Output returns the prompt's own output options, nil for none. It fails
// like [Prompt.Render] for schemas.
func (p *Prompt) Output() (*model.OutputOptions, error) {
	d := p.definition.Load()
	r, err := d.resolve(p.reg)
	if err != nil {
		return nil, err
	}
	return d.options(r).Output, nil
}

// input reads the input, fills in the defaults and checks the result.
func (d *definition) input(ctx context.Context, r *resolved, raw json.RawMessage) (any, error) {
	var v any
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
		v, raw = &value.Object{}, json.RawMessage("{}")
	} else {
		var err error
		if v, err = value.Decode(raw); err != nil {
			return nil, action.InvalidInput(action.Desc{Kind: action.Prompt, Name: d.key()}, err)
		}
	}
	if o, ok := v.(*value.Object); ok && d.defaults != nil {
		v = d.defaults.Merge(o)
		raw = value.Encode(v)
	}
	if r.input.Demanding() {
		if err := r.input.In(ctx).Check(ctx, raw); err != nil {
			return nil, action.InvalidInput(r.desc, err)
		}
	}
	return v, nil
}

func (s *rendering) docs(ctx context.Context) ([]content.Document, error) {
	if fn := s.d.cfg.Docs.fn; fn != nil {
		return guard(s.d.key(), "docs", func() ([]content.Document, error) { return fn(ctx, s.in(ctx)) })
	}
	return slices.Clone(s.d.cfg.Docs.list), nil
}

// applyOverrides copies the fields that are set in over onto the rendered options, and returns these.
func applyOverrides(over, opts *model.GenerateOptions) (*model.GenerateOptions, error) {
	var err error
	if opts.Config, err = mergeConfig(opts.Config, over.Config); err != nil {
		return nil, err
	}
	if over.Model != "" {
		opts.Model = over.Model
	}
	if over.Docs != nil {
		opts.Docs = over.Docs
	}
	if over.Tools != nil {
		opts.Tools = over.Tools
	}
	if over.Use != nil {
		opts.Use = over.Use
	}
	if over.Output != nil {
		opts.Output = over.Output
	}
	if over.ToolChoice != "" {
		opts.ToolChoice = over.ToolChoice
	}
	if over.MaxTurns != nil {
		opts.MaxTurns = over.MaxTurns
	}
	if odd, said := over.Extra["maxTurns"]; said && over.MaxTurns == nil { // the call refuses it
		opts.MaxTurns, opts.Extra = nil, map[string]json.RawMessage{"maxTurns": odd}
	}
	if _, said := over.Extra["returnToolRequests"]; said || over.ReturnToolRequests {
		opts.ReturnToolRequests = over.ReturnToolRequests
	}
	opts.Resources, opts.Resume, opts.StepName = over.Resources, over.Resume, over.StepName
	return opts, nil
}

// mergeConfig is {...own, ...over}; a config that is no object replaces the other.
func mergeConfig(own, over json.RawMessage) (json.RawMessage, error) {
	if len(over) == 0 || string(over) == "null" {
		return own, nil
	}
	if len(own) == 0 {
		return over, nil
	}
	a, err := object("the config", own)
	if err != nil {
		return nil, err
	}
	b, err := object("the config", over)
	if err != nil {
		return nil, err
	}
	return value.Encode(a.Merge(b)), nil
}

// Execute renders the prompt and runs the generate call on reg, which is the prompt's
// registry or one below it. send gets the chunks; nil streams nothing. It fails like
// [Prompt.Render] and like [generate.Run].
func (p *Prompt) Execute(ctx context.Context, reg *registry.Registry, input json.RawMessage, over *model.GenerateOptions, send model.Send, options ...generate.Option) (resp *model.Response, err error) {
	ctx, span := telemetry.Start(p.Context(ctx), telemetry.Span{Name: p.name, Type: typeExecute, Input: input})
	defer func() { err = span.End(err) }()
	opts, err := p.Render(ctx, input, over)
	if err != nil {
		return nil, err
	}
	resp, err = generate.Run(ctx, reg, opts, send, options...)
	if err == nil && telemetry.Bodies(ctx) {
		if raw, encErr := rawjson.Encode(resp); encErr == nil {
			span.Output(raw)
		}
	}
	return resp, err
}
