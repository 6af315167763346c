package format

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
)

type jsonFormat struct{}

// JSON returns the format "json": the output is the JSON value found in the
// message's text, or its first data part. While it streams, each chunk gives the
// whole value as far as it is known. Of a text that starts with the value, or has it
// in a block marked json, only what is new is read; any other text is read anew with
// each chunk.
func JSON() Format { return jsonFormat{} }

func (jsonFormat) Name() string { return "json" }

func (jsonFormat) New(_ context.Context, schema json.RawMessage) (Handler, error) {
	return &jsonHandler{schema: schema, wish: newWish(schema)}, nil
}

type jsonHandler struct {
	schema  json.RawMessage
	wish    wish
	said    thoughts
	reading *repairer // goes on with the streamed text, nil when that must be read anew
	ended   bool      // the end of the value was read
}

var _ ChunkParser = (*jsonHandler)(nil)

func (*jsonHandler) Config() Config {
	return Config{Format: "json", ContentType: "application/json", Constrained: true, NoDefaultInstructions: true}
}

// Instructions returns Genkit's text with the compact schema, "" without one.
func (h *jsonHandler) Instructions() string { return schemaInstructions(h.schema) }

// schemaInstructions is Genkit's js/ai/src/formats/json.ts, word for word.
func schemaInstructions(schema json.RawMessage) string {
	block := fencedSchema(schema)
	if none(schema) || block == "" {
		return ""
	}
	return "Output should be in JSON format and conform to the following schema:\n\n" + block + "\n"
}

// Parse returns the JSON value in the text that is what the schema looks for, nil when there
// is none.
func (h *jsonHandler) Parse(ctx context.Context, m *content.Message) (json.RawMessage, error) {
	for i, text := range answers(m.Text()) {
		if i > 0 && firstData(m) != nil {
			break
		}
		if raw, ok := h.wish.find(ctx, text, allThere(ctx)); ok {
			return raw, nil
		}
	}
	return firstData(m), nil
}

// ParseChunk returns the value as far as it is known.
func (h *jsonHandler) ParseChunk(ctx context.Context, text, _ string) (json.RawMessage, error) {
	text = h.said.read(text)
	if r := h.reading; r != nil && strings.HasPrefix(text, r.text) {
		o := whole
		if h.ended {
			r.text = text
		} else {
			o = r.resume(text)
			h.ended = o == whole
		}
		if raw := r.value(); o == cut || o == whole && !h.wish.passes(ctx, raw, r) {
			return raw, nil
		}
	}
	raw, r := h.wish.complete(ctx, text)
	h.reading, h.ended = r, r != nil && len(r.stack) == 0
	return raw, nil
}

// firstData returns the first data part, nil when there is none: a provider may give
// structured output as data.
func firstData(m *content.Message) json.RawMessage {
	if m == nil {
		return nil
	}
	for i := range m.Content {
		if data := m.Content[i].Data; len(data) > 0 {
			return data
		}
	}
	return nil
}
