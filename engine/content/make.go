package content

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// NewTextPart returns a text part.
func NewTextPart(text string) Part { return Part{Text: &text} }

// NewMediaPart returns a picture, sound, film or file by its URL. An empty contentType
// leaves it to the URL.
func NewMediaPart(contentType, url string) Part {
	return Part{Media: &Media{URL: url, ContentType: contentType}}
}

// NewDataPart returns a part that holds any JSON value.
func NewDataPart(v json.RawMessage) Part { return Part{Data: v} }

// NewReasoningPart returns a part with a model's reasoning. Some providers sign it and want the
// signature back with the history; nil leaves it out.
func NewReasoningPart(text string, signature []byte) Part {
	p := Part{Reasoning: &text}
	if signature != nil {
		p.Metadata = Metadata{"signature": json.RawMessage(`"` + base64.StdEncoding.EncodeToString(signature) + `"`)}
	}
	return p
}

// NewToolRequestPart returns a model's wish to call a tool.
func NewToolRequestPart(r *ToolRequest) Part { return Part{ToolRequest: r} }

// NewToolResponsePart returns a tool's answer.
func NewToolResponsePart(r *ToolResponse) Part { return Part{ToolResponse: r} }

// NewResourcePart returns a part for content that is fetched by URI.
func NewResourcePart(uri string) Part { return Part{Resource: &Resource{URI: uri}} }

// NewCustomPart returns a part that only its provider understands: any JSON value.
func NewCustomPart(v json.RawMessage) Part { return Part{Custom: v} }

// IsText reports whether the part is text.
func (p *Part) IsText() bool { return p.Text != nil }

// IsMedia reports whether the part is media.
func (p *Part) IsMedia() bool { return p.Media != nil }

// IsImage reports whether the part is media of an image type.
func (p *Part) IsImage() bool { return p.isMedia("image/") }

// IsAudio reports whether the part is media of an audio type.
func (p *Part) IsAudio() bool { return p.isMedia("audio/") }

// IsVideo reports whether the part is media of a video type.
func (p *Part) IsVideo() bool { return p.isMedia("video/") }

func (p *Part) isMedia(prefix string) bool {
	if p.Media == nil {
		return false
	}
	return strings.HasPrefix(p.Media.ContentType, prefix) || strings.HasPrefix(p.Media.URL, "data:"+prefix)
}

// IsData reports whether the part is a JSON value.
func (p *Part) IsData() bool { return p.Data != nil }

// IsReasoning reports whether the part is a model's reasoning.
func (p *Part) IsReasoning() bool { return p.Reasoning != nil }

// IsToolRequest reports whether the part asks for a tool call.
func (p *Part) IsToolRequest() bool { return p.ToolRequest != nil }

// IsToolResponse reports whether the part is a tool's answer.
func (p *Part) IsToolResponse() bool { return p.ToolResponse != nil }

// IsInterrupt reports whether the part is a tool request that a tool or a middleware
// stopped.
func (p *Part) IsInterrupt() bool { return p.ToolRequest != nil && p.Metadata.Truthy("interrupt") }

// IsResource reports whether the part refers to content that is fetched by URI.
func (p *Part) IsResource() bool { return p.Resource != nil }

// IsCustom reports whether the part is one that only its provider understands.
func (p *Part) IsCustom() bool { return p.Custom != nil }

// NewMessage returns a message. metadata may be nil.
func NewMessage(role Role, metadata Metadata, parts ...Part) Message {
	return Message{Role: role, Content: parts, Metadata: metadata}
}

// NewTextMessage returns a message of one text part.
func NewTextMessage(role Role, text string) Message { return NewMessage(role, nil, NewTextPart(text)) }

// NewSystemMessage returns a system message.
func NewSystemMessage(parts ...Part) Message { return NewMessage(RoleSystem, nil, parts...) }

// NewSystemTextMessage returns a system message of one text part.
func NewSystemTextMessage(text string) Message { return NewTextMessage(RoleSystem, text) }

// NewUserMessage returns a user message.
func NewUserMessage(parts ...Part) Message { return NewMessage(RoleUser, nil, parts...) }

// NewUserTextMessage returns a user message of one text part.
func NewUserTextMessage(text string) Message { return NewTextMessage(RoleUser, text) }

// NewModelMessage returns a model message.
func NewModelMessage(parts ...Part) Message { return NewMessage(RoleModel, nil, parts...) }

// NewModelTextMessage returns a model message of one text part.
func NewModelTextMessage(text string) Message { return NewTextMessage(RoleModel, text) }

// DocumentFromText returns a document of one text part. metadata may be nil.
func DocumentFromText(text string, metadata Metadata) Document {
	return Document{Content: []Part{NewTextPart(text)}, Metadata: metadata}
}

// Text returns the document's text parts, joined.
func (d *Document) Text() string { return TextOf(d.Content) }
