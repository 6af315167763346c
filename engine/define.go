package engine

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// DefineFlow makes and registers a flow. It panics when the name is taken or a
// type can't be JSON.
func DefineFlow[In, Out any](e *Engine, name string, fn func(ctx context.Context, in In) (Out, error), options ...flow.Option) *flow.Flow[In, Out, struct{}] {
	f, err := flow.New(name, fn, options...)
	return define(e, f, err)
}

// DefineStreamingFlow makes and registers a flow that streams. It panics like
// [DefineFlow].
func DefineStreamingFlow[In, Out, Chunk any](e *Engine, name string, fn func(ctx context.Context, in In, send func(Chunk) error) (Out, error), options ...flow.Option) *flow.Flow[In, Out, Chunk] {
	f, err := flow.NewStreaming(name, fn, options...)
	return define(e, f, err)
}

// DefineBidiFlow makes and registers a flow that takes a value at its start and reads a
// stream of inputs while it streams chunks; see [action.DefineBidi]. It panics like
// [DefineFlow].
func DefineBidiFlow[Init, In, Out, Chunk any](e *Engine, name string, fn action.BidiTyped[Init, In, Out, Chunk], options ...flow.Option) *flow.BidiFlow[Init, In, Out, Chunk] {
	f, err := flow.NewBidi(name, fn, options...)
	return define(e, f, err)
}

// DefineBidiAction is [DefineBidiFlow] for an action of another kind.
func DefineBidiAction[Init, In, Out, Chunk any](e *Engine, desc action.Desc, fn action.BidiTyped[Init, In, Out, Chunk]) *action.BidiDef[Init, In, Out, Chunk] {
	a, err := action.DefineBidi(desc, fn)
	return define(e, a, err)
}

// Run runs a step of a flow: a span of its own, whose output is recorded; see [flow.Run].
func Run[Out any](ctx context.Context, name string, fn func(ctx context.Context) (Out, error)) (Out, error) {
	return flow.Run(ctx, name, fn)
}

// DefineModel makes and registers a model. The hooks, Genkit's `use`, wrap every call
// of it, the first one outermost (see [middleware.Attach]). It panics when the name is
// taken or the config schema is broken.
func DefineModel(e *Engine, name string, info model.Info, fn model.Func, use ...middleware.ModelHook) model.Model {
	m, err := model.New(name, info, fn)
	if err == nil && len(use) > 0 {
		m = middleware.Attach(m, use...)
	}
	return define(e, m, err)
}

// DefineFormat registers an output format. It panics when the name is taken.
func DefineFormat(e *Engine, f format.Format) { must(format.Register(e.reg, f)) }

// DefineMiddleware registers a middleware whose config is a Go type, under the name that
// the prototype gives: calls use a copy of it with their own config laid over it; see
// [middleware.Of]. It panics when the name is taken or the type can't be JSON.
func DefineMiddleware[M Middleware](e *Engine, description string, prototype M) middleware.Factory {
	f, err := middleware.Of(description, prototype)
	must(err)
	must(middleware.Register(e.reg, f))
	return f
}

// LookupMiddleware finds a registered middleware by its name.
func LookupMiddleware(_ context.Context, e *Engine, name string) (middleware.Factory, error) {
	return middleware.Lookup(e.reg, name)
}

// LookupFlow finds a flow like [LookupTool].
func LookupFlow(ctx context.Context, e *Engine, ref string) (action.Action, error) {
	return e.reg.Resolve(ctx, ref, action.Flow)
}

// LookupModel finds a model like [LookupTool]. Documents and output schemas that it
// does not take natively are put into the messages; see [generate.Direct].
func LookupModel(ctx context.Context, e *Engine, ref string) (model.Model, error) {
	a, err := e.reg.Resolve(ctx, ref, action.Model)
	if err != nil {
		return nil, err
	}
	return model.From(generate.Direct(a)), nil
}

// RunJSON runs an action of the engine by its key, with the engine's tracer and
// action context. emit may be nil.
func (e *Engine) RunJSON(ctx context.Context, key action.Key, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	a, err := e.reg.Lookup(ctx, key)
	if err != nil {
		return nil, err
	}
	return generate.Direct(a).RunJSON(ctx, in, emit)
}
