package generate

import (
	"encoding/json"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// SchemaKind is the kind of registry value that a named JSON Schema is: a
// json.RawMessage.
const SchemaKind = "schema"

const refPrefix = "genkit:"

// RegisterSchema gives a JSON Schema a name. It fails with INVALID_ARGUMENT when the
// schema is broken or the name is empty, with ALREADY_EXISTS when the name is taken.
func RegisterSchema(reg *registry.Registry, name string, raw json.RawMessage) error {
	if name == "" {
		return status.Publicf(status.InvalidArgument, "a schema needs a name")
	}
	if _, err := schema.Compile(raw); err != nil {
		return status.Publicf(status.InvalidArgument, "schema %q: %w", name, err)
	}
	return reg.RegisterValue(SchemaKind, name, append(json.RawMessage{}, raw...))
}

// SchemaRef returns a schema that refers to a registered one by name: {"$ref": "genkit:<name>"},
// as in Genkit Go.
func SchemaRef(name string) json.RawMessage {
	raw, err := rawjson.Encode(map[string]string{"$ref": refPrefix + name})
	if err != nil {
		return nil // a string always encodes
	}
	return raw
}

// ResolveSchema returns raw, or the registered schema that it refers to; NOT_FOUND when
// there is none. Only a schema that is nothing but the reference counts as one.
func ResolveSchema(reg *registry.Registry, raw json.RawMessage) (json.RawMessage, error) {
	var ref map[string]json.RawMessage
	if !strings.Contains(string(raw), refPrefix) || json.Unmarshal(raw, &ref) != nil || len(ref) != 1 {
		return raw, nil
	}
	var target string
	if json.Unmarshal(ref["$ref"], &target) != nil {
		return raw, nil
	}
	name, ok := strings.CutPrefix(target, refPrefix)
	if !ok {
		return raw, nil
	}
	value, _ := reg.Value(SchemaKind, name)
	named, ok := value.(json.RawMessage)
	if !ok {
		return nil, status.Publicf(status.NotFound, "schema %q not found", name)
	}
	return named, nil
}
