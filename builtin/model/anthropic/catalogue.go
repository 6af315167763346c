package anthropic

import "github.com/genkit-wasm/genkit-wasm/engine/model"

// ModelConfig describes the capabilities of one model.
type ModelConfig struct {
	// ID is the model's id on the server, such as "claude-sonnet-5".
	ID string
	// Info is published with the model. Its ConfigSchema is replaced by that of this
	// package when it is nil.
	Info model.Info
}

// everything lists all capabilities that this API can carry.
func everything() model.Supports {
	return model.Supports{
		Multiturn: true, Media: true, Tools: true, SystemRole: true, ToolChoice: true,
		Output: []string{"text", "json"}, Constrained: "all",
	}
}

// catalogue is data that ages: an id that is missing still resolves.
var catalogue = []struct{ id, label, stage string }{
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

// Catalogue returns the known models of Anthropic, for a [Config] whose BaseURL is a proxy
// to it. The caller owns the slice.
func Catalogue() []ModelConfig {
	entries := make([]ModelConfig, 0, len(catalogue))
	for _, row := range catalogue {
		entries = append(entries, ModelConfig{ID: row.id, Info: model.Info{Label: "Anthropic " + row.label, Stage: row.stage, Supports: everything()}})
	}
	return entries
}
