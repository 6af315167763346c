package engine

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// DefineSchema registers a JSON Schema by name, for [WithOutputSchemaName] and for
// schemas that refer to it with {"$ref": "genkit:<name>"}. It panics when the name is
// taken or the schema is broken.
func DefineSchema(e *Engine, name string, raw json.RawMessage) {
	must(generate.RegisterSchema(e.reg, name, raw))
}

// DefineSchemaFor is [DefineSchema] for the schema of a Go type.
func DefineSchemaFor[T any](e *Engine, name string) {
	raw, err := schema.Infer[T]()
	must(err)
	DefineSchema(e, name, raw)
}

func (e *Engine) resolveSchema(raw json.RawMessage) (json.RawMessage, error) {
	return generate.ResolveSchema(e.reg, raw)
}
