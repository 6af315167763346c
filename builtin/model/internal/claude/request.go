package claude

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// The versions of the API.
const (
	Version2023 = "2023-06-01"
	// Version2026 knows no temperature, topP and topK, and keeps system messages at their
	// places in a conversation.
	Version2026 = "2026-10-21"
)

// Dialect is which API is spoken, and where.
type Dialect struct {
	// Version is the API's.
	Version string
	// MaxTokens is max_tokens of a request whose config says nothing.
	MaxTokens int
	// InBody is the version that stands in the body, of a server that wants it there and the
	// model in the path; empty for Anthropic's own.
	InBody string
}

// Request is a request that is ready to be sent.
type Request struct {
	// ID is the model's, that of the config before that of the name.
	ID   string
	Body []byte
	// Betas are those of the config.
	Betas []string

	tools *wire.Toolset
}

// wireRequest is the body of POST /v1/messages.
type wireRequest struct {
	Model         string            `json:"model,omitempty"`
	Version       string            `json:"anthropic_version,omitempty"`
	MaxTokens     int               `json:"max_tokens"`
	System        []block           `json:"system,omitempty"`
	Messages      []wireMessage     `json:"messages"`
	Tools         []wireTool        `json:"tools,omitempty"`
	ToolChoice    *wireChoice       `json:"tool_choice,omitempty"`
	Thinking      *wireThinking     `json:"thinking,omitempty"`
	OutputConfig  *wireOutputConfig `json:"output_config,omitempty"`
	Temperature   *float64          `json:"temperature,omitempty"`
	TopP          *float64          `json:"top_p,omitempty"`
	TopK          *int              `json:"top_k,omitempty"`
	StopSequences []string          `json:"stop_sequences,omitempty"`
	Metadata      *UserMetadata     `json:"metadata,omitempty"`
	CacheControl  *CacheControl     `json:"cache_control,omitempty"`
	ServiceTier   string            `json:"service_tier,omitempty"`
	Stream        bool              `json:"stream,omitempty"`
}

type wireTool struct {
	Name         string          `json:"name"`
	Description  string          `json:"description,omitempty"`
	InputSchema  json.RawMessage `json:"input_schema"`
	Strict       bool            `json:"strict,omitempty"`
	CacheControl *CacheControl   `json:"cache_control,omitempty"`
}

type wireChoice struct {
	Type    string `json:"type"`
	Name    string `json:"name,omitempty"`
	OneOnly bool   `json:"disable_parallel_tool_use,omitempty"`
}

type wireOutputConfig struct {
	Effort string      `json:"effort,omitempty"`
	Format *wireFormat `json:"format,omitempty"`
}

type wireFormat struct {
	Type   string          `json:"type"`
	Schema json.RawMessage `json:"schema"`
}

// Request builds the request of a model of an id. Documents in req.Docs are not sent: a model
// that declares no context support gets them as messages. What can't be sent is
// INVALID_ARGUMENT.
func (d *Dialect) Request(id string, supports model.Supports, req *model.Request, stream bool) (*Request, error) {
	conf, err := wire.Decode[Options](req.Config, "model config")
	if err != nil {
		return nil, err
	}
	tools, err := wire.NewToolset(req)
	if err != nil {
		return nil, err
	}
	body := &wireRequest{
		Model: wire.Or(conf.Version, id), MaxTokens: wire.Or(conf.MaxOutputTokens, d.MaxTokens), Stream: stream,
		Temperature: conf.Temperature, TopP: conf.TopP, TopK: conf.TopK, StopSequences: conf.StopSequences,
		Metadata: conf.Metadata, CacheControl: conf.CacheControl.wire(), ServiceTier: conf.ServiceTier,
	}
	id = body.Model
	if d.InBody != "" {
		body.Model, body.Version = "", d.InBody
	}
	if d.Version == Version2026 && (conf.Temperature != nil || conf.TopP != nil || conf.TopK != nil) {
		return nil, status.Publicf(status.InvalidArgument, "model config: version %s of the API has no temperature, topP and topK", d.Version)
	}
	if body.System, body.Messages, err = d.messages(req.Messages, tools, supports.Media); err != nil {
		return nil, err
	}
	if body.Thinking, err = conf.Thinking.wire(); err != nil {
		return nil, err
	}
	if body.Tools, err = toolsOf(req, tools); err != nil {
		return nil, err
	}
	if body.ToolChoice, err = choiceOf(conf, tools, req.ToolChoice); err != nil {
		return nil, err
	}
	if body.OutputConfig, err = outputOf(conf, supports, req); err != nil {
		return nil, err
	}
	raw, err := encode(body, conf.Extra)
	if err != nil {
		return nil, err
	}
	return &Request{id, raw, conf.Betas, tools}, nil
}

// managed are the body fields that come from the rest of the request.
var managed = []string{"messages", "system", "tools", "stream", "model"}

// encode writes the body with the fields of extra, which replace its own.
func encode(body *wireRequest, extra json.RawMessage) ([]byte, error) {
	raw, err := rawjson.Encode(body)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "encode the request: %w", err)
	}
	return wire.WithExtra(raw, extra, managed...)
}

func toolsOf(req *model.Request, tools *wire.Toolset) ([]wireTool, error) {
	all := make([]wireTool, len(tools.Defs))
	for i, t := range tools.Defs {
		all[i] = wireTool{Name: t.Name, Description: t.Description, InputSchema: t.Parameters, Strict: t.Strict, CacheControl: cacheOf(req.Tools[i].Metadata)}
		if t.Strict {
			var err error
			if all[i].InputSchema, err = wire.Enforceable(t.Parameters); err != nil {
				return nil, status.Publicf(status.InvalidArgument, "tools[%d]: input schema: %w", i, err)
			}
		}
	}
	return all, nil
}

// choiceOf is the config's tool choice, else the request's. It is left out where it says
// nothing.
func choiceOf(conf *Options, tools *wire.Toolset, asked model.ToolChoice) (*wireChoice, error) {
	choice, err := tools.Choice(asked)
	if err != nil || len(tools.Defs) == 0 {
		return nil, err
	}
	c := &wireChoice{Type: map[string]string{"required": "any"}[choice]}
	c.Type = wire.Or(c.Type, choice)
	if own := conf.ToolChoice; own != nil {
		c.Type = own.Type
		if own.Type == "tool" {
			if c.Name = tools.Wire[own.Name]; c.Name == "" {
				return nil, status.Publicf(status.InvalidArgument, "model config key \"tool_choice\": the request has no tool %q", own.Name)
			}
		}
	}
	if c.Type == "" && !conf.OneToolAtATime {
		return nil, nil
	}
	c.Type = wire.Or(c.Type, "auto")
	c.OneOnly = conf.OneToolAtATime && c.Type != "none"
	return c, nil
}

// outputOf sends a constrained schema; everything else stands in the prompt.
func outputOf(conf *Options, supports model.Supports, req *model.Request) (*wireOutputConfig, error) {
	c := &wireOutputConfig{Effort: conf.Effort}
	if schema := wire.ConstrainedSchema(req, supports); schema != nil {
		enforced, err := wire.Enforceable(schema)
		if err != nil {
			return nil, status.Publicf(status.InvalidArgument, "output schema: %w", err)
		}
		c.Format = &wireFormat{Type: "json_schema", Schema: enforced}
	}
	if *c == (wireOutputConfig{}) {
		return nil, nil
	}
	return c, nil
}
