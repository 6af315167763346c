package model

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Request is the input of a model: Genkit's GenerateRequest.
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

// Output describes the output that is wanted of the model.
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
	FinishFailed      FinishReason = "failed"
)

// Response is the answer of a model: Genkit's GenerateResponse.
type Response struct {
	Message       *content.Message `json:"message,omitempty"`
	FinishReason  FinishReason     `json:"finishReason,omitempty"`
	FinishMessage string           `json:"finishMessage,omitempty"`
	// LatencyMS is how long the model took, in milliseconds; see [Response.SetLatency]. On
	// the wire it keeps the digits that were received for as long as nobody changes it.
	LatencyMS  float64         `json:"latencyMs,omitempty"`
	Usage      *Usage          `json:"usage,omitempty"`
	Custom     json.RawMessage `json:"custom,omitempty"`
	Raw        json.RawMessage `json:"raw,omitempty"`
	Request    *Request        `json:"request,omitempty"`
	Operation  json.RawMessage `json:"operation,omitempty"`
	Candidates json.RawMessage `json:"candidates,omitempty"`

	// Parsed is the message as the asked format reads it, nil when none was
	// asked or nothing could be read; see [Response.Output]. It is not part of the wire
	// form.
	Parsed json.RawMessage `json:"-"`

	// Extra holds the fields that this version does not know.
	Extra map[string]json.RawMessage `json:"-"`

	latency json.Number // the literal of LatencyMS, where one was set or received
}

// SetLatency sets LatencyMS in whole milliseconds. A latency of 0 that was set is written,
// while the zero value of the field is not.
func (r *Response) SetLatency(d time.Duration) {
	r.LatencyMS = float64(d.Milliseconds())
	r.latency = json.Number(strconv.FormatInt(d.Milliseconds(), 10))
}

// Chunk is Genkit's ModelResponseChunk: a piece of an answer while it is made.
type Chunk struct {
	Role content.Role `json:"role,omitempty"`
	// Index is the place of the chunk's message among those that are streamed. 0 is
	// absent, unless it was received or set with [Chunk.SetIndex]. On the wire it keeps
	// the digits that were received for as long as nobody changes it.
	Index      int             `json:"index,omitempty"`
	Content    []content.Part  `json:"content"`
	Custom     json.RawMessage `json:"custom,omitempty"`
	Aggregated *bool           `json:"aggregated,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`

	index json.Number // the literal of Index, where one was set or received
}

// SetIndex sets Index, so that 0 is written too.
func (c *Chunk) SetIndex(n int) { c.Index, c.index = n, json.Number(strconv.Itoa(n)) }

// HasIndex reports whether the chunk has an index.
func (c *Chunk) HasIndex() bool { return c.Index != 0 || c.index != "" && whole(c.index) == 0 }

// Text returns the chunk's text parts, joined.
func (c *Chunk) Text() string { return content.TextOf(c.Content) }

type (
	plainRequest        Request
	plainToolDefinition ToolDefinition
	plainOutput         Output
)

// wireResponse is a response as it is written.
type wireResponse struct {
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
}

// wireChunk is a chunk as it is written.
type wireChunk struct {
	Role       content.Role    `json:"role,omitempty"`
	Index      json.Number     `json:"index,omitempty"`
	Content    []content.Part  `json:"content"`
	Custom     json.RawMessage `json:"custom,omitempty"`
	Aggregated *bool           `json:"aggregated,omitempty"`
}

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
func (r *Response) UnmarshalJSON(b []byte) error {
	*r = Response{}
	w := &wireResponse{}
	extra, err := rawjson.Unmarshal(b, w)
	if err != nil {
		return err
	}
	*r = Response{
		Message: w.Message, FinishReason: w.FinishReason, FinishMessage: w.FinishMessage, latency: w.LatencyMS, Usage: w.Usage,
		Custom: w.Custom, Raw: w.Raw, Request: w.Request, Operation: w.Operation, Candidates: w.Candidates, Extra: extra,
	}
	r.LatencyMS = finite(w.LatencyMS)
	return nil
}

// MarshalJSON writes the fields of Extra too, and no secret of the request's config.
func (r Response) MarshalJSON() ([]byte, error) {
	return rawjson.Marshal(wireResponse{
		Message: r.Message, FinishReason: r.FinishReason, FinishMessage: r.FinishMessage, LatencyMS: r.latencyLiteral(), Usage: r.Usage,
		Custom: r.Custom, Raw: r.Raw, Request: r.Request.WithoutSecrets(), Operation: r.Operation, Candidates: r.Candidates,
	}, r.Extra)
}

// latencyLiteral is how LatencyMS is written, "" when it is absent.
func (r *Response) latencyLiteral() json.Number {
	switch {
	case r.latency != "" && finite(r.latency) == r.LatencyMS:
		return r.latency
	case r.LatencyMS == 0:
		return ""
	}
	return floatLiteral(r.LatencyMS)
}

// finite is a number as a float; 0 for one that a float does not hold.
func finite(n json.Number) float64 {
	f, err := n.Float64()
	if err != nil {
		return 0
	}
	return f
}

// UnmarshalJSON keeps unknown fields in Extra.
func (c *Chunk) UnmarshalJSON(b []byte) error {
	*c = Chunk{}
	w := &wireChunk{}
	extra, err := rawjson.Unmarshal(b, w)
	if err != nil {
		return err
	}
	*c = Chunk{Role: w.Role, Content: w.Content, Custom: w.Custom, Aggregated: w.Aggregated, Extra: extra, index: w.Index}
	if w.Index != "" {
		c.Index = whole(w.Index)
	}
	return nil
}

// MarshalJSON writes the fields of Extra too; nil content becomes [].
func (c Chunk) MarshalJSON() ([]byte, error) {
	if c.Content == nil {
		c.Content = []content.Part{}
	}
	w := wireChunk{Role: c.Role, Index: c.index, Content: c.Content, Custom: c.Custom, Aggregated: c.Aggregated}
	if c.index == "" || whole(c.index) != c.Index {
		w.Index = intLiteral(c.Index)
	}
	return rawjson.Marshal(w, c.Extra)
}
