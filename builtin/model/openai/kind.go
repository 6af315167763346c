package openai

import (
	"context"
	_ "embed" // for the schemas
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Kind says which of the server's APIs a model speaks.
type Kind string

// The kinds of models. Embedders are actions of kind embedder, all others models.
const (
	Chat          Kind = "chat"          // POST /chat/completions
	Image         Kind = "image"         // POST /images/generations
	Speech        Kind = "speech"        // POST /audio/speech
	Transcription Kind = "transcription" // POST /audio/transcriptions
	Whisper       Kind = "whisper"       // the same, or POST /audio/translations
	Embedding     Kind = "embedding"     // POST /embeddings
)

// kinds tell a model's kind by its id, as Genkit's plugin for OpenAI does; the first
// that fits counts.
var kinds = []struct {
	id   *regexp.Regexp
	kind Kind
}{
	{regexp.MustCompile(`gpt-image|dall-e|grok-2-image`), Image},
	{regexp.MustCompile(`(^|[-_/.])tts($|[-_/.])`), Speech},
	{regexp.MustCompile(`whisper`), Whisper},
	{regexp.MustCompile(`transcribe`), Transcription},
	{regexp.MustCompile(`embed`), Embedding},
}

func kindOf(id string) Kind {
	for _, k := range kinds {
		if k.id.MatchString(id) {
			return k.kind
		}
	}
	return Chat
}

//go:embed image.schema.json
var imageSchema json.RawMessage

//go:embed speech.schema.json
var speechSchema json.RawMessage

//go:embed transcription.schema.json
var transcriptionSchema json.RawMessage

// about returns the description of models of a kind; it is Genkit JS's.
func (k Kind) about() (model.Supports, json.RawMessage) {
	switch k {
	case Image:
		return model.Supports{Output: []string{"media"}}, imageSchema
	case Speech:
		return model.Supports{Output: []string{"media"}}, speechSchema
	case Transcription, Whisper:
		return model.Supports{Media: true, Output: []string{"text", "json"}}, transcriptionSchema
	}
	return everything, configSchema
}

// answerer returns the function that answers for a model that is no chat model.
func (p *Provider) answerer(id string, kind Kind) model.Func {
	return func(ctx context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		if len(req.Messages) == 0 {
			return nil, status.Publicf(status.InvalidArgument, "the request has no messages")
		}
		switch kind {
		case Image:
			return p.draw(ctx, id, req)
		case Speech:
			return p.speak(ctx, id, req)
		}
		return p.transcribe(ctx, id, kind, req)
	}
}

// chatKeys are Genkit's common keys of a model's config that only chat models know;
// others leave them out, as in Genkit JS.
var chatKeys = []string{"maxOutputTokens", "stopSequences", "topK", "topP"}

// plainConfig reads the config of a model that is no chat model: the version, and the
// fields of the body. Keys in drop are left out, as are nulls; those in managed come
// from the rest of the request.
func plainConfig(raw json.RawMessage, drop, managed []string) (version string, fields map[string]json.RawMessage, err error) {
	fields = map[string]json.RawMessage{}
	if wire.IsNull(raw) {
		return "", fields, nil
	}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return "", nil, status.Publicf(status.InvalidArgument, "model config: %w", err)
	}
	version = wire.String(fields["version"])
	for name, value := range fields {
		if name == "version" || name == "apiKey" || wire.IsNull(value) || slices.Contains(drop, name) {
			delete(fields, name)
		}
	}
	for name := range fields {
		if isManagedBy(managed, name) {
			return "", nil, refuseManaged(name)
		}
	}
	return version, fields, nil
}

// isManagedBy reports whether a server may read a field as one of the managed; see [isManaged].
func isManagedBy(managed []string, field string) bool {
	return slices.ContainsFunc(managed, func(name string) bool { return strings.EqualFold(name, field) })
}

// prompt is the text of a request's first message, which is what Genkit JS sends.
func prompt(req *model.Request) string {
	return strings.TrimSpace(content.TextOf(req.Messages[0].Content))
}
