package anthropic

import "github.com/genkit-wasm/genkit-wasm/builtin/model/internal/claude"

type (
	// Options is the config of a request. Its JSON Schema is published with each model and checked before the server is asked.
	Options = claude.Options
	// Thinking is the part of [Options] that says how much the model thinks.
	Thinking = claude.Thinking
	// ToolChoice is the part of [Options] that says whether tools are used.
	ToolChoice = claude.ToolChoice
	// UserMetadata is the part of [Options] that tells the users of an application apart.
	UserMetadata = claude.UserMetadata
	// CacheControl is the part of [Options] that says what the server keeps.
	CacheControl = claude.CacheControl
)
