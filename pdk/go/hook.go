package pdk

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/codec"
	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/host"
)

// The hooks of a middleware.
const (
	HookGenerate = "generate" // an iteration of the generate loop and those after it
	HookModel    = "model"    // a call of the model
	HookTool     = "tool"     // an execution of a tool
)

// MiddlewareInfo is one middleware of a descriptor.
type MiddlewareInfo struct {
	Name         string          `json:"name"`
	Description  string          `json:"description,omitempty"`
	Export       string          `json:"export,omitempty"` // default: Name
	Hooks        []string        `json:"hooks"`
	ConfigSchema json.RawMessage `json:"configSchema,omitempty"`
	Chunks       string          `json:"chunks,omitempty"` // "withhold" (default) or "pass"
}

// Hook is one call of a middleware.
type Hook[Config any] struct {
	Kind    string          `json:"hook"`
	Model   string          `json:"model"` // the model that is called; for the hooks generate and model
	Config  Config          `json:"config"`
	Request json.RawMessage `json:"request"` // a [Turn], a [ModelRequest] or a [Part]
}

// Next calls the rest of the chain that the hook wraps: it decodes the answer (a [ModelResponse], of a tool
// a [Part]) into answer. It may be called more than once, with other requests, or not
// at all. An error that is returned as it is reaches the caller whole.
func (h *Hook[Config]) Next(request, answer any) error {
	raw, err := codec.Any(request)
	if err != nil {
		return err
	}
	reply := host.Next(raw)
	codec.Release(raw)
	return decodeReply(reply, answer)
}

// Decode decodes the request into a [Turn], a [ModelRequest] or a [Part], as encoding/json does, quicker after [WarmMiddleware].
func (h *Hook[Config]) Decode(request any) error { return codec.DecodeAny(h.Request, request) }

// WarmMiddleware is [Warm] for a middleware: it learns its config and the types of requests and answers.
//
//	var _ = pdk.WarmMiddleware(redact)
func WarmMiddleware[Config any](_ func(h *Hook[Config]) (answer any, err error)) struct{} {
	codec.Learn[any]()
	codec.Learn[Turn]()
	codec.Learn[ModelRequest]()
	codec.Learn[ModelResponse]()
	codec.Learn[Part]()
	codec.Learn[ModelChunk]()
	return Warm(func(Hook[Config]) (any, error) { return nil, nil }) //nolint:nilnil // it is never called
}

// Middleware runs fn as a hook and sets its result as the answer. It is the whole
// body of an exported function, as with [Tool].
func Middleware[Config any](fn func(h *Hook[Config]) (answer any, err error)) int32 {
	return Tool(func(h Hook[Config]) (any, error) { return fn(&h) })
}

// The parts of Genkit's data that most middleware needs. Fields that they do not name are kept
// in the raw fields, so that nothing is lost on the way through.

// Part is a piece of a message: its fields by name, such as "text".
type Part map[string]json.RawMessage

// Text returns the text of a part that is one.
func (p Part) Text() (text string, ok bool) {
	raw, ok := p["text"]
	return text, ok && json.Unmarshal(raw, &text) == nil
}

// WithText returns a copy of the part with another text.
func (p Part) WithText(text string) (Part, error) {
	raw, err := encode(text)
	if err != nil {
		return nil, err
	}
	c := make(Part, len(p)+1)
	maps.Copy(c, p)
	c["text"] = raw
	return c, nil
}

// Message is a message of a conversation.
type Message struct {
	Role     string          `json:"role"`
	Content  []Part          `json:"content"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
}

// ModelRequest is the input of the hook model: Genkit's GenerateRequest.
type ModelRequest struct {
	Messages   []Message       `json:"messages"`
	Config     json.RawMessage `json:"config,omitempty"`
	Tools      json.RawMessage `json:"tools,omitempty"`
	ToolChoice json.RawMessage `json:"toolChoice,omitempty"`
	Output     json.RawMessage `json:"output,omitempty"`
	Docs       json.RawMessage `json:"docs,omitempty"`
}

// ModelResponse is its answer: Genkit's GenerateResponse.
type ModelResponse struct {
	Message       *Message        `json:"message,omitempty"`
	FinishReason  string          `json:"finishReason,omitempty"`
	FinishMessage string          `json:"finishMessage,omitempty"`
	Usage         json.RawMessage `json:"usage,omitempty"`
	LatencyMS     json.RawMessage `json:"latencyMs,omitempty"`
	Custom        json.RawMessage `json:"custom,omitempty"`
	Raw           json.RawMessage `json:"raw,omitempty"`
	Operation     json.RawMessage `json:"operation,omitempty"`
}

// Turn is the input of the hook generate; its answer is a [ModelResponse].
type Turn struct {
	Request      json.RawMessage `json:"request"` // Genkit's GenerateActionOptions
	CurrentTurn  int             `json:"currentTurn"`
	MessageIndex int             `json:"messageIndex"`
}

// FormatInfo is one output format of a descriptor.
type FormatInfo struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Export      string `json:"export,omitempty"` // default: Name
	ContentType string `json:"contentType,omitempty"`
	// Constrained asks the model to enforce the schema.
	Constrained bool `json:"constrained,omitempty"`
	// DefaultInstructions is false for a format whose instructions are given only
	// when the caller asks for them; nil means true.
	DefaultInstructions *bool `json:"defaultInstructions,omitempty"`
	// Chunks is set for a format that reads output while it streams.
	Chunks bool `json:"chunks,omitempty"`
}

// Format holds the functions of an output format. A nil function does nothing.
type Format struct {
	// Instructions describes the wanted output to the model; schema is null when the caller
	// gave none.
	Instructions func(schema json.RawMessage) (string, error)
	// Parse reads a message; a nil value means that there is no output.
	Parse func(schema json.RawMessage, m Message) (any, error)
	// ParseChunk reads the text so far, of which delta is new; a nil value means
	// that there is nothing new to say.
	ParseChunk func(schema json.RawMessage, text, delta string) (any, error)
}

// ServeFormat runs f. It is the whole body of an exported function, as with [Tool].
func ServeFormat(f Format) int32 {
	return Tool(func(in struct {
		Op      string          `json:"op"`
		Schema  json.RawMessage `json:"schema"`
		Message Message         `json:"message"`
		Text    string          `json:"text"`
		Delta   string          `json:"delta"`
	},
	) (any, error) {
		switch {
		case in.Op == "instructions" && f.Instructions != nil:
			return f.Instructions(in.Schema)
		case in.Op == "parse" && f.Parse != nil:
			return f.Parse(in.Schema, in.Message)
		case in.Op == "parseChunk" && f.ParseChunk != nil:
			return f.ParseChunk(in.Schema, in.Text, in.Delta)
		}
		return nil, nil //nolint:nilnil // there is no output
	})
}

// Text returns the text of a message.
func (m Message) Text() string {
	var all strings.Builder
	for _, p := range m.Content {
		text, _ := p.Text()
		all.WriteString(text)
	}
	return all.String()
}
