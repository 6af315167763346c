package format

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
)

const (
	thinkOpen  = "<think>"
	thinkClose = "</think>"
)

// answer returns a model's text without its reasoning: the blocks <think>…</think>
// that stand before the first bracket. Templates of some models write the opening tag
// themselves, so that a closing tag alone ends a thought too. Of a thought that goes on,
// nothing is an answer.
func answer(text string) string {
	for {
		open := strings.Index(text, thinkOpen)
		bracket := strings.IndexAny(text, "{[")
		if open < 0 || bracket >= 0 && bracket < open {
			break
		}
		end := strings.Index(text[open:], thinkClose)
		if end < 0 {
			return text[:open]
		}
		text = text[:open] + text[open+end+len(thinkClose):]
	}
	start := strings.TrimLeft(text, " \t\r\n")
	if start == "" || isOpening(start[0]) || start[0] == '"' {
		return text
	}
	if end := strings.Index(text, thinkClose); end >= 0 && !strings.Contains(text[:end], thinkOpen) {
		return text[end+len(thinkClose):]
	}
	return text
}

// sought returns the bracket with which a value that obeys the schema begins, 0 when the
// schema leaves that open.
func sought(schema json.RawMessage) byte {
	s, part := shapeOf(schema, schema)
	object, array := bytes.Contains(s.Type, []byte(`"object"`)), bytes.Contains(s.Type, []byte(`"array"`))
	if len(s.Type) == 0 {
		var fields map[string]json.RawMessage
		_ = json.Unmarshal(part, &fields) // true is a schema too
		object = fields["properties"] != nil
		array = s.Items != nil
	}
	switch {
	case object && !array:
		return '{'
	case array && !object:
		return '['
	}
	return 0
}

// fits reports whether raw may be what is sought.
func fits(raw json.RawMessage, bracket byte) bool {
	return bracket == 0 || len(raw) == 0 || !isOpening(raw[0]) || raw[0] == bracket
}

// extractFor is [Extract] for a value that begins with bracket, 0 for any. A value of the
// other kind, such as the [1] of a quotation, is passed over with all that is in it,
// unless there is nothing else. With ended, a number that the text ends with is all
// there.
func extractFor(text string, bracket byte, ended bool) (json.RawMessage, bool) {
	raw, ok := Extract(text)
	if n := len(text); ended && n > 0 && text[n-1] >= '0' && text[n-1] <= '9' {
		tabbed, _ := Extract(text + "\t") // differs where the text ends in a string
		if again, _ := Extract(text + " "); bytes.Equal(again, tabbed) && again != nil {
			raw, ok = again, true
		}
	}
	if ok && fits(raw, bracket) {
		return raw, ok
	}
	if h := seek(text, bracket); h.raw != nil {
		return h.raw, true
	}
	return raw, ok
}

// completeFor is complete for a value that begins with bracket.
func completeFor(text string, bracket byte) (json.RawMessage, *repairer) {
	raw, r := complete(text)
	if fits(raw, bracket) {
		return raw, r
	}
	return seek(text, bracket).raw, nil
}

// seek finds the first value that begins with bracket and stands in no other value.
func seek(text string, bracket byte) hit {
	r := &repairer{text: text, out: make([]byte, 0, len(text)+16)}
	for from := 0; from < len(text); {
		h := r.search(from, len(text))
		if h.raw == nil || h.raw[0] == bracket {
			return h
		}
		from = max(h.end, h.start+1)
	}
	return hit{}
}

type unfinishedKey struct{}

// Unfinished says that a limit cut the message off which a [Handler] parses in ctx: a
// number at its end may go on.
func Unfinished(ctx context.Context) context.Context {
	return context.WithValue(ctx, unfinishedKey{}, true)
}

func allThere(ctx context.Context) bool {
	unfinished, _ := ctx.Value(unfinishedKey{}).(bool)
	return !unfinished
}

// fresh returns the answer in text, and what of it delta has brought, the last piece of
// text: all of it where delta has ended a thought.
func fresh(text, delta string) (whole, added string) {
	whole = answer(text)
	before := answer(text[:max(len(text)-len(delta), 0)])
	if added, grown := strings.CutPrefix(whole, before); grown {
		return whole, added
	}
	return whole, whole
}
