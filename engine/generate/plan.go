package generate

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// plan is one turn with everything it names resolved.
type plan struct {
	opts    *model.GenerateOptions // messages hold the format's instructions
	model   action.Action
	tools   *toolSet
	handler format.Handler // nil when no format was asked
	output  *model.Output
	schema  *schema.Schema // of the output, nil when none was asked
}

func (l *loop) plan(ctx context.Context, opts *model.GenerateOptions) (*plan, error) {
	c := *opts
	p := &plan{opts: &c, output: &model.Output{}}
	var err error
	if p.model, err = resolveModel(ctx, l.reg, opts.Model); err != nil {
		return nil, err
	}
	if p.tools, err = resolveTools(ctx, l.reg, opts.Tools, l.chain.Tools()); err != nil {
		return nil, err
	}
	if err := l.planOutput(ctx, p); err != nil {
		return nil, err
	}
	if err := l.applyResources(ctx, p.opts); err != nil {
		return nil, err
	}
	l.warn(ctx, p)
	return p, nil
}

// planOutput resolves the format, places its instructions and compiles the schema.
func (l *loop) planOutput(ctx context.Context, p *plan) error {
	if p.opts.Output == nil {
		return nil
	}
	asked := *p.opts.Output
	if string(asked.JSONSchema) == "null" {
		asked.JSONSchema = nil
	}
	if len(asked.JSONSchema) > 0 {
		var err error
		if asked.JSONSchema, err = ResolveSchema(l.reg, asked.JSONSchema); err != nil {
			return err
		}
		if asked.Format == "" {
			asked.Format = "json"
		}
		if p.schema, err = l.compile(asked.JSONSchema); err != nil {
			return err
		}
	}
	if asked.Format == "" {
		p.output = format.Config{}.Apply(&asked)
		return nil
	}
	f, err := format.Lookup(l.reg, asked.Format)
	if err != nil {
		return err
	}
	if p.handler, err = newHandler(ctx, f, asked.JSONSchema); err != nil {
		return err
	}
	p.opts.Messages = format.InjectFor(p.handler, p.opts.Messages, asked.Instructions)
	p.output = p.handler.Config().Apply(&asked)
	return nil
}

// newHandler turns a panic of a foreign format into an error.
func newHandler(ctx context.Context, f format.Format, schema json.RawMessage) (h format.Handler, err error) {
	err = guarded("format "+f.Name(), func() error {
		h, err = f.New(ctx, schema)
		if err == nil && h == nil {
			return status.Errorf(status.Internal, "format %q made no handler", f.Name())
		}
		return err
	})
	return h, err
}

func (l *loop) compile(raw json.RawMessage) (*schema.Schema, error) {
	if known, ok := l.schemas.Load(string(raw)); ok {
		s, _ := known.(*schema.Schema)
		return s, nil
	}
	s, err := schema.Compile(raw, schema.AssertFormats())
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "output schema: %w", err)
	}
	l.schemas.Store(string(raw), s)
	return s, nil
}

// warn logs capabilities that the request needs and the model does not declare; Genkit JS asks it all the same.
func (l *loop) warn(ctx context.Context, p *plan) {
	if p.model.Desc().Kind != action.Model {
		return
	}
	supports := model.From(p.model).Info().Supports
	if len(p.tools.list) > 0 && !supports.Tools {
		l.logger.WarnContext(ctx, "the model does not declare support for tools", "model", p.model.Desc().Name)
	}
	if p.opts.ToolChoice != "" && !supports.ToolChoice {
		l.logger.WarnContext(ctx, "the model does not declare support for toolChoice", "model", p.model.Desc().Name)
	}
}

// request returns the model request of this turn.
func (p *plan) request() *model.Request {
	return &model.Request{
		Messages: model.PairRefs(p.opts.Messages), Config: p.opts.Config, Docs: p.opts.Docs,
		Tools: p.tools.definitions(), ToolChoice: p.opts.ToolChoice, Output: p.output,
	}
}

// resolveModel finds the model of a call, or the default one.
func resolveModel(ctx context.Context, reg *registry.Registry, name string) (action.Action, error) {
	if name == "" {
		value, _ := reg.Value(DefaultModelKind, DefaultModelName)
		name, _ = value.(string)
	}
	if name == "" {
		return nil, status.Publicf(status.InvalidArgument, "Must supply a `model` to `generate()` calls. Name one in the request, or give the engine a default model.")
	}
	a, err := reg.Resolve(ctx, name, action.Model, action.BackgroundModel)
	if errors.Is(err, status.ErrNotFound) {
		return nil, status.Publicf(status.NotFound, "Model '%s' not found", name).WithCause(err)
	}
	return a, err
}

// ErrInvalidOutput is in the chain of the error for output that breaks the schema
// that the caller asked for.
var ErrInvalidOutput = errors.New("the model's output breaks the schema")

// parse reads the output of the final message and checks it. A response that the
// model did not finish is returned as it is.
func (l *loop) parse(ctx context.Context, p *plan, resp *model.Response) (*model.Response, error) {
	switch resp.FinishReason {
	case model.FinishBlocked, model.FinishAborted, model.FinishInterrupted, model.FinishOther:
		return resp, nil
	}
	if p.handler != nil {
		if resp.FinishReason == model.FinishLength {
			ctx = format.Unfinished(ctx)
		}
		err := guarded("format "+p.output.Format, func() (err error) {
			resp.Parsed, err = p.handler.Parse(ctx, resp.Message)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if p.schema != nil {
		if err := validOutput(ctx, p.schema.In(ctx), resp); err != nil {
			return nil, err
		}
	}
	resp.Message = stamped(resp.Message, p.output)
	return resp, nil
}

func validOutput(ctx context.Context, s *schema.Schema, resp *model.Response) error {
	out := resp.Parsed
	if len(out) == 0 {
		return responseError(status.InvalidArgument, "the model's output holds no value of the asked format", resp).WithCause(ErrInvalidOutput)
	}
	err := s.Check(ctx, out)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return status.Convert(ctx.Err())
	}
	e := status.Publicf(status.InvalidArgument, "the model's output breaks the schema: %v", err)
	if v, ok := errors.AsType[*schema.ValidationError](err); ok {
		e = e.WithDetails(v.Details())
	}
	return e.WithCause(errors.Join(ErrInvalidOutput, err))
}

// stamped notes on the message what its text is (Genkit: metadata.generate.output).
func stamped(m *content.Message, out *model.Output) *content.Message {
	if out.Format == "" && out.ContentType == "" {
		return m
	}
	note, err := rawjson.Encode(map[string]any{"output": &model.Output{Format: out.Format, ContentType: out.ContentType}})
	if err != nil {
		return m
	}
	c := *m
	c.Metadata = m.Metadata.With("generate", note)
	return &c
}
