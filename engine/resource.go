package engine

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
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

// FindResource finds the registered resource that answers for a URI, the first one by key
// where several do; NOT_FOUND when there is none. Dynamic action providers are not asked.
func FindResource(ctx context.Context, e *Engine, uri string) (action.Action, error) {
	descs, err := e.reg.List(ctx)
	if err != nil { // who can't be asked may have an earlier one
		return nil, err
	}
	if d, ok := resource.Find(descs, uri); ok {
		return e.reg.Lookup(ctx, d.Key())
	}
	return nil, status.Publicf(status.NotFound, "no resource answers for %q", uri)
}

// ReadResource fetches what a URI names; see [FindResource].
func ReadResource(ctx context.Context, e *Engine, uri string) ([]content.Part, error) {
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	a, err := FindResource(ctx, e, uri)
	if err != nil {
		return nil, err
	}
	return resource.Read(ctx, a, uri)
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
