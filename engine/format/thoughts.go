package format

import "strings"

// thoughts takes a model's reasoning out of a text that grows. What stands between the
// marks of reasoning is no answer:
//
//	<think>…</think>              and other names, in any case, nested
//	[THINK]…[/THINK], ◁think▷…◁/think▷
//	<|channel|>analysis<|message|>…<|end|>
//
// of the last form all channels but "final". A closing mark alone ends a thought too,
// since the templates of some models write the opening one. Marks inside of a JSON value
// are data: brackets and quotes are followed for that, and a bracket behind which no
// value can begin is prose. Each byte is read once, in whatever pieces the text comes.
type thoughts struct {
	text    string          // what was read last
	at      int             // text[:at] has been read
	flushed int             // text[:flushed] is in out, or dropped
	out     strings.Builder // the answer, once something was dropped
	dropped bool
	resets  int // how often all that came before turned out to be a thought

	tag      string // the name of the thought that is open, with its bracket
	depth    int    // how many of that name are open
	closed   int    // behind the last closing mark inside of it, 0 for none
	heading  bool   // between <|channel|> or <|start|> and <|message|>
	channel  int    // where the name of the channel begins, 0 for none
	hidden   bool   // in a channel that is not the final one
	said     bool   // the answer is more than space
	nest     int    // the brackets of a value that are open
	opened   int    // where the first of them stands
	begins   bool   // what stands behind it is not known yet
	quoted   bool   // in a string
	escaped  bool   // behind a backslash
	reported int    // length of the answer that grown returned
}

// answer returns a text that has ended without its reasoning, and whether it ends inside
// of a thought.
func answer(text string) (string, bool) {
	var t thoughts
	t.advance(text, true)
	if t.depth > 0 && t.closed > 0 { // a mark within a thought was none
		rest, open := answer(text[t.closed:])
		return rest, open
	}
	return t.answer(), t.depth > 0 || t.hidden
}

// read returns the answer as far as text, which continues that of the last call or is
// another one, tells it.
func (t *thoughts) read(text string) string {
	if !strings.HasPrefix(text, t.text) {
		*t = thoughts{resets: t.resets + 1}
	}
	t.advance(text, false)
	return t.answer()
}

// grown returns the answer in text, and what of it delta has brought, the last piece of
// text: all of it where delta has ended a thought.
func (t *thoughts) grown(text, delta string) (whole, added string) {
	if before := text[:max(len(text)-len(delta), 0)]; before != t.text {
		*t = thoughts{}
		t.reported = len(t.read(before))
	}
	resets := t.resets
	whole = t.read(text)
	switch {
	case t.resets != resets:
		added = whole
	case len(whole) > t.reported:
		added = whole[t.reported:]
	}
	t.reported = len(whole)
	return whole, added
}

// answer is text[:t.at] without what was dropped, and without what may become a mark.
func (t *thoughts) answer() string {
	if !t.dropped {
		return t.text[:t.at]
	}
	return t.out.String()
}

func (t *thoughts) thinking() bool { return t.depth > 0 || t.heading || t.hidden }

// advance reads on until the text ends, or a mark may begin at its end that is not whole.
func (t *thoughts) advance(text string, final bool) {
	t.text = text
	for t.at < len(text) {
		var more bool
		switch {
		case t.thinking():
			more = t.thought(final)
		case t.quoted:
			t.string()
			continue
		case t.begins:
			more = t.begin(final)
		default:
			more = t.prose(final)
		}
		if more {
			break
		}
	}
	switch {
	case t.thinking():
		t.flushed = t.at
	case t.dropped:
		end := t.at
		if t.begins && !final {
			end = t.opened // it may be that of [THINK]
		}
		if end > t.flushed {
			t.out.WriteString(text[t.flushed:end])
			t.flushed = end
		}
	}
}

// drop begins a thought at from, whose mark ends at to.
func (t *thoughts) drop(from, to int) {
	if !t.dropped {
		t.dropped, t.flushed = true, 0
	}
	if from > t.flushed {
		t.out.WriteString(t.text[t.flushed:from])
	}
	t.at, t.flushed = to, to
	t.nest, t.begins, t.quoted = 0, false, false
}

// forget drops all that came before.
func (t *thoughts) forget(to int) {
	t.drop(t.flushed, to)
	t.out.Reset()
	t.said = false
	t.resets++
}

// prose reads up to a mark, outside of strings. A mark between the values of an object is
// no part of it: what was taken for one is prose.
func (t *thoughts) prose(final bool) (more bool) {
	for i := t.at; i < len(t.text); i++ {
		switch c := t.text[i]; c {
		case ' ', '\t', '\r', '\n':
			continue
		case '"':
			if t.nest > 0 || !t.said {
				t.at, t.quoted, t.said = i+1, true, true
				return false
			}
		case '{', '[':
			t.nest++
			if t.nest == 1 {
				t.at, t.opened, t.begins = i+1, i, true
				return false
			}
		case '}', ']':
			t.nest = max(0, t.nest-1)
		case '<', triangle:
			m, unsure := markAt(t.text[i:])
			if unsure && !final {
				t.at = i
				return true
			}
			if m.size > 0 {
				t.mark(m, i)
				return false
			}
		}
		t.said = true
	}
	t.at = len(t.text)
	return false
}

// begin looks behind the first bracket of what may be a value.
func (t *thoughts) begin(final bool) (more bool) {
	if t.text[t.opened] == '[' && t.at == t.opened+1 {
		m, unsure := markAt(t.text[t.opened:])
		if unsure && !final {
			return true
		}
		if m.size > 0 {
			t.mark(m, t.opened)
			return false
		}
	}
	for ; t.at < len(t.text); t.at++ {
		if c := t.text[t.at]; !isSpace(c) {
			t.begins, t.said = false, true
			if t.text[t.opened] == '[' && (c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' && strings.IndexByte("tfn", c) < 0) {
				t.nest = 0
			}
			return false
		}
	}
	return false
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// mark acts on a mark outside of a thought.
func (t *thoughts) mark(m mark, at int) {
	end := at + m.size
	switch {
	case m.token == "channel":
		t.drop(at, end)
		t.heading, t.channel = true, end
	case m.token == "start":
		t.drop(at, end)
		t.heading, t.channel = true, 0
	case m.token != "":
		t.drop(at, end)
	case m.closing:
		t.forget(end)
	case m.empty:
		t.drop(at, end)
	default:
		t.drop(at, end)
		t.tag, t.depth, t.closed = m.name, 1, 0
	}
}

// thought reads up to a mark that matters inside of reasoning.
func (t *thoughts) thought(final bool) (more bool) {
	for i := t.at; i < len(t.text); i++ {
		if c := t.text[i]; c != '<' && c != '[' && c != triangle {
			continue
		}
		m, unsure := markAt(t.text[i:])
		if unsure && !final {
			t.at = i
			return true
		}
		if m.size == 0 {
			continue
		}
		t.at = i + m.size
		if t.depth == 0 {
			t.control(m, i)
		} else if m.name == t.tag && !m.empty {
			t.nested(m)
		}
		t.flushed = t.at
		return false
	}
	t.at = len(t.text)
	return false
}

func (t *thoughts) nested(m mark) {
	if !m.closing {
		t.depth++
		return
	}
	t.depth--
	t.closed = t.at
}

// control acts on a control token inside of a header or a hidden channel.
func (t *thoughts) control(m mark, at int) {
	switch m.token {
	case "":
	case "channel":
		t.heading, t.channel, t.hidden = true, t.at, false
	case "start":
		t.heading, t.channel, t.hidden = true, 0, false
	case "message":
		if t.heading {
			name, _, _ := strings.Cut(strings.TrimSpace(t.text[t.channel:at]), " ")
			t.hidden = t.channel > 0 && !strings.HasPrefix(name, "final")
		}
		t.heading = false
	default: // the end of a message
		t.heading, t.hidden = false, false
	}
}

// string reads up to the end of a string.
func (t *thoughts) string() {
	for t.at < len(t.text) {
		if t.escaped {
			t.escaped = false
			t.at++
			continue
		}
		i := strings.IndexAny(t.text[t.at:], `"\\`)
		if i < 0 {
			t.at = len(t.text)
			return
		}
		t.at += i + 1
		if t.text[t.at-1] == '"' {
			t.quoted = false
			return
		}
		t.escaped = true
	}
}
