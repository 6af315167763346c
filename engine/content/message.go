package content

import (
	"encoding/json"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/internal/rawjson"
)

// Role says who speaks. Values that are not among the constants are kept as
// they are.
type Role string

// Genkit's roles.
const (
	RoleSystem Role = "system"
	RoleUser   Role = "user"
	RoleModel  Role = "model"
	RoleTool   Role = "tool"
)

// Message is one turn of a conversation.
type Message struct {
	Role     Role     `json:"role"`
	Content  []Part   `json:"content"`
	Metadata Metadata `json:"metadata,omitzero"`

	// Extra holds the fields that this version does not know.
	Extra map[string]json.RawMessage `json:"-"`
}

// Document is a piece of retrieved or supplied context.
type Document struct {
	Content  []Part   `json:"content"`
	Metadata Metadata `json:"metadata,omitzero"`

	Extra map[string]json.RawMessage `json:"-"`
}

// SystemText returns a system message of one text part.
func SystemText(s string) Message { return Message{Role: RoleSystem, Content: []Part{Text(s)}} }

// UserText returns a user message of one text part.
func UserText(s string) Message { return Message{Role: RoleUser, Content: []Part{Text(s)}} }

// ModelText returns a model message of one text part.
func ModelText(s string) Message { return Message{Role: RoleModel, Content: []Part{Text(s)}} }

// Text returns the message's text parts, joined.
func (m *Message) Text() string {
	if m == nil {
		return ""
	}
	return TextOf(m.Content)
}

// TextOf returns the text parts among parts, joined.
func TextOf(parts []Part) string {
	var b strings.Builder
	for i := range parts {
		if parts[i].Text != nil {
			b.WriteString(*parts[i].Text)
		}
	}
	return b.String()
}

// ToolRequests returns the parts that ask for a tool call, in order.
func (m *Message) ToolRequests() []Part {
	if m == nil {
		return nil
	}
	var requests []Part
	for _, p := range m.Content {
		if p.IsToolRequest() {
			requests = append(requests, p)
		}
	}
	return requests
}

// Interrupts returns the tool requests that a tool or a middleware stopped.
func (m *Message) Interrupts() []Part {
	var interrupts []Part
	for _, p := range m.ToolRequests() {
		if p.Metadata.Truthy("interrupt") {
			interrupts = append(interrupts, p)
		}
	}
	return interrupts
}

type (
	plainMessage  Message
	plainDocument Document
)

// UnmarshalJSON keeps unknown fields in Extra.
func (m *Message) UnmarshalJSON(b []byte) (err error) {
	*m = Message{}
	m.Extra, err = rawjson.Unmarshal(b, (*plainMessage)(m))
	return err
}

// MarshalJSON writes the fields of Extra too; nil content becomes [].
func (m Message) MarshalJSON() ([]byte, error) {
	if m.Content == nil {
		m.Content = []Part{}
	}
	return rawjson.Marshal(plainMessage(m), m.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (d *Document) UnmarshalJSON(b []byte) (err error) {
	*d = Document{}
	d.Extra, err = rawjson.Unmarshal(b, (*plainDocument)(d))
	return err
}

// MarshalJSON writes the fields of Extra too; nil content becomes [].
func (d Document) MarshalJSON() ([]byte, error) {
	if d.Content == nil {
		d.Content = []Part{}
	}
	return rawjson.Marshal(plainDocument(d), d.Extra)
}
