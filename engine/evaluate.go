package engine

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
)

// DefineEvaluator makes and registers an evaluator that scores case by case. It panics
// when the name is taken or the config schema is broken.
func DefineEvaluator(e *Engine, name string, info evaluate.Info, fn evaluate.Func) action.Action {
	a, err := evaluate.New(name, info, fn)
	return define(e, a, err)
}

// DefineBatchEvaluator makes and registers an evaluator that is given a whole dataset. It
// panics like [DefineEvaluator].
func DefineBatchEvaluator(e *Engine, name string, info evaluate.Info, fn evaluate.BatchFunc) action.Action {
	a, err := evaluate.NewBatch(name, info, fn)
	return define(e, a, err)
}

// LookupEvaluator finds an evaluator by key, name, or a bare name that only one has.
func LookupEvaluator(ctx context.Context, e *Engine, ref string) (action.Action, error) {
	return e.reg.Resolve(ctx, ref, action.Evaluator)
}

// Evaluate scores a dataset; see [evaluate.Run].
func Evaluate(ctx context.Context, e *Engine, evaluator string, dataset []evaluate.Case, options ...evaluate.Option) ([]evaluate.Result, error) {
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	a, err := LookupEvaluator(ctx, e, evaluator)
	if err != nil {
		return nil, err
	}
	return evaluate.Run(ctx, a, dataset, options...)
}
