package engine

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// ListFlows returns the flows, by key. Like [registry.Registry.List], this and the other
// lists return the actions that could be found beside an error.
func ListFlows(ctx context.Context, e *Engine) ([]action.Action, error) {
	return e.list(ctx, action.Flow)
}

// ListTools returns the tools, by key: those of providers too, each once, in its plain form
// where it has one.
func ListTools(ctx context.Context, e *Engine) ([]Tool, error) {
	found, err := e.list(ctx, action.Tool, action.ToolV2)
	tools := make([]Tool, 0, len(found))
	plain := map[string]bool{}
	for _, a := range found {
		d := a.Desc()
		if d.Kind == action.ToolV2 && plain[d.Name] {
			continue
		}
		plain[d.Name] = true
		if t, wrong := tool.From(a); wrong == nil {
			tools = append(tools, t)
		}
	}
	return tools, err
}

// ListResources returns the resources, by key.
func ListResources(ctx context.Context, e *Engine) ([]Resource, error) {
	found, err := e.list(ctx, action.Resource)
	resources := make([]Resource, 0, len(found))
	for _, a := range found {
		if r, wrong := resource.From(a); wrong == nil {
			resources = append(resources, r)
		}
	}
	return resources, err
}

// list finds the actions of some kinds. An action that is gone by the time that it is looked up is
// left out.
func (e *Engine) list(ctx context.Context, kinds ...action.Kind) ([]action.Action, error) {
	descs, err := e.reg.List(ctx)
	var found []action.Action
	for _, kind := range kinds {
		for _, d := range descs {
			if d.Kind != kind {
				continue
			}
			if a, gone := e.reg.LookupListed(ctx, d.Key()); gone == nil {
				found = append(found, a)
			}
		}
	}
	return found, err
}

// LookupPlugin returns a plugin that was added to e or to an engine above it; NOT_FOUND
// when there is none of that name.
func LookupPlugin(e *Engine, name string) (Plugin, error) {
	if p, ok := e.reg.Plugin(name); ok {
		return p, nil
	}
	return nil, status.Publicf(status.NotFound, "plugin %q not found", name)
}
