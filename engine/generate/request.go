package generate

import (
	"context"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// Request returns the model request of the first turn of a call, without resolving the
// model: tools as definitions, the format's instructions among the messages (Genkit JS:
// toGenerateRequest). It fails like [Run] for options that make no sense.
func Request(ctx context.Context, reg *registry.Registry, opts *model.GenerateOptions) (*model.Request, error) {
	if err := check(opts); err != nil {
		return nil, err
	}
	l := &loop{reg: reg, schemas: &sync.Map{}}
	c := *opts
	p := &plan{opts: &c, output: &model.Output{}}
	var err error
	if p.tools, err = resolveTools(ctx, reg, opts.Tools, nil); err != nil {
		return nil, err
	}
	if err := l.planOutput(ctx, p); err != nil {
		return nil, err
	}
	return p.request(), nil
}

// ToolKeys returns the keys of the tools that match names, keys and expressions.
func ToolKeys(ctx context.Context, reg *registry.Registry, refs []string) ([]string, error) {
	if refs == nil {
		return nil, nil
	}
	keys := make([]string, 0, len(refs))
	for _, ref := range refs {
		found, err := resolveTool(ctx, reg, ref)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if f.Key != "" {
				keys = append(keys, f.Key)
			} else {
				keys = append(keys, f.Action.Desc().Key().String())
			}
		}
	}
	return keys, nil
}
