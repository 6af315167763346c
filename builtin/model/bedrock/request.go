package bedrock

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// prepared is a request that is ready to be sent.
type prepared struct {
	id    string
	body  []byte
	tools *wire.Toolset
}

// wireRequest is the body of Converse and ConverseStream.
type wireRequest struct {
	Messages        []wireMessage   `json:"messages"`
	System          []block         `json:"system,omitempty"`
	InferenceConfig *wireInference  `json:"inferenceConfig,omitempty"`
	ToolConfig      *wireToolConfig `json:"toolConfig,omitempty"`
	ModelFields     json.RawMessage `json:"additionalModelRequestFields,omitempty"`
}

type wireInference struct {
	MaxTokens     int      `json:"maxTokens,omitempty"`
	Temperature   *float64 `json:"temperature,omitempty"`
	TopP          *float64 `json:"topP,omitempty"`
	StopSequences []string `json:"stopSequences,omitempty"`
}

type wireToolConfig struct {
	Tools      []wireTool                `json:"tools"`
	ToolChoice map[string]map[string]any `json:"toolChoice,omitempty"`
}

type wireTool struct {
	Spec struct {
		Name        string `json:"name"`
		Description string `json:"description,omitempty"`
		InputSchema struct {
			JSON json.RawMessage `json:"json"`
		} `json:"inputSchema"`
	} `json:"toolSpec"`
}

type wireMessage struct {
	Role    string  `json:"role"`
	Content []block `json:"content"`
}

// block is a content block; exactly one field is set.
type block struct {
	Text       *string         `json:"text,omitempty"`
	Image      *wireMedia      `json:"image,omitempty"`
	Video      *wireMedia      `json:"video,omitempty"`
	Document   *wireMedia      `json:"document,omitempty"`
	ToolUse    *wireUse        `json:"toolUse,omitempty"`
	ToolResult *wireResult     `json:"toolResult,omitempty"`
	Reasoning  *wireReasoning  `json:"reasoningContent,omitempty"`
	CachePoint *wireCachePoint `json:"cachePoint,omitempty"`
}

type wireMedia struct {
	Format string          `json:"format"`
	Name   string          `json:"name,omitempty"` // of a document
	Source json.RawMessage `json:"source"`
}

type wireUse struct {
	ID    string          `json:"toolUseId"`
	Name  string          `json:"name"`
	Input json.RawMessage `json:"input"`
}

type wireResult struct {
	ID      string  `json:"toolUseId"`
	Content []block `json:"content"`
}

type wireReasoning struct {
	Text     *wireReasoningText `json:"reasoningText,omitempty"`
	Redacted string             `json:"redactedContent,omitempty"`
}

type wireReasoningText struct {
	Text      string `json:"text"`
	Signature string `json:"signature,omitempty"`
}

type wireCachePoint struct {
	Type string `json:"type"`
}

// request builds the body. Documents in req.Docs are not sent: a model that declares no
// context support gets them as messages. With the tool choice "none" the tools stay at home.
func request(id string, supports model.Supports, req *model.Request) (*prepared, error) {
	conf, err := wire.Decode[Options](req.Config, "model config")
	if err != nil {
		return nil, err
	}
	tools, err := wire.NewToolset(req)
	if err != nil {
		return nil, err
	}
	body := &wireRequest{ModelFields: conf.ModelFields}
	if conf.MaxOutputTokens > 0 || conf.Temperature != nil || conf.TopP != nil || conf.StopSequences != nil {
		body.InferenceConfig = &wireInference{conf.MaxOutputTokens, conf.Temperature, conf.TopP, conf.StopSequences}
	}
	if body.System, body.Messages, err = messages(req.Messages, tools, supports.Media); err != nil {
		return nil, err
	}
	if body.ToolConfig, err = toolsOf(conf, tools, req.ToolChoice); err != nil {
		return nil, err
	}
	if last := body.Messages[len(body.Messages)-1]; body.ToolConfig != nil && last.Role == "assistant" {
		return nil, status.Publicf(status.InvalidArgument, "with tools the last message must not be the model's")
	}
	raw, err := rawjson.Encode(body)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "encode the request: %w", err)
	}
	raw, err = wire.WithExtra(raw, conf.Extra, "messages", "system", "toolConfig")
	return &prepared{wire.Or(conf.Version, id), raw, tools}, err
}

func toolsOf(conf *Options, tools *wire.Toolset, asked model.ToolChoice) (*wireToolConfig, error) {
	choice, err := tools.Choice(asked)
	if err != nil || len(tools.Defs) == 0 || choice == "none" {
		return nil, err
	}
	c := &wireToolConfig{Tools: make([]wireTool, len(tools.Defs))}
	for i, t := range tools.Defs {
		spec := &c.Tools[i].Spec
		spec.Name, spec.Description, spec.InputSchema.JSON = t.Name, t.Description, t.Parameters
	}
	switch {
	case conf.ToolChoice != "":
		name, known := tools.Wire[conf.ToolChoice]
		if !known {
			return nil, status.Publicf(status.InvalidArgument, "model config key \"toolChoice\": the request has no tool %q", conf.ToolChoice)
		}
		c.ToolChoice = map[string]map[string]any{"tool": {"name": name}}
	case choice == "auto":
		c.ToolChoice = map[string]map[string]any{"auto": {}}
	case choice == "required":
		c.ToolChoice = map[string]map[string]any{"any": {}}
	}
	return c, nil
}

// Metadata keys of reasoning parts, as Genkit's plugin names them.
const (
	signatureKey = "bedrockReasoningSignature"
	redactedKey  = "bedrockRedactedContent" // base64
)

type conversation struct {
	tools     *wire.Toolset
	media     bool // the model takes media
	documents int
	system    []block
	messages  []wireMessage
}

// messages maps Genkit's messages:
//
//   - system: text and data, to the field system.
//   - user: text, data as JSON text, images, documents and videos by data: URL or s3: address,
//     and {"custom": {"bedrockCachePointType": "default"}}, also in the system's.
//   - model: text, data, tool requests, and reasoning that Bedrock has signed or hidden.
//     Reasoning of others stays at home.
//   - tool: one toolResult for each response, all in one user message, with media.
//
// Messages of one role that follow each other are joined. Anything else is
// INVALID_ARGUMENT and named by its place.
func messages(msgs []content.Message, tools *wire.Toolset, media bool) ([]block, []wireMessage, error) {
	c := &conversation{tools: tools, media: media}
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
	case role == "system":
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
		all = append(all, reasoning(part)...)
	}
	if part.Text != nil {
		known = true
		if *part.Text != "" { // the API refuses an empty one
			all = append(all, block{Text: part.Text})
		}
	}
	if part.Media != nil {
		if role == content.RoleSystem {
			return nil, fmt.Errorf("media in a system message is not supported")
		}
		known = true
		b, err := c.mediaBlock(part)
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
		input := json.RawMessage(c.tools.Arguments(req))
		if !json.Valid(input) || !wire.IsObject(input) {
			input = json.RawMessage("{}") // another model's mistake, which its answer tells
		}
		all = append(all, block{ToolUse: &wireUse{req.Ref, c.tools.Wire[req.Name], input}})
	}
	switch {
	case part.ToolResponse != nil:
		return nil, fmt.Errorf("only a tool message holds tool responses")
	case part.Resource != nil:
		return nil, fmt.Errorf("resource parts must be resolved before they reach a model")
	case known:
	case part.Data != nil:
		text := wire.TextOf(part.Data)
		all = append(all, block{Text: &text})
	case part.Custom != nil:
		var custom struct {
			Type string `json:"bedrockCachePointType"`
		}
		if json.Unmarshal(part.Custom, &custom) != nil || custom.Type == "" {
			return nil, fmt.Errorf("custom parts are not supported, but bedrockCachePointType")
		}
		all = append(all, block{CachePoint: &wireCachePoint{custom.Type}})
	case len(part.Extra) > 0 || part.Metadata == nil:
		return nil, fmt.Errorf("the part holds nothing that is known here")
	}
	return all, nil
}

// reasoning maps reasoning that Bedrock has signed, or hidden.
func reasoning(part *content.Part) []block {
	if data := wire.String(part.Metadata[redactedKey]); data != "" {
		return []block{{Reasoning: &wireReasoning{Redacted: data}}}
	}
	if _, signed := part.Metadata[signatureKey]; !signed {
		return nil
	}
	return []block{{Reasoning: &wireReasoning{Text: &wireReasoningText{*part.Reasoning, wire.String(part.Metadata[signatureKey])}}}}
}

// documentFormats and the others are the API's names of media types.
var (
	documentFormats = map[string]string{
		"application/pdf": "pdf", "text/html": "html", "text/plain": "txt", "text/markdown": "md", "text/csv": "csv", "application/msword": "doc",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx", "application/vnd.ms-excel": "xls",
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
	}
	imageFormats = map[string]string{"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
	videoFormats = map[string]string{"video/mp4": "mp4", "video/quicktime": "mov", "video/webm": "webm", "video/x-matroska": "mkv", "video/mpeg": "mpeg", "video/3gpp": "three_gp"}
	notInTitles  = regexp.MustCompile(`[^A-Za-z0-9 ()\[\]-]+`)
)

const maxTitle = 200

// mediaBlock maps a picture, a document or a video. A part's metadata.title names a document.
func (c *conversation) mediaBlock(part *content.Part) (block, error) {
	contentType := wire.MediaType(part.Media)
	m := &wireMedia{}
	var out block
	switch {
	case documentFormats[contentType] != "":
		c.documents++
		title := strings.Join(strings.Fields(notInTitles.ReplaceAllString(wire.String(part.Metadata["title"]), " ")), " ")
		m.Format, m.Name, out.Document = documentFormats[contentType], wire.Or(title[:min(len(title), maxTitle)], "document-"+strconv.Itoa(c.documents)), m
	case imageFormats[contentType] != "":
		m.Format, out.Image = imageFormats[contentType], m
	case videoFormats[contentType] != "":
		m.Format, out.Video = videoFormats[contentType], m
	default:
		return out, fmt.Errorf("media of the type %q is not supported by this API", wire.Or(wire.Clip(contentType, 64), "unknown"))
	}
	source := map[string]any{}
	if _, isData := wire.CutScheme(part.Media.URL, "data"); isData {
		data, err := wire.Base64Of(part.Media.URL)
		if err != nil {
			return out, err
		}
		source["bytes"] = data
	} else if _, isS3 := wire.CutScheme(part.Media.URL, "s3"); isS3 {
		source["s3Location"] = map[string]string{"uri": part.Media.URL}
	} else {
		return out, fmt.Errorf("media must be a data: or s3: URL; the middleware that downloads media makes a data: URL of an address")
	}
	var err error
	m.Source, err = rawjson.Encode(source)
	return out, err
}

// result maps a tool's answer. What can't be sent of it becomes a text in its place.
func (c *conversation) result(part *content.Part) ([]block, error) {
	resp := part.ToolResponse
	if resp == nil {
		return nil, fmt.Errorf("a tool message holds tool responses only")
	}
	out := &wireResult{ID: wire.Or(resp.Ref, c.tools.Wire[resp.Name]), Content: []block{}}
	if text := wire.TextOf(resp.Output); resp.Output != nil && text != "" {
		out.Content = append(out.Content, block{Text: &text})
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
			more = []block{{Text: &text}}
		}
		out.Content = append(out.Content, more...)
	}
	return []block{{ToolResult: out}}, nil
}
