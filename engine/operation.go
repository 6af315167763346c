package engine

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// Operation is work that goes on after the call that began it.
type Operation = model.Operation

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
func GenerateOperation(ctx context.Context, e *Engine, options ...GenerateOption) (*Operation, error) {
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

// CheckOperation asks how an operation is going; see [generate.CheckOperation].
func CheckOperation(ctx context.Context, e *Engine, op *Operation) (*Operation, error) {
	return e.operate(ctx, op, generate.CheckOperation)
}

// CancelOperation ends an operation; see [generate.CancelOperation].
func CancelOperation(ctx context.Context, e *Engine, op *Operation) (*Operation, error) {
	return e.operate(ctx, op, generate.CancelOperation)
}

type operate func(ctx context.Context, reg *registry.Registry, op *Operation) (*Operation, error)

func (e *Engine) operate(ctx context.Context, op *Operation, do operate) (*Operation, error) {
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	return do(ctx, e.reg, op)
}
