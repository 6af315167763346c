package content

import (
	"encoding/json"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
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

// Roles returns Genkit's roles: a message of another one is none.
func Roles() []Role { return []Role{RoleSystem, RoleUser, RoleModel, RoleTool} }

// Known reports whether r is one of Genkit's roles, to the letter.
func (r Role) Known() bool {
	return r == RoleSystem || r == RoleUser || r == RoleModel || r == RoleTool
}

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

// Text returns the message's text parts, joined.
func (m *Message) Text() string {
	if m == nil {
		return ""
	}
	return TextOf(m.Content)
}

// Reasoning returns the text of the message's reasoning parts, joined.
func (m *Message) Reasoning() string {
	if m == nil {
		return ""
	}
	var b strings.Builder
	for i := range m.Content {
		if r := m.Content[i].Reasoning; r != nil {
			b.WriteString(*r)
		}
	}
	return b.String()
}

// Media returns the URL of the first media part, "" when there is none.
func (m *Message) Media() string {
	if m == nil {
		return ""
	}
	for i := range m.Content {
		if media := m.Content[i].Media; media != nil {
			return media.URL
		}
	}
	return ""
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
		if p.IsInterrupt() {
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
