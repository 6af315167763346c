package engine

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// DefineBackgroundModel makes and registers a model that works in the background:
// its start, check and, where it can, cancel actions. It panics when the name is taken
// or the config schema is broken.
func DefineBackgroundModel(e *Engine, name string, info model.Info, b model.Background) action.Action {
	actions, err := model.NewBackground(name, info, b)
	must(err)
	for _, a := range actions {
		must(e.reg.Register(a))
	}
	return actions[0]
}

// GenerateOperation begins long-running work; see [generate.StartOperation] for the
// codes it fails with.
func GenerateOperation(ctx context.Context, e *Engine, options ...GenerateOption) (*ModelOperation, error) {
	r, err := newRequest(options)
	if err != nil {
		return nil, err
	}
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	return generate.StartOperation(ctx, e.reg, &r.opts, append(r.more, generate.WithLogger(e.logger))...)
}

// CheckModelOperation asks how an operation is going; see [generate.CheckOperation].
func CheckModelOperation(ctx context.Context, e *Engine, op *ModelOperation) (*ModelOperation, error) {
	return e.operate(ctx, op, generate.CheckOperation)
}

// CancelModelOperation ends an operation; see [generate.CancelOperation].
func CancelModelOperation(ctx context.Context, e *Engine, op *ModelOperation) (*ModelOperation, error) {
	return e.operate(ctx, op, generate.CancelOperation)
}

// GenerateWithRequest is [Generate] for options that were made elsewhere, such as those of
// [Prompt.Render]. send gets the chunks; nil streams nothing.
func GenerateWithRequest(ctx context.Context, e *Engine, opts *model.GenerateOptions, send model.Send) (*ModelResponse, error) {
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	return generate.Run(ctx, e.reg, opts, send, generate.WithLogger(e.logger))
}

type operate func(ctx context.Context, reg *registry.Registry, op *ModelOperation) (*ModelOperation, error)

func (e *Engine) operate(ctx context.Context, op *ModelOperation, do operate) (*ModelOperation, error) {
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	return do(ctx, e.reg, op)
}
