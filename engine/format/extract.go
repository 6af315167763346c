package format

import (
	"encoding/json"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// maxRereads bounds how often a text is read over, in all, while its brackets are
// tried as the start of JSON.
const maxRereads = 16

// Extract finds the JSON value in what a model wrote. It takes, in this order: the
// whole text when it is JSON (any value, false and null included); the content of
// a fenced block, one marked json first; the first object or array in the text
// that can be read. Reading is lenient as in Genkit (js/ai/src/extract.ts):
// comments, trailing commas, single quotes and unquoted keys are accepted, and
// what the end of the text cuts off is closed. Numbers keep their digits.
func Extract(text string) (json.RawMessage, bool) {
	text = strings.TrimSpace(strings.ToValidUTF8(text, "\uFFFD"))
	if raw := json.RawMessage(text); schema.Check(raw) == nil {
		return raw, true
	}
	if block, ok := fenced(text); ok {
		if raw := json.RawMessage(block); schema.Check(raw) == nil {
			return raw, true
		}
		if raw, ok := scan(block); ok {
			return raw, true
		}
	}
	return scan(text)
}

// scan tries each opening bracket in turn, with a bound on the work of it.
func scan(text string) (json.RawMessage, bool) {
	from, budget := 0, maxRereads*len(text)
	for budget >= 0 {
		at := strings.IndexAny(text[from:], "{[")
		if at < 0 {
			return nil, false
		}
		from += at
		r := reader{text: text[from:]}
		if r.value() {
			return json.RawMessage(r.out), true
		}
		budget -= min(r.at, len(r.text))
		from++
	}
	return nil, false
}

const fence = "```"

// fenced returns the content of the first block marked json, else of the first
// block that starts with a bracket. A block that the text cuts off counts.
func fenced(text string) (string, bool) {
	var plain string
	rest := text
	for {
		_, after, open := strings.Cut(rest, fence)
		if !open {
			return plain, plain != ""
		}
		block, remaining, _ := strings.Cut(after, fence)
		rest = remaining
		label, body, _ := strings.Cut(block, "\n")
		if strings.EqualFold(strings.TrimSpace(label), "json") {
			return strings.TrimSpace(body), true
		}
		if plain != "" {
			continue
		}
		for _, candidate := range []string{strings.TrimSpace(block), strings.TrimSpace(body)} {
			if strings.HasPrefix(candidate, "{") || strings.HasPrefix(candidate, "[") {
				plain = candidate
				break
			}
		}
	}
}
