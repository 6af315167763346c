package format

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/rawjson"
)

type textFormat struct{}

// Text returns the format "text": the output is the message's text.
func Text() Format { return textFormat{} }

func (textFormat) Name() string                         { return "text" }
func (textFormat) New(json.RawMessage) (Handler, error) { return textFormat{}, nil }
func (textFormat) Config() Config                       { return Config{Format: "text", ContentType: "text/plain"} }
func (textFormat) Instructions() string                 { return "" }

// Parse returns the text as a JSON string.
func (textFormat) Parse(_ context.Context, m *content.Message) (json.RawMessage, error) {
	return rawjson.Encode(m.Text())
}

// ParseChunk returns what was added.
func (textFormat) ParseChunk(_ context.Context, _, delta string) (json.RawMessage, error) {
	return rawjson.Encode(delta)
}
