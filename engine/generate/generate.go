// Package generate is the loop: ask the model, run the tools it asks for, ask
// again, until it answers.
//
// It owns the order of the steps (resolve, render, resume, call, run tools,
// parse), the turn limit, the streaming indices, interrupts and their resumption.
// The behaviour follows Genkit JS (js/ai/src/generate/action.ts). Use:
//
//	resp, err := generate.Run(ctx, reg, &model.GenerateOptions{
//		Model:    "test/scripted",
//		Messages: []content.Message{content.NewUserTextMessage("hi")},
//		Tools:    []string{"math/add"},
//	}, nil)
//
// Functions here are safe for concurrent use. Goroutines end before Run returns,
// given that models and tools return when their context ends.
package generate

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Limits and defaults.
const (
	// DefaultMaxTurns is how often tools may be executed when the caller does
	// not say.
	DefaultMaxTurns = 5
	// MaxTurnsLimit is the largest MaxTurns that a caller may ask for.
	MaxTurnsLimit = 1000
	// DefaultParallelTools bounds how many tools of one response run at once.
	DefaultParallelTools = 16
)

// DefaultModelKind and DefaultModelName are where the registry keeps the name of
// the default model, a string.
const (
	DefaultModelKind = "defaultModel"
	DefaultModelName = "defaultModel"
)

// LimitsKind and LimitsName are where the registry keeps the limits of generate calls,
// an [allowance.Limits]; without it [allowance.Defaults] hold.
const (
	LimitsKind = "generateLimits"
	LimitsName = "generateLimits"
)

// Option changes how a call runs.
type Option func(*settings)

type settings struct {
	model      action.Action
	tools      []action.Action
	resources  []action.Action
	middleware []middleware.Factory
	logger     *slog.Logger
	parallel   int
	limits     allowance.Limits
}

// WithModel brings the model of the call, of kind model, which need not be registered; it
// takes the place of the one that the options name.
func WithModel(a action.Action) Option { return func(s *settings) { s.model = a } }

// WithTools offers tools, or prompts, that need not be registered, after those that the
// options name. A registered action of the same key is shadowed.
func WithTools(tools ...action.Action) Option {
	return func(s *settings) { s.tools = append(s.tools, tools...) }
}

// WithMiddleware makes factories known to this call, so that the options can use
// them by name without their being registered.
func WithMiddleware(factories ...middleware.Factory) Option {
	return func(s *settings) { s.middleware = append(s.middleware, factories...) }
}

// WithLogger receives warnings; without it they are dropped.
func WithLogger(l *slog.Logger) Option { return func(s *settings) { s.logger = l } }

// WithParallelTools bounds how many tools of one response run at once.
func WithParallelTools(n int) Option { return func(s *settings) { s.parallel = n } }

// WithLimits bounds the work of the call and everything it causes; a field that is 0
// takes that of the registry, see [LimitsKind]. A call within another is bound by the
// outer one's.
func WithLimits(l allowance.Limits) Option { return func(s *settings) { s.limits = l } }

// Run runs the loop on opts, which it does not change, and returns the last
// response with Request set to the last request of the model; Usage and Custom are
// those of the last model call. send gets the chunks, one at a time and never
// after Run has returned; nil streams nothing.
//
// Codes: INVALID_ARGUMENT for options that make no sense, an input that breaks a
// tool's schema (action.ErrInvalidInput) and an output that breaks the asked
// schema ([ErrInvalidOutput]); NOT_FOUND for a model, tool, resource or
// middleware that does not exist; FAILED_PRECONDITION for a blocked or empty response and a resume that
// does not fit; ABORTED when the turns are used up; else the code of the model, tool
// or middleware that failed. When ctx ends it is CANCELLED or DEADLINE_EXCEEDED, and
// the response beside the error is the outcome so far, with finishReason aborted:
// the history up to the model call, and the part of its answer that was streamed. The same
// stands in the error's details. After another failure, the response beside the error has
// finishReason failed, no message, and the last request of the model: the history up to the last
// round of tools that was completed. It is nil where no model was asked.
func Run(ctx context.Context, reg *registry.Registry, opts *model.GenerateOptions, send model.Send, options ...Option) (*model.Response, error) {
	return run(ctx, reg, opts, send, options, (*loop).step)
}

type stepFunc func(*loop, context.Context, *middleware.GenerateCall) (*model.Response, error)

func run(ctx context.Context, reg *registry.Registry, opts *model.GenerateOptions, send model.Send, options []Option, first stepFunc) (*model.Response, error) {
	s := settings{parallel: DefaultParallelTools, logger: slog.New(slog.DiscardHandler)}
	for _, o := range options {
		o(&s)
	}
	if err := ctx.Err(); err != nil {
		return nil, cancelled(err, err)
	}
	if err := check(opts); err != nil {
		return nil, err
	}
	ctx = tool.WithResumed(reg.WithClientHeader(ctx), nil) // an answer to a tool around this call is not for what it runs
	registered, _ := reg.Value(LimitsKind, LimitsName)
	limits, _ := registered.(allowance.Limits)
	limits = s.limits.Or(limits)
	size := allowance.Size{Use: int64(len(opts.Use)), Tools: int64(len(opts.Tools)), Resources: int64(len(opts.Resources))}
	if err := allowance.Check(ctx, limits, size); err != nil {
		return nil, err
	}
	ctx, done, err := allowance.Enter(ctx, limits)
	if err != nil {
		return nil, err
	}
	defer done()
	reg, opts, err = s.bind(reg, opts)
	if err != nil {
		return nil, err
	}
	chain, err := middleware.Resolve(ctx, reg, opts.Use)
	if err != nil {
		return nil, err
	}
	defer chain.Close()

	caller := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g := newCallerStream(send, stop)
	l := &loop{reg: reg, chain: chain, logger: s.logger, parallel: max(s.parallel, 1), known: &known{}, schemas: &sync.Map{}}
	resp, err := first(l, ctx, &middleware.GenerateCall{Options: opts, Send: g.sender(ctx)})
	if gone := g.close(); gone != nil {
		if caller.Err() == nil || !errors.Is(gone, caller.Err()) {
			return nil, gone
		}
		err = gone // the receiver left because ctx ended
	}
	if err != nil && caller.Err() != nil {
		if cause, ended := errors.AsType[*status.Error](context.Cause(caller)); ended && errors.Is(cause, status.ErrResourceExhausted) {
			return nil, cause // the request went on after its allowance was used up
		}
		return l.known.response(), l.known.explain(cancelled(caller.Err(), err))
	}
	if err != nil {
		return l.known.failed(), err
	}
	return resp, nil
}

// cancelled reports that the caller's context ended, whatever the work made of it.
func cancelled(ctxErr, err error) error {
	code := status.Of(ctxErr)
	if status.Of(err) == code && errors.Is(err, ctxErr) {
		if e := status.Convert(err); e.Public() {
			return err
		}
	}
	text := "the generate call was cancelled"
	if code == status.DeadlineExceeded {
		text = "the generate call took longer than its deadline"
	}
	return status.Publicf(code, "%s", text).WithCause(errors.Join(ctxErr, err))
}

// bind gives the call a child registry for the actions that it brings along.
func (s *settings) bind(reg *registry.Registry, opts *model.GenerateOptions) (*registry.Registry, *model.GenerateOptions, error) {
	if s.model == nil && len(s.tools) == 0 && len(s.middleware) == 0 && len(s.resources) == 0 {
		return reg, opts, nil
	}
	child := registry.New(reg)
	c := *opts
	if err := s.bindModel(child, &c); err != nil {
		return nil, nil, err
	}
	c.Tools = append([]string{}, opts.Tools...)
	for _, t := range s.tools {
		if t == nil {
			return nil, nil, status.Publicf(status.InvalidArgument, "a tool given to the call is nil")
		}
		key := t.Desc().Key()
		if !isTool(key.Kind) && key.Kind != action.Prompt {
			return nil, nil, status.Publicf(status.InvalidArgument, "action %q is not a tool", key)
		}
		if err := child.Register(t); err != nil {
			return nil, nil, err
		}
		c.Tools = append(c.Tools, key.String())
	}
	if err := s.bindResources(child, opts, &c); err != nil {
		return nil, nil, err
	}
	for _, f := range s.middleware {
		if err := middleware.Register(child, f); err != nil {
			return nil, nil, err
		}
	}
	return child, &c, nil
}

func (s *settings) bindModel(child *registry.Registry, c *model.GenerateOptions) error {
	if s.model == nil {
		return nil
	}
	a := s.model
	if d, ok := a.(*direct); ok { // the loop does the same to every model
		a = d.inner
	}
	key := a.Desc().Key()
	if key.Kind != action.Model {
		return status.Publicf(status.InvalidArgument, "action %q is not a model", key)
	}
	c.Model = key.String()
	return child.Register(a)
}

func (s *settings) bindResources(child *registry.Registry, opts, c *model.GenerateOptions) error {
	if len(s.resources) == 0 {
		return nil
	}
	c.Resources = nil
	for _, a := range s.resources {
		if a == nil || a.Desc().Kind != action.Resource {
			return status.Publicf(status.InvalidArgument, "a resource given to the call is none")
		}
		if err := child.Register(a); err != nil {
			return err
		}
		c.Resources = append(c.Resources, a.Desc().Key().String())
	}
	c.Resources = append(c.Resources, opts.Resources...)
	return nil
}

// Action returns /util/generate over reg: GenerateActionOptions in,
// GenerateResponse out, chunks streamed. The owner of reg registers it.
func Action(reg *registry.Registry, options ...Option) action.Action {
	desc := action.Desc{Kind: action.Util, Name: "generate", Description: "Runs a model and the tools it asks for.", InputSchema: optionsSchema}
	a, err := action.New(desc, func(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
		opts, err := decodeOptions(ctx, reg, in, options)
		if err != nil {
			return nil, err
		}
		resp, err := run(ctx, reg, opts, sendTo(emit), options, (*loop).iterate) // the action's span is the first turn's
		if err != nil {
			return nil, err
		}
		var out json.RawMessage
		err = schema.InTurn(ctx, len(in), func() (err error) { // it repeats the request
			out, err = rawjson.Encode(wire(resp))
			return err
		})
		return out, err
	})
	if err != nil {
		panic(err) // the schema is a constant of this package
	}
	return a
}

// decodeOptions reads options that ask for no more than they may.
func decodeOptions(ctx context.Context, reg *registry.Registry, in json.RawMessage, options []Option) (*model.GenerateOptions, error) {
	opts := &model.GenerateOptions{}
	return opts, schema.InTurn(ctx, len(in), func() error {
		if err := CheckSize(ctx, reg, in, options...); err != nil {
			return err
		}
		if err := json.Unmarshal(in, opts); err != nil {
			return status.Publicf(status.InvalidArgument, "generate options: %w", err)
		}
		return nil
	})
}

// wire returns the wire form of a response, as Genkit has it.
func wire(resp *model.Response) *model.Response {
	return &model.Response{
		Message: resp.Message, FinishReason: resp.FinishReason, FinishMessage: resp.FinishMessage,
		Usage: resp.Usage, Custom: resp.Custom, Request: resp.Request, Operation: resp.Operation,
	}
}

func sendTo(emit action.Emit) model.Send {
	if emit == nil {
		return nil
	}
	return func(c *model.Chunk) error {
		raw, err := rawjson.Encode(c)
		if err != nil {
			return status.Errorf(status.Internal, "encode a chunk: %w", err)
		}
		return emit(raw)
	}
}

// check refuses options that no turn could serve.
func check(opts *model.GenerateOptions) error {
	if opts == nil || len(opts.Messages) == 0 {
		return status.Publicf(status.InvalidArgument, "at least one message is required in generate request")
	}
	for i := range opts.Messages {
		if role := opts.Messages[i].Role; !role.Known() {
			return status.Publicf(status.InvalidArgument, "message %d has the role %q, want one of %v", i, role, content.Roles())
		}
	}
	_, err := maxTurns(opts)
	return err
}

// step is an iteration in a span of its own.
func (l *loop) step(ctx context.Context, call *middleware.GenerateCall) (resp *model.Response, err error) {
	name := call.Options.StepName
	if name == "" {
		name = "generate"
	}
	bodies := telemetry.Bodies(ctx)
	ctx, span := telemetry.Start(ctx, telemetry.Span{Name: name, Type: telemetry.TypeUtil, Input: body(bodies, call.Options)})
	defer func() { err = span.End(err) }()
	resp, err = l.iterate(ctx, call)
	if err == nil && bodies {
		span.Output(body(bodies, resp))
	}
	return resp, err
}

func body(wanted bool, v any) json.RawMessage {
	if !wanted {
		return nil
	}
	raw, err := rawjson.Encode(v)
	if err != nil { // a span is no reason to fail the call
		return nil
	}
	return raw
}
