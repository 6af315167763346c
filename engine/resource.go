package engine

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// DefineResource makes and registers a resource. It panics when the name is taken or
// the template is not understood.
func DefineResource(e *Engine, c resource.Config, fn resource.Func) action.Action {
	a, err := resource.New(c, fn)
	return define(e, a, err)
}

// LookupResource finds a resource by its name or key.
func LookupResource(ctx context.Context, e *Engine, ref string) (action.Action, error) {
	return e.reg.Resolve(ctx, ref, action.Resource)
}

// WithResources brings resources for the resource parts of the messages, looked at
// before all others: each is the name or key of a registered one (a string) or an
// [action.Action] of kind resource, registered or not.
func WithResources(resources ...any) GenerateOption {
	return func(r *request) {
		for _, x := range resources {
			switch x := x.(type) {
			case string:
				r.opts.Resources = append(r.opts.Resources, x)
			case action.Action:
				r.more = append(r.more, generate.WithResources(x))
			default:
				r.fail(status.Publicf(status.InvalidArgument, "WithResources takes names and actions, got %T", x))
			}
		}
	}
}
