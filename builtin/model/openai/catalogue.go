package openai

import "github.com/genkit-wasm/genkit-wasm/engine/model"

// ModelConfig describes the capabilities of one model.
type ModelConfig struct {
	// ID is the model's id on the server, such as "gpt-5-mini"; it may hold
	// slashes.
	ID string
	// Kind says which API the model speaks; empty means that its id tells.
	Kind Kind
	// Info is published with the model, but not with an embedder. Its ConfigSchema is
	// replaced by that of this package when it is nil.
	Info model.Info
}

// everything lists all capabilities that this API can carry.
var everything = model.Supports{
	Multiturn: true, Media: true, Tools: true, SystemRole: true, ToolChoice: true,
	Output: []string{"text", "json"}, Constrained: "all",
}

// Capabilities of the catalogue's rows, as differences from everything.
type limits uint

const (
	noMedia   limits = 1 << iota
	noSchemas        // json_object, but not json_schema
	noJSON           // neither
	legacy           // about to go
)

// media are the models of OpenAI that don't chat.
var media = []string{
	"gpt-image-1", "dall-e-3", "tts-1", "tts-1-hd", "gpt-4o-mini-tts", "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe",
}

// catalogue is data that ages: an id that is missing still resolves.
var catalogue = []struct {
	id, label string
	lacks     limits
}{
	{"gpt-5.6-sol", "GPT-5.6 Sol", 0},
	{"gpt-5.6-terra", "GPT-5.6 Terra", 0},
	{"gpt-5.6-luna", "GPT-5.6 Luna", 0},
	{"gpt-5.5", "GPT-5.5", 0},
	{"gpt-5.4", "GPT-5.4", 0},
	{"gpt-5.4-mini", "GPT-5.4 mini", 0},
	{"gpt-5.4-nano", "GPT-5.4 nano", 0},
	{"gpt-5.2", "GPT-5.2", 0},
	{"gpt-5.1", "GPT-5.1", 0},
	{"gpt-5", "GPT-5", 0},
	{"gpt-5-mini", "GPT-5 mini", 0},
	{"gpt-5-nano", "GPT-5 nano", 0},
	{"gpt-4.1", "GPT-4.1", 0},
	{"gpt-4.1-mini", "GPT-4.1 mini", 0},
	{"gpt-4.1-nano", "GPT-4.1 nano", 0},
	{"gpt-4o", "GPT-4o", 0},
	{"gpt-4o-mini", "GPT-4o mini", 0},
	{"o3", "o3", 0},
	{"o4-mini", "o4-mini", 0},
	{"o3-mini", "o3-mini", noMedia},
	{"o1", "o1", 0},
	{"gpt-4-turbo", "GPT-4 Turbo", noSchemas | legacy},
	{"gpt-4", "GPT-4", noMedia | noJSON | legacy},
	{"gpt-3.5-turbo", "GPT-3.5 Turbo", noMedia | noSchemas | legacy},
}

// Catalogue returns the known models of OpenAI, for a [Config] whose BaseURL is a
// proxy to it. The caller owns the slice.
func Catalogue() []ModelConfig {
	entries := make([]ModelConfig, 0, len(catalogue))
	for _, row := range catalogue {
		info := model.Info{Label: "OpenAI " + row.label, Supports: everything}
		info.Supports.Output = []string{"text", "json"}
		if row.lacks&noMedia != 0 {
			info.Supports.Media = false
		}
		if row.lacks&(noSchemas|noJSON) != 0 {
			info.Supports.Constrained = "none"
		}
		if row.lacks&noJSON != 0 {
			info.Supports.Output = []string{"text"}
		}
		if row.lacks&legacy != 0 {
			info.Stage = "legacy"
		}
		entries = append(entries, ModelConfig{ID: row.id, Kind: Chat, Info: info})
	}
	for _, id := range media {
		kind := kindOf(id)
		supports, _ := kind.about()
		entries = append(entries, ModelConfig{ID: id, Kind: kind, Info: model.Info{Label: "OpenAI " + id, Supports: supports}})
	}
	for _, e := range embedders {
		entries = append(entries, ModelConfig{ID: e.id, Kind: Embedding})
	}
	return entries
}
