package openai

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// Chat is a request for a chat completion.
type Chat struct {
	Options *model.GenerateOptions
	// Tools are those that the request brings: they run at the caller's, and Options returns the model's requests.
	Tools []action.Action
	// ServerTools are the names of the server's tools that are to be offered, the member server_tools of the
	// request; nil, with All, for all that there are. Of a request that brings tools of its own, none.
	ServerTools []string
	All         bool
	Stream      bool
	Usage       bool // whether a stream ends with the usage: stream_options.include_usage
}

type chatRequest struct {
	Model               string          `json:"model"`
	Messages            []chatMessage   `json:"messages"`
	Tools               []chatTool      `json:"tools"`
	ToolChoice          json.RawMessage `json:"tool_choice"`
	ServerTools         *[]string       `json:"server_tools"`
	ResponseFormat      *responseFormat `json:"response_format"`
	Stream              *bool           `json:"stream"`
	StreamOptions       *streamOptions  `json:"stream_options"`
	N                   *int            `json:"n"`
	LogProbs            *bool           `json:"logprobs"`
	Temperature         json.RawMessage `json:"temperature"`
	TopP                json.RawMessage `json:"top_p"`
	MaxTokens           json.RawMessage `json:"max_tokens"`
	MaxCompletionTokens json.RawMessage `json:"max_completion_tokens"`
	Stop                json.RawMessage `json:"stop"`
	Modalities          *[]string       `json:"modalities"`
	Functions           json.RawMessage `json:"functions"`
}

type streamOptions struct {
	IncludeUsage *bool `json:"include_usage"`
}

type chatMessage struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content"`
	Refusal    *string         `json:"refusal"`
	ToolCalls  []toolCall      `json:"tool_calls"`
	ToolCallID string          `json:"tool_call_id"`
}

type toolCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Function functionCall `json:"function"`
}

type functionCall struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type chatTool struct {
	Type     string   `json:"type"`
	Function function `json:"function"`
}

type function struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
}

type responseFormat struct {
	Type       string `json:"type"`
	JSONSchema struct {
		Schema json.RawMessage `json:"schema"`
	} `json:"json_schema"`
}

type contentPart struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Refusal  string `json:"refusal"`
	ImageURL struct {
		URL string `json:"url"`
	} `json:"image_url"`
	InputAudio struct {
		Data   string `json:"data"`
		Format string `json:"format"`
	} `json:"input_audio"`
	File struct {
		Data string `json:"file_data"`
	} `json:"file"`
}

// within says where in the request an error is.
func within(where string, err error) error {
	return status.Publicf(status.InvalidArgument, "%s: %s", where, status.Convert(err).Message)
}

func unsupported(what string) error {
	return status.Publicf(status.InvalidArgument, "%s is not supported here", what)
}

// ReadChat reads a request; INVALID_ARGUMENT, which names the member, for one that is none or asks for what can't
// be had.
func ReadChat(body json.RawMessage) (*Chat, error) {
	var r chatRequest
	if err := read(body, &r, "body"); err != nil {
		return nil, err
	}
	switch {
	case r.Model == "":
		return nil, status.Publicf(status.InvalidArgument, "model: name one; GET …/openai/v1/models lists them")
	case len(r.Messages) == 0:
		return nil, status.Publicf(status.InvalidArgument, "messages: want one at least")
	case r.N != nil && *r.N != 1:
		return nil, unsupported("n: another number than 1")
	case r.LogProbs != nil && *r.LogProbs:
		return nil, unsupported("logprobs")
	case given(r.Functions):
		return nil, unsupported("functions, which OpenAI has replaced by tools,")
	case r.Modalities != nil && (len(*r.Modalities) != 1 || (*r.Modalities)[0] != "text"):
		return nil, unsupported("modalities: other output than text")
	}
	c := &Chat{
		Options: &model.GenerateOptions{Model: r.Model},
		Stream:  r.Stream != nil && *r.Stream,
		Usage:   r.StreamOptions != nil && r.StreamOptions.IncludeUsage != nil && *r.StreamOptions.IncludeUsage,
	}
	for _, step := range []func(*chatRequest) error{c.messages, c.tools, c.format, c.config} {
		if err := step(&r); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// messages reads the conversation.
func (c *Chat) messages(r *chatRequest) error {
	names := map[string]string{} // of the calls, by their ids
	for i := range r.Messages {
		m, err := messageOf(&r.Messages[i], names)
		if err != nil {
			return within("messages["+strconv.Itoa(i)+"]", err)
		}
		last := len(c.Options.Messages) - 1
		if m.Role == content.RoleTool && last >= 0 && c.Options.Messages[last].Role == content.RoleTool {
			c.Options.Messages[last].Content = append(c.Options.Messages[last].Content, m.Content...) // answers of one turn
			continue
		}
		c.Options.Messages = append(c.Options.Messages, m)
	}
	return nil
}

func messageOf(m *chatMessage, names map[string]string) (content.Message, error) {
	parts, err := partsOf(m.Content)
	if err != nil {
		return content.Message{}, err
	}
	switch m.Role {
	case "system", "developer":
		return content.NewSystemMessage(parts...), nil
	case "user":
		return content.NewUserMessage(parts...), nil
	case "assistant":
		if m.Refusal != nil && *m.Refusal != "" {
			parts = append(parts, content.NewTextPart(*m.Refusal))
		}
		for i, call := range m.ToolCalls {
			in := json.RawMessage(call.Function.Arguments)
			if strings.TrimSpace(call.Function.Arguments) == "" {
				in = json.RawMessage("{}")
			}
			if !json.Valid(in) {
				return content.Message{}, status.Publicf(status.InvalidArgument, "tool_calls[%d].function.arguments is no JSON text", i)
			}
			if call.ID == "" || call.Function.Name == "" {
				return content.Message{}, status.Publicf(status.InvalidArgument, "tool_calls[%d]: want an id and a function's name", i)
			}
			names[call.ID] = call.Function.Name
			parts = append(parts, content.NewToolRequestPart(&content.ToolRequest{Name: call.Function.Name, Ref: call.ID, Input: in}))
		}
		return content.NewModelMessage(parts...), nil
	case "tool":
		name, ok := names[m.ToolCallID]
		if !ok {
			return content.Message{}, status.Publicf(status.InvalidArgument, "tool_call_id is that of no call before")
		}
		out, err := json.Marshal(content.TextOf(parts))
		if err != nil {
			return content.Message{}, err
		}
		return content.NewMessage(content.RoleTool, nil, content.NewToolResponsePart(&content.ToolResponse{Name: name, Ref: m.ToolCallID, Output: out})), nil
	}
	return content.Message{}, status.Publicf(status.InvalidArgument, "want the role system, developer, user, assistant or tool")
}

// partsOf reads a content: a text, parts, or none.
func partsOf(raw json.RawMessage) ([]content.Part, error) {
	if !given(raw) {
		return nil, nil
	}
	if raw[0] == '"' {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, err
		}
		return []content.Part{content.NewTextPart(text)}, nil
	}
	var list []contentPart
	if err := read(raw, &list, "content"); err != nil {
		return nil, err
	}
	parts := make([]content.Part, 0, len(list))
	for i, p := range list {
		part, ok := p.part()
		if !ok {
			return nil, status.Publicf(status.InvalidArgument, "content[%d]: want a text, an image_url, an input_audio, or a file with file_data", i)
		}
		parts = append(parts, part)
	}
	return parts, nil
}

func (p *contentPart) part() (content.Part, bool) {
	switch {
	case p.Type == "text":
		return content.NewTextPart(p.Text), true
	case p.Type == "refusal":
		return content.NewTextPart(p.Refusal), true
	case p.Type == "image_url" && p.ImageURL.URL != "":
		return content.NewMediaPart("", p.ImageURL.URL), true
	case p.Type == "input_audio" && p.InputAudio.Data != "" && p.InputAudio.Format != "" && !strings.ContainsAny(p.InputAudio.Format, ";,/ "):
		kind := "audio/" + p.InputAudio.Format
		return content.NewMediaPart(kind, "data:"+kind+";base64,"+p.InputAudio.Data), true
	case p.Type == "file" && strings.HasPrefix(p.File.Data, "data:"):
		return content.NewMediaPart("", p.File.Data), true
	}
	return content.Part{}, false
}

// tools reads which tools are offered, and whether they have to be used.
func (c *Chat) tools(r *chatRequest) error {
	if len(r.Tools) > MaxTools || r.ServerTools != nil && len(*r.ServerTools) > MaxTools {
		return status.Publicf(status.InvalidArgument, "tools: more than %d", MaxTools)
	}
	if len(r.Tools) > 0 && r.ServerTools != nil && len(*r.ServerTools) > 0 {
		return status.Publicf(status.InvalidArgument, "tools and server_tools: want one of them, since tools of the request run at its caller's")
	}
	choice, only, err := choiceOf(r.ToolChoice)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for i, t := range r.Tools {
		if t.Type != "function" {
			return unsupported("tools[" + strconv.Itoa(i) + "]: another type than function")
		}
		if seen[t.Function.Name] {
			return status.Publicf(status.InvalidArgument, "tools[%d]: a second one of its name", i)
		}
		seen[t.Function.Name] = true
		if only != "" && t.Function.Name != only {
			continue
		}
		in := t.Function.Parameters
		if !given(in) {
			in = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		a, err := tool.NewRaw(t.Function.Name, t.Function.Description, in, nil, runsElsewhere)
		if err != nil {
			return within("tools["+strconv.Itoa(i)+"]", err)
		}
		c.Tools = append(c.Tools, a)
	}
	switch {
	case only != "" && len(r.Tools) > 0 && !seen[only]:
		return status.Publicf(status.InvalidArgument, "tool_choice names none of the tools")
	case len(r.Tools) > 0:
		c.Options.ReturnToolRequests = true
	case choice == model.ToolChoiceNone:
		return nil // what is not offered can't be used
	case only != "":
		c.ServerTools = []string{only}
	case r.ServerTools != nil:
		c.ServerTools = *r.ServerTools
	default:
		c.All = true
	}
	c.Options.ToolChoice = choice
	return nil
}

func runsElsewhere(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
	return nil, status.Publicf(status.FailedPrecondition, "the tool is the caller's")
}

// choiceOf reads tool_choice: "none", "auto", "required", or {"type":"function","function":{"name":…}}.
func choiceOf(raw json.RawMessage) (choice model.ToolChoice, only string, err error) {
	if !given(raw) {
		return "", "", nil
	}
	var named struct {
		Type     string `json:"type"`
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	switch text := string(raw); {
	case text == `"none"`:
		return model.ToolChoiceNone, "", nil
	case text == `"auto"`:
		return model.ToolChoiceAuto, "", nil
	case text == `"required"`:
		return model.ToolChoiceRequired, "", nil
	case raw[0] == '{':
		if err := read(raw, &named, "tool_choice"); err != nil {
			return "", "", err
		}
		if named.Type == "function" && named.Function.Name != "" {
			return model.ToolChoiceRequired, named.Function.Name, nil
		}
	}
	return "", "", status.Publicf(status.InvalidArgument, `tool_choice: want "none", "auto", "required" or a function's name`)
}

// format reads which form the answer has.
func (c *Chat) format(r *chatRequest) error {
	if r.ResponseFormat == nil {
		return nil
	}
	switch r.ResponseFormat.Type {
	case "text":
		return nil
	case "json_object":
		c.Options.Output = &model.OutputOptions{Format: "json"}
		return nil
	case "json_schema":
		if !given(r.ResponseFormat.JSONSchema.Schema) {
			return status.Publicf(status.InvalidArgument, "response_format.json_schema.schema: want a schema")
		}
		c.Options.Output = &model.OutputOptions{Format: "json", JSONSchema: r.ResponseFormat.JSONSchema.Schema}
		return nil
	}
	return status.Publicf(status.InvalidArgument, "response_format.type: want text, json_object or json_schema")
}

// config puts what Genkit's models have in common under Genkit's names.
func (c *Chat) config(r *chatRequest) error {
	config := map[string]json.RawMessage{}
	put := func(name string, raw json.RawMessage) {
		if given(raw) {
			config[name] = raw
		}
	}
	put("temperature", r.Temperature)
	put("topP", r.TopP)
	put("maxOutputTokens", r.MaxTokens)
	put("maxOutputTokens", r.MaxCompletionTokens)
	if given(r.Stop) && r.Stop[0] == '"' {
		r.Stop = append(append(json.RawMessage{'['}, r.Stop...), ']')
	}
	put("stopSequences", r.Stop)
	if len(config) == 0 {
		return nil
	}
	raw, err := json.Marshal(config)
	c.Options.Config = raw
	return err
}
