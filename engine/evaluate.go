package engine

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
)

// DefineEvaluator makes and registers an evaluator that scores case by case. It panics
// when the name is taken or the config schema is broken.
func DefineEvaluator(e *Engine, name string, info evaluate.Info, fn evaluate.Func) evaluate.Evaluator {
	a, err := evaluate.New(name, info, fn)
	return define(e, a, err)
}

// DefineBatchEvaluator makes and registers an evaluator that is given a whole dataset. It
// panics like [DefineEvaluator].
func DefineBatchEvaluator(e *Engine, name string, info evaluate.Info, fn evaluate.BatchFunc) evaluate.Evaluator {
	a, err := evaluate.NewBatch(name, info, fn)
	return define(e, a, err)
}

// LookupEvaluator finds an evaluator by key, name, or a bare name that only one has.
func LookupEvaluator(ctx context.Context, e *Engine, ref string) (evaluate.Evaluator, error) {
	a, err := e.reg.Resolve(ctx, ref, action.Evaluator)
	if err != nil {
		return nil, err
	}
	return evaluate.From(a), nil
}

// Evaluate scores a dataset; see [evaluate.Run].
func Evaluate(ctx context.Context, e *Engine, options ...EvaluatorOption) ([]evaluate.Result, error) {
	c := &nounCall{}
	for _, o := range options {
		o.applyEvaluator(c)
	}
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	a, err := e.target(ctx, c, action.Evaluator)
	if err != nil {
		return nil, err
	}
	own := []evaluate.Option{evaluate.WithID(c.id), evaluate.WithConfig(c.config), evaluate.WithParallel(c.parallel), evaluate.WithProgress(c.progress)}
	if ref, ok := c.arg.(evaluate.Ref); ok && c.config == nil {
		own = append(own, evaluate.WithConfig(ref.Config()))
	}
	return evaluate.Run(ctx, a, c.dataset, own...)
}
