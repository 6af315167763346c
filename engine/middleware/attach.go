package middleware

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// ModelHook wraps calls of one model, by whatever way they come. It is called
// concurrently.
type ModelHook func(ctx context.Context, call *ModelCall, next ModelFunc) (*model.Response, error)

// Attach returns m with hooks of its own, the first one outermost: Genkit's `use` of
// a model definition. They stand inside the hooks of a generate call and outside of
// what the model's capabilities switch on, which a direct run of the model gets too.
func Attach(a action.Action, hooks ...ModelHook) model.Model {
	if at, ok := a.(*attached); ok {
		return &attached{Model: at.Model, inner: at.inner, hooks: slices.Concat(hooks, at.hooks), strict: at.strict}
	}
	return &attached{Model: model.From(a), inner: a, hooks: slices.Clone(hooks)}
}

// Attached reports whether a came from [Attach] or [Strict]: such a model makes every
// request fit what it declares, however it is called.
func Attached(a action.Action) bool {
	_, ok := a.(*attached)
	return ok
}

// Strict returns m such that every capability it has not set is a no: requests that
// need one fail with INVALID_ARGUMENT, and a system prompt is simulated. Genkit Go
// treats all models so.
func Strict(m model.Model) model.Model {
	s := &attached{Model: m, inner: m, strict: true}
	if at, ok := m.(*attached); ok {
		s.Model, s.inner, s.hooks = at.Model, at.inner, at.hooks
	}
	return s
}

// FromFactory makes a [ModelHook] of a factory's Model hook, fresh for each call of
// the model; its other hooks have no place here.
func FromFactory(f Factory, config json.RawMessage) (ModelHook, error) {
	safe, err := checked(f)
	if err != nil {
		return nil, err
	}
	if len(config) > 0 {
		if err := safe.config.Validate(config); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "config of middleware %q: %w", safe.desc.Name, err)
		}
	}
	return func(ctx context.Context, call *ModelCall, next ModelFunc) (*model.Response, error) {
		hooks, err := safe.New(ctx, config)
		if err != nil {
			return nil, err
		}
		c := &Chain{links: []link{{name: safe.desc.Name, hooks: hooks}}}
		defer c.Close()
		if hooks.Model == nil {
			return next(ctx, call)
		}
		return guard(safe.desc.Name, func() (*model.Response, error) { return hooks.Model(ctx, call, next) })
	}, nil
}

type attached struct {
	model.Model
	inner  action.Action
	hooks  []ModelHook
	strict bool
}

var _ model.Model = (*attached)(nil)

func (a *attached) Generate(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
	next := func(ctx context.Context, call *ModelCall) (*model.Response, error) {
		if call.Model == nil || call.Model == action.Action(a) {
			return serve(ctx, a.inner, declares(a), call.Request, call.Send)
		}
		return Serve(ctx, call.Model, call.Request, call.Send)
	}
	for _, hook := range slices.Backward(a.hooks) {
		inner := next
		next = func(ctx context.Context, call *ModelCall) (*model.Response, error) {
			call = withModel(call, a)
			return guard(a.Desc().Name, func() (*model.Response, error) { return hook(ctx, call, same(call, inner)) })
		}
	}
	return next(ctx, &ModelCall{Request: req, Send: send, Model: a})
}

// RunJSON is Generate on JSON.
func (a *attached) RunJSON(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	req := &model.Request{}
	if err := json.Unmarshal(in, req); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "model request: %w", err)
	}
	var send model.Send
	if emit != nil {
		send = func(c *model.Chunk) error {
			raw, err := rawjson.Encode(c)
			if err != nil {
				return status.Errorf(status.Internal, "encode a chunk: %w", err)
			}
			return emit(raw)
		}
	}
	resp, err := a.Generate(ctx, req, send)
	if err != nil {
		return nil, err
	}
	return rawjson.Encode(resp)
}
