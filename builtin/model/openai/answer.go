package openai

import (
	"encoding/json"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// wireAnswer is a chat.completion, or one chat.completion.chunk of a stream. Fields
// that this package only passes on are raw, so that an unusual server can't break it.
type wireAnswer struct {
	ID        json.RawMessage `json:"id,omitempty"`
	Object    json.RawMessage `json:"object,omitempty"`
	Created   json.RawMessage `json:"created,omitempty"`
	Model     json.RawMessage `json:"model,omitempty"`
	Choices   []wireChoice    `json:"choices"`
	Usage     json.RawMessage `json:"usage,omitempty"`
	Citations json.RawMessage `json:"citations,omitempty"`
	Error     json.RawMessage `json:"error,omitempty"`
	BaseResp  json.RawMessage `json:"base_resp,omitempty"` // of MiniMax
}

type wireChoice struct {
	Index        int             `json:"index"`
	Message      *wireReply      `json:"message,omitempty"`
	Delta        *wireReply      `json:"delta,omitempty"`
	FinishReason reasonText      `json:"finish_reason"`
	Error        json.RawMessage `json:"error,omitempty"`
}

// wireReply is a whole message or a piece of one.
type wireReply struct {
	Role             json.RawMessage `json:"role,omitempty"`
	Content          json.RawMessage `json:"content"`
	Refusal          json.RawMessage `json:"refusal,omitempty"`
	ReasoningContent json.RawMessage `json:"reasoning_content,omitempty"`
	Reasoning        json.RawMessage `json:"reasoning,omitempty"`
	ToolCalls        callPieces      `json:"tool_calls,omitempty"`
	Annotations      json.RawMessage `json:"annotations,omitempty"`
	// ReasoningDetails (OpenRouter) and ExtraContent (Gemini) go back as they came.
	ReasoningDetails json.RawMessage `json:"reasoning_details,omitempty"`
	ExtraContent     json.RawMessage `json:"extra_content,omitempty"`
}

// answer collects one answer. A document is taken as a stream of one piece, which
// makes the two forms give the same response.
type answer struct {
	tools     *wire.Toolset
	profile   *Profile
	server    string
	clean     func(string) string // makes the server's words fit to be shown
	head      wireAnswer          // the latest of the fields beside the choices
	choice    bool                // one was seen
	events    bool                // they come as a stream
	streamed  bool                // deltas brought something
	finish    wire.Finish
	failed    json.RawMessage // the choice's error
	text      strings.Builder
	reasoning strings.Builder
	refusal   strings.Builder
	field     ReasoningField // in which the reasoning stood
	details   []*detail
	opaque    map[string]json.RawMessage
	merger    merger
	calls     []*toolCall
	overflow  bool              // there were more calls than maxCalls
	notes     []json.RawMessage // annotations
	lost      []string          // quoted names of tools whose calls were cut off
	unclear   []string          // the same, of calls that may belong to another
}

func (p *Provider) newAnswer(c *call) *answer {
	return &answer{tools: c.tools, profile: &p.profile, server: p.server, clean: func(s string) string { return p.peer.Clean(s, c.key, wire.MaxMessageText) }}
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
		_, end := finishOf(string(c.FinishReason))
		a.finish.Add(string(c.FinishReason), end)
		switch {
		case !wire.SaysNothing(c.Error):
			a.failed = c.Error
		case wire.FailedBase(piece.BaseResp):
			a.failed = piece.BaseResp
		}
		if c.Delta != nil {
			t, r := a.addReply(c.Delta, false)
			text, reasoning = text+t, reasoning+r
			a.streamed = a.streamed || !a.empty()
		}
		if c.Message != nil {
			t, r := a.addMessage(c.Message, c.FinishReason != "")
			text, reasoning = text+t, reasoning+r
		}
	}
	return text, reasoning
}

// addMessage takes in a message that is no delta: the whole answer of a document, a
// piece of the stream of a server that calls its pieces so, or the whole once more at
// the end of a stream. In the last case only what is missing is added.
func (a *answer) addMessage(reply *wireReply, last bool) (text, reasoning string) {
	if a.empty() || (!a.streamed && !last) {
		return a.addReply(reply, true)
	}
	again := &answer{tools: a.tools, profile: a.profile}
	again.addReply(reply, true)
	text, reasoning = a.missing(&a.text, &again.text), a.missing(&a.reasoning, &again.reasoning)
	a.text.WriteString(text)
	a.reasoning.WriteString(reasoning)
	a.refusal.WriteString(a.missing(&a.refusal, &again.refusal))
	a.field = wire.Or(a.field, again.field)
	a.overflow = a.overflow || again.overflow
	a.mergeCalls(again.calls)
	if len(a.notes) == 0 {
		a.notes = again.notes
	}
	if len(a.opaque)+len(a.details) == 0 {
		a.opaque, a.details = again.opaque, again.details
	}
	return text, reasoning
}

// empty reports whether nothing of a message was collected yet.
func (a *answer) empty() bool {
	return a.text.Len()+a.reasoning.Len()+a.refusal.Len()+len(a.calls)+len(a.notes)+len(a.opaque)+len(a.details) == 0
}

// missing returns the part of whole that was not collected yet. Once deltas came, a whole that
// does not begin with them is another version of what readers have; before, it is one
// more piece.
func (a *answer) missing(collected, whole *strings.Builder) string {
	rest, more := strings.CutPrefix(whole.String(), collected.String())
	switch {
	case more:
		return rest
	case a.streamed:
		return ""
	}
	return whole.String()
}

func keep(to *json.RawMessage, v json.RawMessage) {
	if !wire.IsNull(v) {
		*to = v
	}
}

func (a *answer) addReply(reply *wireReply, whole bool) (text, reasoning string) {
	text, refusal, thinking := contentText(reply.Content)
	field, reasoning := a.profile.reasoning(reply, thinking)
	a.field = wire.Or(a.field, field)
	a.addDetails(reply.ReasoningDetails)
	a.opaque = a.merger.merge(a.opaque, map[string]json.RawMessage{"extra_content": reply.ExtraContent})
	a.text.WriteString(text)
	a.reasoning.WriteString(reasoning)
	a.refusal.WriteString(wire.String(reply.Refusal) + refusal)
	for i := range reply.ToolCalls {
		// A piece without a name begins no call, whatever the server calls its pieces.
		a.addCall(&reply.ToolCalls[i], whole && (!a.events || reply.ToolCalls[i].Function.Name != ""))
	}
	var notes []json.RawMessage
	if json.Unmarshal(reply.Annotations, &notes) == nil {
		a.notes = append(a.notes, notes...)
	}
	return text, reasoning
}

// reasoning finds the reasoning of a message in the first field of the profile that
// holds any. thinking is that of the content.
func (p *Profile) reasoning(reply *wireReply, thinking string) (ReasoningField, string) {
	for _, field := range p.ReasoningIn {
		text := ""
		switch field {
		case ReasoningContent:
			text = wire.String(reply.ReasoningContent)
		case Reasoning:
			text = wire.String(reply.Reasoning)
		case ReasoningInContent:
			text = thinking
		}
		if text != "" {
			return field, text
		}
	}
	return "", ""
}

// contentText reads content that is a string, or a list of parts of which those with
// text count, and those that hold a refusal or what the model thought.
func contentText(raw json.RawMessage) (text, refusal, thinking string) {
	if wire.IsNull(raw) || raw[0] != '[' {
		return wire.String(raw), "", ""
	}
	var parts []struct {
		Text     json.RawMessage `json:"text"`
		Refusal  json.RawMessage `json:"refusal"`
		Thinking json.RawMessage `json:"thinking"`
	}
	_ = json.Unmarshal(raw, &parts) // a list of something else holds no text
	for _, p := range parts {
		text += wire.String(p.Text)
		refusal += wire.String(p.Refusal)
		if len(p.Thinking) > 0 {
			thought, _, _ := contentText(p.Thinking)
			thinking += thought
		}
	}
	return text, refusal, thinking
}

// maxRawBytes bounds Response.Raw: beyond it the field is left out.
const maxRawBytes = 1 << 20

// response returns the collected answer. raw is its document, nil after a stream:
// then one is made of what was collected.
func (a *answer) response(raw json.RawMessage) (*model.Response, error) {
	if !a.choice {
		return nil, status.Publicf(status.Internal, "the server's answer holds no choices")
	}
	if a.overflow {
		return nil, status.Publicf(status.ResourceExhausted, "the server's answer exceeds the limit of %d tool calls", maxCalls)
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
		notes, err := rawjson.Encode(a.notes)
		if err != nil {
			return nil, status.Errorf(status.Internal, "map the answer: %w", err)
		}
		resp.Message.Metadata = resp.Message.Metadata.With("annotations", notes)
	}
	opaque, err := a.opaqueFields()
	if err != nil {
		return nil, status.Errorf(status.Internal, "map the answer: %w", err)
	}
	if len(opaque) > 0 {
		if resp.Message.Metadata, err = (note{Server: a.server, Message: opaque}).on(resp.Message.Metadata); err != nil {
			return nil, status.Errorf(status.Internal, "map the answer: %w", err)
		}
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
		part := reasoningPart(a.reasoning.String())
		var err error
		if part.Metadata, err = (note{Server: a.server, Field: a.field}).on(nil); err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	if a.text.Len() > 0 {
		parts = append(parts, content.NewTextPart(a.text.String()))
	}
	for i := range a.calls {
		part, err := a.request(i)
		if err != nil {
			return nil, err
		}
		if part != nil {
			parts = append(parts, *part)
		}
	}
	return parts, nil
}

func reasoningPart(s string) content.Part { return content.Part{Reasoning: &s} }

func chunk(parts ...content.Part) *model.Chunk {
	return &model.Chunk{Role: content.RoleModel, Content: parts}
}
