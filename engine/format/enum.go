package format

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

type enumFormat struct{}

// Enum returns the format "enum": the output is the one of the schema's values that
// the message's text is, exactly but for quotes, white space and a fence around it.
// Text that is none of them is returned without its quotes, for the schema to refuse.
// While it streams, a chunk gives the value once no other can follow.
func Enum() Format { return enumFormat{} }

func (enumFormat) Name() string { return "enum" }

// New takes a schema of type string or enum, or without a type and with values.
func (enumFormat) New(_ context.Context, schema json.RawMessage) (Handler, error) {
	if none(schema) {
		return &enumHandler{}, nil
	}
	s, _ := shapeOf(schema, schema)
	if !s.is("string") && !s.is("enum") && (s.Type != nil || s.Enum == nil) {
		return nil, status.Publicf(status.InvalidArgument, "Must supply a 'string' or 'enum' schema type when using the enum parser format.")
	}
	h := &enumHandler{}
	for _, raw := range s.Enum {
		h.values = append(h.values, enumValue{text: enumText(raw), raw: bytes.Clone(raw)})
	}
	return h, nil
}

type enumHandler struct {
	values []enumValue
	said   thoughts
}

type enumValue struct {
	text string // as a model writes it
	raw  json.RawMessage
}

// enumText is a string's content, or another value's JSON.
func enumText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil && string(raw) != "null" {
		return text
	}
	return string(raw)
}

var _ ChunkParser = (*enumHandler)(nil)

func (*enumHandler) Config() Config { return Config{ContentType: "text/enum", Constrained: true} }

// Instructions is Genkit's js/ai/src/formats/enum.ts, word for word.
func (h *enumHandler) Instructions() string {
	if len(h.values) == 0 {
		return ""
	}
	texts := make([]string, len(h.values))
	for i, v := range h.values {
		texts[i] = v.text
	}
	return "Output should be ONLY one of the following enum values. Do not output any additional information or add quotes.\n\n" + strings.Join(texts, "\n")
}

// Parse returns the value, or the text without quotes; nil when there is no text and
// no data.
func (h *enumHandler) Parse(_ context.Context, m *content.Message) (json.RawMessage, error) {
	text, _ := answer(m.Text())
	if raw, ok := h.match(text); ok {
		return raw, nil
	}
	if strings.TrimSpace(text) == "" {
		return firstData(m), nil
	}
	return rawjson.Encode(strings.TrimSpace(unquoted.Replace(bare(text))))
}

var unquoted = strings.NewReplacer(`"`, "", `'`, "")

// match finds the value that text is. Quotes that belong to a value are tried before
// they are taken away.
func (h *enumHandler) match(text string) (json.RawMessage, bool) {
	text = bare(text)
	forms := []string{text, stripped(text), strings.TrimSpace(unquoted.Replace(text))}
	var decoded string
	if strings.HasPrefix(text, `"`) && json.Unmarshal([]byte(text), &decoded) == nil {
		forms = append(forms, decoded)
	}
	for _, form := range forms {
		for _, v := range h.values {
			if form == v.text {
				return v.raw, true
			}
		}
	}
	return nil, false
}

// stripped takes away one pair of quotes around s.
func stripped(s string) string {
	if n := len(s); n >= 2 && s[0] == s[n-1] && (s[0] == '"' || s[0] == '\'') {
		return strings.TrimSpace(s[1 : n-1])
	}
	return s
}

// bare is the text without space and without a fence around it.
func bare(text string) string {
	text = strings.TrimSpace(text)
	if inner, ok := strings.CutPrefix(text, fence); ok {
		if _, body, ok := strings.Cut(inner, "\n"); ok {
			return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(body), fence))
		}
	}
	return text
}

// ParseChunk returns the value when text is one and none that is longer can come of
// it, or the quote that opened it is closed.
func (h *enumHandler) ParseChunk(_ context.Context, text, _ string) (json.RawMessage, error) {
	text = h.said.read(text)
	raw, ok := h.match(text)
	if !ok {
		return nil, nil
	}
	if text = bare(text); stripped(text) != text {
		return raw, nil
	}
	text = strings.TrimSpace(unquoted.Replace(text))
	for _, v := range h.values {
		longer := unquoted.Replace(v.text)
		if strings.HasPrefix(longer, text) && longer != text {
			return nil, nil
		}
	}
	return raw, nil
}
