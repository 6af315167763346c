// Package tool is the noun "tool": how one is made, how a model sees it, and how
// it stops to ask.
//
// It owns the definition that is sent to models and the interrupt. A tool itself
// is an action of kind tool. Use:
//
//	add, err := tool.New("math/add", "Adds two numbers.", func(ctx context.Context, in Pair) (Sum, error) { … })
//
// Tools are safe for concurrent use when their function is.
package tool

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// Def is a tool with Go types at its edge.
type Def[In, Out any] = action.Def[In, Out, json.RawMessage]

// New makes a tool of fn; the schemas follow from the types. It fails with
// INVALID_ARGUMENT when the name or a type is not usable.
func New[In, Out any](name, description string, fn func(ctx context.Context, in In) (Out, error)) (*Def[In, Out], error) {
	desc := action.Desc{Kind: action.Tool, Name: name, Description: description, Metadata: Metadata()}
	return action.Define(desc, func(ctx context.Context, in In, _ func(json.RawMessage) error) (Out, error) { return fn(ctx, in) })
}

// NewRaw makes a tool that works on raw JSON and may stream chunks. Schemas may
// be nil.
func NewRaw(name, description string, inputSchema, outputSchema json.RawMessage, fn action.Func) (action.Action, error) {
	return action.New(action.Desc{
		Kind: action.Tool, Name: name, Description: description,
		InputSchema: inputSchema, OutputSchema: outputSchema, Metadata: Metadata(),
	}, fn)
}

// Metadata returns the metadata of a tool's descriptor.
func Metadata() map[string]json.RawMessage {
	return map[string]json.RawMessage{"type": json.RawMessage(`"tool"`)}
}

// anySchema stands for a schema that is not given (Genkit's tests/specs/generate.yaml).
var anySchema = json.RawMessage(`{"$schema":"http://json-schema.org/draft-07/schema#"}`)

// Definition returns a as a model sees it: under its short name, with the full
// name in metadata.originalName when that differs.
func Definition(a action.Action) model.ToolDefinition {
	d := a.Desc()
	def := model.ToolDefinition{
		Name: action.ShortName(d.Name), Description: d.Description,
		InputSchema: orAny(d.InputSchema), OutputSchema: orAny(d.OutputSchema),
	}
	if def.Name != d.Name {
		original, err := rawjson.Encode(d.Name)
		if err == nil {
			def.Metadata = content.Metadata{"originalName": original}
		}
	}
	return def
}

func orAny(s json.RawMessage) json.RawMessage {
	if s == nil {
		return anySchema
	}
	return s
}
