package pdk

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/host"
)

// Module is the module's descriptor: the host registers it without running any
// tool. Its JSON form is described in ../abi.md.
type Module struct {
	ABI         string           `json:"abi"` // set by Describe
	Name        string           `json:"name"`
	Version     string           `json:"version,omitempty"` // semantic version
	Description string           `json:"description,omitempty"`
	Tools       []ToolInfo       `json:"tools,omitempty"`
	Middleware  []MiddlewareInfo `json:"middleware,omitempty"`
	Formats     []FormatInfo     `json:"formats,omitempty"`
	Embedders   []ActionInfo     `json:"embedders,omitempty"`  // run by [Embedder]
	Evaluators  []ActionInfo     `json:"evaluators,omitempty"` // run by [Evaluator]
	Retrievers  []ActionInfo     `json:"retrievers,omitempty"` // run by [Retriever]
	Indexers    []ActionInfo     `json:"indexers,omitempty"`   // run by [Indexer]
	Rerankers   []ActionInfo     `json:"rerankers,omitempty"`  // run by [Reranker]
	Models      []ActionInfo     `json:"models,omitempty"`     // run by [Model]
	Resources   []ActionInfo     `json:"resources,omitempty"`  // run by [Resource]
	Prompts     []ActionInfo     `json:"prompts,omitempty"`    // nothing runs
	Requests    map[string]any   `json:"requests,omitempty"`
}

// ToolInfo is one tool of a descriptor. [Info] and [TextInfo] fill it in.
type ToolInfo struct {
	Name         string          `json:"name"`
	Description  string          `json:"description"`
	Export       string          `json:"export,omitempty"` // default: Name
	IO           string          `json:"io,omitempty"`     // "json" (default) or "text"
	InputSchema  json.RawMessage `json:"inputSchema,omitempty"`
	OutputSchema json.RawMessage `json:"outputSchema,omitempty"`
	Multipart    bool            `json:"multipart,omitempty"`
	Metadata     map[string]any  `json:"metadata,omitempty"`
}

// Info describes a tool that is run by [Tool] with the same fn; the schemas come
// from In and Out as [Schema] says. It panics where Schema does.
func Info[In, Out any](name, description string, _ func(In) (Out, error)) ToolInfo {
	return ToolInfo{
		Name:         name,
		Description:  description,
		InputSchema:  Schema[In](),
		OutputSchema: outputSchema[Out](),
	}
}

// TextInfo describes a tool that is run by [TextTool].
func TextInfo(name, description string) ToolInfo {
	return ToolInfo{Name: name, Description: description, IO: "text"}
}

// Describe is the body of the export genkit_describe. It sets m, with the ABI's
// name filled in, as the output.
func Describe(m Module) int32 {
	m.ABI = "genkit/1"
	b, err := encode(m)
	if err != nil {
		return Fail(err)
	}
	host.Output(b)
	return 0
}
