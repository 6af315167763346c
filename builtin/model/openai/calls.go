package openai

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
)

// wireCallPiece is a tool call of an answer, or a piece of one. Fields that are not
// known here, such as Gemini's extra_content, are kept: they go back as they came.
type wireCallPiece struct {
	Index    *int              `json:"index,omitempty"`
	ID       string            `json:"id,omitempty"`
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
	index           *int
	id, name        string
	arguments       strings.Builder
	nesting         nesting // of arguments
	extra, function map[string]json.RawMessage
}

// addCall adds a piece to the call that it belongs to.
func (a *answer) addCall(piece *wireCallPiece, whole bool) {
	arguments := ""
	if !wire.IsNull(piece.Function.Arguments) {
		arguments = wire.TextOf(piece.Function.Arguments)
	}
	var call *toolCall
	if !whole {
		call = a.callOf(piece, arguments)
	}
	if call == nil && len(a.calls) == maxCalls {
		a.overflow = true
		return
	}
	if call == nil {
		call = &toolCall{index: piece.Index}
		a.calls = append(a.calls, call)
	}
	call.id = wire.Or(call.id, piece.ID)
	call.name = wire.Or(call.name, piece.Function.Name)
	call.extra, call.function = a.merger.merge(call.extra, piece.extra), a.merger.merge(call.function, piece.Function.extra)
	call.arguments.WriteString(arguments)
	call.nesting.add(arguments)
}

// callOf returns the call that a piece goes on with, nil when it begins one: the last
// call of its index, unless its id or what it brings says otherwise, for there are
// servers that give every call the index 0. A piece without index goes on with the
// last call, unless it names a function.
func (a *answer) callOf(piece *wireCallPiece, arguments string) *toolCall {
	for i, c := range slices.Backward(a.calls) {
		switch {
		case piece.ID != "" && c.id != "":
			if piece.ID == c.id {
				return c
			}
		case piece.Index != nil && c.index != nil:
			if *piece.Index != *c.index {
				continue
			}
			if c.begins(piece, arguments) {
				piece.Function.Name = wire.Or(piece.Function.Name, c.name)
				return nil
			}
			return c
		case piece.Function.Name == "" && i == len(a.calls)-1:
			return c
		}
	}
	return nil
}

// begins reports whether a piece of c's index begins another call: it names another
// function, or brings a second object of arguments.
func (c *toolCall) begins(piece *wireCallPiece, arguments string) bool {
	name := piece.Function.Name
	return (name != "" && c.name != "" && name != c.name) ||
		(c.nesting.closed() && strings.HasPrefix(strings.TrimSpace(arguments), "{"))
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

// ref returns the id of a call, or one that is unique in this answer.
func (a *answer) ref(i int) string {
	if a.calls[i].id != "" {
		return a.calls[i].id
	}
	taken := map[string]bool{}
	for _, c := range a.calls {
		taken[c.id] = true
	}
	ref := "call_" + strconv.Itoa(i)
	for taken[ref] {
		ref += "_"
	}
	return ref
}
