package engine

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// DefineTool makes and registers a tool; the schemas follow from the types. It
// panics when the name is taken or a type can't be JSON.
func DefineTool[In, Out any](e *Engine, name, description string, fn func(ctx context.Context, in In) (Out, error), options ...tool.Option) *tool.Def[In, Out] {
	t, err := tool.New(name, description, fn, options...)
	return define(e, t, err)
}

// DefineToolWithInputSchema is [DefineTool] for an input whose schema the type does
// not tell, such as a map.
func DefineToolWithInputSchema[In, Out any](e *Engine, name, description string, schema json.RawMessage, fn func(ctx context.Context, in In) (Out, error), options ...tool.Option) *tool.Def[In, Out] {
	resolved, err := e.resolveSchema(schema)
	must(err)
	return DefineTool(e, name, description, fn, append(options, tool.WithInputSchema(resolved))...)
}

// DefineMultipartTool makes and registers a tool that returns content parts and
// metadata beside its output. It panics like [DefineTool].
func DefineMultipartTool[In any](e *Engine, name, description string, fn func(ctx context.Context, in In) (*tool.Result, error), options ...tool.Option) *tool.Def[In, tool.Result] {
	t, err := tool.NewMultipart(name, description, fn, options...)
	return define(e, t, err)
}

// DefineInterrupt makes and registers a tool that does nothing but ask the caller;
// see [tool.NewInterrupt]. It panics like [DefineTool].
func DefineInterrupt[In, Out any](e *Engine, name, description string, ask func(ctx context.Context, in In) (any, error), options ...tool.Option) *tool.Def[In, Out] {
	t, err := tool.NewInterrupt[In, Out](name, description, ask, options...)
	return define(e, t, err)
}

// LookupTool finds a tool by key, name, or a bare name that only one tool has.
func LookupTool(ctx context.Context, e *Engine, ref string) (Tool, error) {
	a, err := e.reg.Resolve(ctx, ref, action.Tool, action.ToolV2)
	if err != nil {
		return nil, err
	}
	return tool.From(a)
}
