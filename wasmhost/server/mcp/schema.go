package mcp

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// wrapped is the member that holds the input of a tool that takes no object: arguments in MCP are objects.
const wrapped = "input"

var anyObject = json.RawMessage(`{"type":"object"}`)

// inputSchema is the schema of a tool's arguments, and whether the tool's input is a member of them.
func inputSchema(d action.Desc, hints Hints) (schema json.RawMessage, wraps bool) {
	switch {
	case !isNothing(d.InputSchema):
	case hints.Text:
		d.InputSchema = json.RawMessage(`{"type":"string"}`)
	default:
		return anyObject, false
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(d.InputSchema, &object) != nil || object == nil {
		return anyObject, false // true: anything will do
	}
	switch takes(object) {
	case exactlyObjects:
		return d.InputSchema, false
	case objectsToo:
		object["type"] = json.RawMessage(`"object"`)
		if raw, err := rawjson.Encode(object); err == nil {
			return raw, false
		}
		return anyObject, false
	}
	outer := map[string]any{"type": "object", "required": []string{wrapped}}
	for _, name := range []string{"$defs", "definitions", "$schema"} { // references to them begin at the root
		if raw, ok := object[name]; ok {
			outer[name] = raw
			delete(object, name)
		}
	}
	outer["properties"] = map[string]any{wrapped: object}
	raw, err := rawjson.Encode(outer)
	if err != nil {
		return anyObject, false
	}
	return raw, true
}

// outputSchema is the schema of what a tool returns, where that is always an object: earlier revisions know no other
// structured content.
func outputSchema(raw json.RawMessage) json.RawMessage {
	var object map[string]json.RawMessage
	if isNothing(raw) || json.Unmarshal(raw, &object) != nil || takes(object) != exactlyObjects {
		return nil
	}
	return raw
}

type objects int

const (
	noObjects objects = iota
	objectsToo
	exactlyObjects
)

func takes(schema map[string]json.RawMessage) objects {
	raw, ok := schema["type"]
	if !ok {
		for _, name := range []string{"const", "enum"} {
			if _, ok := schema[name]; ok {
				return noObjects
			}
		}
		return objectsToo
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		if one == "object" {
			return exactlyObjects
		}
		return noObjects
	}
	var several []string
	if json.Unmarshal(raw, &several) == nil && slices.Contains(several, "object") {
		return objectsToo
	}
	return noObjects
}

func isNothing(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || string(raw) == "null"
}
