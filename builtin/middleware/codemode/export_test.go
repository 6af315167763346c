package codemode

import "encoding/json"

// TypeOf writes a schema as a type.
func TypeOf(raw json.RawMessage) string { return typeOf(raw) }
