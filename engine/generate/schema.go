package generate

import "encoding/json"

// optionsSchema is the input schema of /util/generate: Genkit's
// GenerateActionOptions. Unknown fields are let through, as Genkit JS does it.
var optionsSchema = json.RawMessage(`{
"$defs": {
  "part": {"type": "object"},
  "message": {
    "type": "object",
    "properties": {
      "role": {"type": "string", "enum": ["system", "user", "model", "tool"]},
      "content": {"type": "array", "items": {"$ref": "#/$defs/part"}},
      "metadata": {"type": "object"}
    },
    "required": ["role", "content"]
  },
  "document": {
    "type": "object",
    "properties": {"content": {"type": "array", "items": {"$ref": "#/$defs/part"}}, "metadata": {"type": "object"}},
    "required": ["content"]
  }
},
"type": "object",
"properties": {
  "model": {"type": "string", "description": "Name or key of the model; the default model when absent."},
  "docs": {"type": "array", "items": {"$ref": "#/$defs/document"}},
  "messages": {"type": "array", "items": {"$ref": "#/$defs/message"}},
  "tools": {"type": "array", "items": {"type": "string"}, "description": "Names or keys of tools."},
  "resources": {"type": "array", "items": {"type": "string"}},
  "toolChoice": {"type": "string", "enum": ["auto", "required", "none"]},
  "config": {"description": "Passed to the model."},
  "output": {
    "type": "object",
    "properties": {
      "format": {"type": "string"},
      "contentType": {"type": "string"},
      "instructions": {"type": ["boolean", "string"]},
      "jsonSchema": {},
      "constrained": {"type": "boolean"}
    }
  },
  "resume": {
    "type": "object",
    "properties": {
      "respond": {"type": "array", "items": {"type": "object", "required": ["toolResponse"]}},
      "restart": {"type": "array", "items": {"type": "object", "required": ["toolRequest"]}},
      "metadata": {"type": "object"}
    }
  },
  "returnToolRequests": {"type": "boolean"},
  "maxTurns": {"type": "number"},
  "stepName": {"type": "string"},
  "use": {
    "type": "array",
    "items": {"type": "object", "properties": {"name": {"type": "string"}, "config": {}}, "required": ["name"]}
  }
},
"required": ["messages"]
}`)
