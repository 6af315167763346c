package anthropic

import "github.com/genkit-wasm/genkit-wasm/builtin/model/internal/claude"

// The config of a request: [Options] is all of it. Its JSON Schema is published with each
// model and checked before the server is asked.
type (
	Options      = claude.Options
	Thinking     = claude.Thinking
	ToolChoice   = claude.ToolChoice
	UserMetadata = claude.UserMetadata
	CacheControl = claude.CacheControl
)
