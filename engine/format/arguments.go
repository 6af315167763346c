package format

import (
	"encoding/json"
	"strings"
)

// maxQuoted bounds how often an object may be written as a string of JSON.
const maxQuoted = 3

// Arguments reads the object that a model wrote as the arguments of a tool call. It
// takes what models are known to write instead of plain JSON: the liberties of
// [Extract] (comments, trailing commas, single quotes, unquoted keys), a string that
// holds the object, a Markdown fence or a model's own control tokens ("<|im_end|>")
// around it, and closing brackets that are left over. null is an empty object.
//
// Unlike Extract it completes nothing: an object whose end is missing may lack what
// matters, and a tool must not run on it. Text of another kind before or after the
// object, a second object included, is no arguments either. The work is linear in
// the text.
func Arguments(text string) (json.RawMessage, bool) {
	for range maxQuoted {
		text = unwrap(text)
		if text == "null" {
			return json.RawMessage(`{}`), true
		}
		var inner string
		if strings.HasPrefix(text, `"`) && json.Unmarshal([]byte(text), &inner) == nil {
			text = inner
			continue
		}
		return wholeObject(text)
	}
	return nil, false
}

// wholeObject reads an object that text begins with and ends with.
func wholeObject(text string) (json.RawMessage, bool) {
	if !strings.HasPrefix(text, "{") {
		return nil, false
	}
	r := &repairer{text: text, out: make([]byte, 0, len(text)+16)}
	if r.run() != whole || strings.Trim(unwrap(text[r.at:]), "}] \t\r\n") != "" {
		return nil, false
	}
	return r.value(), true
}

// maxToken bounds a control token, its brackets included.
const maxToken = 36

// unwrap takes away what models put around arguments.
func unwrap(text string) string {
	text = unfence(text)
	for {
		before := len(text)
		text = strings.TrimSpace(text)
		for _, mark := range []string{"\uFEFF", "```", "<tool_call>"} {
			text = strings.TrimPrefix(text, mark)
		}
		for _, mark := range []string{"```", "</tool_call>", "</s>"} {
			text = strings.TrimSuffix(text, mark)
		}
		if strings.HasPrefix(text, "<|") {
			if end := strings.Index(text[:min(len(text), maxToken)], "|>"); end > 0 {
				text = text[end+len("|>"):]
			}
		}
		if strings.HasSuffix(text, "|>") {
			from := max(0, len(text)-maxToken)
			if begin := strings.LastIndex(text[from:], "<|"); begin >= 0 {
				text = text[:from+begin]
			}
		}
		if len(text) == before {
			return text
		}
	}
}

// unfence takes a fence with its label from the beginning of a text.
func unfence(text string) string {
	rest, fenced := strings.CutPrefix(strings.TrimSpace(text), fence)
	if !fenced {
		return text
	}
	return strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
}
