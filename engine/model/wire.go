package model

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/rawjson"
)

// Request is Genkit's GenerateRequest: what a model is asked.
type Request struct {
	Messages   []content.Message  `json:"messages"`
	Config     json.RawMessage    `json:"config,omitempty"`
	Tools      []ToolDefinition   `json:"tools,omitzero"`
	ToolChoice ToolChoice         `json:"toolChoice,omitempty"`
	Output     *Output            `json:"output,omitempty"`
	Docs       []content.Document `json:"docs,omitzero"`

	// Extra holds the fields that this version does not know.
	Extra map[string]json.RawMessage `json:"-"`
}

// ToolChoice says whether the model may or must call tools.
type ToolChoice string

// Genkit's tool choices.
const (
	ToolChoiceAuto     ToolChoice = "auto"
	ToolChoiceRequired ToolChoice = "required"
	ToolChoiceNone     ToolChoice = "none"
)

// ToolDefinition is a tool as a model sees it.
type ToolDefinition struct {
	Name         string           `json:"name"`
	Key          string           `json:"key,omitempty"`
	Description  string           `json:"description"`
	InputSchema  json.RawMessage  `json:"inputSchema,omitempty"`
	OutputSchema json.RawMessage  `json:"outputSchema,omitempty"`
	Metadata     content.Metadata `json:"metadata,omitzero"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Output says what the model's text should be.
type Output struct {
	Format      string          `json:"format,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
	Constrained *bool           `json:"constrained,omitempty"`
	ContentType string          `json:"contentType,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// FinishReason says why a model stopped. Values that are not among the constants
// are kept as they are.
type FinishReason string

// Genkit's finish reasons.
const (
	FinishStop        FinishReason = "stop"
	FinishLength      FinishReason = "length"
	FinishBlocked     FinishReason = "blocked"
	FinishAborted     FinishReason = "aborted"
	FinishInterrupted FinishReason = "interrupted"
	FinishOther       FinishReason = "other"
	FinishUnknown     FinishReason = "unknown"
)

// Response is Genkit's GenerateResponse: what a model answered.
type Response struct {
	Message       *content.Message `json:"message,omitempty"`
	FinishReason  FinishReason     `json:"finishReason,omitempty"`
	FinishMessage string           `json:"finishMessage,omitempty"`
	LatencyMS     json.Number      `json:"latencyMs,omitempty"`
	Usage         *Usage           `json:"usage,omitempty"`
	Custom        json.RawMessage  `json:"custom,omitempty"`
	Raw           json.RawMessage  `json:"raw,omitempty"`
	Request       *Request         `json:"request,omitempty"`
	Operation     json.RawMessage  `json:"operation,omitempty"`
	Candidates    json.RawMessage  `json:"candidates,omitempty"`

	// Output is the message as the asked format reads it, nil when none was
	// asked or nothing could be read. It is not part of the wire form.
	Output json.RawMessage `json:"-"`

	// Extra holds the fields that this version does not know.
	Extra map[string]json.RawMessage `json:"-"`
}

// Usage counts what a call consumed. Counts stay as the provider wrote them; an
// empty one was not told.
type Usage struct {
	InputTokens         json.Number            `json:"inputTokens,omitempty"`
	OutputTokens        json.Number            `json:"outputTokens,omitempty"`
	TotalTokens         json.Number            `json:"totalTokens,omitempty"`
	InputCharacters     json.Number            `json:"inputCharacters,omitempty"`
	OutputCharacters    json.Number            `json:"outputCharacters,omitempty"`
	InputImages         json.Number            `json:"inputImages,omitempty"`
	OutputImages        json.Number            `json:"outputImages,omitempty"`
	InputVideos         json.Number            `json:"inputVideos,omitempty"`
	OutputVideos        json.Number            `json:"outputVideos,omitempty"`
	InputAudioFiles     json.Number            `json:"inputAudioFiles,omitempty"`
	OutputAudioFiles    json.Number            `json:"outputAudioFiles,omitempty"`
	ThoughtsTokens      json.Number            `json:"thoughtsTokens,omitempty"`
	CachedContentTokens json.Number            `json:"cachedContentTokens,omitempty"`
	Custom              map[string]json.Number `json:"custom,omitzero"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Chunk is Genkit's ModelResponseChunk: a piece of an answer while it is made.
type Chunk struct {
	Role       content.Role    `json:"role,omitempty"`
	Index      json.Number     `json:"index,omitempty"`
	Content    []content.Part  `json:"content"`
	Custom     json.RawMessage `json:"custom,omitempty"`
	Aggregated *bool           `json:"aggregated,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Text returns the chunk's text parts, joined.
func (c *Chunk) Text() string { return content.TextOf(c.Content) }

// Text returns the text of the message, "" when there is none.
func (r *Response) Text() string { return r.Message.Text() }

// ToolRequests returns the parts of the message that ask for a tool call.
func (r *Response) ToolRequests() []content.Part { return r.Message.ToolRequests() }

type (
	plainRequest        Request
	plainToolDefinition ToolDefinition
	plainOutput         Output
	plainResponse       Response
	plainUsage          Usage
	plainChunk          Chunk
)

// UnmarshalJSON keeps unknown fields in Extra.
func (r *Request) UnmarshalJSON(b []byte) (err error) {
	*r = Request{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainRequest)(r))
	return err
}

// MarshalJSON writes the fields of Extra too; nil messages become [].
func (r Request) MarshalJSON() ([]byte, error) {
	if r.Messages == nil {
		r.Messages = []content.Message{}
	}
	return rawjson.Marshal(plainRequest(r), r.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (d *ToolDefinition) UnmarshalJSON(b []byte) (err error) {
	*d = ToolDefinition{}
	d.Extra, err = rawjson.Unmarshal(b, (*plainToolDefinition)(d))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (d ToolDefinition) MarshalJSON() ([]byte, error) {
	return rawjson.Marshal(plainToolDefinition(d), d.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (o *Output) UnmarshalJSON(b []byte) (err error) {
	*o = Output{}
	o.Extra, err = rawjson.Unmarshal(b, (*plainOutput)(o))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (o Output) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plainOutput(o), o.Extra) }

// UnmarshalJSON keeps unknown fields in Extra.
func (r *Response) UnmarshalJSON(b []byte) (err error) {
	*r = Response{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainResponse)(r))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (r Response) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plainResponse(r), r.Extra) }

// UnmarshalJSON keeps unknown fields in Extra.
func (u *Usage) UnmarshalJSON(b []byte) (err error) {
	*u = Usage{}
	u.Extra, err = rawjson.Unmarshal(b, (*plainUsage)(u))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (u Usage) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plainUsage(u), u.Extra) }

// UnmarshalJSON keeps unknown fields in Extra.
func (c *Chunk) UnmarshalJSON(b []byte) (err error) {
	*c = Chunk{}
	c.Extra, err = rawjson.Unmarshal(b, (*plainChunk)(c))
	return err
}

// MarshalJSON writes the fields of Extra too; nil content becomes [].
func (c Chunk) MarshalJSON() ([]byte, error) {
	if c.Content == nil {
		c.Content = []content.Part{}
	}
	return rawjson.Marshal(plainChunk(c), c.Extra)
}
