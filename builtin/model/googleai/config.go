package googleai

import "github.com/genkit-wasm/genkit-wasm/builtin/model/internal/gemini"

type (
	// Options is the config of a request. Its JSON Schema is published with each model and checked before the server is asked.
	Options = gemini.Options
	// Generation is the part of [Options] that says how the model writes.
	Generation = gemini.Generation
	// Thinking is the part of [Options] that says how much the model thinks.
	Thinking = gemini.Thinking
	// SafetySetting is one of the thresholds in [Options].
	SafetySetting = gemini.SafetySetting
	// FunctionCalling is the part of [Options] that says when functions are called.
	FunctionCalling = gemini.FunctionCalling
)
