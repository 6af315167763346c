package claude

import "github.com/genkit-wasm/genkit-wasm/engine/model"

// Supports lists all capabilities that this API can carry.
func Supports() model.Supports {
	return model.Supports{
		Multiturn: true, Media: true, Tools: true, SystemRole: true, ToolChoice: true,
		Output: []string{"text", "json"}, Constrained: "all",
	}
}

// Models is data that ages: an id that is missing still resolves.
var Models = []struct{ ID, Label, Stage string }{
	{"claude-fable-5", "Claude Fable 5", ""},
	{"claude-opus-5", "Claude Opus 5", ""},
	{"claude-sonnet-5", "Claude Sonnet 5", ""},
	{"claude-opus-4-8", "Claude Opus 4.8", ""},
	{"claude-opus-4-7", "Claude Opus 4.7", ""},
	{"claude-opus-4-6", "Claude Opus 4.6", ""},
	{"claude-opus-4-5", "Claude Opus 4.5", "deprecated"},
	{"claude-sonnet-4-6", "Claude Sonnet 4.6", ""},
	{"claude-sonnet-4-5", "Claude Sonnet 4.5", ""},
	{"claude-haiku-4-5", "Claude Haiku 4.5", ""},
}
