package gemini

import (
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// Supports are the capabilities that an id tells: everything that this API can carry,
// but for models that draw or speak.
func Supports(id string) model.Supports {
	switch {
	case isSpeech(id):
		return model.Supports{Output: []string{"media"}}
	case isImage(id):
		return model.Supports{Multiturn: true, Media: true, SystemRole: true, Output: []string{"text", "media"}}
	}
	return model.Supports{
		Multiturn: true, Media: true, Tools: true, SystemRole: true, ToolChoice: true,
		Output: []string{"text", "json"}, Constrained: "all",
	}
}

func isSpeech(id string) bool { return strings.Contains(id, "-tts") }

func isImage(id string) bool { return strings.Contains(id, "-image") }

// IsEmbedder reports whether an id is that of an embedder.
func IsEmbedder(id string) bool { return strings.Contains(id, "embedding") }

// Models is data that ages: an id that is missing still resolves.
var Models = []struct{ ID, Label string }{
	{"gemini-3.7-flash", "Gemini 3.7 Flash"},
	{"gemini-3.6-flash", "Gemini 3.6 Flash"},
	{"gemini-3.5-flash", "Gemini 3.5 Flash"},
	{"gemini-3.1-pro-preview", "Gemini 3.1 Pro preview"},
	{"gemini-3-pro-preview", "Gemini 3 Pro preview"},
	{"gemini-3-flash-preview", "Gemini 3 Flash preview"},
	{"gemini-2.5-pro", "Gemini 2.5 Pro"},
	{"gemini-2.5-flash", "Gemini 2.5 Flash"},
	{"gemini-2.5-flash-lite", "Gemini 2.5 Flash-Lite"},
	{"gemini-2.5-flash-image", "Gemini 2.5 Flash Image"},
	{"gemini-2.5-flash-preview-tts", "Gemini 2.5 Flash TTS preview"},
	{"gemini-2.5-pro-preview-tts", "Gemini 2.5 Pro TTS preview"},
	{"gemini-flash-latest", "Gemini Flash"},
	{"gemini-flash-lite-latest", "Gemini Flash-Lite"},
	{"gemini-pro-latest", "Gemini Pro"},
}
