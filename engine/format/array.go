package format

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

type arrayFormat struct{}

// Array returns the format "array": the output is the items of the first JSON array
// in the message's text that can be read, the last one completed where the end cuts it
// off, unless the message is [Unfinished]; else its first data part.
// While it streams, each chunk gives the items that it completed.
func Array() Format { return arrayFormat{} }

func (arrayFormat) Name() string { return "array" }

// New takes a schema of type array.
func (arrayFormat) New(_ context.Context, schema json.RawMessage) (Handler, error) {
	h := &arrayHandler{schema: schema}
	if none(schema) {
		return h, nil
	}
	s, _ := shapeOf(schema, schema)
	if !s.is("array") {
		return nil, status.Publicf(status.InvalidArgument, "Must supply an 'array' schema type when using the 'array' parser format.")
	}
	if !none(s.Items) {
		h.kinds = sought(schema, s.Items)
		h.items.kinds = h.kinds
	}
	return h, nil
}

type arrayHandler struct {
	schema json.RawMessage
	kinds  kinds // of the items, 0 for any
	said   thoughts
	seen   int // how much of the streamed text items has read
	items  items
}

var _ ChunkParser = (*arrayHandler)(nil)

func (*arrayHandler) Config() Config {
	return Config{ContentType: "application/json", Constrained: true}
}

// Instructions is Genkit's js/ai/src/formats/array.ts, word for word.
func (h *arrayHandler) Instructions() string {
	if none(h.schema) {
		return ""
	}
	return "Output should be a JSON array conforming to the following schema:\n    \n" + fencedSchema(h.schema) + "\n    "
}

// Parse returns the array, nil when there is none.
func (h *arrayHandler) Parse(ctx context.Context, m *content.Message) (json.RawMessage, error) {
	for i, text := range answers(m.Text()) {
		if i > 0 && firstData(m) != nil {
			break
		}
		it := items{kinds: h.kinds}
		all := it.next(text)
		if !it.found() {
			continue
		}
		if raw := it.last(text); raw != nil && allThere(ctx) {
			all = append(all, raw)
		}
		return list(all), nil
	}
	return firstData(m), nil
}

// ParseChunk returns the items that delta completed, nil for none.
func (h *arrayHandler) ParseChunk(_ context.Context, text, delta string) (json.RawMessage, error) {
	text, delta = h.said.grown(text, delta)
	if before := len(text) - len(delta); before != h.seen { // another message
		h.items = items{kinds: h.kinds}
		h.items.next(text[:max(before, 0)])
	}
	h.seen = len(text)
	completed := h.items.next(text)
	if len(completed) == 0 {
		return nil, nil
	}
	return list(completed), nil
}

// items reads the items of an array in a text that grows. Its result depends on the
// text that was read so far alone, so it does not matter in which pieces the text
// comes.
type items struct {
	kinds kinds // a bracket opens the array only before a value of these, 0 for any
	at    int   // where to go on
	place place
	r     repairer
}

type place int

const (
	before place = iota // no array yet
	first               // after its bracket
	item                // before another item
	behind              // after an item
	over
)

func (s *items) found() bool { return s.place != before }

// next returns the items that are complete in text and were not returned before.
// text begins with the text of the last call.
func (s *items) next(text string) []json.RawMessage {
	var fresh []json.RawMessage
	s.r.text = text
	for s.place != over {
		if s.place == before {
			at := strings.IndexByte(text[s.at:], '[')
			if at < 0 {
				s.at = len(text)
				return fresh
			}
			s.at += at + 1
			s.place = first
		}
		s.r.at = s.at
		s.r.space()
		if s.r.at >= len(text) {
			return fresh
		}
		s.at = s.r.at
		switch c := text[s.at]; {
		case c == ']':
			s.place = over
		case s.place == first && s.kinds != 0 && s.kinds&kindOf(c) == 0:
			s.place = before
		case c == ',' && s.place != first:
			s.at++
			s.place = item
		case s.place == behind && c != '{': // JS takes objects without a comma between them
			if !s.skip() {
				return fresh
			}
		default:
			raw, more := s.item()
			if !more {
				return fresh
			}
			if raw != nil {
				fresh = append(fresh, raw)
			}
		}
	}
	return fresh
}

// last returns the item that the end of the text cuts off, completed; nil for none.
func (s *items) last(text string) json.RawMessage {
	if s.place == before || s.place == over || s.at >= len(text) || s.place == behind && text[s.at] != '{' {
		return nil
	}
	read := func(end string) json.RawMessage {
		r := repairer{text: text + end, at: s.at}
		if r.run() == malformed {
			return nil
		}
		return r.value()
	}
	if raw := read(" "); endsInDigit(text) && bytes.Equal(raw, read("\t")) { // else it ends in a string
		return raw
	}
	return read("")
}

// item reads an item, or gets past one that can't be read; more is false when the
// text must grow first.
func (s *items) item() (raw json.RawMessage, more bool) {
	switch s.r.run() {
	case whole:
		raw = s.r.value()
		s.at, s.place = s.r.at, behind
		return raw, true
	case cut:
		return nil, false
	}
	if s.place == first && !s.r.read { // prose in brackets
		s.at, s.place = max(s.r.at, s.at), before
		return nil, true
	}
	read := s.r.at
	if end, ok := balanced(s.r.text, s.at, true); ok && end < read { // it only seems to end, in a comment
		s.at = read
	}
	return nil, s.skip()
}

// skip goes to the next comma or bracket of the array.
func (s *items) skip() bool {
	end, ok := balanced(s.r.text, s.at, true)
	if !ok {
		return false
	}
	s.at, s.place = end, behind
	if s.r.text[end] == '}' { // no bracket of an array: what was taken for one is over
		s.place = over
	}
	return true
}
