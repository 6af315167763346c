package openai

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// request builds the body of POST /chat/completions. Documents in req.Docs are not
// sent: a model that declares no context support gets them as messages.
func (p *Provider) request(id string, supports model.Supports, req *model.Request, stream bool) ([]byte, *wire.Toolset, error) {
	conf, err := p.settings(req.Config)
	if err != nil {
		return nil, nil, err
	}
	tools, err := wire.NewToolset(req)
	if err != nil {
		return nil, nil, err
	}
	messages, err := p.messages(req.Messages, tools, &supports)
	if err != nil {
		return nil, nil, err
	}
	choice, err := tools.Choice(req.ToolChoice)
	if err != nil {
		return nil, nil, err
	}
	format, err := responseFormat(req, supports)
	if err != nil {
		return nil, nil, err
	}
	if format != nil && format.Type == "json_object" && !mentionsJSON(messages) {
		messages = askForJSON(messages, p.profile.SystemRole)
	}
	body := conf.fields
	add := func(name string, value any) {
		if err == nil {
			body[name], err = rawjson.Encode(value)
		}
	}
	add("model", wire.Or(conf.version, id))
	add("messages", messages)
	if len(tools.Defs) > 0 {
		add("tools", functions(tools.Defs))
	}
	if choice != "" && (choice != "auto" || !p.profile.NoToolChoice) {
		add("tool_choice", choice)
	}
	if format != nil {
		add("response_format", format)
	}
	if stream {
		add("stream", true)
	}
	if stream && !p.profile.NoStreamOptions && !p.noStreamOptions.Load() {
		add("stream_options", map[string]bool{"include_usage": true})
	}
	if err != nil {
		return nil, nil, status.Publicf(status.InvalidArgument, "encode the request: %w", err)
	}
	raw, err := rawjson.Encode(body)
	if err != nil {
		return nil, nil, status.Publicf(status.InvalidArgument, "encode the request: %w", err)
	}
	return raw, tools, nil
}

type wireTool struct {
	Type     string       `json:"type"`
	Function wireFunction `json:"function"`
}

type wireFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      bool            `json:"strict,omitempty"`
}

func functions(tools []wire.Tool) []wireTool {
	all := make([]wireTool, len(tools))
	for i, t := range tools {
		all[i] = wireTool{Type: "function", Function: wireFunction(t)}
	}
	return all
}

type wireFormat struct {
	Type       string          `json:"type"`
	JSONSchema *wireJSONSchema `json:"json_schema,omitempty"`
}

type wireJSONSchema struct {
	Name   string          `json:"name"`
	Schema json.RawMessage `json:"schema"`
	Strict bool            `json:"strict"`
}

// responseFormat returns nil where the answer is text, or where the model does not
// declare what it would take.
//
// A constrained schema goes out as json_schema. It is strict when it fits OpenAI's
// strict mode, and is then closed against further properties; a schema that does
// not fit would be refused with strict, and is a strong hint without. Without a
// schema, or when the schema stands in the prompt (constrained is not set, or the
// model can't), json_object asks for any JSON.
func responseFormat(req *model.Request, supports model.Supports) (*wireFormat, error) {
	out := req.Output
	if out == nil || (out.Format != "json" && (out.Format != "" || out.ContentType != "application/json")) {
		return nil, nil
	}
	able := supports.Constrained == "all" || (supports.Constrained == "no-tools" && len(req.Tools) == 0)
	constrained := out.Constrained != nil && *out.Constrained
	if !able || !constrained || !wire.IsObject(out.Schema) {
		if !slices.Contains(supports.Output, "json") {
			return nil, nil
		}
		return &wireFormat{Type: "json_object"}, nil
	}
	s := &wireJSONSchema{Name: "output", Schema: out.Schema, Strict: wire.FitsStrict(out.Schema)}
	if s.Strict {
		var err error
		if s.Schema, err = wire.CloseObjects(out.Schema); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "output schema: %w", err)
		}
	}
	return &wireFormat{Type: "json_schema", JSONSchema: s}, nil
}

// mentionsJSON reports whether any text says "JSON": the API refuses json_object
// for a conversation that does not.
func mentionsJSON(messages []wireMessage) bool {
	return slices.ContainsFunc(messages, func(m wireMessage) bool {
		return slices.ContainsFunc(m.Content, func(p wirePart) bool { return strings.Contains(strings.ToLower(p.Text), "json") })
	})
}

// askForJSON adds a system message behind those that lead.
func askForJSON(messages []wireMessage, role string) []wireMessage {
	at := 0
	for at < len(messages) && messages[at].Role == role {
		at++
	}
	return slices.Insert(messages, at, wireMessage{Role: role, Content: wireContent{{Type: "text", Text: "Answer with a JSON object."}}})
}
