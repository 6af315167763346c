package gemini

import (
	"encoding/json"
	"fmt"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

type wireContent struct {
	Role  string     `json:"role,omitempty"`
	Parts []wirePart `json:"parts"`
}

// wirePart is a part of a request or an answer; raw, when set, is the whole of it but for
// its signature.
type wirePart struct {
	Text             *string         `json:"text,omitempty"`
	Thought          bool            `json:"thought,omitempty"`
	ThoughtSignature string          `json:"thoughtSignature,omitempty"`
	InlineData       *wireBlob       `json:"inlineData,omitempty"`
	FileData         *wireFile       `json:"fileData,omitempty"`
	FunctionCall     *wireCall       `json:"functionCall,omitempty"`
	FunctionResponse *wireResult     `json:"functionResponse,omitempty"`
	VideoMetadata    json.RawMessage `json:"videoMetadata,omitempty"`

	raw json.RawMessage
}

type wireBlob struct {
	MIMEType string `json:"mimeType"`
	Data     string `json:"data"`
}

type wireFile struct {
	MIMEType string `json:"mimeType,omitempty"`
	FileURI  string `json:"fileUri"`
}

type wireCall struct {
	ID   string          `json:"id,omitempty"`
	Name string          `json:"name"`
	Args json.RawMessage `json:"args,omitempty"`
	// PartialArgs and WillContinue are those of a call that comes in parts, which is not
	// read here: it is left out.
	PartialArgs  json.RawMessage `json:"partialArgs,omitempty"`
	WillContinue bool            `json:"willContinue,omitempty"`
}

type wireResult struct {
	ID       string          `json:"id,omitempty"`
	Name     string          `json:"name"`
	Response json.RawMessage `json:"response"`
	Parts    []wirePart      `json:"parts,omitempty"`
}

// MarshalJSON writes the fields, or the part as it came.
func (p wirePart) MarshalJSON() ([]byte, error) {
	if p.raw != nil {
		signature, err := rawjson.Encode(p.ThoughtSignature)
		if err != nil || p.ThoughtSignature == "" {
			return p.raw, err
		}
		o, err := wire.ParseObject(p.raw)
		if err != nil {
			return nil, err
		}
		o.Set(signatureKey, signature)
		return rawjson.Encode(o)
	}
	type plain wirePart
	return rawjson.Encode(plain(p))
}

// signatureKey is where the metadata of a part keeps what the server signed it with; it
// goes back as it came.
const signatureKey = "thoughtSignature"

type conversation struct {
	tools    *wire.Toolset
	media    bool // the model takes media
	system   *wireContent
	contents []wireContent
}

// messages maps Genkit's messages:
//
//   - system: text and data, to systemInstruction.
//   - user: text, data as JSON text, and media: inline by data: URL, else by its URI.
//   - model: the same, tool requests, thoughts that the server has signed, and parts of the
//     server's own (code and its results), as they came. Reasoning of others stays at home.
//   - tool: one functionResponse for each response, with media.
//
// Messages of one role that follow each other are joined. Anything else is
// INVALID_ARGUMENT and named by its place. A signature of any part goes back with it.
func messages(msgs []content.Message, tools *wire.Toolset, media bool) (*wireContent, []wireContent, error) {
	c := &conversation{tools: tools, media: media}
	msgs = model.PairRefs(msgs)
	for i := range msgs {
		if err := c.add(&msgs[i]); err != nil {
			return nil, nil, status.Publicf(status.InvalidArgument, "messages[%d]: %w", i, err)
		}
	}
	if len(c.contents) == 0 {
		return nil, nil, status.Publicf(status.InvalidArgument, "the request has no messages but those of the system")
	}
	return c.system, c.contents, nil
}

func (c *conversation) add(msg *content.Message) error {
	role := map[content.Role]string{content.RoleSystem: "system", content.RoleUser: "user", content.RoleTool: "user", content.RoleModel: "model"}[msg.Role]
	if role == "" {
		return fmt.Errorf("role %q is not one of system, user, model and tool", msg.Role)
	}
	var parts []wirePart
	for i := range msg.Content {
		more, err := c.parts(msg.Role, &msg.Content[i])
		if err != nil {
			return fmt.Errorf("content[%d]: %w", i, err)
		}
		parts = append(parts, more...)
	}
	switch last := len(c.contents) - 1; {
	case len(parts) == 0:
	case role == "system" && c.system != nil:
		c.system.Parts = append(c.system.Parts, parts...)
	case role == "system":
		c.system = &wireContent{"user", parts}
	case last >= 0 && c.contents[last].Role == role:
		c.contents[last].Parts = append(c.contents[last].Parts, parts...)
	default:
		c.contents = append(c.contents, wireContent{role, parts})
	}
	return nil
}

// parts maps every field that a part carries.
func (c *conversation) parts(role content.Role, part *content.Part) ([]wirePart, error) {
	if role == content.RoleTool {
		return c.result(part)
	}
	var all []wirePart
	known := false
	signature := wire.String(part.Metadata[signatureKey])
	if part.Reasoning != nil {
		if role != content.RoleModel {
			return nil, fmt.Errorf("only a model's message holds reasoning")
		}
		known = true
		if signature != "" {
			all = append(all, wirePart{Text: part.Reasoning, Thought: true})
		}
	}
	if part.Text != nil {
		known = true
		if *part.Text != "" || signature != "" {
			all = append(all, wirePart{Text: part.Text})
		}
	}
	if part.Media != nil {
		if role == content.RoleSystem {
			return nil, fmt.Errorf("media in a system message is not supported")
		}
		known = true
		media, err := mediaPart(part)
		if err != nil {
			return nil, err
		}
		all = append(all, media)
	}
	if req := part.ToolRequest; req != nil {
		if role != content.RoleModel {
			return nil, fmt.Errorf("only a model's message holds tool requests")
		}
		known = true
		args := json.RawMessage(c.tools.Arguments(req))
		if !json.Valid(args) || !wire.IsObject(args) {
			args = json.RawMessage("{}") // another model's mistake, which its answer tells
		}
		all = append(all, wirePart{FunctionCall: &wireCall{ID: req.Ref, Name: c.tools.Wire[req.Name], Args: args}})
	}
	switch {
	case part.ToolResponse != nil:
		return nil, fmt.Errorf("only a tool message holds tool responses")
	case part.Resource != nil:
		return nil, fmt.Errorf("resource parts must be resolved before they reach a model")
	case !known:
		other, err := otherPart(role, part)
		if err != nil {
			return nil, err
		}
		all = append(all, other...)
	}
	if len(all) > 0 && signature != "" && role == content.RoleModel {
		all[len(all)-1].ThoughtSignature = signature
	}
	return all, nil
}

// ownParts are the parts that the server makes by itself; they go back as they came.
var ownParts = []string{"executableCode", "codeExecutionResult", "toolCall", "toolResponse"}

func otherPart(role content.Role, part *content.Part) ([]wirePart, error) {
	switch {
	case part.Custom != nil:
		o, err := wire.ParseObject(part.Custom)
		if err != nil || role != content.RoleModel || !o.Has(ownParts...) {
			return nil, fmt.Errorf("custom parts are not supported, but %v in a model's message", ownParts)
		}
		return []wirePart{{raw: part.Custom}}, nil
	case part.Data != nil:
		text := wire.TextOf(part.Data)
		return []wirePart{{Text: &text}}, nil
	case len(part.Extra) > 0 || part.Metadata == nil:
		return nil, fmt.Errorf("the part holds nothing that is known here")
	}
	return nil, nil
}

func mediaPart(part *content.Part) (wirePart, error) {
	contentType := wire.MediaType(part.Media)
	out := wirePart{VideoMetadata: part.Metadata["videoMetadata"]}
	if _, isData := wire.CutScheme(part.Media.URL, "data"); !isData {
		if part.Media.URL == "" {
			return out, fmt.Errorf("media without a URL")
		}
		out.FileData = &wireFile{contentType, part.Media.URL}
		return out, nil
	}
	data, err := wire.Base64Of(part.Media.URL)
	if err == nil && contentType == "" {
		err = fmt.Errorf("a data: URL without a media type is not supported")
	}
	out.InlineData = &wireBlob{contentType, data}
	return out, err
}

// result maps a tool's answer. What can't be sent of it becomes a text in its place.
func (c *conversation) result(part *content.Part) ([]wirePart, error) {
	resp := part.ToolResponse
	if resp == nil {
		return nil, fmt.Errorf("a tool message holds tool responses only")
	}
	name := c.tools.Wire[resp.Name]
	out := &wireResult{ID: resp.Ref, Name: name}
	answer := map[string]any{"name": name, "content": json.RawMessage("null")}
	if resp.Output != nil {
		answer["content"] = resp.Output
	}
	var further []string
	for i := range resp.Content {
		p := &resp.Content[i]
		switch {
		case p.Media != nil && c.media:
			if media, err := mediaPart(p); err == nil {
				out.Parts = append(out.Parts, media)
				continue
			}
		case p.Text != nil:
			further = append(further, *p.Text)
			continue
		case p.Data != nil:
			further = append(further, wire.TextOf(p.Data))
			continue
		}
		further = append(further, wire.Placeholder(p))
	}
	if further != nil {
		answer["further"] = further
	}
	var err error
	out.Response, err = rawjson.Encode(answer)
	return []wirePart{{FunctionResponse: out}}, err
}
