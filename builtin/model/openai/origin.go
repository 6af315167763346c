package openai

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// noteKey is where the metadata of a message and of its parts keeps what only the
// server that wrote it understands.
const noteKey = "chatCompletions"

// note is the value below noteKey:
//
//	{"server": "3f0c…", "model": "deepseek-chat", "field": "reasoning_content"}
//	{"server": "3f0c…", "call": {"extra_content": {…}}, "function": {…}}
//	{"server": "3f0c…", "message": {"reasoning_details": […]}}
//
// It travels with the message through sessions and interrupts, and is sent to no
// server but the one of Server.
type note struct {
	// Server tells servers apart without naming an address.
	Server string `json:"server"`
	// Field is where a part's reasoning stood in the message.
	Field ReasoningField `json:"field,omitempty"`
	// Call and Function are the unknown fields of a tool call and of its function.
	Call     map[string]json.RawMessage `json:"call,omitempty"`
	Function map[string]json.RawMessage `json:"function,omitempty"`
	// Message holds fields of the message that go back as they came.
	Message map[string]json.RawMessage `json:"message,omitempty"`
}

// serverID is the note's name of a base URL.
func serverID(baseURL string) string {
	const bytes = 8
	sum := sha256.Sum256([]byte(baseURL))
	return hex.EncodeToString(sum[:bytes])
}

// on returns metadata with the note.
func (n note) on(m content.Metadata) (content.Metadata, error) {
	raw, err := rawjson.Encode(n)
	if err != nil {
		return nil, err
	}
	return m.With(noteKey, raw), nil
}

// noteOf returns the note of a server, or an empty one when there is none or it is
// another server's.
func noteOf(m content.Metadata, server string) note {
	var n note
	if json.Unmarshal(m[noteKey], &n) != nil || n.Server != server {
		return note{}
	}
	return n
}
