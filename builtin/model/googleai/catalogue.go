package googleai

import (
	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/gemini"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// ModelConfig describes the capabilities of one model.
type ModelConfig struct {
	// ID is the model's id on the server, such as "gemini-2.5-flash".
	ID string
	// Info is published with the model. Its ConfigSchema is replaced by that of this
	// package when it is nil.
	Info model.Info
}

// Catalogue returns the known models of Google AI, for a [Config] whose BaseURL is a proxy
// to it. The caller owns the slice.
func Catalogue() []ModelConfig {
	entries := make([]ModelConfig, 0, len(gemini.Models))
	for _, row := range gemini.Models {
		entries = append(entries, ModelConfig{ID: row.ID, Info: model.Info{Label: "Google AI " + row.Label, Supports: gemini.Supports(row.ID)}})
	}
	return entries
}
