package ollama

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// prepared is a request that is ready to be sent.
type prepared struct {
	body  []byte
	tools *wire.Toolset
}

// wireRequest is the body of POST /api/chat. A server streams unless it is told not to.
type wireRequest struct {
	Model     string          `json:"model"`
	Messages  []wireMessage   `json:"messages"`
	Stream    bool            `json:"stream"`
	Tools     []wireTool      `json:"tools,omitempty"`
	Format    json.RawMessage `json:"format,omitempty"`
	Options   json.RawMessage `json:"options,omitempty"`
	Think     json.RawMessage `json:"think,omitempty"`
	KeepAlive json.RawMessage `json:"keep_alive,omitempty"`
}

type wireMessage struct {
	Role       string     `json:"role"`
	Content    string     `json:"content"`
	Thinking   string     `json:"thinking,omitempty"`
	Images     []string   `json:"images,omitempty"`
	ToolCalls  []wireCall `json:"tool_calls,omitempty"`
	ToolName   string     `json:"tool_name,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type wireCall struct {
	ID       string `json:"id,omitempty"`
	Function struct {
		Index     int             `json:"index"`
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

type wireTool struct {
	Type     string       `json:"type"`
	Function wireFunction `json:"function"`
}

type wireFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
}

// request builds the body. Documents in req.Docs are not sent: a model that declares no
// context support gets them as messages. The API has no tool choice: with "none" the tools
// stay at home, and "required" is INVALID_ARGUMENT.
func request(id string, supports model.Supports, req *model.Request, stream bool) (*prepared, error) {
	conf, err := wire.Decode[Options](req.Config, "model config")
	if err != nil {
		return nil, err
	}
	tools, err := wire.NewToolset(req)
	if err != nil {
		return nil, err
	}
	choice, err := tools.Choice(req.ToolChoice)
	if err != nil {
		return nil, err
	}
	if choice == "required" {
		return nil, status.Publicf(status.InvalidArgument, "tool choice %q is not supported by this API", choice)
	}
	body := &wireRequest{Model: wire.Or(conf.Version, id), Stream: stream, Think: conf.Think, KeepAlive: conf.KeepAlive, Format: formatOf(supports, req)}
	if choice != "none" {
		for _, t := range tools.Defs {
			body.Tools = append(body.Tools, wireTool{"function", wireFunction{t.Name, t.Description, t.Parameters}})
		}
	}
	if body.Messages, err = messages(req.Messages, tools, supports.Media); err != nil {
		return nil, err
	}
	if body.Options, err = optionsOf(conf); err != nil {
		return nil, err
	}
	raw, err := rawjson.Encode(body)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "encode the request: %w", err)
	}
	raw, err = wire.WithExtra(raw, conf.Extra, "model", "messages", "tools", "stream")
	return &prepared{raw, tools}, err
}

// optionsOf is nil where they say nothing.
func optionsOf(conf *Options) (json.RawMessage, error) {
	raw, err := rawjson.Encode(wireOptions{conf.MaxOutputTokens, conf.Temperature, conf.TopK, conf.TopP, conf.MinP, conf.Seed, conf.StopSequences, conf.NumCtx})
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "encode the request: %w", err)
	}
	if raw, err = wire.WithExtra(raw, conf.Options); err != nil || string(raw) == "{}" {
		return nil, err
	}
	return raw, nil
}

// formatOf is the schema that the answer has to obey, or "json"; with tools neither is asked
// for, because it would keep the model from calling them.
func formatOf(supports model.Supports, req *model.Request) json.RawMessage {
	if schema := wire.ConstrainedSchema(req, supports); schema != nil {
		return schema
	}
	out := req.Output
	if out != nil && (out.Format == "json" || out.ContentType == wire.JSON) && len(req.Tools) == 0 && slices.Contains(supports.Output, "json") {
		return json.RawMessage(`"json"`)
	}
	return nil
}

type conversation struct {
	tools    *wire.Toolset
	media    bool // the model takes images
	messages []wireMessage
}

// messages maps Genkit's messages, each to one:
//
//   - system, user: text, and data as JSON text; a user's images by data: URL.
//   - model: the same, tool requests, and reasoning that is not another provider's, which
//     has metadata.
//   - tool: one message for each response, with images.
//
// Anything else is INVALID_ARGUMENT and named by its place.
func messages(msgs []content.Message, tools *wire.Toolset, media bool) ([]wireMessage, error) {
	c := &conversation{tools: tools, media: media}
	msgs = model.PairRefs(msgs)
	for i := range msgs {
		if err := c.add(&msgs[i]); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "messages[%d]: %w", i, err)
		}
	}
	if len(c.messages) == 0 {
		return nil, status.Publicf(status.InvalidArgument, "the request has no messages")
	}
	return c.messages, nil
}

func (c *conversation) add(msg *content.Message) error {
	role := map[content.Role]string{content.RoleSystem: "system", content.RoleUser: "user", content.RoleTool: "tool", content.RoleModel: "assistant"}[msg.Role]
	if role == "" {
		return fmt.Errorf("role %q is not one of system, user, model and tool", msg.Role)
	}
	out := wireMessage{Role: role}
	var text strings.Builder
	for i := range msg.Content {
		part := &msg.Content[i]
		var err error
		if msg.Role == content.RoleTool {
			err = c.result(part)
		} else {
			err = c.part(&out, &text, part)
		}
		if err != nil {
			return fmt.Errorf("content[%d]: %w", i, err)
		}
	}
	if out.Content = text.String(); out.Content != "" || out.Thinking != "" || out.Images != nil || out.ToolCalls != nil {
		c.messages = append(c.messages, out)
	}
	return nil
}

// part adds every field that a part carries.
func (c *conversation) part(out *wireMessage, text *strings.Builder, part *content.Part) error {
	known := false
	if part.Reasoning != nil {
		if out.Role != "assistant" {
			return fmt.Errorf("only a model's message holds reasoning")
		}
		known = true
		if len(part.Metadata) == 0 {
			out.Thinking += *part.Reasoning
		}
	}
	if part.Text != nil {
		known = true
		text.WriteString(*part.Text)
	}
	if part.Media != nil {
		if out.Role != "user" {
			return fmt.Errorf("media is supported in a user's message only")
		}
		known = true
		image, err := imageOf(part.Media)
		if err != nil {
			return err
		}
		out.Images = append(out.Images, image)
	}
	if req := part.ToolRequest; req != nil {
		if out.Role != "assistant" {
			return fmt.Errorf("only a model's message holds tool requests")
		}
		known = true
		call := wireCall{ID: req.Ref}
		call.Function.Index, call.Function.Name = len(out.ToolCalls), c.tools.Wire[req.Name]
		if call.Function.Arguments = json.RawMessage(c.tools.Arguments(req)); !json.Valid(call.Function.Arguments) || !wire.IsObject(call.Function.Arguments) {
			call.Function.Arguments = json.RawMessage("{}") // another model's mistake, which its answer tells
		}
		out.ToolCalls = append(out.ToolCalls, call)
	}
	switch {
	case part.ToolResponse != nil:
		return fmt.Errorf("only a tool message holds tool responses")
	case part.Resource != nil:
		return fmt.Errorf("resource parts must be resolved before they reach a model")
	case known:
	case part.Data != nil:
		text.WriteString(wire.TextOf(part.Data))
	case part.Custom != nil:
		return fmt.Errorf("custom parts are not supported")
	case len(part.Extra) > 0 || part.Metadata == nil:
		return fmt.Errorf("the part holds nothing that is known here")
	}
	return nil
}

// imageOf returns an image in base64.
func imageOf(m *content.Media) (string, error) {
	contentType := wire.MediaType(m)
	if family, _, _ := strings.Cut(contentType, "/"); family != "image" && contentType != "" {
		return "", fmt.Errorf("media of the type %q is not supported by this API, only images", wire.Clip(contentType, 64))
	}
	if _, isData := wire.CutScheme(m.URL, "data"); !isData {
		return "", fmt.Errorf("an image must be a data: URL; the middleware that downloads media makes one of an address")
	}
	return wire.Base64Of(m.URL)
}

// result maps a tool's answer. What can't be sent of it becomes a text in its place.
func (c *conversation) result(part *content.Part) error {
	resp := part.ToolResponse
	if resp == nil {
		return fmt.Errorf("a tool message holds tool responses only")
	}
	out := wireMessage{Role: "tool", ToolName: c.tools.Wire[resp.Name], ToolCallID: resp.Ref}
	texts := []string{}
	if resp.Output != nil {
		texts = append(texts, wire.TextOf(resp.Output))
	}
	for i := range resp.Content {
		p := &resp.Content[i]
		switch {
		case p.Media != nil && c.media:
			if image, err := imageOf(p.Media); err == nil {
				out.Images = append(out.Images, image)
				continue
			}
		case p.Text != nil:
			texts = append(texts, *p.Text)
			continue
		case p.Data != nil:
			texts = append(texts, wire.TextOf(p.Data))
			continue
		}
		texts = append(texts, wire.Placeholder(p))
	}
	out.Content = strings.Join(texts, "\n\n")
	c.messages = append(c.messages, out)
	return nil
}
