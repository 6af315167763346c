// Package content is Genkit's wire vocabulary: messages, their parts and
// documents, as genkit-tools/genkit-schema.json defines them.
//
// It owns the Go form of those types and their round trip: fields and enum
// values that are not known here survive, numbers keep their digits, and a tool's
// input and output stay raw JSON until their owner decodes them. Use:
//
//	msg := content.NewUserTextMessage("hello")
//	for _, req := range reply.ToolRequests() { … }
//
// The types are plain data: copy them before changing what others may read.
package content

import (
	"encoding/json"
	"maps"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Metadata is a JSON object whose values stay raw.
type Metadata map[string]json.RawMessage

// True returns the JSON value true, the usual value of a flag in metadata.
func True() json.RawMessage { return json.RawMessage("true") }

// MalformedInput is the key in a tool request's metadata under which a model says why
// it could not read the arguments that it was given: a JSON string, written for the
// model that made the call. Such a request has no input. It is answered with that text
// and never reaches a tool.
const MalformedInput = "malformedInput"

// Truthy reports whether key holds something else than false, null, 0, "" or
// nothing, as JavaScript would read it.
func (m Metadata) Truthy(key string) bool {
	switch string(m[key]) {
	case "", "false", "null", "0", `""`:
		return false
	}
	return true
}

// With returns a copy of m in which key is value.
func (m Metadata) With(key string, value json.RawMessage) Metadata {
	c := make(Metadata, len(m)+1)
	maps.Copy(c, m)
	c[key] = value
	return c
}

// Without returns a copy of m that lacks key.
func (m Metadata) Without(key string) Metadata {
	c := maps.Clone(m)
	delete(c, key)
	return c
}

// Part is one piece of a message. Exactly one of the fields Text, Media,
// ToolRequest, ToolResponse, Data, Custom, Reasoning and Resource is usually
// set; Metadata, Data and Custom may stand beside another.
type Part struct {
	Text         *string         `json:"text,omitempty"`
	Media        *Media          `json:"media,omitempty"`
	ToolRequest  *ToolRequest    `json:"toolRequest,omitempty"`
	ToolResponse *ToolResponse   `json:"toolResponse,omitempty"`
	Data         json.RawMessage `json:"data,omitempty"`
	Custom       json.RawMessage `json:"custom,omitempty"`
	Reasoning    *string         `json:"reasoning,omitempty"`
	Resource     *Resource       `json:"resource,omitempty"`
	Metadata     Metadata        `json:"metadata,omitzero"`

	// Extra holds the fields that this version does not know.
	Extra map[string]json.RawMessage `json:"-"`
}

// Media is a picture, sound, film or file by its URL (data:, http:, https: or a
// provider's own scheme).
type Media struct {
	URL         string `json:"url"`
	ContentType string `json:"contentType,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// ToolRequest is the model's wish to call a tool.
type ToolRequest struct {
	Name  string          `json:"name"`
	Ref   string          `json:"ref,omitempty"`
	Input json.RawMessage `json:"input,omitempty"`
	// Partial marks a call that is still being streamed.
	Partial *bool `json:"partial,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// ToolResponse is a tool's answer to the request of the same Name and Ref.
type ToolResponse struct {
	Name   string          `json:"name"`
	Ref    string          `json:"ref,omitempty"`
	Output json.RawMessage `json:"output,omitempty"`
	// Content holds the further parts of a multipart tool's answer.
	Content []Part `json:"content,omitzero"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Resource refers to content that is fetched by URI before the model call.
type Resource struct {
	URI string `json:"uri"`

	Extra map[string]json.RawMessage `json:"-"`
}

type (
	plainPart         Part
	plainMedia        Media
	plainToolRequest  ToolRequest
	plainToolResponse ToolResponse
	plainResource     Resource
)

// UnmarshalJSON keeps unknown fields in Extra.
func (p *Part) UnmarshalJSON(b []byte) (err error) {
	*p = Part{}
	p.Extra, err = rawjson.Unmarshal(b, (*plainPart)(p))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (p Part) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plainPart(p), p.Extra) }

// UnmarshalJSON keeps unknown fields in Extra.
func (m *Media) UnmarshalJSON(b []byte) (err error) {
	*m = Media{}
	m.Extra, err = rawjson.Unmarshal(b, (*plainMedia)(m))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (m Media) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plainMedia(m), m.Extra) }

// UnmarshalJSON keeps unknown fields in Extra.
func (r *ToolRequest) UnmarshalJSON(b []byte) (err error) {
	*r = ToolRequest{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainToolRequest)(r))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (r ToolRequest) MarshalJSON() ([]byte, error) {
	return rawjson.Marshal(plainToolRequest(r), r.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (r *ToolResponse) UnmarshalJSON(b []byte) (err error) {
	*r = ToolResponse{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainToolResponse)(r))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (r ToolResponse) MarshalJSON() ([]byte, error) {
	return rawjson.Marshal(plainToolResponse(r), r.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (r *Resource) UnmarshalJSON(b []byte) (err error) {
	*r = Resource{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainResource)(r))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (r Resource) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plainResource(r), r.Extra) }
