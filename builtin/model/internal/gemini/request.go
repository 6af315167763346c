package gemini

import (
	"encoding/json"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Request is a request that is ready to be sent.
type Request struct {
	// ID is the model's, that of the config before that of the name.
	ID string
	// Body is that of generateContent and streamGenerateContent.
	Body []byte

	tools *wire.Toolset
}

type wireRequest struct {
	Contents          []wireContent     `json:"contents"`
	SystemInstruction *wireContent      `json:"systemInstruction,omitempty"`
	Tools             []wireTool        `json:"tools,omitempty"`
	ToolConfig        *wireToolConfig   `json:"toolConfig,omitempty"`
	GenerationConfig  *wireGeneration   `json:"generationConfig,omitempty"`
	SafetySettings    []SafetySetting   `json:"safetySettings,omitempty"`
	CachedContent     string            `json:"cachedContent,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	ServiceTier       string            `json:"serviceTier,omitempty"`
}

type wireGeneration struct {
	Generation
	ResponseMimeType   string          `json:"responseMimeType,omitempty"`
	ResponseJSONSchema json.RawMessage `json:"responseJsonSchema,omitempty"`
}

type wireTool struct {
	FunctionDeclarations []wireFunction  `json:"functionDeclarations,omitempty"`
	GoogleSearch         json.RawMessage `json:"googleSearch,omitempty"`
	URLContext           json.RawMessage `json:"urlContext,omitempty"`
	FileSearch           json.RawMessage `json:"fileSearch,omitempty"`
	CodeExecution        json.RawMessage `json:"codeExecution,omitempty"`
}

type wireFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parametersJsonSchema,omitempty"`
}

type wireToolConfig struct {
	FunctionCallingConfig FunctionCalling `json:"functionCallingConfig"`
}

// NewRequest builds the request of a model of an id. Documents in req.Docs are not sent: a
// model that declares no context support gets them as messages. What can't be sent is
// INVALID_ARGUMENT.
func NewRequest(id string, supports model.Supports, req *model.Request) (*Request, error) {
	conf, err := wire.Decode[Options](req.Config, "model config")
	if err != nil {
		return nil, err
	}
	id = wire.Or(conf.Version, id)
	tools, err := wire.NewToolset(req)
	if err != nil {
		return nil, err
	}
	body := &wireRequest{
		SafetySettings: conf.SafetySettings, CachedContent: conf.CachedContent, Labels: conf.Labels, ServiceTier: conf.ServiceTier,
		Tools: toolsOf(conf, tools), GenerationConfig: generationOf(id, conf, supports, req),
	}
	if body.SystemInstruction, body.Contents, err = messages(req.Messages, tools, supports.Media); err != nil {
		return nil, err
	}
	if body.ToolConfig, err = choiceOf(conf, tools, req.ToolChoice); err != nil {
		return nil, err
	}
	raw, err := encode(body, conf.Extra)
	if err != nil {
		return nil, err
	}
	return &Request{id, raw, tools}, nil
}

func encode(body *wireRequest, extra json.RawMessage) ([]byte, error) {
	raw, err := rawjson.Encode(body)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "encode the request: %w", err)
	}
	return wire.WithExtra(raw, extra, "contents", "systemInstruction", "tools")
}

// generationOf is nil where it says nothing.
func generationOf(id string, conf *Options, supports model.Supports, req *model.Request) *wireGeneration {
	g := &wireGeneration{Generation: conf.Generation}
	if isSpeech(id) {
		if len(g.ResponseModalities) == 0 {
			g.ResponseModalities = []string{"AUDIO"}
		}
		if isNullOrEmpty(g.SpeechConfig) { // the API refuses a request without a voice
			g.SpeechConfig = json.RawMessage(`{"voiceConfig":{"prebuiltVoiceConfig":{"voiceName":"Algenib"}}}`)
		}
	}
	if isImage(id) && len(g.ResponseModalities) == 0 {
		g.ResponseModalities = []string{"TEXT", "IMAGE"}
	}
	schema := wire.ConstrainedSchema(req, supports)
	out := req.Output
	asksJSON := out != nil && (out.Format == "json" || out.ContentType == wire.JSON) && slices.Contains(supports.Output, "json")
	if schema != nil || (asksJSON && len(req.Tools) == 0) { // some models know JSON and tools together only with a schema
		g.ResponseMimeType, g.ResponseJSONSchema = wire.JSON, schema
	}
	if raw, err := rawjson.Encode(g); err == nil && string(raw) == "{}" {
		return nil
	}
	return g
}

func toolsOf(conf *Options, tools *wire.Toolset) []wireTool {
	var all []wireTool
	if len(tools.Defs) > 0 {
		functions := make([]wireFunction, len(tools.Defs))
		for i, t := range tools.Defs {
			functions[i] = wireFunction{t.Name, t.Description, t.Parameters}
		}
		all = append(all, wireTool{FunctionDeclarations: functions})
	}
	if !wire.IsNull(conf.GoogleSearch) {
		all = append(all, wireTool{GoogleSearch: conf.GoogleSearch})
	}
	if !wire.IsNull(conf.URLContext) {
		all = append(all, wireTool{URLContext: conf.URLContext})
	}
	if !wire.IsNull(conf.FileSearch) {
		all = append(all, wireTool{FileSearch: conf.FileSearch})
	}
	if conf.CodeExecution {
		all = append(all, wireTool{CodeExecution: json.RawMessage("{}")})
	}
	return all
}

func choiceOf(conf *Options, tools *wire.Toolset, asked model.ToolChoice) (*wireToolConfig, error) {
	choice, err := tools.Choice(asked)
	if err != nil || len(tools.Defs) == 0 {
		return nil, err
	}
	c := FunctionCalling{Mode: map[string]string{"auto": "AUTO", "required": "ANY", "none": "NONE"}[choice]}
	if own := conf.FunctionCallingConfig; own != nil {
		c.Mode = wire.Or(own.Mode, c.Mode)
		for _, name := range own.AllowedFunctionNames {
			known, ok := tools.Wire[name]
			if !ok {
				return nil, status.Publicf(status.InvalidArgument, "model config key \"functionCallingConfig\": the request has no tool %q", name)
			}
			c.AllowedFunctionNames = append(c.AllowedFunctionNames, known)
		}
	}
	if c.Mode == "" && len(c.AllowedFunctionNames) == 0 {
		return nil, nil
	}
	return &wireToolConfig{c}, nil
}

func isNullOrEmpty(raw json.RawMessage) bool { return wire.IsNull(raw) || string(raw) == "{}" }
