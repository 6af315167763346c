package engine

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// DefineSchema registers a JSON Schema by name, for [WithOutputSchemaName] and for
// whoever writes {"$ref": "genkit:<name>"}. It panics when the name is taken or the
// schema is broken.
func DefineSchema(e *Engine, name string, raw json.RawMessage) {
	must(generate.RegisterSchema(e.reg, name, raw))
}

// DefineSchemaFor is [DefineSchema] for the schema of a Go type.
func DefineSchemaFor[T any](e *Engine, name string) {
	raw, err := schema.Infer[T]()
	must(err)
	DefineSchema(e, name, raw)
}

// WithOutputSchemaName asks for output that obeys a schema that was registered by
// name; a call fails with NOT_FOUND when there is none.
func WithOutputSchemaName(name string) GenerateOption {
	return func(r *request) { r.output().JSONSchema = generate.SchemaRef(name) }
}

func (e *Engine) resolveSchema(raw json.RawMessage) (json.RawMessage, error) {
	return generate.ResolveSchema(e.reg, raw)
}
