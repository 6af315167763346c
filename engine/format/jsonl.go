package format

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

type jsonlFormat struct{}

// JSONL returns the format "jsonl": the output is an array of the objects that stand
// on lines of their own in the message's text; other lines, and those that can't be
// read, are skipped. While it streams, each chunk gives the objects of the lines that
// it ended; a last line without an end comes with the final output.
func JSONL() Format { return jsonlFormat{} }

func (jsonlFormat) Name() string { return "jsonl" }

// New takes a schema of type array whose items are of type object.
func (jsonlFormat) New(_ context.Context, schema json.RawMessage) (Handler, error) {
	if none(schema) {
		return &jsonlHandler{}, nil
	}
	s, _ := shapeOf(schema, schema)
	row, rowSchema := shapeOf(schema, s.Items)
	if !s.is("array") || !row.is("object") {
		return nil, status.Publicf(status.InvalidArgument, "Must supply an 'array' schema type containing 'object' items when using the 'jsonl' parser format.")
	}
	return &jsonlHandler{row: standalone(schema, rowSchema)}, nil
}

type jsonlHandler struct {
	row  json.RawMessage
	said thoughts
	seen int // how much of the streamed text was given
	at   int // where the line starts that has not ended
}

var _ ChunkParser = (*jsonlHandler)(nil)

func (*jsonlHandler) Config() Config { return Config{ContentType: "application/jsonl"} }

// Instructions is Genkit's js/ai/src/formats/jsonl.ts, word for word.
func (h *jsonlHandler) Instructions() string {
	if h.row == nil {
		return ""
	}
	return "Output should be JSONL format, a sequence of JSON objects (one per line) separated by a newline `\\n` character. " +
		"Each line should be a JSON object conforming to the following schema:\n\n" + fencedSchema(h.row) + "\n    "
}

// Parse returns the objects of all lines; no line is an empty array, as in Genkit.
func (h *jsonlHandler) Parse(ctx context.Context, m *content.Message) (json.RawMessage, error) {
	text := m.Text()
	if data := firstData(m); text == "" && data != nil {
		return data, nil
	}
	var rows []json.RawMessage
	for _, text := range answers(text) {
		if rows = final(text, allThere(ctx)); len(rows) > 0 {
			break
		}
	}
	return list(rows), nil
}

// ParseChunk returns the objects of the lines that delta ended, nil for none.
func (h *jsonlHandler) ParseChunk(_ context.Context, text, delta string) (json.RawMessage, error) {
	text, delta = h.said.grown(text, delta)
	if before := max(len(text)-len(delta), 0); before != h.seen { // another message
		h.at = strings.LastIndexByte(text[:before], '\n') + 1
	}
	h.seen = len(text)
	rows, size := ended(text[h.at:])
	h.at += size
	if len(rows) == 0 {
		return nil, nil
	}
	return list(rows), nil
}

// final returns the objects of all lines. Of a message that is all there the last one is
// completed, as json's is.
func final(text string, complete bool) []json.RawMessage {
	rows, size := ended(text)
	last := text[size:]
	more, _ := ended(last + "\n")
	if line := strings.TrimSpace(last); len(more) == 0 && complete && strings.HasPrefix(line, "{") {
		if raw, ok := cutOff(line); ok {
			more = append(more, raw)
		}
	}
	return append(rows, more...)
}

// cutOff reads a value whose end is missing.
func cutOff(line string) (json.RawMessage, bool) {
	r := repairer{text: line}
	if r.run() != cut {
		return nil, false
	}
	raw, ok := extractEnded(line, true)
	return raw, ok
}

// ended returns the objects of the lines in text that have ended, and where the last
// of them ends.
func ended(text string) (rows []json.RawMessage, size int) {
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		size += len(line)
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "{") {
			r := repairer{text: line}
			if r.run() == whole {
				rows = append(rows, r.value())
			}
		}
	}
	return rows, size
}
