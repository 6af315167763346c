package wire

import (
	"encoding/json"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// ConstrainedSchema is the schema that the answer to a request has to obey, where the model
// can be made to; nil where there is none, or it stands in the prompt.
func ConstrainedSchema(req *model.Request, supports model.Supports) json.RawMessage {
	out := req.Output
	if out == nil || (out.Format != "json" && (out.Format != "" || out.ContentType != JSON)) || out.Constrained == nil || !*out.Constrained {
		return nil
	}
	able := supports.Constrained == "all" || (supports.Constrained == "no-tools" && len(req.Tools) == 0)
	if !able || !IsObject(out.Schema) {
		return nil
	}
	return out.Schema
}

// notEnforced are the keywords that a server which decodes by a schema refuses. The engine
// checks the answer against the whole schema all the same.
var notEnforced = []string{
	"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems",
	"uniqueItems", "minProperties", "maxProperties", "propertyNames", "$schema",
}

// Enforceable returns a schema without what a server can't enforce, its objects closed
// against further properties.
func Enforceable(raw json.RawMessage) (json.RawMessage, error) {
	if !IsObject(raw) {
		return raw, nil
	}
	o, err := ParseObject(raw)
	if err != nil {
		return nil, err
	}
	o = slices.DeleteFunc(o, func(f Field) bool { return slices.Contains(notEnforced, f.Name) })
	if err := o.Subschemas(Enforceable); err != nil {
		return nil, err
	}
	raw, err = rawjson.Encode(o)
	if err != nil {
		return nil, err
	}
	return CloseObjects(raw)
}
