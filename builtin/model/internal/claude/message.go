package claude

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

type wireMessage struct {
	Role    string  `json:"role"`
	Content []block `json:"content"`
}

// block is a content block of a request. Raw, when set, is the whole of it: a block of the
// server's own that goes back as it came.
type block struct {
	Type         string          `json:"type"`
	Text         *string         `json:"text,omitempty"`
	Thinking     *string         `json:"thinking,omitempty"`
	Signature    *string         `json:"signature,omitempty"`
	Data         string          `json:"data,omitempty"` // of redacted_thinking
	Source       json.RawMessage `json:"source,omitempty"`
	Title        string          `json:"title,omitempty"`
	Context      string          `json:"context,omitempty"`
	Citations    json.RawMessage `json:"citations,omitempty"`
	ID           string          `json:"id,omitempty"`
	Name         string          `json:"name,omitempty"`
	Input        json.RawMessage `json:"input,omitempty"`
	ToolUseID    string          `json:"tool_use_id,omitempty"`
	Content      []block         `json:"content,omitempty"`
	CacheControl *CacheControl   `json:"cache_control,omitempty"`

	raw json.RawMessage
}

// MarshalJSON writes the fields, or the block as it came.
func (b block) MarshalJSON() ([]byte, error) {
	if b.raw != nil {
		return b.raw, nil
	}
	type plain block
	return rawjson.Encode(plain(b))
}

// Metadata keys of parts.
const (
	signatureKey = "signature"        // of reasoning: a string
	redactedKey  = "redactedThinking" // of reasoning that is not shown: its data, a string
)

// conversation collects the messages of one request.
type conversation struct {
	tools    *wire.Toolset
	media    bool // the model takes media
	inPlace  bool // system messages stay where they are
	system   []block
	messages []wireMessage
}

// messages maps Genkit's messages:
//
//   - system: text and data, to the field system; with [Version2026] those behind the
//     first message of another role stay at their places.
//   - user: text, data as JSON text, media, and {"custom": {"anthropicDocument": …}}.
//   - model: text, data, tool requests, thinking with its signature, and blocks of the
//     server's own, as they came. Thinking without a signature stays at home.
//   - tool: one tool_result for each response, all in one user message, with text and media.
//     Its id is that of the request, unique over the conversation ([model.NamedRefs]); what the
//     API refuses in an id becomes "_".
//
// Messages of one role that follow each other are joined. Anything else is
// INVALID_ARGUMENT and named by its place. metadata.cacheControl of a part marks its block.
func (d *Dialect) messages(msgs []content.Message, tools *wire.Toolset, media bool) ([]block, []wireMessage, error) {
	c := &conversation{tools: tools, media: media, inPlace: d.Version == Version2026}
	msgs = model.NamedRefs(msgs, func(tool, ref string) string { return wire.ID(wire.Or(ref, tools.Wire[tool])) })
	for i := range msgs {
		if err := c.add(&msgs[i]); err != nil {
			return nil, nil, status.Publicf(status.InvalidArgument, "messages[%d]: %w", i, err)
		}
	}
	if len(c.messages) == 0 {
		return nil, nil, status.Publicf(status.InvalidArgument, "the request has no messages but those of the system")
	}
	return c.system, c.messages, nil
}

func (c *conversation) add(msg *content.Message) error {
	role := map[content.Role]string{content.RoleSystem: "system", content.RoleUser: "user", content.RoleTool: "user", content.RoleModel: "assistant"}[msg.Role]
	if role == "" {
		return fmt.Errorf("role %q is not one of system, user, model and tool", msg.Role)
	}
	var blocks []block
	for i := range msg.Content {
		more, err := c.blocks(msg.Role, &msg.Content[i])
		if err != nil {
			return fmt.Errorf("content[%d]: %w", i, err)
		}
		blocks = append(blocks, more...)
	}
	switch last := len(c.messages) - 1; {
	case len(blocks) == 0: // the API refuses an empty message
	case role == "system" && (!c.inPlace || last < 0):
		c.system = append(c.system, blocks...)
	case last >= 0 && c.messages[last].Role == role:
		c.messages[last].Content = append(c.messages[last].Content, blocks...)
	default:
		c.messages = append(c.messages, wireMessage{role, blocks})
	}
	return nil
}

// blocks maps every field that a part carries.
func (c *conversation) blocks(role content.Role, part *content.Part) ([]block, error) {
	if role == content.RoleTool {
		return c.result(part)
	}
	var all []block
	known := false
	if part.Reasoning != nil {
		if role != content.RoleModel {
			return nil, fmt.Errorf("only a model's message holds reasoning")
		}
		known = true
		all = append(all, thinking(part)...)
	}
	if part.Text != nil {
		known = true
		if *part.Text != "" { // the API refuses an empty one
			all = append(all, block{Type: "text", Text: part.Text})
		}
	}
	if part.Media != nil {
		if role != content.RoleUser {
			return nil, fmt.Errorf("media in a %s message is not supported, only in a user's", role)
		}
		known = true
		b, err := mediaBlock(part)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	if req := part.ToolRequest; req != nil {
		if role != content.RoleModel {
			return nil, fmt.Errorf("only a model's message holds tool requests")
		}
		known = true
		all = append(all, c.use(req))
	}
	switch {
	case part.ToolResponse != nil:
		return nil, fmt.Errorf("only a tool message holds tool responses")
	case part.Resource != nil:
		return nil, fmt.Errorf("resource parts must be resolved before they reach a model")
	case !known:
		b, err := otherBlock(role, part)
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	if len(all) > 0 {
		all[len(all)-1].CacheControl = cacheOf(part.Metadata)
	}
	return all, nil
}

// thinking maps reasoning that the API has signed, or hidden.
func thinking(part *content.Part) []block {
	if data := wire.String(part.Metadata[redactedKey]); data != "" {
		return []block{{Type: "redacted_thinking", Data: data}}
	}
	if _, signed := part.Metadata[signatureKey]; !signed {
		return nil
	}
	signature := wire.String(part.Metadata[signatureKey])
	return []block{{Type: "thinking", Thinking: part.Reasoning, Signature: &signature}}
}

func (c *conversation) use(req *content.ToolRequest) block {
	input := json.RawMessage(c.tools.Arguments(req))
	if !json.Valid(input) || !wire.IsObject(input) {
		input = json.RawMessage("{}") // another model's mistake, which its answer tells
	}
	name := c.tools.Wire[req.Name]
	return block{Type: "tool_use", ID: req.Ref, Name: name, Input: input}
}

// otherBlock maps a part that holds data or something of the server's own.
func otherBlock(role content.Role, part *content.Part) ([]block, error) {
	switch {
	case part.Custom != nil:
		return customBlock(role, part)
	case part.Data != nil:
		text := wire.TextOf(part.Data)
		return []block{{Type: "text", Text: &text}}, nil
	case len(part.Extra) > 0 || part.Metadata == nil:
		return nil, fmt.Errorf("the part holds nothing that is known here")
	}
	return nil, nil
}

func customBlock(role content.Role, part *content.Part) ([]block, error) {
	var custom struct {
		Document *document       `json:"anthropicDocument"`
		Block    json.RawMessage `json:"anthropicBlock"`
	}
	_ = json.Unmarshal(part.Custom, &custom)
	switch {
	case role == content.RoleModel && wire.IsObject(custom.Block):
		return []block{{raw: custom.Block}}, nil
	case role == content.RoleUser && custom.Document != nil:
		b, err := custom.Document.block()
		return []block{b}, err
	}
	return nil, fmt.Errorf("custom parts are not supported, but anthropicDocument in a user's message")
}

// document is Genkit's custom part for a document that is cited.
type document struct {
	Source struct {
		Type      string          `json:"type"`
		MediaType string          `json:"mediaType,omitempty"`
		Data      string          `json:"data,omitempty"`
		URL       string          `json:"url,omitempty"`
		FileID    string          `json:"fileId,omitempty"`
		Content   json.RawMessage `json:"content,omitempty"`
	} `json:"source"`
	Title     string          `json:"title"`
	Context   string          `json:"context"`
	Citations json.RawMessage `json:"citations"`
}

func (d *document) block() (block, error) {
	source, err := rawjson.Encode(struct {
		Type      string          `json:"type"`
		MediaType string          `json:"media_type,omitempty"`
		Data      string          `json:"data,omitempty"`
		URL       string          `json:"url,omitempty"`
		FileID    string          `json:"file_id,omitempty"`
		Content   json.RawMessage `json:"content,omitempty"`
	}(d.Source))
	return block{Type: "document", Source: source, Title: d.Title, Context: d.Context, Citations: d.Citations}, err
}

// mediaBlock maps pictures to image and everything else that the API reads to document:
// PDF by data: URL or address, plain text by data: URL. A part's metadata.title, .context
// and .citations go with a document.
func mediaBlock(part *content.Part) (block, error) {
	contentType := wire.MediaType(part.Media)
	family, _, _ := strings.Cut(contentType, "/")
	b := block{Type: "image"}
	if family != "image" && contentType != "" {
		b = block{
			Type: "document", Title: wire.String(part.Metadata["title"]), Context: wire.String(part.Metadata["context"]), Citations: part.Metadata["citations"],
		}
		if family != "text" && contentType != "application/pdf" {
			return b, fmt.Errorf("media of the type %q is not supported by this API, only images, PDF and text", wire.Clip(contentType, 64))
		}
	}
	var source map[string]string
	_, isData := wire.CutScheme(part.Media.URL, "data")
	_, isHTTP := wire.CutScheme(part.Media.URL, "http")
	_, isHTTPS := wire.CutScheme(part.Media.URL, "https")
	switch {
	case isData:
		data, err := wire.Base64Of(part.Media.URL)
		if err != nil {
			return b, err
		}
		if contentType == "" {
			return b, fmt.Errorf("a data: URL without a media type is not supported")
		}
		source = map[string]string{"type": "base64", "media_type": contentType, "data": data}
		if family == "text" {
			text, err := base64.StdEncoding.DecodeString(data)
			if err != nil {
				return b, fmt.Errorf("a data: URL is not valid base64")
			}
			source = map[string]string{"type": "text", "media_type": "text/plain", "data": strings.ToValidUTF8(string(text), "\uFFFD")}
		}
	case family == "text":
		return b, fmt.Errorf("media of the type %q must be a data: URL", wire.Clip(contentType, 64))
	case isHTTP || isHTTPS:
		source = map[string]string{"type": "url", "url": part.Media.URL}
	default:
		return b, fmt.Errorf("media must be a data:, http: or https: URL")
	}
	var err error
	b.Source, err = rawjson.Encode(source)
	return b, err
}

// result maps a tool's answer. What can't be sent of it becomes a text in its place.
func (c *conversation) result(part *content.Part) ([]block, error) {
	resp := part.ToolResponse
	if resp == nil {
		return nil, fmt.Errorf("a tool message holds tool responses only")
	}
	out := block{Type: "tool_result", ToolUseID: wire.Or(resp.Ref, c.tools.Wire[resp.Name]), CacheControl: cacheOf(part.Metadata)}
	if text := wire.TextOf(resp.Output); resp.Output != nil && text != "" {
		out.Content = append(out.Content, block{Type: "text", Text: &text})
	}
	for i := range resp.Content {
		further := &resp.Content[i]
		var more []block
		err := fmt.Errorf("no media")
		if further.Media == nil || c.media {
			more, err = c.blocks(content.RoleUser, further)
		}
		if err != nil {
			text := wire.Placeholder(further)
			more = []block{{Type: "text", Text: &text}}
		}
		out.Content = append(out.Content, more...)
	}
	return []block{out}, nil
}

// cacheOf reads metadata.cacheControl, also under the API's own name.
func cacheOf(m map[string]json.RawMessage) *CacheControl {
	for _, name := range []string{"cacheControl", "cache_control"} {
		var c *CacheControl
		if json.Unmarshal(m[name], &c) == nil && c != nil {
			return c.wire()
		}
	}
	return nil
}
