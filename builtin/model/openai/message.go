package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

type wireMessage struct {
	Role             string      `json:"role"`
	Content          wireContent `json:"content"`
	ReasoningContent string      `json:"reasoning_content,omitempty"`
	ToolCalls        []wireCall  `json:"tool_calls,omitempty"`
	ToolCallID       string      `json:"tool_call_id,omitempty"`
}

type wireCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

type wirePart struct {
	Type     string     `json:"type"`
	Text     string     `json:"text,omitempty"`
	ImageURL *wireImage `json:"image_url,omitempty"`
}

type wireImage struct {
	URL string `json:"url"`
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
		return encode(slices.DeleteFunc(slices.Clone([]wirePart(c)), empty))
	}
	var text strings.Builder
	for _, p := range c {
		text.WriteString(p.Text)
	}
	return encode(text.String())
}

// conversation collects the messages of one request.
type conversation struct {
	tools         *toolset
	dropReasoning bool
	messages      []wireMessage
	// pictures are those that tools returned: a tool message can't hold them,
	// so that they follow the last one as a user message.
	pictures []wirePart
}

// messages maps Genkit's messages:
//
//   - system, user: text, and data as JSON text; a user may also show images.
//   - model: text, data as JSON text, tool requests, and reasoning in the field
//     reasoning_content.
//   - tool: one message for each tool response. The text of its further content
//     is added to its output; images follow as a user message.
//
// Anything else is INVALID_ARGUMENT and named by its place. Data and custom beside
// another field of a part are notes to it and stay at home.
func (p *Provider) messages(msgs []content.Message, tools *toolset) ([]wireMessage, error) {
	if len(msgs) == 0 {
		return nil, status.Publicf(status.InvalidArgument, "the request has no messages")
	}
	c := &conversation{tools: tools, dropReasoning: p.cfg.DropReasoning}
	for i := range msgs {
		if msgs[i].Role != content.RoleTool {
			c.showPictures()
		}
		if err := c.add(&msgs[i]); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "messages[%d]: %w", i, err)
		}
	}
	c.showPictures()
	return c.messages, nil
}

func (c *conversation) showPictures() {
	if len(c.pictures) > 0 {
		c.messages = append(c.messages, wireMessage{Role: "user", Content: c.pictures})
		c.pictures = nil
	}
}

func (c *conversation) add(msg *content.Message) error {
	var out wireMessage
	switch msg.Role {
	case content.RoleSystem:
		out.Role = "system"
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
	for i := range msg.Content {
		if err := c.addPart(&out, &msg.Content[i]); err != nil {
			return inPart(i, err)
		}
	}
	if len(out.Content) == 0 && len(out.ToolCalls) > 0 {
		out.Content = nil
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
		if !c.dropReasoning {
			out.ReasoningContent += *part.Reasoning
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
		image, err := imagePart(part.Media)
		if err != nil {
			return err
		}
		out.Content = append(out.Content, image)
	}
	if req := part.ToolRequest; req != nil {
		if out.Role != "assistant" {
			return invalid("only a model's message holds tool requests")
		}
		known = true
		call := wireCall{ID: or(req.Ref, c.tools.wire[req.Name]), Type: "function"}
		call.Function.Name, call.Function.Arguments = c.tools.wire[req.Name], c.tools.arguments(req)
		out.ToolCalls = append(out.ToolCalls, call)
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

func addData(out *wireMessage, part *content.Part) error {
	switch {
	case part.Data != nil:
		out.Content = append(out.Content, wirePart{Type: "text", Text: textOf(part.Data)})
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
	name := c.tools.wire[resp.Name]
	out := wireMessage{Role: "tool", ToolCallID: or(resp.Ref, name), Content: wireContent{}}
	if resp.Output != nil {
		out.Content = append(out.Content, wirePart{Type: "text", Text: textOf(resp.Output)})
	}
	first := true
	for i := range resp.Content {
		further := wireMessage{Role: "user"}
		if err := c.addPart(&further, &resp.Content[i]); err != nil {
			return inPart(i, err)
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
				c.pictures = append(c.pictures, wirePart{Type: "text", Text: "Images from tool call " + out.ToolCallID + " (" + name + "):"})
			}
			c.pictures = append(c.pictures, p)
		}
	}
	c.messages = append(c.messages, out)
	return nil
}

// textOf returns the text of a JSON string, and any other value as JSON without
// white space, which would cost tokens.
func textOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil && !isNull(raw) {
		return s
	}
	var buf bytes.Buffer
	if json.Compact(&buf, raw) != nil {
		return string(raw)
	}
	return buf.String()
}

// imagePart accepts images by data:, http: and https: URL. A type that is not told
// is taken from the URL; where that says nothing the server decides.
func imagePart(m *content.Media) (wirePart, error) {
	scheme, rest, _ := strings.Cut(m.URL, ":")
	scheme = strings.ToLower(scheme)
	contentType := m.ContentType
	switch scheme {
	case "data":
		declared, _, _ := strings.Cut(rest, ",")
		declared, _, _ = strings.Cut(declared, ";")
		if declared == "" && contentType != "" {
			m = &content.Media{URL: "data:" + contentType + rest}
		}
		contentType = or(contentType, declared)
	case "http", "https":
		if u, err := url.Parse(m.URL); err == nil && contentType == "" {
			contentType = mediaTypes[strings.ToLower(path.Ext(u.Path))]
		}
	default:
		return wirePart{}, invalid("media of the scheme %q is not supported, only data:, http: and https: URLs", clip(scheme, 32))
	}
	if contentType != "" && !strings.HasPrefix(strings.ToLower(contentType), "image/") {
		return wirePart{}, invalid("media of the type %q is not supported, only images", clip(contentType, 64))
	}
	return wirePart{Type: "image_url", ImageURL: &wireImage{URL: m.URL}}, nil
}

// mediaTypes are the extensions that are known not to be images. Anything else in
// a URL proves nothing: a page or a script may well serve a picture.
var mediaTypes = map[string]string{
	".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm", ".mp3": "audio/mpeg", ".wav": "audio/wav",
	".ogg": "audio/ogg", ".m4a": "audio/mp4", ".flac": "audio/flac", ".pdf": "application/pdf",
}

// invalid and inPart give plain errors: [Provider.messages] adds the place and
// makes them public.
func invalid(format string, args ...any) error { return fmt.Errorf(format, args...) }

func inPart(i int, err error) error { return fmt.Errorf("content[%d]: %w", i, err) }
