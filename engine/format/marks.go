package format

import "strings"

// mark is a mark of reasoning at the beginning of a text.
type mark struct {
	size    int    // in bytes, 0 when there is none
	name    string // of a tag, with its bracket, in lower case
	closing bool   // </think>
	empty   bool   // <think/>
	token   string // of a control token, without its brackets
}

// names are those of the tags between which models reason.
var names = []string{"think", "thinking", "thought", "thoughts", "reasoning", "reflection", "scratchpad", "analysis"}

// tokens are the control tokens of the "harmony" form of conversations (gpt-oss).
var tokens = []string{"channel", "start", "message", "end", "return", "call"}

// Bounds of a mark.
const (
	maxAttributes = 128 // bytes between a tag's name and its end
	triangle      = 0xE2
	leftTriangle  = "◁"
	rightTriangle = "▷"
)

// markAt reads the mark that rest begins with; unsure says that rest may be the beginning
// of one.
func markAt(rest string) (m mark, unsure bool) {
	switch {
	case strings.HasPrefix(rest, "<|"):
		return tokenAt(rest)
	case rest[0] == '<':
		return tagAt(rest, "<", ">", names)
	case rest[0] == '[':
		return tagAt(rest, "[", "]", names[:1])
	case strings.HasPrefix(rest, leftTriangle):
		return tagAt(rest, leftTriangle, rightTriangle, names[:1])
	}
	return mark{}, strings.HasPrefix(leftTriangle, rest)
}

func tokenAt(rest string) (m mark, unsure bool) {
	for _, token := range tokens {
		text := "<|" + token + "|>"
		if strings.HasPrefix(rest, text) {
			return mark{size: len(text), token: token}, false
		}
		unsure = unsure || strings.HasPrefix(text, rest)
	}
	return mark{}, unsure
}

func tagAt(rest, open, end string, names []string) (m mark, unsure bool) {
	inner, closing := strings.CutPrefix(rest[len(open):], "/")
	size := 0
	for size < len(inner) && (inner[size]|0x20 >= 'a' && inner[size]|0x20 <= 'z') {
		size++
	}
	name := inner[:size]
	inner = inner[size:]
	if inner == "" {
		for _, known := range names {
			if size <= len(known) && strings.EqualFold(name, known[:size]) {
				return mark{}, true
			}
		}
		return mark{}, false
	}
	for _, known := range names {
		if !strings.EqualFold(name, known) {
			continue
		}
		head := len(rest) - len(inner)
		if strings.HasPrefix(inner, end) {
			return mark{size: head + len(end), name: open + known, closing: closing}, false
		}
		if open != "<" {
			return mark{}, strings.HasPrefix(end, inner)
		}
		return attributed(inner, mark{size: head, name: open + known, closing: closing})
	}
	return mark{}, false
}

// attributed reads what stands between the name of a tag and its end.
func attributed(inner string, m mark) (_ mark, unsure bool) {
	if c := inner[0]; c != ' ' && c != '\t' && c != '/' {
		return mark{}, false
	}
	for i := 0; i < min(len(inner), maxAttributes); i++ {
		switch inner[i] {
		case '>':
			m.size += i + 1
			m.empty = inner[i-1] == '/'
			return m, false
		case '<', '\n':
			return mark{}, false
		}
	}
	return mark{}, len(inner) < maxAttributes
}
