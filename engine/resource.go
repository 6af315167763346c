package engine

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// DefineResource makes and registers a resource. It panics when the name is taken or
// the template is not understood.
func DefineResource(e *Engine, name string, c resource.Config, fn resource.Func) resource.Resource {
	r, err := resource.New(name, c, fn)
	return define(e, r, err)
}

// LookupResource finds a resource by its name or key.
func LookupResource(ctx context.Context, e *Engine, ref string) (resource.Resource, error) {
	a, err := e.reg.Resolve(ctx, ref, action.Resource)
	if err != nil {
		return nil, err
	}
	return resource.From(a)
}

// FindMatchingResource finds the registered resource that answers for a URI, the first one by key
// where several do; NOT_FOUND when there is none. A plugin or provider that can't list
// hides no other's; where no other answers, its error is returned. Dynamic action providers
// are not asked.
func FindMatchingResource(ctx context.Context, e *Engine, uri string) (resource.Resource, error) {
	descs, failed := e.reg.List(ctx)
	if d, ok := resource.Find(descs, uri); ok {
		a, err := e.reg.Lookup(ctx, d.Key())
		if err != nil {
			return nil, err
		}
		return resource.From(a)
	}
	if failed != nil { // who can't be asked may have it
		return nil, failed
	}
	return nil, status.Publicf(status.NotFound, "no resource answers for %q", uri)
}

// ReadResource fetches the content of a URI; see [FindMatchingResource].
func ReadResource(ctx context.Context, e *Engine, uri string) ([]content.Part, error) {
	ctx, end, err := e.running.begin(e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	r, err := FindMatchingResource(ctx, e, uri)
	if err != nil {
		return nil, err
	}
	return r.Read(ctx, uri)
}
