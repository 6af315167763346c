package format

import (
	"encoding/json"
	"strings"
	"unicode"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// Extract finds the JSON value in what a model wrote, whose end has been reached. It
// takes, in this order: the whole text when it is JSON (any value, false and null
// included); an object or array at its start; the content of a fenced block, one
// marked json first; the first object or array in the text that can be read.
//
// Reading is lenient as in Genkit (js/ai/src/extract.ts): comments, trailing commas,
// single quotes, unquoted keys and JSON5's numbers are accepted, and strings, arrays
// and objects that the end of the text cuts off are closed. Numbers keep their digits,
// repeated keys are kept as written, and the result is valid JSON. Text that is
// malformed in another way is no value. The work is linear in the text.
func Extract(text string) (json.RawMessage, bool) {
	clean := strings.TrimSpace(strings.ToValidUTF8(text, "\uFFFD"))
	if raw := json.RawMessage(clean); schema.Check(raw) == nil {
		return raw, true
	}
	raw, _ := locate(text, false)
	return raw, raw != nil
}

// Complete finds the JSON value in the beginning of a text, like [Extract], and
// returns it as far as it is known: open containers are closed, innermost first; a
// string is kept as far as it goes, without half an escape or half a character; a
// key, a number and a separator at the end are dropped, since they may not be all
// there; the beginning of true, false or null is completed, since it can become
// nothing else. Where the text is malformed, the value is what stood before it.
//
// When Extract finds a value in a text, Complete finds the same in it, except a
// number on its own that the text ends with.
func Complete(text string) (json.RawMessage, bool) {
	raw, _ := complete(text)
	return raw, raw != nil
}

// complete is [Complete] and returns, when that is known, the repairer which goes on
// reading the value when the text grows.
func complete(text string) (json.RawMessage, *repairer) {
	if raw, ok := lone(text, false); ok {
		return raw, nil
	}
	return locate(text, true)
}

// lone returns a scalar that is the whole text. A number counts when something
// follows it or the text is final.
func lone(text string, final bool) (json.RawMessage, bool) {
	s := strings.TrimSpace(text)
	if s == "" || strings.IndexByte(`"-0123456789tfn`, s[0]) < 0 {
		return nil, false
	}
	if s[0] <= '9' && s[0] != '"' && !final && strings.HasSuffix(text, s) {
		return nil, false
	}
	raw := json.RawMessage(strings.ToValidUTF8(s, "\uFFFD"))
	return raw, schema.Check(raw) == nil
}

func locate(text string, rewind bool) (json.RawMessage, *repairer) {
	r := &repairer{text: text, out: make([]byte, 0, len(text)+16)}
	r.space()
	if r.at < len(text) && isOpening(text[r.at]) && r.run() != malformed {
		return r.value(), r
	}
	anywhere := r.search(0, len(text))
	b, ok := fenced(text)
	if !ok || anywhere.holds(b.open) {
		return anywhere.value(rewind), nil
	}
	if raw, ok := lone(text[b.start:b.end], b.closed || !rewind); ok {
		return raw, nil
	}
	inBlock := anywhere
	if anywhere.raw == nil || anywhere.start < b.start || anywhere.start >= b.end {
		inBlock = r.search(b.start, b.end)
	}
	switch {
	case inBlock.raw != nil && b.json: // no other block comes before it anymore
		return inBlock.raw, r
	case inBlock.raw != nil || anywhere.raw == nil && inBlock.before != nil:
		return inBlock.value(rewind), nil
	}
	return anywhere.value(rewind), nil
}

func isOpening(c byte) bool { return c == '{' || c == '[' }

// hit is the result of a search.
type hit struct {
	raw        json.RawMessage // nil when nothing could be read
	start, end int             // where raw stands
	before     json.RawMessage // of malformed text: the value that was read before the first mistake
}

// holds reports whether a place is inside of what was found, such as in a string.
func (h hit) holds(at int) bool { return h.raw != nil && h.start < at && at < h.end }

func (h hit) value(rewind bool) json.RawMessage {
	if h.raw == nil && rewind {
		return h.before
	}
	return h.raw
}

// search tries the brackets between from and end as the start of a value. A bracket
// behind which nothing could be read is prose. A value that is malformed further on
// is passed over, with all that is in it.
func (r *repairer) search(from, end int) (h hit) {
	for from < end {
		at := strings.IndexAny(r.text[from:end], "{[")
		if at < 0 {
			break
		}
		at += from
		r.at = at
		if r.run() != malformed {
			h.raw, h.start, h.end = r.value(), at, r.at
			break
		}
		if !r.read {
			from = max(r.at, at+1) // all brackets up to there fail at the same place
			continue
		}
		if h.before == nil {
			h.before = r.value()
		}
		from, _ = balanced(r.text, at, false)
		from = max(from, r.at) // in a comment, a bracket may seem to close it earlier
	}
	return h
}

const fence = "```"

// block is a fenced block's content in its text.
type block struct {
	open       int // where its fence stands
	start, end int
	closed     bool
	json       bool // it is marked so
}

// fenced returns the first block marked json, else the first one that starts with a
// bracket. A value in it may hold a fence itself: end is where the next fence stands.
func fenced(text string) (b block, found bool) {
	for at := 0; ; {
		open := strings.Index(text[at:], fence)
		if open < 0 {
			return b, found
		}
		start := at + open + len(fence)
		c := block{open: at + open, start: start, end: len(text)}
		if next := strings.Index(text[start:], fence); next >= 0 {
			c.end, c.closed = start+next, true
		}
		at = min(len(text), c.end+len(fence))
		label, _, line := strings.Cut(text[start:c.end], "\n")
		if line && !strings.ContainsAny(label, "{[") {
			c.start += len(label) + 1
		}
		if line && strings.EqualFold(strings.TrimSpace(label), "json") {
			c.json = true
			return c, true
		}
		body := strings.TrimLeftFunc(text[c.start:c.end], unicode.IsSpace)
		if !found && body != "" && isOpening(body[0]) {
			b, found = c, true
		}
	}
}
