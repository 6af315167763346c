package googleai

import "github.com/genkit-wasm/genkit-wasm/builtin/model/internal/gemini"

// The config of a request: [Options] is all of it. Its JSON Schema is published with each
// model and checked before the server is asked.
type (
	Options         = gemini.Options
	Generation      = gemini.Generation
	Thinking        = gemini.Thinking
	SafetySetting   = gemini.SafetySetting
	FunctionCalling = gemini.FunctionCalling
)
