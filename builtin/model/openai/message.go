package openai

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

type wireMessage struct {
	Role       string      `json:"role"`
	Content    wireContent `json:"content"`
	ToolCalls  []wireCall  `json:"tool_calls,omitempty"`
	ToolCallID string      `json:"tool_call_id,omitempty"`

	// fields are those of the message's server alone, reasoning among them.
	fields map[string]json.RawMessage
}

// MarshalJSON writes the server's own fields behind the others.
func (m wireMessage) MarshalJSON() ([]byte, error) {
	type plain wireMessage
	return withFields(plain(m), m.fields, messageFields)
}

type wireCall struct {
	ID       string           `json:"id"`
	Type     string           `json:"type"`
	Function wireCallFunction `json:"function"`

	fields map[string]json.RawMessage
}

type wireCallFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`

	fields map[string]json.RawMessage
}

// MarshalJSON writes the server's own fields behind the others.
func (c wireCall) MarshalJSON() ([]byte, error) {
	type plain wireCall
	return withFields(plain(c), c.fields, callFields)
}

// MarshalJSON writes the server's own fields behind the others.
func (f wireCallFunction) MarshalJSON() ([]byte, error) {
	type plain wireCallFunction
	return withFields(plain(f), f.fields, functionFields)
}

// wireContent is the content of a message. Text alone is written as one string,
// because not every compatible server reads lists; nil is null.
type wireContent []wirePart

// MarshalJSON writes null, a string or a list.
func (c wireContent) MarshalJSON() ([]byte, error) {
	if c == nil {
		return []byte("null"), nil
	}
	if slices.ContainsFunc(c, func(p wirePart) bool { return p.Type != "text" }) {
		empty := func(p wirePart) bool { return p.Type == "text" && p.Text == "" }
		return rawjson.Encode(slices.DeleteFunc(slices.Clone([]wirePart(c)), empty))
	}
	var text strings.Builder
	for _, p := range c {
		text.WriteString(p.Text)
	}
	return rawjson.Encode(text.String())
}

// conversation collects the messages of one request.
type conversation struct {
	tools    *wire.Toolset
	profile  *Profile
	server   string
	noMedia  bool // the model takes none
	messages []wireMessage
	// media are parts that tools returned: a tool message can't hold them, so that they follow
	// the last one as a user message.
	media []wirePart
}

// messages maps Genkit's messages:
//
//   - system, user: text, and data as JSON text; a user may also show media, as
//     [conversation.mediaPart] maps it.
//   - model: text, data as JSON text, tool requests, and the server's own reasoning in
//     the field that its profile names.
//   - tool: one message for each tool response, with the id of its request: their refs, which
//     are made unique over the conversation ([model.NamedRefs]). The text of its further content
//     is added to its output; media follows as a user message. Parts that can't be sent are named in the text.
//
// Anything else is INVALID_ARGUMENT and named by its place. Data and custom beside
// another field of a part are notes to it and are not sent. Fields that only the server
// that wrote a message understands (see [note]) go back to that server.
func (p *Provider) messages(msgs []content.Message, tools *wire.Toolset, supports *model.Supports) ([]wireMessage, error) {
	if len(msgs) == 0 {
		return nil, status.Publicf(status.InvalidArgument, "the request has no messages")
	}
	c := &conversation{tools: tools, profile: &p.profile, server: p.server, noMedia: !supports.Media}
	msgs = model.NamedRefs(msgs, func(tool, ref string) string { return wire.Or(ref, tools.Wire[tool]) })
	for i := range msgs {
		if msgs[i].Role != content.RoleTool {
			c.showMedia()
		}
		if err := c.add(&msgs[i]); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "messages[%d]: %w", i, err)
		}
	}
	c.showMedia()
	return c.messages, nil
}

func (c *conversation) showMedia() {
	if len(c.media) > 0 {
		c.messages = append(c.messages, wireMessage{Role: "user", Content: c.media})
		c.media = nil
	}
}

func (c *conversation) add(msg *content.Message) error {
	var out wireMessage
	switch msg.Role {
	case content.RoleSystem:
		out.Role = c.profile.SystemRole
	case content.RoleUser:
		out.Role = "user"
	case content.RoleModel:
		out.Role = "assistant"
	case content.RoleTool:
		for i := range msg.Content {
			if err := c.addResult(&msg.Content[i]); err != nil {
				return inPart(i, err)
			}
		}
		return nil
	default:
		return invalid("role %q is not one of system, user, model and tool", msg.Role)
	}
	out.Content = wireContent{}
	if msg.Role == content.RoleModel {
		out.fields = noteOf(msg.Metadata, c.server).Message
	}
	for i := range msg.Content {
		if err := c.addPart(&out, &msg.Content[i]); err != nil {
			return inPart(i, err)
		}
	}
	if len(out.Content) == 0 && len(out.ToolCalls) > 0 {
		out.Content = nil
	}
	if field := c.profile.ReasoningOut; c.profile.ReasoningFiller != nil && len(out.ToolCalls) > 0 && out.fields[string(field)] == nil {
		if err := out.appendText(string(field), *c.profile.ReasoningFiller); err != nil {
			return err
		}
	}
	c.messages = append(c.messages, out)
	return nil
}

// addPart adds every field that a part carries.
func (c *conversation) addPart(out *wireMessage, part *content.Part) error {
	known := false
	if part.Reasoning != nil {
		if out.Role != "assistant" {
			return invalid("only a model's message holds reasoning")
		}
		known = true
		if err := c.addReasoning(out, part); err != nil {
			return err
		}
	}
	if part.Text != nil {
		known = true
		out.Content = append(out.Content, wirePart{Type: "text", Text: *part.Text})
	}
	if part.Media != nil {
		if out.Role != "user" {
			return invalid("media in a %s message is not supported, only in a user's", out.Role)
		}
		known = true
		media, err := c.mediaPart(part)
		if err != nil {
			return err
		}
		out.Content = append(out.Content, media)
	}
	if req := part.ToolRequest; req != nil {
		if out.Role != "assistant" {
			return invalid("only a model's message holds tool requests")
		}
		known = true
		own := noteOf(part.Metadata, c.server)
		out.ToolCalls = append(out.ToolCalls, wireCall{
			ID: req.Ref, Type: "function", fields: own.Call,
			Function: wireCallFunction{Name: c.tools.Wire[req.Name], Arguments: c.tools.Arguments(req), fields: own.Function},
		})
	}
	if part.ToolResponse != nil {
		return invalid("only a tool message holds tool responses")
	}
	if part.Resource != nil {
		return invalid("resource parts must be resolved before they reach a model")
	}
	if known {
		return nil
	}
	return addData(out, part)
}

// addReasoning adds reasoning that this server wrote itself, where its profile wants
// it.
func (c *conversation) addReasoning(out *wireMessage, part *content.Part) error {
	came := noteOf(part.Metadata, c.server).Field
	if came == "" || c.profile.ReasoningOut == NoReasoning {
		return nil
	}
	field := wire.Or(c.profile.ReasoningOut, came)
	if field == ReasoningInContent {
		out.Content = append(out.Content, wirePart{Type: "thinking", Thinking: []wirePart{{Type: "text", Text: *part.Reasoning}}})
		return nil
	}
	return out.appendText(string(field), *part.Reasoning)
}

// appendText appends to the text of a field of the server's own.
func (m *wireMessage) appendText(field, text string) error {
	value, err := rawjson.Encode(wire.String(m.fields[field]) + text)
	if err != nil {
		return err
	}
	fields := maps.Clone(m.fields)
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	fields[field] = value
	m.fields = fields
	return nil
}

func addData(out *wireMessage, part *content.Part) error {
	switch {
	case part.Data != nil:
		out.Content = append(out.Content, wirePart{Type: "text", Text: wire.TextOf(part.Data)})
	case part.Custom != nil:
		return invalid("custom parts are not supported")
	case len(part.Extra) > 0 || part.Metadata == nil:
		return invalid("the part holds nothing that is known here")
	}
	return nil
}

// addResult adds the message of one tool response.
func (c *conversation) addResult(part *content.Part) error {
	resp := part.ToolResponse
	if resp == nil {
		return invalid("a tool message holds tool responses only")
	}
	name := c.tools.Wire[resp.Name]
	out := wireMessage{Role: "tool", ToolCallID: wire.Or(resp.Ref, name), Content: wireContent{}}
	if resp.Output != nil {
		out.Content = append(out.Content, wirePart{Type: "text", Text: wire.TextOf(resp.Output)})
	}
	first := true
	for i := range resp.Content {
		further := wireMessage{Role: "user"}
		if err := c.addPart(&further, &resp.Content[i]); err != nil || (resp.Content[i].Media != nil && c.noMedia) {
			further.Content = wireContent{{Type: "text", Text: wire.Placeholder(&resp.Content[i])}}
		}
		for _, p := range further.Content {
			if p.Type == "text" {
				if len(out.Content) > 0 {
					p.Text = "\n" + p.Text
				}
				out.Content = append(out.Content, p)
				continue
			}
			if first {
				first = false
				c.media = append(c.media, wirePart{Type: "text", Text: "Media from tool call " + out.ToolCallID + " (" + name + "):"})
			}
			c.media = append(c.media, p)
		}
	}
	c.messages = append(c.messages, out)
	return nil
}

// invalid and inPart give plain errors: [Provider.messages] adds the place and
// makes them public.
func invalid(format string, args ...any) error { return fmt.Errorf(format, args...) }

func inPart(i int, err error) error { return fmt.Errorf("content[%d]: %w", i, err) }
