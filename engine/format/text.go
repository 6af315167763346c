package format

import (
	"context"
	"encoding/json"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

type textFormat struct{}

// Text returns the format "text": the output is the message's text.
func Text() Format { return textFormat{} }

var _ ChunkParser = textFormat{}

func (textFormat) Name() string                                          { return "text" }
func (textFormat) New(context.Context, json.RawMessage) (Handler, error) { return textFormat{}, nil }

func (textFormat) Config() Config       { return Config{Format: "text", ContentType: "text/plain"} }
func (textFormat) Instructions() string { return "" }

// Parse returns the text as a JSON string.
func (textFormat) Parse(_ context.Context, m *content.Message) (json.RawMessage, error) {
	return rawjson.Encode(m.Text())
}

// ParseChunk returns the text that was added. A character that the chunks cut in two comes
// with its second half.
func (textFormat) ParseChunk(_ context.Context, text, delta string) (json.RawMessage, error) {
	before := text[:max(len(text)-len(delta), 0)]
	added := text[len(before)-half(before) : len(text)-half(text)]
	if added == "" {
		return nil, nil
	}
	return rawjson.Encode(added)
}

// half returns how many bytes at the end of s are the beginning of a character.
func half(s string) int {
	for i := 1; i <= min(utf8.UTFMax-1, len(s)); i++ {
		if utf8.RuneStart(s[len(s)-i]) {
			if !utf8.FullRuneInString(s[len(s)-i:]) {
				return i
			}
			return 0
		}
	}
	return 0
}
