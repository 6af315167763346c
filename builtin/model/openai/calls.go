package openai

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
)

// wireCallPiece is a tool call of an answer, or a piece of one. Fields that are not
// known here, such as Gemini's extra_content, are kept: they go back as they came.
type wireCallPiece struct {
	Index    *pieceIndex       `json:"index,omitempty"`
	ID       idText            `json:"id,omitempty"`
	Type     string            `json:"type,omitempty"`
	Function wireFunctionPiece `json:"function"`

	extra map[string]json.RawMessage
}

type wireFunctionPiece struct {
	Name string `json:"name"`
	// Arguments is a string of JSON; some servers write the JSON itself.
	Arguments json.RawMessage `json:"arguments"`

	extra map[string]json.RawMessage
}

// callPieces are the calls of a message, or pieces of them.
type callPieces []wireCallPiece

// UnmarshalJSON reads a list; "", {} and the like, which some servers write where no tool is
// called, are none.
func (p *callPieces) UnmarshalJSON(b []byte) error {
	if wire.SaysNothing(b) {
		*p = nil
		return nil
	}
	return json.Unmarshal(b, (*[]wireCallPiece)(p))
}

// pieceIndex is a number, which some servers write as a string.
type pieceIndex int

// UnmarshalJSON reads either.
func (i *pieceIndex) UnmarshalJSON(b []byte) error {
	return json.Unmarshal([]byte(wire.TextOf(b)), (*int)(i))
}

// idText is an id: a string, or a number.
type idText string

// UnmarshalJSON reads either; null is none.
func (t *idText) UnmarshalJSON(b []byte) error {
	if n, ok := wire.Number(b); ok {
		*t = idText(n)
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
}

type (
	plainCallPiece     wireCallPiece
	plainFunctionPiece wireFunctionPiece
)

// UnmarshalJSON keeps unknown fields.
func (p *wireCallPiece) UnmarshalJSON(b []byte) (err error) {
	*p = wireCallPiece{}
	p.extra, err = unknown(b, (*plainCallPiece)(p), callFields)
	return err
}

// MarshalJSON writes the unknown fields too.
func (p wireCallPiece) MarshalJSON() ([]byte, error) {
	return withFields(plainCallPiece(p), p.extra, callFields)
}

// UnmarshalJSON keeps unknown fields.
func (p *wireFunctionPiece) UnmarshalJSON(b []byte) (err error) {
	*p = wireFunctionPiece{}
	p.extra, err = unknown(b, (*plainFunctionPiece)(p), functionFields)
	return err
}

// MarshalJSON writes the unknown fields too.
func (p wireFunctionPiece) MarshalJSON() ([]byte, error) {
	return withFields(plainFunctionPiece(p), p.extra, functionFields)
}

// maxCalls bounds the tool calls of one answer.
const maxCalls = 256

// toolCall is a call that is being collected.
type toolCall struct {
	index           *pieceIndex
	id              idText
	name            string
	arguments       strings.Builder
	nesting         nesting // of arguments
	extra, function map[string]json.RawMessage
	// doubtful is set where a piece may have been the end of the call before: such a call is
	// executed only if it brings arguments.
	doubtful bool
}

// addCall adds a piece to the call that it belongs to. whole says that the piece is a call
// of a document.
func (a *answer) addCall(piece *wireCallPiece, whole bool) {
	arguments := ""
	if !wire.IsNull(piece.Function.Arguments) {
		arguments = wire.TextOf(piece.Function.Arguments)
	}
	var call *toolCall
	verdict := begins
	if !whole {
		if call = a.candidate(piece); call != nil {
			verdict = a.judge(call, piece, arguments)
		}
	}
	switch verdict {
	case begins, mayBegin:
		if len(a.calls) == maxCalls {
			a.overflow = true
			return
		}
		before := call
		call = &toolCall{doubtful: verdict == mayBegin}
		if before != nil && piece.Function.Name == "" {
			call.name = before.name
		}
		a.calls = append(a.calls, call)
	case repeats:
		return
	case joinsName:
		call.name += piece.Function.Name
	case goesOn:
	}
	if piece.Index != nil {
		call.index = piece.Index
	}
	call.id = wire.Or(call.id, piece.ID)
	call.name = wire.Or(call.name, piece.Function.Name)
	call.extra, call.function = a.merger.merge(call.extra, piece.extra), a.merger.merge(call.function, piece.Function.extra)
	call.write(arguments)
}

func (c *toolCall) write(arguments string) {
	c.arguments.WriteString(arguments)
	c.nesting.add(arguments)
}

func (c *toolCall) begun() bool { return strings.TrimSpace(c.arguments.String()) != "" }

// candidate returns the call that a piece goes on with unless [answer.judge] finds that it
// begins another; nil where it surely begins one. The index comes first, because there are
// servers that write a new id into each piece, and others that give two calls one id; of
// calls with one index, the one with the id of the piece. A piece of a new index that names no
// function belongs to the call of its id, if any: there are servers that count pieces.
// Without an index the id says it, else it is the last call.
func (a *answer) candidate(piece *wireCallPiece) *toolCall {
	var byIndex, byID *toolCall
	for _, c := range a.calls {
		same := piece.ID != "" && c.id == piece.ID
		if same {
			byID = c
		}
		if piece.Index != nil && c.index != nil && *piece.Index == *c.index && (same || byIndex == nil || byIndex.id != piece.ID || piece.ID == "") {
			byIndex = c
		}
	}
	last := (*toolCall)(nil)
	if n := len(a.calls); n > 0 {
		last = a.calls[n-1]
	}
	switch {
	case byIndex != nil:
		return byIndex
	case piece.Index == nil:
		return wire.Or(byID, last)
	case byID != nil && (piece.Function.Name == "" || byID.index == nil):
		return byID
	case last != nil && last.index == nil && piece.Function.Name == "":
		return last
	}
	return nil
}

// verdict says what a piece is to the call that it may belong to.
type verdict int

const (
	goesOn    verdict = iota // the next piece of it
	joinsName                // the next piece of its name
	repeats                  // the whole of it once more
	begins                   // the first piece of another call
	mayBegin                 // the same, or an empty end of it
)

// judge decides what a piece is to the call c. Another name begins a call; where the name is
// the same, or missing, a second object of arguments does, and so does another id once the
// arguments of c have ended. While they have not, all that comes goes on with them: a wrong
// guess then gives arguments that are no JSON, which are never executed, and not a call of
// its own without arguments, which might be.
func (a *answer) judge(c *toolCall, piece *wireCallPiece, arguments string) verdict {
	name := piece.Function.Name
	text := strings.TrimSpace(arguments)
	indexed := piece.Index != nil && c.index != nil
	otherID := piece.ID != "" && c.id != "" && piece.ID != c.id
	switch {
	case name != "" && c.name != "" && name != c.name:
		if !c.begun() && !otherID && !a.tools.Knows(c.name) && a.tools.Begins(c.name+name) {
			return joinsName
		}
		return begins
	case c.nesting.closed() && strings.HasPrefix(text, "{"):
		if piece.ID != "" && piece.ID == c.id && text == strings.TrimSpace(c.arguments.String()) {
			return repeats
		}
		return begins
	case name == "":
		return goesOn
	case c.nesting.closed() && otherID && text == "" && indexed:
		return mayBegin
	case c.nesting.closed() && otherID, c.nesting.closed() && !indexed && piece.ID == "":
		return begins
	case !c.begun() && otherID && text == "" && !indexed:
		return begins
	}
	return goesOn
}

// nesting follows the brackets of JSON that comes in pieces.
type nesting struct {
	depth                  int
	begun, quoted, escaped bool
}

func (n *nesting) add(text string) {
	for i := range len(text) {
		c := text[i]
		switch {
		case n.escaped:
			n.escaped = false
		case n.quoted:
			n.escaped, n.quoted = c == '\\', c != '"'
		case c == '"':
			n.quoted = true
		case c == '{' || c == '[':
			n.begun = true
			n.depth++
		case c == '}' || c == ']':
			n.depth--
		}
	}
}

// closed reports whether an object or a list began and has ended.
func (n *nesting) closed() bool { return n.begun && n.depth <= 0 && !n.quoted }

// mergeCalls takes in the calls of a whole message that came behind pieces of them. A call
// that the pieces had too gets what they lack; others are added.
func (a *answer) mergeCalls(whole []*toolCall) {
	used := map[*toolCall]bool{}
	for i, w := range whole {
		c := a.sameCall(i, w, used)
		if c == nil && len(a.calls) >= maxCalls {
			a.overflow = true
			return
		}
		if c == nil {
			a.calls = append(a.calls, w)
			used[w] = true
			continue
		}
		used[c] = true
		c.id, c.name = wire.Or(c.id, w.id), wire.Or(c.name, w.name)
		c.extra, c.function = a.merger.merge(c.extra, w.extra), a.merger.merge(c.function, w.function)
		a.mergeArguments(c, w)
	}
}

// sameCall finds the call that is the ith of a whole message: the one of its id, else the
// one at its place, else any other that is the same.
func (a *answer) sameCall(i int, w *toolCall, used map[*toolCall]bool) *toolCall {
	fits := func(c *toolCall) bool { return !used[c] && (c.name == w.name || c.name == "" || w.name == "") }
	for _, c := range a.calls {
		if w.id != "" && c.id == w.id && fits(c) {
			return c
		}
	}
	if i < len(a.calls) && fits(a.calls[i]) {
		if c := a.calls[i]; c.id == "" || w.id == "" || a.compare(c, w) != differ {
			return c
		}
	}
	for _, c := range a.calls {
		if fits(c) && c.begun() && a.compare(c, w) == equal {
			return c
		}
	}
	return nil
}

// likeness says how the arguments of a call are to those of a whole message.
type likeness int

const (
	differ likeness = iota
	equal           // or the whole has none
	less            // the beginning of those of the whole, or no JSON
)

// compare compares them, within the work that one answer may make.
func (a *answer) compare(c, w *toolCall) likeness {
	before, whole := strings.TrimSpace(c.arguments.String()), strings.TrimSpace(w.arguments.String())
	switch {
	case whole == "" || whole == before:
		return equal
	case strings.HasPrefix(whole, before):
		return less
	}
	if a.merger.work += len(before) + len(whole); a.merger.work > maxMergeWork {
		return differ
	}
	switch {
	case wire.TextOf(json.RawMessage(whole)) == wire.TextOf(json.RawMessage(before)):
		return equal
	case !json.Valid([]byte(before)):
		return less
	}
	return differ
}

// mergeArguments takes in the arguments of c as a whole message has them. Where the two are
// different objects both are kept, which is no JSON: the call is not executed, and the model
// is told.
func (a *answer) mergeArguments(c, w *toolCall) {
	switch a.compare(c, w) {
	case equal:
		return
	case less:
		c.arguments.Reset()
		c.nesting = nesting{}
	case differ:
	}
	c.write(w.arguments.String())
}

// ref returns the id of a call, or one that is unique in this answer.
func (a *answer) ref(i int) string {
	if a.calls[i].id != "" {
		return string(a.calls[i].id)
	}
	taken := map[idText]bool{}
	for _, c := range a.calls {
		taken[c.id] = true
	}
	ref := "call_" + strconv.Itoa(i)
	for taken[idText(ref)] {
		ref += "_"
	}
	return ref
}
