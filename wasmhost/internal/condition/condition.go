// Package condition carries what a caller wants to find when it changes a module, such as the If-Match of
// a request, to where the change is made and nothing else can come between.
//
// It owns the place in the context. Use:
//
//	ctx = condition.With(ctx, func(current *module.Record) error { … })
//	err := condition.Met(ctx, current) // under the lock of the change
package condition

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
)

// Func reports why a change is not to be made; current is the module that is there, nil where none is.
type Func func(current *module.Record) error

type key struct{}

// With returns a context whose changes of a module are made only if f lets them.
func With(ctx context.Context, f Func) context.Context { return context.WithValue(ctx, key{}, f) }

// Met reports why the change that runs under ctx is not to be made; nil where there is no condition.
func Met(ctx context.Context, current *module.Record) error {
	if f, ok := ctx.Value(key{}).(Func); ok {
		return f(current)
	}
	return nil
}
