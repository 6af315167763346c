package anthropic

import (
	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/claude"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// ModelConfig describes the capabilities of one model.
type ModelConfig struct {
	// ID is the model's id on the server, such as "claude-sonnet-5".
	ID string
	// Info is published with the model. Its ConfigSchema is replaced by that of this
	// package when it is nil.
	Info model.Info
}

// Catalogue returns the known models of Anthropic, for a [Config] whose BaseURL is a proxy
// to it. The caller owns the slice.
func Catalogue() []ModelConfig {
	entries := make([]ModelConfig, 0, len(claude.Models))
	for _, row := range claude.Models {
		entries = append(entries, ModelConfig{ID: row.ID, Info: model.Info{Label: "Anthropic " + row.Label, Stage: row.Stage, Supports: claude.Supports()}})
	}
	return entries
}
