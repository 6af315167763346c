package openai

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// wireAnswer is a chat.completion, or one chat.completion.chunk of a stream. What
// this package only hands on is raw, so that an unusual server can't break it.
type wireAnswer struct {
	ID        json.RawMessage `json:"id,omitempty"`
	Object    json.RawMessage `json:"object,omitempty"`
	Created   json.RawMessage `json:"created,omitempty"`
	Model     json.RawMessage `json:"model,omitempty"`
	Choices   []wireChoice    `json:"choices"`
	Usage     json.RawMessage `json:"usage,omitempty"`
	Citations json.RawMessage `json:"citations,omitempty"`
	Error     json.RawMessage `json:"error,omitempty"`
}

type wireChoice struct {
	Index        int             `json:"index"`
	Message      *wireReply      `json:"message,omitempty"`
	Delta        *wireReply      `json:"delta,omitempty"`
	FinishReason string          `json:"finish_reason"`
	Error        json.RawMessage `json:"error,omitempty"`
}

// wireReply is a whole message or a piece of one.
type wireReply struct {
	Role             json.RawMessage `json:"role,omitempty"`
	Content          json.RawMessage `json:"content"`
	Refusal          json.RawMessage `json:"refusal,omitempty"`
	ReasoningContent json.RawMessage `json:"reasoning_content,omitempty"`
	Reasoning        json.RawMessage `json:"reasoning,omitempty"`
	ToolCalls        []wireCallPiece `json:"tool_calls,omitempty"`
	Annotations      json.RawMessage `json:"annotations,omitempty"`
}

type wireCallPiece struct {
	Index    *int   `json:"index,omitempty"`
	ID       string `json:"id,omitempty"`
	Type     string `json:"type,omitempty"`
	Function struct {
		Name string `json:"name"`
		// Arguments is a string of JSON; some servers write the JSON itself.
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

// answer collects one answer. A document is taken as a stream of one piece, which
// makes the two forms give the same response.
type answer struct {
	tools     *toolset
	clean     func(string) string // makes the server's words fit to be shown
	head      wireAnswer          // the latest of the fields beside the choices
	choice    bool                // one was seen
	finish    string
	failed    json.RawMessage // the choice's error
	text      strings.Builder
	reasoning strings.Builder
	refusal   strings.Builder
	calls     []*toolCall
	notes     []json.RawMessage // annotations
}

type toolCall struct {
	index     *int
	id, name  string
	arguments strings.Builder
}

func (p *Provider) newAnswer(c *call) *answer {
	return &answer{tools: c.tools, clean: func(s string) string { return p.clean(s, c.key, maxMessageText) }}
}

// add takes in a piece and returns the text and the reasoning that it brought.
func (a *answer) add(piece *wireAnswer) (text, reasoning string) {
	keep(&a.head.ID, piece.ID)
	keep(&a.head.Created, piece.Created)
	keep(&a.head.Model, piece.Model)
	keep(&a.head.Usage, piece.Usage)
	keep(&a.head.Citations, piece.Citations)
	for i := range piece.Choices {
		c := &piece.Choices[i]
		if c.Index != 0 {
			continue // one was asked for
		}
		a.choice = true
		a.finish = or(c.FinishReason, a.finish)
		keep(&a.failed, c.Error)
		for _, reply := range []*wireReply{c.Message, c.Delta} {
			if reply != nil {
				t, r := a.addReply(reply, reply == c.Message)
				text, reasoning = text+t, reasoning+r
			}
		}
	}
	return text, reasoning
}

func keep(to *json.RawMessage, v json.RawMessage) {
	if !isNull(v) {
		*to = v
	}
}

func (a *answer) addReply(reply *wireReply, whole bool) (text, reasoning string) {
	text, refusal := contentText(reply.Content)
	reasoning = or(jsonString(reply.ReasoningContent), jsonString(reply.Reasoning))
	a.text.WriteString(text)
	a.reasoning.WriteString(reasoning)
	a.refusal.WriteString(jsonString(reply.Refusal) + refusal)
	for i := range reply.ToolCalls {
		a.addCall(&reply.ToolCalls[i], whole)
	}
	var notes []json.RawMessage
	if json.Unmarshal(reply.Annotations, &notes) == nil {
		a.notes = append(a.notes, notes...)
	}
	return text, reasoning
}

// addCall adds a piece to the call that it belongs to: the last one of its index,
// unless its id says otherwise, for there are servers that give every call the
// index 0. A piece without index goes on with the last call, unless it names a
// function.
func (a *answer) addCall(piece *wireCallPiece, whole bool) {
	var call *toolCall
	for i := len(a.calls) - 1; i >= 0 && !whole && call == nil; i-- {
		c := a.calls[i]
		switch {
		case piece.ID != "" && c.id != "" && piece.ID != c.id:
		case piece.Index != nil && c.index != nil:
			if *piece.Index == *c.index {
				call = c
			}
		case piece.ID != "" && piece.ID == c.id, piece.Function.Name == "" && i == len(a.calls)-1:
			call = c
		}
	}
	if call == nil {
		call = &toolCall{index: piece.Index}
		a.calls = append(a.calls, call)
	}
	call.id = or(call.id, piece.ID)
	call.name = or(call.name, piece.Function.Name)
	if args := piece.Function.Arguments; !isNull(args) {
		call.arguments.WriteString(textOf(args))
	}
}

// contentText reads content that is a string, or a list of parts of which those
// with text count.
func contentText(raw json.RawMessage) (text, refusal string) {
	if isNull(raw) || raw[0] != '[' {
		return jsonString(raw), ""
	}
	var parts []struct {
		Text    json.RawMessage `json:"text"`
		Refusal json.RawMessage `json:"refusal"`
	}
	_ = json.Unmarshal(raw, &parts) // a list of something else holds no text
	for _, p := range parts {
		text += jsonString(p.Text)
		refusal += jsonString(p.Refusal)
	}
	return text, refusal
}

// jsonString returns the text of a JSON string and "" for anything else.
func jsonString(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

// finishReasons are those that compatible servers are known to give.
var finishReasons = map[string]model.FinishReason{
	"stop": model.FinishStop, "tool_calls": model.FinishStop, "end_turn": model.FinishStop,
	"length": model.FinishLength, "model_context_window_exceeded": model.FinishLength,
	"content_filter": model.FinishBlocked, "sensitive": model.FinishBlocked,
	"error": model.FinishOther, "function_call": model.FinishOther,
	"network_error": model.FinishOther, "insufficient_system_resource": model.FinishOther,
}

// maxRawBytes bounds Response.Raw: beyond it the field is left out.
const maxRawBytes = 1 << 20

// maxMessageText bounds a text from a server that goes into an error or a finish
// message.
const maxMessageText = 1 << 10

// response returns the collected answer. raw is its document, nil after a stream:
// then one is made of what was collected.
func (a *answer) response(raw json.RawMessage) (*model.Response, error) {
	if !a.choice {
		return nil, status.Publicf(status.Internal, "the server's answer holds no choices")
	}
	parts, err := a.parts()
	if err != nil {
		return nil, status.Errorf(status.Internal, "map the answer: %w", err)
	}
	resp := &model.Response{Message: &content.Message{Role: content.RoleModel, Content: parts}, Usage: usage(a.head.Usage)}
	resp.FinishReason, resp.FinishMessage = a.finished()
	if len(a.head.Citations) > 0 {
		resp.Message.Metadata = resp.Message.Metadata.With("citations", a.head.Citations)
	}
	if len(a.notes) > 0 {
		notes, err := encode(a.notes)
		if err != nil {
			return nil, status.Errorf(status.Internal, "map the answer: %w", err)
		}
		resp.Message.Metadata = resp.Message.Metadata.With("annotations", notes)
	}
	if raw == nil {
		if raw, err = a.document(); err != nil {
			return nil, status.Errorf(status.Internal, "map the answer: %w", err)
		}
	}
	if len(raw) <= maxRawBytes {
		resp.Raw = raw
	}
	return resp, nil
}

// parts gives reasoning, text and tool requests, in this order.
func (a *answer) parts() ([]content.Part, error) {
	parts := []content.Part{}
	if a.reasoning.Len() > 0 {
		parts = append(parts, reasoningPart(a.reasoning.String()))
	}
	if a.text.Len() > 0 {
		parts = append(parts, content.Text(a.text.String()))
	}
	for i, call := range a.calls {
		name := a.tools.original(call.name)
		input, err := a.tools.input(name, call.arguments.String())
		if err != nil {
			return nil, err
		}
		parts = append(parts, content.Part{ToolRequest: &content.ToolRequest{Name: name, Ref: a.ref(i), Input: input}})
	}
	return parts, nil
}

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

func (a *answer) finished() (model.FinishReason, string) {
	reason, known := finishReasons[a.finish]
	message := ""
	switch {
	case !known && a.finish == "":
		reason = model.FinishUnknown
	case !known:
		reason, message = model.FinishUnknown, "finish_reason "+strconv.Quote(clip(a.finish, 64))
	case reason == model.FinishOther:
		message = a.finish
	}
	if len(a.failed) > 0 {
		message = readError(a.failed).Message
		if reason == model.FinishUnknown {
			reason = model.FinishOther
		}
	}
	if a.refusal.Len() > 0 {
		reason, message = model.FinishBlocked, a.refusal.String()
	}
	return reason, a.clean(message)
}

// document writes a stream's answer as the document that it would have been.
func (a *answer) document() (json.RawMessage, error) {
	reply := &wireReply{Role: json.RawMessage(`"assistant"`)}
	for _, f := range []struct {
		to   *json.RawMessage
		text string
	}{{&reply.Content, a.text.String()}, {&reply.ReasoningContent, a.reasoning.String()}, {&reply.Refusal, a.refusal.String()}} {
		if f.text == "" {
			continue
		}
		raw, err := encode(f.text)
		if err != nil {
			return nil, err
		}
		*f.to = raw
	}
	for _, call := range a.calls {
		c := wireCallPiece{ID: call.id, Type: "function"}
		c.Function.Name = call.name
		raw, err := encode(call.arguments.String())
		if err != nil {
			return nil, err
		}
		c.Function.Arguments = raw
		reply.ToolCalls = append(reply.ToolCalls, c)
	}
	if len(a.notes) > 0 {
		raw, err := encode(a.notes)
		if err != nil {
			return nil, err
		}
		reply.Annotations = raw
	}
	doc := a.head
	doc.Object = json.RawMessage(`"chat.completion"`)
	doc.Choices = []wireChoice{{Message: reply, FinishReason: a.finish, Error: a.failed}}
	return encode(doc)
}

func reasoningPart(s string) content.Part { return content.Part{Reasoning: &s} }

func chunk(parts ...content.Part) *model.Chunk {
	return &model.Chunk{Role: content.RoleModel, Content: parts}
}
